from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import fx, nn

from tinysight.classify.models import build_model
from tinysight.classify.models.resnet import BasicBlock
from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import ModelSettings
from tinysight.errors import RecipeError

RESNET18 = ModelSettings(name="resnet18", stem="3x3")
RESNET18_7X7 = ModelSettings(name="resnet18", stem="7x7")
RESNET34 = ModelSettings(name="resnet34", stem="3x3")
COMPACT = ModelSettings(name="compact")
COMPACT10 = ModelSettings(name="compact10")
COMPACT12 = ModelSettings(name="compact12")
COMPACT14 = ModelSettings(name="compact14")
COMPACT20 = ModelSettings(name="compact20")
ALL_IDS = ["resnet18", "resnet18-7x7", "compact", "compact14"]
ALL_IDS += ["compact10", "compact12", "compact20", "resnet34"]
STAGES10 = ((32, 48), (48, 128))
STAGES12 = ((32, 48), (48, 96), (96, 192))
# The last four are others with fewer or more blocks: their sizes are tested and resnet34's logits,
# the rest would only take longer.
every_model = pytest.mark.parametrize(
    "settings", [RESNET18, RESNET18_7X7, COMPACT, COMPACT14], ids=ALL_IDS[:4]
)


def images_of(size_px: int, batch: int = 2) -> torch.Tensor:
    pixels = np.random.default_rng(0).standard_normal((batch, 3, size_px, size_px))
    return torch.from_numpy(pixels.astype(np.float32))


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (RESNET18, 11_271_432),
        (RESNET18_7X7, 11_279_112),
        (COMPACT, 3_531_304),
        (COMPACT14, 3_772_968),
        # stem, two stages of two blocks, their shortcuts, the linear layer
        (
            COMPACT10,
            (27 * 32 + 2 * 32)
            + sum(9 * width * (before + 3 * width) + 8 * width for before, width in STAGES10)
            + sum(before * width + 2 * width for before, width in STAGES10)
            + (128 + 1) * 200,
        ),
        # likewise three stages of two blocks, less the second block of the last
        (
            COMPACT12,
            (27 * 32 + 2 * 32)
            + sum(9 * width * (before + 3 * width) + 8 * width for before, width in STAGES12)
            + sum(before * width + 2 * width for before, width in STAGES12)
            - (2 * 9 * 192 * 192 + 4 * 192)
            + (192 + 1) * 200,
        ),
        # compact14 and one block more in each stage
        (
            COMPACT20,
            3_772_968 + sum(2 * 9 * width * width + 4 * width for width in (96, 192, 384)),
        ),
        # resnet18 and eight more blocks: 1 of 64, 2 of 128, 4 of 256 and 1 of 512 channels
        (
            RESNET34,
            11_271_432
            + sum(
                blocks * (2 * 9 * width * width + 4 * width)
                for blocks, width in ((1, 64), (2, 128), (4, 256), (1, 512))
            ),
        ),
    ],
    ids=ALL_IDS,
)
def test_parameter_counts_at_200_classes(settings: ModelSettings, expected: int) -> None:
    assert count_parameters(build_model(settings, 200, seed=0)) == expected


@pytest.mark.parametrize("settings", [COMPACT, COMPACT10, COMPACT12, COMPACT14])
def test_the_compact_networks_stay_within_their_budget(settings: ModelSettings) -> None:
    assert count_parameters(build_model(settings, 200, seed=0)) <= 4_058_122


@pytest.mark.parametrize(
    ("settings", "expected"), [(COMPACT10, 10), (COMPACT12, 12), (COMPACT14, 14), (COMPACT20, 20)]
)
def test_a_compact_network_has_as_many_layers_of_weights_on_the_longest_way_as_its_name_says(
    settings: ModelSettings, expected: int
) -> None:
    model = build_model(settings, 5, seed=0)
    weights = [m for name, m in model.named_modules() if hasattr(m, "weight") and m.weight.ndim > 1]
    shortcuts = [name for name, m in model.named_modules() if name.endswith("downsample.1")]
    assert len(weights) - len(shortcuts) == expected


