from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tinysight.report.heat_maps import heat_ramp, overlay_heat_map


def oklab(colours: np.ndarray) -> np.ndarray:
    """OKLab of sRGB bytes, by the forward transform of the source."""
    encoded = colours / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    cones = (
        linear
        @ np.array(
            [
                (0.4122214708, 0.5363325363, 0.0514459929),
                (0.2119034982, 0.6806995451, 0.1073969566),
                (0.0883024619, 0.2817188376, 0.6299787005),
            ]
        ).T
    )
    return np.cbrt(cones) @ np.array(
        [
            (0.2104542553, 0.7936177850, -0.0040720468),
            (1.9779984951, -2.4285922050, 0.4505937099),
            (0.0259040371, 0.7827717662, -0.8086757660),
        ]
    ).T  # fmt: skip


def test_neighbours_of_the_ramp_are_equally_far_apart_to_the_eye() -> None:
    lab = oklab(heat_ramp().astype(np.float64))
    steps = np.linalg.norm(lab[8:] - lab[:-8], axis=1)
    assert steps.std() < 0.04 * steps.mean()


def test_the_ramp_gets_lighter_throughout() -> None:
    lightness = oklab(heat_ramp().astype(np.float64))[:, 0]
    assert (np.diff(lightness[::4]) > 0).all()
    assert lightness[0] < 0.2
    assert lightness[-1] > 0.95


def test_the_ramp_has_256_colours_of_bytes_and_cannot_be_changed() -> None:
    ramp = heat_ramp()
    assert ramp.shape == (256, 3)
    assert ramp.dtype == np.uint8
    assert len(np.unique(ramp, axis=0)) == 256
    with pytest.raises(ValueError, match="read-only"):
        ramp[0] = 0


def test_cold_places_show_the_image_and_hot_places_the_heat() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    heat = np.zeros((16, 16), np.uint8)
    heat[:, 8:] = 255
    shown = overlay_heat_map(image, heat).astype(int)
    np.testing.assert_array_equal(shown[:, :8], image[:, :8])
    hottest = heat_ramp()[-1].astype(int)
    distance = np.abs(shown[:, 8:] - hottest).mean()
    assert distance < 0.3 * np.abs(image[:, 8:].astype(int) - hottest).mean()


def test_a_map_is_spread_over_the_image_as_torch_does() -> None:
    heat = np.random.default_rng(1).random((4, 4), dtype=np.float32)
    shown = overlay_heat_map(np.zeros((32, 32, 3), np.uint8), heat)
    wide = interpolate(torch.from_numpy(heat)[None, None], (32, 32), mode="bilinear")[0, 0].numpy()
    cover = 0.75 * wide[..., None]
    expected = cover * heat_ramp()[np.rint(wide * 255).astype(int)]
    assert np.abs(shown - expected).max() <= 2


def test_bytes_and_fractions_say_the_same() -> None:
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    heat = np.random.default_rng(3).integers(0, 256, (2, 2), dtype=np.uint8)
    as_fractions = (heat / 255).astype(np.float32)
    np.testing.assert_array_equal(
        overlay_heat_map(image, heat), overlay_heat_map(image, as_fractions)
    )


def test_scale_repeats_pixels_of_the_image() -> None:
    image = np.random.default_rng(4).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    shown = overlay_heat_map(image, np.zeros((3, 3), np.float32), scale=3)
    np.testing.assert_array_equal(shown, image.repeat(3, axis=0).repeat(3, axis=1))
