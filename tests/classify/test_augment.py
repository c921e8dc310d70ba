from typing import Any

import kornia.geometry.transform as kornia_transform
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tinysight.classify.augment import (
    _augment,
    _windows,
    augment_batch,
    normalise_batch,
    shrink_batch,
)
from tinysight.classify.draws import AugmentDraws, draw_augmentation
from tinysight.classify.settings import AugmentSettings

MEAN, STD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.28)
NOTHING = AugmentSettings(pad_px=0, flip_probability=0.0)
PAD_MODES = ["reflect", "mean"]


def make_settings(**over: object) -> AugmentSettings:
    return AugmentSettings.model_validate({**NOTHING.model_dump(), **over})


def make_everything(pad_mode: str = "reflect") -> AugmentSettings:
    return AugmentSettings.model_validate(
        {
            "pad_px": 3,
            "pad_mode": pad_mode,
            "resized_crop_probability": 0.5,
            "resized_crop_min_area": 0.2,
            "rotate_probability": 0.5,
            "rotate_degrees": 40.0,
            "noise_probability": 0.5,
            "dropout_probability": 0.5,
            "dropout_min_px": 2,
            "dropout_max_px": 7,
        }
    )


def make_images(num_images: int, size_px: int = 16) -> torch.Tensor:
    rng = np.random.default_rng(num_images * 1000 + size_px)
    return torch.from_numpy(rng.integers(0, 256, (num_images, size_px, size_px, 3), dtype=np.uint8))


def draw(recipe: AugmentSettings, images_u8: torch.Tensor, seed: int = 0) -> AugmentDraws:
    num_images, size_px = images_u8.shape[:2]
    return draw_augmentation(recipe, num_images, size_px=size_px, seed=seed, epoch=0)


