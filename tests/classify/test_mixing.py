import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysight.classify.mixing import MixDraws, draw_mixing, mix_batch
from tinysight.classify.settings import AugmentSettings

BOTH = AugmentSettings(mix_probability=0.8)
MIXUP = AugmentSettings(mix_probability=1.0, mixup_alpha=0.4, cutmix_alpha=0.0)
ALL = AugmentSettings(mix_probability=1.0, resizemix_max_side=0.8)
RESIZEMIX = AugmentSettings(
    mix_probability=1.0, mixup_alpha=0.0, cutmix_alpha=0.0, resizemix_max_side=0.8
)
CUTMIX = AugmentSettings(mix_probability=1.0, mixup_alpha=0.0, cutmix_alpha=1.0)


def draw(recipe: AugmentSettings, num_positions: int, size_px: int = 16) -> MixDraws:
    return draw_mixing(recipe, num_positions, size_px=size_px, seed=5, epoch=2)


def make_images(num_images: int, size_px: int = 16) -> torch.Tensor:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((num_images, size_px, size_px, 3), dtype=np.float32)
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def test_each_image_is_mixed_with_its_neighbour_as_drawn() -> None:
    images, targets, draws = make_images(40), torch.arange(40), draw(BOTH, 40)
    mixed, other_targets = mix_batch(images, targets, draws, BOTH)
    for i in range(40):
        partner = i + 1 if i % 2 == 0 else i - 1
        assert other_targets[i] == partner
        expected = torch.lerp(images[i], images[partner], draws.blend[i])
        top, left = int(draws.cut_top_px[i]), int(draws.cut_left_px[i])
        rows = slice(top, top + int(draws.cut_height_px[i]))
        columns = slice(left, left + int(draws.cut_width_px[i]))
        expected[:, rows, columns] = images[partner][:, rows, columns]
        torch.testing.assert_close(mixed[i], expected, atol=1e-6, rtol=1e-6)


def test_share_of_cutmix_is_the_exact_share_of_the_pixels_left() -> None:
    images = torch.arange(64.0)[:, None, None, None].expand(64, 3, 16, 16)
    draws = draw(CUTMIX, 64)
    mixed, _ = mix_batch(images, torch.arange(64), draws, CUTMIX)
    own_pixels = (mixed == images).flatten(1).double().mean(dim=1)
    assert torch.equal(own_pixels.float(), draws.share)
    assert draws.share.unique().numel() > 20


def test_share_of_mixup_is_the_weight_of_the_image() -> None:
    images = (torch.arange(64) % 2 == 0).float()[:, None, None, None].expand(64, 3, 8, 8)
    draws = draw(MIXUP, 64, size_px=8)
    mixed, _ = mix_batch(images, torch.arange(64), draws, MIXUP)
    own = torch.where(torch.arange(64) % 2 == 0, mixed[:, 0, 0, 0], 1 - mixed[:, 0, 0, 0])
    torch.testing.assert_close(own, draws.share, atol=1e-6, rtol=0)


def test_an_image_that_is_not_mixed_stays_as_it_was_to_the_bit() -> None:
    images, draws = make_images(60), draw(BOTH, 60)
    mixed, _ = mix_batch(images, torch.arange(60), draws, BOTH)
    is_same = (mixed == images).flatten(1).all(dim=1)
    assert torch.equal(is_same, draws.share == 1)
    assert 0 < int(is_same.sum()) < 60


def test_a_whole_cut_shows_the_partner_to_the_bit() -> None:
    images, draws = make_images(2), draw(CUTMIX, 2)
    full = torch.full((2,), 16)
    draws = dataclasses.replace(
        draws,
        cut_top_px=full * 0,
        cut_left_px=full * 0,
        cut_height_px=full,
        cut_width_px=full,
    )
    mixed, _ = mix_batch(images, torch.arange(2), draws, CUTMIX)
    assert torch.equal(mixed, images.flip(0))


def test_resizemix_shows_the_whole_partner_as_pixel_areas_shrink_it() -> None:
    images, draws = make_images(20), draw(RESIZEMIX, 20)
    mixed, _ = mix_batch(images, torch.arange(20), draws, RESIZEMIX)
    for i in range(20):
        partner = images[i + 1 if i % 2 == 0 else i - 1]
        side = int(draws.cut_height_px[i])
        assert side == draws.cut_width_px[i]
        assert 1 <= side <= 0.8 * 16
        fine = partner.repeat_interleave(side, 1).repeat_interleave(side, 2)
        smaller = fine.unfold(1, 16, 16).unfold(2, 16, 16).mean(dim=(3, 4))
        expected = images[i].clone()
        top, left = int(draws.cut_top_px[i]), int(draws.cut_left_px[i])
        expected[:, top : top + side, left : left + side] = smaller
        torch.testing.assert_close(mixed[i], expected, atol=1e-5, rtol=1e-5)
        assert draws.share[i] == 1 - side**2 / 256


def test_resizemix_pastes_whole_squares_of_every_size_asked_for() -> None:
    draws = draw(RESIZEMIX, 20_000, size_px=64)
    assert draws.is_resized.all()
    assert set(draws.cut_height_px.tolist()) == set(range(6, 52))
    for start, side in (
        (draws.cut_top_px, draws.cut_height_px),
        (draws.cut_left_px, draws.cut_width_px),
    ):
        assert start.min() == 0
        assert (start + side).max() == 64
    assert (1 - draws.share.double()).mean().item() == pytest.approx(0.237, abs=0.004)


