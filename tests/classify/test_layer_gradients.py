import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.classify.networks import PooledNet, ResidualNet, draw_images, with_weights
from tinysight.classify.cam import class_activation_maps
from tinysight.classify.layer_gradients import feature_layers, last_feature_layer, run_from_layer
from tinysight.classify.models import build_model
from tinysight.classify.settings import ModelSettings
from tinysight.errors import RecipeError

CLASSES = torch.tensor([0, 4, 2])


def hooks_of(network: nn.Module) -> list[int]:
    return [
        len(getattr(module, name))
        for module in network.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    ]


def test_the_gradient_is_that_of_autograd_through_the_whole_network() -> None:
    network = with_weights(ResidualNet()).eval()
    images = draw_images()
    for layer in ("stem", "stem_relu", "shortcut", "bn1", "relu1", "bn2", "relu2", "dropout"):
        kept: list[torch.Tensor] = []

        def keep(
            module: nn.Module, inputs: Any, output: torch.Tensor, kept: list[torch.Tensor] = kept
        ) -> torch.Tensor:
            # A copy, because the output of an identity is also the input of other layers.
            kept.append(output.clone())
            return kept[0]

        handle = network.get_submodule(layer).register_forward_hook(keep)
        score = network(images).gather(1, CLASSES[:, None]).sum()
        handle.remove()
        (expected,) = torch.autograd.grad(score, kept[0])
        seen = run_from_layer(network, layer, images)
        torch.testing.assert_close(seen.activations.detach(), kept[0].detach())
        found = seen.gradients(CLASSES).expand_as(expected)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_a_network_that_writes_over_its_values_gives_the_same() -> None:
    plain, inplace = with_weights(ResidualNet()), with_weights(ResidualNet(inplace=True))
    for layer in feature_layers(plain, draw_images()):
        before = run_from_layer(plain, layer, draw_images())
        after = run_from_layer(inplace, layer, draw_images())
        assert torch.equal(after.activations, before.activations)
        assert torch.equal(after.gradients(CLASSES), before.gradients(CLASSES))


class ReluInFront(PooledNet):
    """What is pooled has the memory of conv2's output, but not its values."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv2(self.relu1(self.conv1(images))), inplace=True)


class DoubledMean(PooledNet):
    """The head gets the memory of the mean, but twice its values."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.features(images)).flatten(1).mul_(2))


class DoubledLogits(PooledNet):
    """What comes out is not what the head gave."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).mul_(2)


class ReluAfterMean(PooledNet):
    """Between mean and head is something else."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.features(images)).flatten(1).sub(0.5).relu())


@pytest.mark.parametrize(
    ("network", "layer", "has_head"),
    [
        (PooledNet(), "relu2", True),
        (PooledNet(), "conv2", False),
        (ResidualNet(), "relu2", True),  # dropout does nothing in evaluation mode
        (ResidualNet(inplace=True), "relu2", True),
        (ResidualNet(inplace=True), "bn2", False),
        (ReluInFront(), "conv2", False),
        (DoubledMean(), "relu2", False),
        (DoubledLogits(), "relu2", False),
        (ReluAfterMean(), "relu2", False),
    ],
)
def test_a_head_is_only_recognised_where_nothing_else_is_between(
    network: nn.Module, layer: str, has_head: bool
) -> None:
    seen = run_from_layer(with_weights(network), layer, draw_images())
    assert (seen.head is not None) == has_head


def test_a_module_with_somebody_elses_hook_is_no_known_head() -> None:
    network = with_weights(PooledNet())
    network.fc.register_forward_hook(lambda module, inputs, output: output * 2)
    plain = run_from_layer(with_weights(PooledNet()), "relu2", draw_images())
    seen = run_from_layer(network, "relu2", draw_images())
    assert seen.head is None
    doubled = 2 * plain.gradients(CLASSES)
    torch.testing.assert_close(seen.gradients(CLASSES), doubled.expand(3, 6, 6, 6))


