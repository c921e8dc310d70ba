import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysight.classify import draws as draws_module
from tinysight.classify.draws import NUM_NOISE_WINDOWS, AugmentDraws, draw_augmentation
from tinysight.classify.mixing import draw_mixing
from tinysight.classify.randomness import keyed_generator
from tinysight.classify.settings import AugmentSettings
from tinysight.errors import RecipeError

EVERYTHING = AugmentSettings(
    resized_crop_probability=0.8,
    resized_crop_min_area=0.3,
    rotate_probability=0.5,
    noise_probability=0.3,
    dropout_probability=0.7,
    mix_probability=1.0,
)
NUM_POSITIONS = 20_000


@pytest.fixture(scope="module")
def draws() -> AugmentDraws:
    return draw_augmentation(EVERYTHING, NUM_POSITIONS, size_px=64, seed=3, epoch=1)


def assert_equal(a: AugmentDraws, b: AugmentDraws) -> None:
    for field in dataclasses.fields(a):
        assert torch.equal(getattr(a, field.name), getattr(b, field.name)), field.name


def assert_share(is_chosen: torch.Tensor, probability: float) -> None:
    sd = (probability * (1 - probability) / len(is_chosen)) ** 0.5
    assert is_chosen.double().mean().item() == pytest.approx(probability, abs=4.5 * sd)


def test_the_first_draws_do_not_depend_on_how_many_are_drawn(draws: AugmentDraws) -> None:
    fewer = draw_augmentation(EVERYTHING, 77, size_px=64, seed=3, epoch=1)
    assert_equal(draws[:77], fewer)


def test_same_seed_and_epoch_give_the_same_draws(draws: AugmentDraws) -> None:
    assert_equal(draws, draw_augmentation(EVERYTHING, NUM_POSITIONS, size_px=64, seed=3, epoch=1))


@pytest.mark.parametrize("key", [{"seed": 4, "epoch": 1}, {"seed": 3, "epoch": 2}])
def test_another_seed_or_epoch_gives_other_draws(draws: AugmentDraws, key: dict[str, int]) -> None:
    other = draw_augmentation(EVERYTHING, NUM_POSITIONS, size_px=64, **key)
    for field in dataclasses.fields(draws):
        assert not torch.equal(getattr(draws, field.name), getattr(other, field.name)), field.name


def test_switching_one_augmentation_off_leaves_the_draws_of_the_others(
    draws: AugmentDraws,
) -> None:
    changed = EVERYTHING.model_copy(update={"dropout_probability": 0.0, "noise_probability": 0.0})
    other = draw_augmentation(changed, NUM_POSITIONS, size_px=64, seed=3, epoch=1)
    for name in ("crop_top_px", "crop_left_px", "is_flipped", "is_rotated", "angle_degrees"):
        assert torch.equal(getattr(draws, name), getattr(other, name)), name


def test_nothing_is_drawn_for_what_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = set()

    def note_purpose(seed: int, *key: int | str) -> np.random.Generator:
        drawn.add(key[-1])
        return keyed_generator(seed, *key)

    monkeypatch.setattr(draws_module, "keyed_generator", note_purpose)
    draw_augmentation(AugmentSettings(), 10, size_px=64, seed=0, epoch=0)
    draw_mixing(AugmentSettings(), 10, size_px=64, seed=0, epoch=0)
    assert drawn == {"crop", "flip"}


def test_each_augmentation_is_chosen_as_often_as_asked(draws: AugmentDraws) -> None:
    assert_share(draws.is_flipped, 0.5)
    assert_share(draws.is_rotated, 0.5)
    assert_share(draws.is_noisy, 0.3)
    assert_share(draws.dropout_height_px > 0, 0.7)
    assert_share(draws.noise_sign > 0, 0.5)


def test_choices_are_independent_of_each_other(draws: AugmentDraws) -> None:
    choices = torch.stack(
        [
            draws.is_flipped,
            draws.is_rotated,
            draws.is_noisy,
            draws.dropout_height_px > 0,
            draws.noise_sign > 0,
            draws.crop_top_px < 8,
            draws.crop_left_px < 8,
            draws.angle_degrees > 0,
        ]
    )
    correlations = torch.corrcoef(choices.double()) - torch.eye(len(choices))
    assert correlations.abs().max().item() < 4.5 / NUM_POSITIONS**0.5


def test_crops_start_everywhere_in_the_padding_equally_often(draws: AugmentDraws) -> None:
    for start_px in (draws.crop_top_px, draws.crop_left_px):
        counts = torch.bincount(start_px).double()
        assert len(counts) == 17
        expected = NUM_POSITIONS / 17
        assert (counts - expected).abs().max().item() < 4.5 * expected**0.5


def test_enlarged_parts_have_the_asked_areas_and_shapes_and_lie_inside_the_image(
    draws: AugmentDraws,
) -> None:
    is_whole = (draws.resized_height_px == 64) & (draws.resized_width_px == 64)
    assert_share(~is_whole, 0.8)
    draws = draws._map(lambda name, value: value if name == "noise_bank" else value[~is_whole])
    height_px, width_px = draws.resized_height_px.double(), draws.resized_width_px.double()
    for start_px, length_px in (
        (draws.resized_top_px, draws.resized_height_px),
        (draws.resized_left_px, draws.resized_width_px),
    ):
        assert start_px.min().item() == 0
        assert length_px.min().item() >= 1
        assert (start_px + length_px).max().item() == 64
        # A shorter part lies anywhere, as often at the one end as at the other.
        rest_px = (64 - length_px).double()
        assert (start_px / rest_px)[rest_px > 8].mean().item() == pytest.approx(0.5, abs=0.02)
    is_uncut = (height_px < 64) & (width_px < 64)  # no side was cut to the image's
    area_rel, ratio = (height_px * width_px / 64**2)[is_uncut], (height_px / width_px)[is_uncut]
    # A side is a whole number of pixels, at most half a pixel off.
    assert area_rel.min().item() == pytest.approx(0.3, abs=0.02)
    assert ratio.min().item() == pytest.approx(3 / 4, abs=0.03)
    assert ratio.max().item() == pytest.approx(4 / 3, abs=0.05)
    assert ratio.log().mean().item() == pytest.approx(0.0, abs=0.01)
    below_half = (height_px * width_px < 0.5 * 64**2).double().mean().item()
    assert below_half == pytest.approx(0.2 / 0.7, abs=0.02)


