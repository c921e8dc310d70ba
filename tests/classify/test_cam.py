import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import LayerGradCam
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.classify.networks import MeanNet, PooledNet, ResidualNet, draw_images, with_weights
from tinysight.classify.cam import METHODS, ActivationMaps, Method, class_activation_maps
from tinysight.classify.models import build_model
from tinysight.classify.settings import ModelSettings, TrainSettings

CLASSES = torch.tensor([[0, 3], [4, 1], [2, 2]])


def unscaled(found: ActivationMaps) -> torch.Tensor:
    return found.maps * found.peaks[:, :, None, None]


def reference_map(
    method: Method,
    body: Callable[[torch.Tensor], torch.Tensor],
    tail: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    class_index: int,
) -> torch.Tensor:
    """The formula of each paper for one image, number by number, in float64."""
    features = body(image[None].double()).detach().requires_grad_()
    score = tail(features)[0, class_index]
    (gradient,) = torch.autograd.grad(score, features)
    a, g = features.detach()[0], gradient[0]  # (C, h, w)
    channels, height, width = a.shape
    total = torch.zeros((height, width), dtype=torch.float64)
    for k in range(channels):
        if method == "grad-cam":
            total += g[k].sum() / (height * width) * a[k]
        elif method == "hires-cam":
            total += g[k] * a[k]
        elif method == "layer-cam":
            total += g[k].clamp(min=0) * a[k]
        else:
            # Y = exp(S): its derivatives are exp(S) times powers of g, which cancel in alpha.
            y = score.detach().exp()
            weight = torch.zeros((), dtype=torch.float64)
            for i in range(height):
                for j in range(width):
                    second, third = y * g[k, i, j] ** 2, y * g[k, i, j] ** 3
                    divisor = 2 * second + a[k].sum() * third
                    alpha = second / divisor if divisor != 0 else 0.0
                    weight += alpha * (y * g[k, i, j]).clamp(min=0)
            total += weight / y * a[k]
    return total.clamp(min=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["relu1", "relu2"])
