from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tinysight.classify.muon import FilterMuon, JointOptimizer, orthogonal

SETTINGS = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}


def gradient_of(step: int, shape: Sequence[int]) -> torch.Tensor:
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


def test_filters_of_one_shape_are_moved_together_and_each_as_if_alone() -> None:
    shapes = [(8, 4, 3, 3), (16, 2, 1, 1), (8, 4, 3, 3), (16, 2, 1, 1), (8, 12, 3, 1)]
    filters = [nn.Parameter(gradient_of(100 + i, shape)) for i, shape in enumerate(shapes)]
    matrices = [nn.Parameter(weight.detach().flatten(1).clone()) for weight in filters]
    ours = FilterMuon(filters, **SETTINGS)
    theirs = torch.optim.Muon(matrices, **SETTINGS)
    for step in range(3):
        for i, (weight, matrix) in enumerate(zip(filters, matrices, strict=True)):
            weight.grad = gradient_of(10 * step + i, weight.shape)
            matrix.grad = weight.grad.flatten(1).clone()
        ours.step()
        theirs.step()
    for weight, matrix in zip(filters, matrices, strict=True):
        # bf16 sums in another order
        assert torch.allclose(weight.flatten(1), matrix, atol=2e-3)
    assert [len(state) for state in ours.state.values()] == [1] * len(filters)


@pytest.mark.parametrize("shape", [(3, 24, 60), (2, 60, 24)])
def test_a_step_has_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    matrices = gradient_of(0, shape) * torch.tensor([1e-3, 1.0, 1e3])[: shape[0], None, None]
    close = orthogonal(matrices, (3.4445, -4.7750, 2.0315), 5, 1e-7).float()
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    along = left.mT @ close @ right.mT  # the same singular vectors: nothing beside the diagonal
    values = along.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.5
    assert values.max() < 1.5
    assert (along - torch.diag_embed(values)).abs().max() < 0.05


def test_in_fp32_filters_move_as_the_iterations_say_without_rounding() -> None:
    weight = nn.Parameter(gradient_of(1, (16, 8, 3, 3)))
    exact = weight.detach().flatten(1).double()
    muon = FilterMuon([weight], **SETTINGS, dtype=torch.float32)
    average = torch.zeros_like(exact)
    for step in range(4):
        weight.grad = gradient_of(10 + step, weight.shape)
        gradient = weight.grad.flatten(1).double()
        muon.step()
        average = 0.9 * average + 0.1 * gradient
        x = 0.9 * average + 0.1 * gradient
        x /= x.norm()
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        exact = (1 - 0.02 * 0.1) * exact - 0.02 * x
    assert torch.allclose(weight.detach().flatten(1).double(), exact, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_iterations_keep_the_format_of_their_matrices(dtype: torch.dtype) -> None:
    matrices = gradient_of(0, (2, 4, 9)).to(dtype)
    assert orthogonal(matrices, (3.4445, -4.7750, 2.0315), 5, 1e-7).dtype == dtype


def test_a_matrix_of_zeros_stays_so() -> None:
    assert not orthogonal(torch.zeros(1, 4, 9), (3.4445, -4.7750, 2.0315), 5, 1e-7).any()


def test_the_loss_of_a_closure_comes_back() -> None:
    conv = nn.Conv2d(4, 4, 3, bias=False)

    def closure() -> torch.Tensor:
        loss = conv.weight.square().sum()
        loss.backward()
        return loss

    before = conv.weight.detach().clone()
    assert FilterMuon([conv.weight], **SETTINGS).step(closure) == before.square().sum()
    assert not torch.equal(conv.weight, before)


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


class CallsOfForeach(TorchDispatchMode):
    """Counts the operations on lists of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if "_foreach_" in func.__name__:
            self.names.append(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


def test_filters_of_all_shapes_share_what_does_not_depend_on_the_shape() -> None:
    filters = [nn.Parameter(torch.randn(4, size)) for size in (4, 6, 8, 8)]
    muon = FilterMuon(filters, lr=0.1, momentum=0.9, weight_decay=0.1)
    for weight in filters:
        weight.grad = torch.randn_like(weight)
    with CallsOfForeach() as calls:
        muon.step()
    assert calls.names == ["_foreach_lerp_", "_foreach_lerp", "_foreach_mul_", "_foreach_add_"]


def test_without_a_gradient_nothing_moves() -> None:
    weight = nn.Parameter(torch.ones(2, 3))
    FilterMuon([weight], lr=0.1, momentum=0.9, weight_decay=0.1).step()
    assert (weight == 1).all()