def test_three_kinds_are_equally_likely() -> None:
    draws = draw(ALL, 20_000, size_px=64)
    is_cut = (draws.cut_height_px * draws.cut_width_px > 0) & ~draws.is_resized
    for is_of_kind in (draws.blend > 0, is_cut, draws.is_resized):
        assert is_of_kind.double().mean().item() == pytest.approx(1 / 3, abs=0.013)


def test_resizemix_leaves_the_draws_of_the_others_as_they_were() -> None:
    with_it, without = draw(ALL, 3000), draw(BOTH, 3000)
    kept = (with_it.blend > 0) & (without.blend > 0)
    assert kept.sum() > 300
    assert torch.equal(with_it.blend[kept], without.blend[kept])


def test_mixed_images_are_in_channels_last_memory() -> None:
    mixed, _ = mix_batch(make_images(4), torch.arange(4), draw(BOTH, 4), BOTH)
    assert mixed.shape == (4, 3, 16, 16)
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("recipe", [BOTH, ALL])
@pytest.mark.parametrize("batch_size", [2, 8, 64])
def test_result_does_not_depend_on_the_batch_size(batch_size: int, recipe: AugmentSettings) -> None:
    images, targets, draws = make_images(128), torch.arange(128), draw(recipe, 128)
    whole, whole_targets = mix_batch(images, targets, draws, recipe)
    for start in range(0, 128, batch_size):
        here = slice(start, start + batch_size)
        part, part_targets = mix_batch(images[here], targets[here], draws[here], recipe)
        assert torch.equal(part, whole[here])
        assert torch.equal(part_targets, whole_targets[here])


def test_the_first_draws_do_not_depend_on_how_many_are_drawn() -> None:
    many, few = draw(BOTH, 500), draw(BOTH, 31)
    for field in dataclasses.fields(few):
        assert torch.equal(getattr(many, field.name)[:31], getattr(few, field.name)), field.name


def test_another_epoch_gives_other_draws() -> None:
    other = draw_mixing(BOTH, 500, size_px=16, seed=5, epoch=3)
    assert not torch.equal(draw(BOTH, 500).share, other.share)


def test_mixing_is_as_frequent_as_asked_and_both_kinds_are_equally_likely() -> None:
    draws = draw(BOTH, 20_000, size_px=64)
    is_blended, is_cut = draws.blend > 0, draws.cut_height_px * draws.cut_width_px > 0
    assert not (is_blended & is_cut).any()
    # A cut of less than one pixel is no cut: that takes a draw below 1 in 4096.
    assert is_blended.double().mean().item() == pytest.approx(0.4, abs=0.016)
    assert is_cut.double().mean().item() == pytest.approx(0.4, abs=0.016)


def test_shares_of_mixup_follow_the_beta_distribution() -> None:
    share = draw(MIXUP, 20_000).share.double()
    alpha = 0.4
    variance = 1 / (4 * (2 * alpha + 1))  # of Beta(a, a)
    assert share.mean().item() == pytest.approx(0.5, abs=4.5 * (variance / 20_000) ** 0.5)
    assert share.var().item() == pytest.approx(variance, rel=0.03)


def test_cutmix_rectangles_have_the_sides_of_the_paper_where_they_are_not_cut_off() -> None:
    draws = draw(CUTMIX, 20_000, size_px=64)
    ends_px = draws.cut_top_px + draws.cut_height_px, draws.cut_left_px + draws.cut_width_px
    is_inside = (draws.cut_top_px > 0) & (draws.cut_left_px > 0)
    is_inside &= (ends_px[0] < 64) & (ends_px[1] < 64)
    assert is_inside.any()
    assert torch.equal(draws.cut_height_px[is_inside], draws.cut_width_px[is_inside])
    assert draws.cut_top_px.min() >= 0
    assert max(int(end.max()) for end in ends_px) == 64


def test_alpha_zero_turns_a_kind_off() -> None:
    assert (draw(MIXUP, 500).cut_height_px == 0).all()
    assert (draw(MIXUP, 500).blend > 0).any()
    assert (draw(CUTMIX, 500).blend == 0).all()
    assert (draw(CUTMIX, 500).cut_height_px > 0).any()


def test_probability_zero_mixes_nothing() -> None:
    draws = draw(AugmentSettings(), 500)
    assert (draws.share == 1).all()
    assert (draws.blend == 0).all()
    assert (draws.cut_height_px * draws.cut_width_px == 0).all()


@settings(max_examples=40, deadline=None)
@given(
    size_px=st.integers(1, 70),
    mixup_alpha=st.floats(0.01, 8.0),
    cutmix_alpha=st.floats(0.01, 8.0),
    probability=st.floats(0.0, 1.0),
)
def test_shares_and_pixels_agree_for_any_recipe(
    size_px: int, mixup_alpha: float, cutmix_alpha: float, probability: float
) -> None:
    recipe = AugmentSettings(
        mix_probability=probability, mixup_alpha=mixup_alpha, cutmix_alpha=cutmix_alpha
    )
    draws = draw(recipe, 50, size_px)
    area = (draws.cut_height_px * draws.cut_width_px).double() / size_px**2
    assert draws.share.min() >= 0
    assert draws.share.max() <= 1
    torch.testing.assert_close(
        draws.share.double() + draws.blend.double() + area,
        torch.ones(50).double(),
        atol=1e-6,
        rtol=0,
    )