def run(recipe: AugmentSettings, images_u8: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return augment_batch(images_u8, draw(recipe, images_u8, seed), recipe, mean=MEAN, std=STD)


def denormalise(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) normalised to (B, S, S, 3) in 0..255, float64."""
    colours = images.double().permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)
    return colours * 255


def normalise_slowly(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return (image / 255 - np.array(MEAN)) / np.array(STD)


def pad_slowly(image: NDArray[np.float64], pad_px: int, pad_mode: str) -> NDArray[np.float64]:
    widths = ((pad_px, pad_px), (pad_px, pad_px), (0, 0))
    if pad_mode == "reflect":
        return np.pad(image, widths, mode="reflect")
    padded = np.broadcast_to(
        np.array(MEAN) * 255, (image.shape[0] + 2 * pad_px, image.shape[1] + 2 * pad_px, 3)
    ).copy()
    padded[pad_px : pad_px + image.shape[0], pad_px : pad_px + image.shape[1]] = image
    return padded


def rotate_slowly(
    image: NDArray[np.float64], angle_degrees: float, pad_mode: str
) -> NDArray[np.float64]:
    """Pixel by pixel, from the definition: rotate backwards, then weigh the four neighbours."""
    size_px = len(image)
    centre = (size_px - 1) / 2
    cos, sin = np.cos(np.deg2rad(angle_degrees)), np.sin(np.deg2rad(angle_degrees))

    def at(row: int, column: int) -> NDArray[np.float64]:
        return image[row, column]

    out = np.empty_like(image)
    for row in range(size_px):
        for column in range(size_px):
            # With rows running downwards, a point at (right, up) came from the point turned back.
            right, up = column - centre, centre - row
            source_right, source_up = cos * right + sin * up, -sin * right + cos * up
            x, y = centre + source_right, centre - source_up
            if pad_mode == "reflect":
                x, y = (min(abs(v), 2 * (size_px - 1) - abs(v)) for v in (x, y))
            total = np.zeros(3)
            for r in (int(np.floor(y)), int(np.floor(y)) + 1):
                for c in (int(np.floor(x)), int(np.floor(x)) + 1):
                    weight = (1 - abs(y - r)) * (1 - abs(x - c))
                    inside = 0 <= r < size_px and 0 <= c < size_px
                    total += weight * (at(r, c) if inside else np.array(MEAN) * 255)
            out[row, column] = total
    return out


def enlarge_slowly(image: NDArray[np.float64], draws: AugmentDraws, i: int) -> NDArray[np.float64]:
    """torch's own resizing of the part that was drawn."""
    top, left = int(draws.resized_top_px[i]), int(draws.resized_left_px[i])
    height, width = int(draws.resized_height_px[i]), int(draws.resized_width_px[i])
    part = torch.from_numpy(image[top : top + height, left : left + width].copy())
    enlarged = F.interpolate(part.permute(2, 0, 1)[None], size=image.shape[:2], mode="bilinear")
    return enlarged[0].permute(1, 2, 0).numpy()


def augment_slowly(
    image_u8: NDArray[np.uint8], draws: AugmentDraws, i: int, recipe: AugmentSettings
) -> NDArray[np.float64]:
    """One image after another, one step after another, in the order that the settings promise."""
    size_px = len(image_u8)
    image = pad_slowly(image_u8.astype(np.float64), recipe.pad_px, recipe.pad_mode)
    top, left = int(draws.crop_top_px[i]), int(draws.crop_left_px[i])
    image = image[top : top + size_px, left : left + size_px]
    if draws.is_flipped[i]:
        image = image[:, ::-1]
    if recipe.resized_crop_probability > 0:
        image = enlarge_slowly(image, draws, i)
    if draws.is_rotated[i]:
        image = rotate_slowly(image, float(draws.angle_degrees[i]), recipe.pad_mode)
    if draws.is_noisy[i]:
        start = int(draws.noise_start[i])
        noise = draws.noise_bank[start : start + image.size].numpy().reshape(image.shape)
        image = image + 255 * recipe.noise_std * float(draws.noise_sign[i]) * noise
        image = np.clip(image, 0, 255)
    image = image.copy()
    top, left = int(draws.dropout_top_px[i]), int(draws.dropout_left_px[i])
    height, width = int(draws.dropout_height_px[i]), int(draws.dropout_width_px[i])
    image[top : top + height, left : left + width] = np.array(MEAN) * 255
    return normalise_slowly(image)


@pytest.mark.parametrize("pad_mode", PAD_MODES)
def test_a_batch_equals_its_images_augmented_one_by_one(pad_mode: str) -> None:
    recipe, images_u8 = make_everything(pad_mode), make_images(24)
    draws = draw(recipe, images_u8)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    expected = np.stack(
        [augment_slowly(image.numpy(), draws, i, recipe) for i, image in enumerate(images_u8)]
    )
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("pad_mode", PAD_MODES)
def test_cpu_and_accelerator_formulations_agree_to_the_bit(pad_mode: str) -> None:
    recipe, images_u8 = make_everything(pad_mode), make_images(32)
    draws = draw(recipe, images_u8)
    gathered = _augment(images_u8, draws, recipe, MEAN, STD, 16, gather_chosen=True)
    everywhere = _augment(images_u8, draws, recipe, MEAN, STD, 16, gather_chosen=False)
    assert torch.equal(gathered, everywhere)


@pytest.mark.parametrize("batch_size", [1, 2, 8, 13])
@pytest.mark.parametrize("size_px", [9, 16, 64])
def test_result_does_not_depend_on_the_batch_size(batch_size: int, size_px: int) -> None:
    recipe, images_u8 = make_everything(), make_images(26, size_px)
    draws = draw(recipe, images_u8)
    whole = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    for start in range(0, 26, batch_size):
        here = slice(start, start + batch_size)
        part = augment_batch(images_u8[here], draws[here], recipe, mean=MEAN, std=STD)
        assert torch.equal(part, whole[here])


@pytest.mark.parametrize("angle_degrees", [-15.0, 7.3, 90.0, 180.0])
@pytest.mark.parametrize(
    ("pad_mode", "kornia_mode"), [("reflect", "reflection"), ("mean", "zeros")]
)
def test_rotation_equals_kornia(angle_degrees: float, pad_mode: str, kornia_mode: str) -> None:
    recipe = make_settings(
        rotate_probability=1.0, rotate_degrees=abs(angle_degrees), pad_mode=pad_mode
    )
    images_u8 = make_images(4, 33)
    draws = draw(recipe, images_u8)
    draws.angle_degrees.fill_(angle_degrees)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    expected = kornia_transform.rotate(
        normalise_batch(images_u8, mean=MEAN, std=STD),
        torch.full((4,), angle_degrees),
        mode="bilinear",
        padding_mode=kornia_mode,
        align_corners=True,
    )
    torch.testing.assert_close(images, expected, atol=5e-4, rtol=0)


def test_crop_and_flip_equal_torch_padding_and_kornia_flip() -> None:
    recipe, images_u8 = make_settings(pad_px=8, flip_probability=0.5), make_images(16, 20)
    draws = draw(recipe, images_u8)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    padded = F.pad(normalise_batch(images_u8, mean=MEAN, std=STD), (8,) * 4, mode="reflect")
    for i in range(16):
        top, left = int(draws.crop_top_px[i]), int(draws.crop_left_px[i])
        expected = padded[i, :, top : top + 20, left : left + 20]
        if draws.is_flipped[i]:
            expected = kornia_transform.hflip(expected)
        assert torch.equal(images[i], expected)


def test_padding_with_the_mean_is_exactly_zero_and_keeps_the_image() -> None:
    recipe = make_settings(pad_px=4, pad_mode="mean", flip_probability=1.0)
    images_u8 = torch.full((50, 10, 10, 3), 200, dtype=torch.uint8)
    draws = draw(recipe, images_u8)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    for i in range(50):
        shown_px = [
            10 - abs(int(start[i]) - 4) for start in (draws.crop_top_px, draws.crop_left_px)
        ]
        assert int((images[i, 0] != 0).sum()) == shown_px[0] * shown_px[1]


def test_padding_wider_than_the_image_goes_on_mirroring() -> None:
    recipe, images_u8 = make_settings(pad_px=7), make_images(12, 3)
    draws = draw(recipe, images_u8)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    expected = np.stack(
        [augment_slowly(image.numpy(), draws, i, recipe) for i, image in enumerate(images_u8)]
    )
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_an_image_of_one_pixel_survives_everything() -> None:
    recipe = make_everything().model_copy(update={"dropout_probability": 0.0})
    images = run(recipe, make_images(5, 1))
    assert images.shape == (5, 3, 1, 1)
    assert images.isfinite().all()


def test_a_resized_crop_equals_kornia() -> None:
    recipe, images_u8 = make_settings(resized_crop_probability=0.8), make_images(32, 24)
    draws = draw(recipe, images_u8)
    top, left = draws.resized_top_px.float(), draws.resized_left_px.float()
    bottom, right = top + draws.resized_height_px - 1, left + draws.resized_width_px - 1
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    boxes = torch.stack([torch.stack(corner, dim=1) for corner in corners], dim=1)  # (B, 4, 2)
    images = normalise_batch(images_u8, mean=MEAN, std=STD)
    expected = torch.cat(
        [
            kornia_transform.resize(
                kornia_transform.crop_by_indices(images[i : i + 1], box[None]), (24, 24)
            )
            for i, box in enumerate(boxes)
        ]
    )
    ours = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pad_mode", PAD_MODES)
def test_rotation_by_zero_degrees_is_the_identity(pad_mode: str) -> None:
    recipe, images_u8 = make_settings(rotate_probability=1.0, pad_mode=pad_mode), make_images(4, 64)
    draws = draw(recipe, images_u8)
    draws.angle_degrees.zero_()
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    expected = normalise_batch(images_u8, mean=MEAN, std=STD)
    torch.testing.assert_close(images, expected, atol=1e-4, rtol=0)


def test_a_positive_angle_turns_anticlockwise() -> None:
    recipe = make_settings(rotate_probability=1.0, rotate_degrees=90.0)
    images_u8 = torch.zeros((1, 9, 9, 3), dtype=torch.uint8)
    images_u8[0, 4, 8] = 255  # at three o'clock
    draws = draw(recipe, images_u8)
    draws.angle_degrees.fill_(90.0)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    assert divmod(int(images[0, 0].argmax()), 9) == (0, 4)  # at twelve


def test_images_that_are_not_chosen_are_only_normalised() -> None:
    recipe = make_settings(
        rotate_probability=0.5, noise_probability=0.5, dropout_probability=0.5, dropout_max_px=16
    )
    images_u8 = make_images(64)
    draws = draw(recipe, images_u8)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    expected = normalise_batch(images_u8, mean=MEAN, std=STD)
    is_plain = ~draws.is_rotated & ~draws.is_noisy & (draws.dropout_height_px == 0)
    is_same = (images == expected).flatten(1).all(dim=1)
    assert 0 < int(is_plain.sum()) < 64
    assert torch.equal(is_same, is_plain)


def test_noise_has_the_asked_standard_deviation_and_no_bias() -> None:
    recipe = make_settings(noise_probability=1.0, noise_std=0.04)
    images_u8 = torch.full((16, 64, 64, 3), 128, dtype=torch.uint8)
    noise = denormalise(run(recipe, images_u8)) / 255 - 128 / 255
    count = noise.numel()
    assert noise.std().item() == pytest.approx(0.04, rel=4.5 / (2 * count) ** 0.5)
    assert noise.mean().item() == pytest.approx(0.0, abs=4.5 * 0.04 / count**0.5)
    for channel in range(3):
        assert noise[..., channel].std().item() == pytest.approx(0.04, rel=0.02)


def test_windows_of_noise_are_cut_from_the_bank() -> None:
    bank, start = torch.randn(40), torch.tensor([0, 7, 30, 7])
    cut = torch.stack([bank[first : first + 10] for first in start.tolist()])
    assert torch.equal(_windows(bank, start, 10), cut)


def test_an_accelerator_never_holds_all_windows_of_noise() -> None:
    bank, start = torch.empty(10_000, device="meta"), torch.zeros(4, device="meta").long()
    with SizesSeen() as seen:
        assert _windows(bank, start, 300).shape == (4, 300)
    assert max(seen.sizes) == len(bank)


class SizesSeen(TorchDispatchMode):
    """Notes how many values each tensor has that an operation takes or gives."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, found))
        self.sizes += [leaf.numel() for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return found


def test_noise_differs_between_images() -> None:
    recipe = make_settings(noise_probability=1.0)
    images = run(recipe, torch.full((8, 32, 32, 3), 128, dtype=torch.uint8))
    noise = denormalise(images).flatten(1)
    correlations = torch.corrcoef(noise) - torch.eye(8)
    assert correlations.abs().max().item() < 5 / noise.shape[1] ** 0.5


@pytest.mark.parametrize("value", [0, 255])
def test_noise_stays_in_the_range_of_a_pixel(value: int) -> None:
    recipe = make_settings(noise_probability=1.0, noise_std=0.5)
    pixels = denormalise(run(recipe, torch.full((2, 32, 32, 3), value, dtype=torch.uint8)))
    assert pixels.min().item() == pytest.approx(0, abs=1e-3)
    assert pixels.max().item() == pytest.approx(255, abs=1e-3)


def test_dropout_fills_one_whole_rectangle_with_exactly_the_mean() -> None:
    recipe = make_settings(dropout_probability=1.0, dropout_min_px=3, dropout_max_px=6)
    images_u8 = torch.full((40, 16, 16, 3), 255, dtype=torch.uint8)
    draws = draw(recipe, images_u8)
    images = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    for i in range(40):
        assert torch.equal(images[i, 0] == 0, images[i, 1] == 0)
        assert torch.equal(images[i, 0] == 0, images[i, 2] == 0)
        rows, columns = (images[i, 0] == 0).nonzero().unbind(1)
        height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
        assert len(rows) == height * width
        assert (height, width) == (draws.dropout_height_px[i], draws.dropout_width_px[i])
        assert 3 <= height <= 6
        assert 3 <= width <= 6


def test_nothing_asked_gives_the_normalised_images() -> None:
    images_u8 = make_images(6)
    expected = (images_u8.double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    images = run(NOTHING, images_u8)
    torch.testing.assert_close(
        images, expected.permute(0, 3, 1, 2).float(), atol=2e-6, rtol=0, check_stride=False
    )
    assert torch.equal(images, normalise_batch(images_u8, mean=MEAN, std=STD))


def test_mean_and_std_may_be_arrays() -> None:
    images_u8 = make_images(3)
    from_arrays = normalise_batch(images_u8, mean=np.array(MEAN), std=np.array(STD))
    assert torch.equal(from_arrays, normalise_batch(images_u8, mean=MEAN, std=STD))


def test_every_pixel_value_comes_out_right() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    images = normalise_batch(values.contiguous(), mean=MEAN, std=STD)
    torch.testing.assert_close(denormalise(images), values.double(), atol=1e-3, rtol=0)


def test_a_grey_image_stays_grey() -> None:
    grey = make_images(20)[..., :1].expand(20, 16, 16, 3).contiguous()
    recipe = make_everything("reflect").model_copy(
        update={"noise_probability": 0.0, "dropout_probability": 0.0}
    )
    pixels = denormalise(run(recipe, grey))
    assert (pixels.amax(dim=3) - pixels.amin(dim=3)).max().item() < 2e-3


def test_the_packed_images_are_not_changed() -> None:
    images_u8 = make_images(8)
    before = images_u8.clone()
    run(make_everything(), images_u8)
    run(NOTHING, images_u8)
    assert torch.equal(images_u8, before)


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    run(make_everything(), make_images(8))
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=40, deadline=None)
@given(
    num_images=st.integers(1, 9),
    size_px=st.integers(7, 24),
    pad_px=st.integers(0, 12),
    pad_mode=st.sampled_from(PAD_MODES),
    seed=st.integers(0, 5),
)
def test_shape_dtype_memory_and_range_hold_for_any_recipe(
    num_images: int, size_px: int, pad_px: int, pad_mode: str, seed: int
) -> None:
    recipe = make_everything(pad_mode).model_copy(update={"pad_px": pad_px})
    images = run(recipe, make_images(num_images, size_px), seed)
    assert images.shape == (num_images, 3, size_px, size_px)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    pixels = denormalise(images)
    assert pixels.min().item() >= -1e-3
    assert pixels.max().item() <= 255 + 1e-3


@pytest.mark.parametrize("image_px", [48, 32, 33, 1])
def test_a_smaller_image_is_what_pillow_makes_of_it(image_px: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 64, 64, 3), np.float32))
    small = shrink_batch(images.permute(0, 3, 1, 2), image_px)
    assert small.shape == (3, 3, image_px, image_px)
    assert small.is_contiguous(memory_format=torch.channels_last)
    for image, found in zip(images, small, strict=True):
        for channel in range(3):
            expected = Image.fromarray(image[:, :, channel].numpy()).resize(
                (image_px, image_px), Image.Resampling.BILINEAR
            )
            np.testing.assert_allclose(found[channel].numpy(), np.asarray(expected), atol=1e-5)


@pytest.mark.parametrize("dropout_probability", [0.0, 1.0])
@pytest.mark.parametrize("image_px", [24, 17, 1])
def test_a_resized_crop_may_be_made_smaller_in_the_same_step(
    image_px: int, dropout_probability: float
) -> None:
    recipe = make_settings(
        pad_px=3, resized_crop_probability=0.8, dropout_probability=dropout_probability
    )
    images_u8 = make_images(12, 24)
    draws = draw(recipe, images_u8)
    at_once = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD, image_px=image_px)
    whole = augment_batch(images_u8, draws, recipe, mean=MEAN, std=STD)
    torch.testing.assert_close(at_once, shrink_batch(whole, image_px), atol=1e-5, rtol=0)
    assert at_once.is_contiguous(memory_format=torch.channels_last)


def test_an_image_of_the_asked_size_is_left_alone() -> None:
    images = torch.zeros(2, 3, 64, 64)
    assert shrink_batch(images, 64) is images
