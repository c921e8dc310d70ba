import pytest
import torch
from torch import nn

from tinysight.classify.optimizers import build_optimizer, set_schedule
from tinysight.classify.settings import OptimizerSettings


def make_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_filters_and_matrices_decay(name: str) -> None:
    network = make_network()
    settings = OptimizerSettings.model_validate({"name": name, "weight_decay": 0.5})
    groups = build_optimizer(network, settings, lr=0.1, momentum=0.9).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [
        (1, 0.5),
        (2, 0.0),
    ]
    assert groups[0]["params"][0] is network[0].weight


def test_everything_decays_when_the_recipe_says_so() -> None:
    settings = OptimizerSettings(weight_decay=0.5, decay_norms_and_biases=True)
    groups = build_optimizer(make_network(), settings, lr=0.1, momentum=0.9).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(3, 0.5)]


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_the_filters_that_see_the_pixels_do_not_decay_when_the_recipe_says_so(name: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    settings = OptimizerSettings.model_validate(
        {"name": name, "weight_decay": 0.5, "decay_stem": False, "muon_lr_ratio": 0.5}
    )
    optimizer = build_optimizer(network, settings, lr=0.1, momentum=0.9)
    decay_of = {
        parameter.data_ptr(): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    stem, conv, _, head = network
    assert decay_of[stem.weight.data_ptr()] == 0.0
    assert decay_of[conv.weight.data_ptr()] == (1.0 if name == "muon" else 0.5)
    assert decay_of[head.weight.data_ptr()] == 0.5
    assert decay_of[conv.bias.data_ptr()] == 0.0


def test_sgd_steps_as_torch_does() -> None:
    torch.manual_seed(0)
    network, twin = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    twin.load_state_dict(network.state_dict())
    ours = build_optimizer(network, OptimizerSettings(weight_decay=0.01), lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD(
        twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True
    )
    for step in range(4):
        for optimizer, model in ((ours, network), (theirs, twin)):
            model(torch.full((1, 3), step + 1.0)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.allclose(network.weight, twin.weight, atol=1e-7)


def test_muon_moves_the_filters_and_sgd_the_rest() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8)
    )
    settings = OptimizerSettings(name="muon", weight_decay=0.01, muon_lr_ratio=0.2)
    optimizer = build_optimizer(network, settings, lr=0.1, momentum=0.9)
    set_schedule(optimizer, lr=0.5, momentum=0.8)
    stem, norm, filters = optimizer.param_groups
    assert stem["params"][0] is network[0].weight
    assert (stem["lr"], stem["weight_decay"]) == (0.5, 0.01)
    assert [parameter.shape for parameter in norm["params"]] == [(8,), (8,)]
    assert (norm["lr"], norm["weight_decay"]) == (0.5, 0.0)
    assert filters["params"][0].data_ptr() == network[1].weight.data_ptr()
    assert (filters["lr"], filters["momentum"]) == (0.1, 0.8)
    # One step shrinks filters by the same share as SGD's own weights: lr * decay.
    assert filters["lr"] * filters["weight_decay"] == pytest.approx(0.5 * 0.01)


@pytest.mark.parametrize(("name", "key"), [("sgd", "momentum"), ("adamw", "betas")])
def test_the_schedule_reaches_every_group(name: str, key: str) -> None:
    settings = OptimizerSettings.model_validate({"name": name})
    optimizer = build_optimizer(make_network(), settings, lr=0.1, momentum=0.9)
    set_schedule(optimizer, lr=0.5, momentum=0.8)
    for group in optimizer.param_groups:
        assert group["lr"] == 0.5
        assert group[key] == (0.8 if key == "momentum" else (0.8, 0.999))