def test_without_a_resized_crop_the_part_is_the_whole_image() -> None:
    draws = draw_augmentation(AugmentSettings(), 3, size_px=20, seed=0, epoch=0)
    assert draws.resized_top_px.tolist() == draws.resized_left_px.tolist() == [0, 0, 0]
    assert draws.resized_height_px.tolist() == draws.resized_width_px.tolist() == [20, 20, 20]


def test_angles_fill_the_asked_range_evenly(draws: AugmentDraws) -> None:
    angle = draws.angle_degrees.double()
    assert angle.abs().max().item() <= 15.0
    assert angle.std().item() == pytest.approx(30 / 12**0.5, rel=0.02)


def test_dropped_rectangles_have_sides_in_range_and_lie_inside_the_image(
    draws: AugmentDraws,
) -> None:
    is_dropped = draws.dropout_height_px > 0
    assert set(draws.dropout_height_px[is_dropped].tolist()) == set(range(8, 17))
    assert set(draws.dropout_width_px.tolist()) == set(range(8, 17))
    for start_px, length_px in (
        (draws.dropout_top_px, draws.dropout_height_px),
        (draws.dropout_left_px, draws.dropout_width_px),
    ):
        assert start_px.min().item() == 0
        assert (start_px + length_px).max().item() == 64


def test_noise_bank_holds_standard_normals_and_a_window_for_every_start(
    draws: AugmentDraws,
) -> None:
    bank = draws.noise_bank.double()
    assert len(bank) == NUM_NOISE_WINDOWS + 64 * 64 * 3
    assert bank.mean().item() == pytest.approx(0.0, abs=4.5 / len(bank) ** 0.5)
    assert bank.std().item() == pytest.approx(1.0, abs=4.5 / (2 * len(bank)) ** 0.5)
    # A window must not resemble its neighbours: no correlation from one value to the next.
    assert (bank[1:] * bank[:-1]).mean().item() == pytest.approx(0.0, abs=4.5 / len(bank) ** 0.5)
    assert 0 <= draws.noise_start.min().item()
    assert draws.noise_start.max().item() < NUM_NOISE_WINDOWS


def test_noise_bank_is_empty_when_no_image_is_noisy() -> None:
    draws = draw_augmentation(AugmentSettings(), 10, size_px=64, seed=0, epoch=0)
    assert len(draws.noise_bank) == 0


@pytest.mark.parametrize("off", [{"rotate_degrees": 0.0}, {"noise_std": 0.0}])
def test_a_change_of_strength_zero_is_chosen_for_no_image(off: dict[str, float]) -> None:
    asked = {"rotate_probability": 1.0, "noise_probability": 1.0, **off}
    draws = draw_augmentation(AugmentSettings(**asked), 50, size_px=8, seed=0, epoch=0)
    assert draws.is_rotated.any().item() == ("rotate_degrees" not in off)
    assert draws.is_noisy.any().item() == ("noise_std" not in off)


def test_a_slice_keeps_the_noise_bank_whole(draws: AugmentDraws) -> None:
    some = draws[5:9]
    assert torch.equal(some.crop_top_px, draws.crop_top_px[5:9])
    assert some.noise_bank is draws.noise_bank


def test_zero_positions_give_empty_draws() -> None:
    draws = draw_augmentation(EVERYTHING, 0, size_px=64, seed=0, epoch=0)
    assert draws.crop_top_px.shape == (0,)


def test_a_rectangle_longer_than_the_image_is_refused() -> None:
    recipe = AugmentSettings(dropout_probability=0.1)
    with pytest.raises(
        RecipeError,
        match=r"^augment\.dropout_max_px \(=16\) must be at most the side of the images "
        r"\(=12 px\)\. Make it smaller or set augment\.dropout_probability to 0\.$",
    ):
        draw_augmentation(recipe, 1, size_px=12, seed=0, epoch=0)


def test_small_images_are_fine_when_nothing_is_dropped() -> None:
    draw_augmentation(AugmentSettings(), 1, size_px=12, seed=0, epoch=0)


@settings(max_examples=30, deadline=None)
@given(
    size_px=st.integers(1, 40), sides=st.tuples(st.integers(1, 40), st.integers(1, 40)).map(sorted)
)
def test_rectangles_fit_at_any_size(size_px: int, sides: list[int]) -> None:
    low, high = min(sides[0], size_px), min(sides[1], size_px)
    recipe = AugmentSettings(dropout_probability=1.0, dropout_min_px=low, dropout_max_px=high)
    draws = draw_augmentation(recipe, 64, size_px=size_px, seed=0, epoch=0)
    ends = draws.dropout_top_px + draws.dropout_height_px
    assert draws.dropout_top_px.min().item() >= 0
    assert ends.max().item() <= size_px
    assert low <= draws.dropout_height_px.min().item() <= draws.dropout_height_px.max() <= high


def test_global_generators_are_left_alone() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    draw_augmentation(EVERYTHING, 10, size_px=64, seed=0, epoch=0)
    numpy_after = np.random.get_state()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(numpy_after[1], numpy_before[1])
    assert numpy_after[2] == numpy_before[2]