class Failing(ResidualNet):
    """Fails after its last layer."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        super().forward(images)
        raise ZeroDivisionError


@pytest.mark.parametrize("layer", ["relu1", "relu2"])
@pytest.mark.parametrize("network_type", [ResidualNet, Failing])
def test_the_network_is_afterwards_as_it_was(network_type: Any, layer: str) -> None:
    network = with_weights(network_type())
    network.train()
    network.bn2.eval()  # frozen by the user
    network.conv1.requires_grad_(False)
    network.conv2.weight.grad = torch.ones_like(network.conv2.weight)
    network.relu1.register_forward_hook(lambda *_: None)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    needs = [parameter.requires_grad for parameter in network.parameters()]
    hooks = hooks_of(network)
    if network_type is Failing:
        with pytest.raises(ZeroDivisionError):
            class_activation_maps(network, draw_images(), layer=layer)
    else:
        class_activation_maps(network, draw_images(), layer=layer)
        with pytest.raises(ValueError, match="classes must have shape"):
            class_activation_maps(network, draw_images(), CLASSES, layer=layer)
        with pytest.raises(RecipeError):
            class_activation_maps(network, draw_images(), layer="fc")
    assert torch.is_grad_enabled()
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == needs
    assert hooks_of(network) == hooks
    for name, parameter in network.named_parameters():
        if name == "conv2.weight":
            assert torch.equal(parameter.grad, torch.ones_like(parameter))
        else:
            assert parameter.grad is None
    for name, tensor in network.state_dict().items():  # running statistics among them
        assert torch.equal(tensor, before[name])


def test_frozen_parameters_are_no_obstacle() -> None:
    network = with_weights(ResidualNet())
    before = run_from_layer(network, "relu1", draw_images()).gradients(CLASSES)
    network.requires_grad_(False)
    assert torch.equal(run_from_layer(network, "relu1", draw_images()).gradients(CLASSES), before)


def test_layers_in_front_run_without_a_graph() -> None:
    network = with_weights(ResidualNet())
    recorded: dict[str, bool] = {}
    for name in ("stem", "conv1", "conv2"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: recorded.update({name: output.requires_grad})
        )
    run_from_layer(network, "bn1", draw_images())
    assert recorded == {"stem": False, "conv1": False, "conv2": True}


def test_the_last_feature_layer_is_the_one_in_front_of_the_pooling() -> None:
    for name, stem, last in (
        ("resnet18", "3x3", "layer4"),
        ("resnet34", "7x7", "layer4"),
        ("compact", "3x3", "layer2"),
        ("compact10", "3x3", "layer2"),
        ("compact12", "3x3", "layer3"),
        ("compact14", "3x3", "layer3"),
        ("compact20", "3x3", "layer3"),
    ):
        network = build_model(ModelSettings(name=name, stem=stem), 5, seed=0)  # type: ignore[arg-type]
        assert last_feature_layer(network) == last
        assert run_from_layer(network, last, draw_images(2, 64)).head is network.fc


@pytest.mark.parametrize("network", [nn.Linear(3, 5), nn.Sequential(nn.AdaptiveAvgPool2d(1))])
def test_without_a_pooling_the_layer_must_be_named(network: nn.Module) -> None:
    with pytest.raises(
        RecipeError, match=r"must have global average pooling .* found none\. Name the layer\."
    ):
        last_feature_layer(network)


def test_feature_layers_are_those_with_places_in_the_order_in_which_they_end() -> None:
    network = with_weights(PooledNet()).train()
    assert feature_layers(network, draw_images()) == ("conv1", "relu1", "conv2", "relu2")
    assert network.training
    assert not any(hooks_of(network))


def test_a_layer_that_does_not_exist_is_refused_with_those_that_do() -> None:
    network = build_model(ModelSettings(name="compact"), 5, seed=0)
    with pytest.raises(
        RecipeError,
        match=r"layer layer3: must be the name of a layer of CompactResNet, which has none of that "
        r"name\. Did you mean layer2\? Choose one of conv1, bn1, relu, layer1\.0, layer1\.1, "
        r"layer1, layer2\.0, layer2\.1, layer2\.2, layer2, or a layer inside of one of them\.",
    ):
        class_activation_maps(network, draw_images(size_px=32), layer="layer3")
    with pytest.raises(RecipeError, match=r"which has none of that name\. Choose one of conv1, "):
        class_activation_maps(network, draw_images(size_px=32), layer="?")


class Branches(PooledNet):
    """A layer that runs twice, one that never runs, one that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.idle = nn.Conv2d(3, 3, 1)
        self.aside = nn.Conv2d(3, 3, 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.aside(images)
        return self.relu(self.conv2(self.relu(self.conv1(images))))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("fc", r"layer fc: its output must be a feature map \(B, C, h, w\), got \(3, 5\)\. Name a"),
        ("relu", r"layer relu: must run once in a forward pass, but runs again\. Name the module"),
        ("idle", r"layer idle: must run in a forward pass, but does not\. Name another layer\."),
        ("aside", r"layer aside: the logits must depend on its output, and do not\. Name a layer"),
    ],
)
def test_a_layer_that_cannot_be_looked_at_is_refused(layer: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        class_activation_maps(with_weights(Branches()), draw_images(), layer=layer)


class TwoOutputs(nn.Module):
    """Gives a pair."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, images


def test_a_layer_that_gives_no_tensor_is_refused() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = TwoOutputs()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.pair(images)[0].mean(dim=(2, 3))

    with pytest.raises(RecipeError, match=r"layer pair: its output must be .* got <class 'tuple'>"):
        run_from_layer(Network(), "pair", draw_images())