def test_each_method_is_the_formula_of_its_paper(method: Method, layer: str) -> None:
    network = with_weights(PooledNet())
    images = draw_images()
    found = class_activation_maps(network, images, CLASSES, method=method, layer=layer)
    assert found.is_closed_form == (layer == "relu2")
    network.double()
    head = nn.Sequential(network.avgpool, nn.Flatten(), network.fc)
    early = nn.Sequential(network.conv1, network.relu1)
    late = nn.Sequential(network.conv2, network.relu2)
    body, tail = (
        (early, nn.Sequential(late, head)) if layer == "relu1" else (network.features, head)
    )
    for row, image in enumerate(images):
        for column in range(2):
            expected = reference_map(method, body, tail, image, int(CLASSES[row, column]))
            torch.testing.assert_close(
                unscaled(found)[row, column].double(), expected, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize(
    "name", ["resnet18", "compact", "compact10", "compact12", "compact14", "compact20"]
)
def test_grad_cam_equals_captum_at_every_depth(name: Any) -> None:
    stem = "7x7" if name == "resnet18" else "3x3"
    network = build_model(ModelSettings(name=name, stem=stem), 5, seed=3).eval()
    last, block = {
        "resnet18": ("layer4", "layer3.1"),
        "compact": ("layer2", "layer2.1"),
        "compact10": ("layer2", "layer2.0"),
        "compact12": ("layer3", "layer2.1"),
        "compact14": ("layer3", "layer2.1"),
        "compact20": ("layer3", "layer2.2"),
    }[name]
    images = draw_images(size_px=64)
    for layer in (None, last, f"{last}.0.bn2", f"{last}.0.downsample", block, "layer1.1.relu1"):
        found = class_activation_maps(network, images, CLASSES, layer=layer)
        assert found.layer == (layer or last)
        assert found.is_closed_form == (found.layer == last)
        captum = LayerGradCam(network, network.get_submodule(found.layer))
        for column in range(2):
            expected = captum.attribute(images, CLASSES[:, column], relu_attributions=True)
            difference = unscaled(found)[:, column] - expected[:, 0]
            assert difference.abs().max() <= 1e-5
            assert expected.max() > 1e-4  # there is something to differ from


def test_the_closed_form_is_the_gradient_derived_by_hand() -> None:
    network = with_weights(PooledNet())
    images = draw_images()
    found = class_activation_maps(network, images, CLASSES)
    features = network.features(images).detach()
    # logit_c = sum_k W_ck mean_ij A_kij + b_c, so its gradient is W_ck / (h w) at every place.
    gradient = network.fc.weight.detach()[CLASSES] / (features.shape[2] * features.shape[3])
    by_hand = (gradient[..., None, None] * features[:, None]).sum(dim=2).clamp(min=0)
    assert found.is_closed_form
    assert by_hand.max() > 0.1
    torch.testing.assert_close(unscaled(found), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_closed_form_gives_the_map_of_the_backward_pass(method: Method) -> None:
    pooled, mean = with_weights(PooledNet()), with_weights(MeanNet())
    known = class_activation_maps(pooled, draw_images(), CLASSES, method=method, layer="relu2")
    computed = class_activation_maps(mean, draw_images(), CLASSES, method=method, layer="relu2")
    assert known.is_closed_form
    assert not computed.is_closed_form
    torch.testing.assert_close(known.maps, computed.maps, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(known.peaks, computed.peaks, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_closed_form_needs_no_backward_pass(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("there was a backward pass")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    class_activation_maps(with_weights(PooledNet()), draw_images(), method=method)
    with pytest.raises(AssertionError, match="there was a backward pass"):
        class_activation_maps(with_weights(PooledNet()), draw_images(), layer="relu1")


def test_all_classes_come_from_one_forward_pass() -> None:
    network = with_weights(PooledNet())
    passes = []
    network.register_forward_hook(lambda *_: passes.append(1))
    true = torch.tensor([1, 0, 4])

    def predicted_and_true(logits: torch.Tensor) -> torch.Tensor:
        return torch.stack([logits.argmax(dim=1), true], dim=1)

    for layer in ("relu1", "relu2"):
        passes.clear()
        found = class_activation_maps(network, draw_images(), predicted_and_true, layer=layer)
        assert len(passes) == 1
        torch.testing.assert_close(found.logits, network(draw_images()).detach())
        assert found.classes[:, 0].tolist() == found.logits.argmax(dim=1).tolist()
        assert found.classes[:, 1].tolist() == true.tolist()
        again = class_activation_maps(network, draw_images(), true[:, None], layer=layer)
        torch.testing.assert_close(again.maps[:, 0], found.maps[:, 1])


def test_without_classes_the_map_is_that_of_the_prediction() -> None:
    network = with_weights(PooledNet())
    found = class_activation_maps(network, draw_images())
    assert found.classes.tolist() == found.logits.argmax(dim=1, keepdim=True).tolist()
    named = class_activation_maps(network, draw_images(), found.classes)
    assert torch.equal(named.maps, found.maps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["relu1", "relu2"])
def test_a_batch_is_its_images_one_by_one(method: Method, layer: str) -> None:
    network = with_weights(ResidualNet())
    batch = class_activation_maps(network, draw_images(), CLASSES, method=method, layer=layer)
    for row, image in enumerate(draw_images()):
        alone = class_activation_maps(
            network, image[None], CLASSES[row : row + 1], method=method, layer=layer
        )
        torch.testing.assert_close(unscaled(alone)[0], unscaled(batch)[row])


@pytest.mark.parametrize("method", METHODS)
def test_a_map_reaches_from_0_to_1_or_is_0(method: Method) -> None:
    network = with_weights(PooledNet())
    network.fc.weight.data[0] = -network.fc.weight.data[0].abs()  # nothing can speak for class 0
    images = draw_images(8)
    classes = torch.tensor([[0, 1, 2]]).expand(8, 3)
    found = class_activation_maps(network, images, classes, method=method)
    assert found.maps.shape == (8, 3, 6, 6)
    assert found.maps.dtype == found.peaks.dtype == found.logits.dtype == torch.float32
    assert found.maps.min() >= 0
    assert (found.maps[:, 0] == 0).all()
    assert (found.peaks[:, 0] == 0).all()
    highest = found.maps.amax(dim=(2, 3))
    assert torch.equal(highest, (found.peaks > 0).float())
    assert (found.peaks[:, 1:] > 0).any()


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam"])
@given(factor=st.floats(0.01, 100.0), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_larger_logits_give_larger_peaks_and_the_same_map(
    method: Method, factor: float, seed: int
) -> None:
    network = with_weights(PooledNet(), seed)
    images = draw_images(seed=seed)
    for layer in ("relu1", "relu2"):
        before = class_activation_maps(network, images, CLASSES, method=method, layer=layer)
        network.fc.weight.data *= factor
        after = class_activation_maps(network, images, CLASSES, method=method, layer=layer)
        network.fc.weight.data /= factor
        torch.testing.assert_close(after.peaks, before.peaks * factor, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(after.maps, before.maps, rtol=1e-4, atol=1e-4)


def test_under_bf16_maps_and_sums_are_float32() -> None:
    network = build_model(ModelSettings(name="compact"), 5, seed=3).eval()
    images = draw_images(size_px=64)
    bf16 = TrainSettings(precision="bf16")
    kept: list[torch.Tensor] = []
    handle = network.layer2.register_forward_hook(lambda *args: kept.append(args[2]))
    found = class_activation_maps(network, images, CLASSES, settings=bf16)
    handle.remove()
    assert kept[0].dtype == torch.bfloat16
    assert found.is_closed_form
    # The very numbers that the layer gave, summed in float64: only float32 rounding is between.
    features = kept[0].double()
    weights = network.fc.weight.detach().double()[CLASSES] / features[0, 0].numel()
    exact = torch.einsum("bkc,bchw->bkhw", weights, features).clamp(min=0)
    torch.testing.assert_close(unscaled(found).double(), exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["layer1", "layer2"])
def test_a_network_in_bf16_gives_nearly_the_maps_of_one_in_fp32(method: Method, layer: str) -> None:
    network = build_model(ModelSettings(name="compact"), 5, seed=3).eval()
    images = draw_images(size_px=64)
    exact = class_activation_maps(network, images, CLASSES, method=method, layer=layer)
    bf16 = TrainSettings(precision="bf16")
    by_settings = class_activation_maps(
        network, images, CLASSES, method=method, layer=layer, settings=bf16
    )
    with torch.autocast("cpu", torch.bfloat16):
        by_context = class_activation_maps(network, images, CLASSES, method=method, layer=layer)
    assert torch.equal(by_context.maps, by_settings.maps)
    assert by_settings.maps.dtype == by_settings.logits.dtype == torch.float32
    assert not torch.equal(by_settings.maps, exact.maps)
    assert (by_settings.maps - exact.maps).abs().mean() < 0.02


@pytest.mark.parametrize("layer", ["relu1", "relu2"])
def test_the_caller_may_be_in_any_mode_of_autograd(layer: str) -> None:
    network = with_weights(PooledNet())
    plain = class_activation_maps(network, draw_images(), CLASSES, layer=layer)
    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with context():
            was_enabled = torch.is_grad_enabled()
            images = draw_images()
            found = class_activation_maps(network, images, CLASSES, layer=layer)
            assert torch.is_grad_enabled() == was_enabled
        assert torch.equal(found.maps, plain.maps)
        assert not found.maps.requires_grad


def test_training_goes_on_in_the_same_autocast() -> None:
    # autocast keeps bf16 copies of weights; one that was made without a graph must not be reused.
    network = with_weights(PooledNet())
    with torch.autocast("cpu", torch.bfloat16):
        class_activation_maps(network, draw_images())
        network(draw_images()).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_no_tensor_survives_the_result() -> None:
    network = with_weights(ResidualNet(inplace=True))
    images = draw_images()

    def tensors() -> int:
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for layer in ("stem_relu", "relu2"):  # with a graph and with the closed form
        class_activation_maps(network, images, CLASSES, layer=layer)
        gc.collect()
        before = tensors()
        gc.disable()  # what only the collector would find counts as kept
        try:
            for _ in range(3):
                class_activation_maps(network, images, CLASSES, layer=layer)
            assert tensors() == before
        finally:
            gc.enable()


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"method must be one of grad-cam, grad-cam\+\+, hires.*got 'score-cam'"
    ):
        class_activation_maps(PooledNet(), draw_images(), method="score-cam")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (torch.tensor([0, 1, 2]), r"classes must have shape \(3, K\), K at least 1, got \(3,\)"),
        (torch.zeros((3, 0), dtype=torch.int64), r"got \(3, 0\)"),
        (torch.zeros((2, 1), dtype=torch.int64), r"got \(2, 1\)"),
        (torch.tensor([[0], [5], [1]]), r"int64 in \[0, 5\), got torch.int64 in \[0, 5\]"),
        (torch.tensor([[0], [-1], [1]]), r"int64 in \[0, 5\), got torch.int64 in \[-1, 1\]"),
        (torch.tensor([[0.0], [1.0], [1.0]]), r"got torch.float32"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_activation_maps(with_weights(PooledNet()), draw_images(), classes)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["stem_relu", "relu2"])
def test_memory_does_not_grow_over_10_000_calls(layer: str) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("there is no /proc/self/statm to read the memory of this process from")
    network = with_weights(ResidualNet())
    images = draw_images()

    def resident_mb_after(calls: int) -> float:
        for _ in range(calls):
            class_activation_maps(network, images, CLASSES, layer=layer)
        gc.collect()
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    before = resident_mb_after(1_000)  # fills torch's own caches
    assert resident_mb_after(10_000) - before < 1