@pytest.mark.parametrize("size_px", [5, 8])
def test_a_pooled_shortcut_sees_the_mean_of_each_square(size_px: int) -> None:
    block = BasicBlock(3, 6, stride=2, pools_shortcut=True)
    images = images_of(size_px)
    shortcut = block.downsample(images)
    assert shortcut.shape == block(images).shape
    _, conv, norm = block.downsample
    weight = conv.weight[:, :, 0, 0]
    for row in range(-(-size_px // 2)):
        for column in range(-(-size_px // 2)):
            # At the edge of an odd side fewer than four are left.
            square = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected = square.mean(dim=(2, 3)) @ weight.T
            found = conv(block.downsample[0](images))[:, :, row, column]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shortcut, norm(conv(block.downsample[0](images))))


def test_parameters_carry_torchvisions_names() -> None:
    names = set(build_model(ModelSettings(), 10, seed=0).state_dict())
    expected = {"conv1.weight", "fc.weight", "fc.bias"}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected |= {f"bn1.{kind}" for kind in norm}
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            path = f"layer{layer}.{block}"
            for part in (1, 2):
                expected.add(f"{path}.conv{part}.weight")
                expected |= {f"{path}.bn{part}.{kind}" for kind in norm}
        if layer > 1:
            expected.add(f"layer{layer}.0.downsample.0.weight")
            expected |= {f"layer{layer}.0.downsample.1.{kind}" for kind in norm}
    assert names == expected


@pytest.mark.parametrize(
    "settings",
    [RESNET18, RESNET18_7X7, COMPACT, COMPACT14, COMPACT10, COMPACT12, COMPACT20, RESNET34],
    ids=ALL_IDS,
)
@pytest.mark.parametrize("size_px", [32, 47])
def test_logits_come_out_at_any_size(settings: ModelSettings, size_px: int) -> None:
    model = build_model(settings, 7, seed=0)
    logits = model(images_of(size_px))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    assert (logits.sum(dim=1).abs() > 1e-3).all()  # not log-probabilities, not all zero


# seeds


@every_model
def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(
    settings: ModelSettings,
) -> None:
    first, again, other = (build_model(settings, 5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if first[name].dim() > 1]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@every_model
def test_building_neither_reads_nor_moves_the_global_generator(settings: ModelSettings) -> None:
    before = torch.get_rng_state()
    first = build_model(settings, 5, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    try:
        torch.manual_seed(1234)
        second = build_model(settings, 5, seed=1).state_dict()
    finally:
        torch.set_rng_state(before)
    assert all(torch.equal(first[name], second[name]) for name in first)


@every_model
def test_weights_are_what_torchs_initialisers_draw_in_the_order_of_the_modules(
    settings: ModelSettings,
) -> None:
    model = build_model(settings, 5, seed=3)
    generator = torch.Generator().manual_seed(int(keyed_generator(3, "weights").integers(2**63)))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            expected = torch.empty(module.weight.shape)
            expected.normal_(0.0, math.sqrt(2 / fan_out), generator=generator)
            torch.testing.assert_close(module.weight.detach(), expected, rtol=0, atol=0)
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            for drawn in (module.weight, module.bias):
                expected = torch.empty(drawn.shape).uniform_(-bound, bound, generator=generator)
                torch.testing.assert_close(drawn.detach(), expected, rtol=0, atol=0)


@every_model
def test_norms_start_neutral(settings: ModelSettings) -> None:
    norms = [m for m in build_model(settings, 5, seed=3).modules() if type(m) is nn.BatchNorm2d]
    assert norms
    for norm in norms:
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
        assert (norm.running_mean == 0).all()
        assert (norm.running_var == 1).all()
        assert norm.num_batches_tracked == 0


@every_model
def test_zero_init_turns_each_residual_block_into_its_shortcut(settings: ModelSettings) -> None:
    model = build_model(settings.model_copy(update={"zero_init_last_norm": True}), 5, seed=3)
    zeroed = {name for name, p in model.named_parameters() if "bn" in name and not p.any()}
    assert {name for name in zeroed if name.endswith("weight")} == {
        name for name, _ in model.named_parameters() if name.endswith("bn2.weight")
    }
    block = model.get_submodule("layer1.1")
    width = block.get_submodule("conv1").in_channels
    features = torch.rand(2, width, 8, 8)
    assert torch.equal(block(features), features)


@every_model
def test_every_tensor_is_real_float32_and_trainable(settings: ModelSettings) -> None:
    model = build_model(settings, 5, seed=0)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.device == torch.device("cpu")
        assert tensor.isfinite().all()
        assert tensor.dtype == (torch.int64 if "num_batches" in name else torch.float32)
    assert all(parameter.requires_grad for parameter in model.parameters())


# what others rely on


@every_model
def test_logits_are_the_mean_of_the_class_activation_map(settings: ModelSettings) -> None:
    model = build_model(settings, 5, seed=0).eval()
    with torch.no_grad():
        features = model.features(images_of(32))
        fc = model.get_submodule("fc")
        maps = torch.einsum("kc,bchw->bkhw", fc.weight, features)
        torch.testing.assert_close(
            maps.mean(dim=(2, 3)) + fc.bias, model(images_of(32)), rtol=1e-4, atol=1e-4
        )


@every_model
def test_every_module_runs_once_and_a_hook_may_keep_its_output(settings: ModelSettings) -> None:
    model = build_model(settings, 5, seed=0)
    kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        assert name not in kept, f"{name} ran twice"
        kept[name] = output, output.detach().clone()

    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
            module.register_full_backward_hook(lambda *_: None)
    # torch warns about a backward hook on a module whose input needs no gradient.
    model(images_of(32).requires_grad_()).sum().backward()
    assert set(kept) == {name for name, m in model.named_modules() if not list(m.children())}
    for name, (output, as_it_was) in kept.items():
        assert torch.equal(output, as_it_was), f"{name} was written over"


@every_model
def test_a_traced_network_gives_the_same_logits(settings: ModelSettings) -> None:
    model = build_model(settings, 5, seed=0).eval()
    with torch.no_grad():
        traced = fx.symbolic_trace(model)
        assert torch.equal(traced(images_of(32)), model(images_of(32)))


@every_model
def test_channels_last_gives_the_same_logits(settings: ModelSettings) -> None:
    model = build_model(settings, 5, seed=0).eval()
    with torch.no_grad():
        plain = model(images_of(32))
        model.to(memory_format=torch.channels_last)
        images = images_of(32).contiguous(memory_format=torch.channels_last)
        features = model.features(images)
        assert features.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images), plain, rtol=1e-4, atol=1e-4)


def test_dynamo_captures_the_network_as_one_graph() -> None:
    # The eager backend checks what torch.compile can fail at without paying for a compiler.
    model = build_model(COMPACT, 5, seed=0).eval()
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecations inside torch itself.
        warnings.simplefilter("ignore")
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.equal(compiled(images_of(32)), model(images_of(32)))


# faults and side effects


def test_the_compact_network_refuses_a_stem() -> None:
    message = (
        r"model\.stem must be left out for model\.name = compact, which has a stem of its own, "
        r'got "7x7"\. Remove model\.stem or choose resnet18 or resnet34\.'
    )
    with pytest.raises(RecipeError, match=message):
        build_model(ModelSettings(name="compact", stem="7x7"), 5, seed=0)


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_classes must be at least 1, got 0\."):
        build_model(ModelSettings(), 0, seed=0)


def test_importing_the_models_prints_nothing_and_changes_no_setting_of_torch() -> None:
    code = (
        "import torch\n"
        "def state():\n"
        "    return (torch.get_rng_state().sum().item(), torch.get_num_threads(),\n"
        "        torch.get_default_dtype(), torch.is_grad_enabled(),\n"
        "        torch.are_deterministic_algorithms_enabled(),\n"
        "        torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision())\n"
        "before = state()\n"
        "import tinysight.classify.models, tinysight.classify.models.summary\n"
        "import tinysight.classify.schedule\n"
        "assert state() == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("", "")
