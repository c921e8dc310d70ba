from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tinysight.classify.muon import FilterMuon, JointOptimizer

SETTINGS = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}


def gradient_of(step: int, shape: torch.Size) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("rows", "columns", "side"), [(16, 8, 3), (64, 4, 1), (8, 8, 3)])
def test_filters_move_as_their_matrices_do_under_the_muon_of_torch(
    order: torch.memory_format, rows: int, columns: int, side: int
) -> None:
    conv = nn.Conv2d(columns, rows, side, bias=False).to(memory_format=order)
    matrix = nn.Parameter(conv.weight.detach().reshape(rows, -1).clone())
    ours = FilterMuon([conv.weight], **SETTINGS)
    theirs = torch.optim.Muon([matrix], **SETTINGS)
    before = conv.weight.detach().clone()
    for step in range(4):
        gradient = gradient_of(step, conv.weight.shape)
        # A gradient may arrive in another memory order than its weight has.
        conv.weight.grad, matrix.grad = gradient.clone(), gradient.reshape(rows, -1).clone()
        ours.step()
        theirs.step()
    assert not torch.allclose(conv.weight, before, atol=1e-2)
    # bf16 sums in another order
    assert torch.allclose(conv.weight.reshape(rows, -1), matrix, atol=2e-3)
    assert conv.weight.is_contiguous(memory_format=order)


def test_fewer_iterations_are_those_of_torch_too() -> None:
    conv = nn.Conv2d(6, 5, 3, bias=False)
    matrix = nn.Parameter(conv.weight.detach().reshape(5, -1).clone())
    conv.weight.grad = gradient_of(0, conv.weight.shape)
    matrix.grad = conv.weight.grad.reshape(5, -1).clone()
    FilterMuon([conv.weight], num_iterations=2, **SETTINGS).step()
    torch.optim.Muon([matrix], ns_steps=2, **SETTINGS).step()
    assert torch.equal(conv.weight.reshape(5, -1), matrix)


def test_a_filter_without_a_gradient_stays() -> None:
    moving, resting = nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 4, 3, bias=False)
    before = resting.weight.detach().clone()
    optimizer = FilterMuon([moving.weight, resting.weight], **SETTINGS)
    moving.weight.grad = gradient_of(0, moving.weight.shape)
    optimizer.step()
    assert torch.equal(resting.weight, before)
    optimizer.zero_grad()
    assert moving.weight.grad is None


def test_another_memory_order_is_refused() -> None:
    weight = nn.Parameter(torch.zeros(4, 8, 3, 3).permute(1, 0, 2, 3))
    with pytest.raises(ValueError, match=r"filters must be contiguous or channels_last, got shape"):
        FilterMuon([weight], **SETTINGS)


def test_a_joint_optimizer_goes_on_from_its_saved_state() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4))

    def build(network: nn.Module) -> JointOptimizer:
        conv, norm = network
        muon = FilterMuon([conv.weight], **SETTINGS)
        return JointOptimizer([torch.optim.SGD(norm.parameters(), lr=0.1, momentum=0.9), muon])

    def steps(network: nn.Module, optimizer: JointOptimizer, numbers: range) -> None:
        for number in numbers:
            for parameter in network.parameters():
                parameter.grad = gradient_of(number, parameter.shape)
            optimizer.step()
            optimizer.zero_grad()

    optimizer = build(network)
    steps(network, optimizer, range(3))
    twin = copy.deepcopy(network)
    twin_optimizer = build(twin)
    twin_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(network, optimizer, range(3, 6))
    steps(twin, twin_optimizer, range(3, 6))
    for parameter, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter, other)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]
