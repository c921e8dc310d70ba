"""Heat maps over pictures: one colour ramp and one way to lay it over an image."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

# Night violet, magenta, orange, pale yellow: (lightness, chroma, hue in degrees) in OKLCH, each
# within sRGB. Lightness rises throughout, so the ramp also reads in grey and with any colour
# vision.
_RAMP_STOPS = (
    (0.16, 0.09, 285.0),
    (0.33, 0.15, 310.0),
    (0.50, 0.19, 350.0),
    (0.66, 0.19, 38.0),
    (0.82, 0.15, 75.0),
    (0.97, 0.08, 105.0),
)
_STEPS_A_STOP = 200
_MOST_COVER = 0.75

# OKLab to the cube roots of cone responses, and those to linear sRGB (Ottosson 2020).
_CONES_OF_LAB = np.array(
    [
        (1.0, 0.3963377774, 0.2158037573),
        (1.0, -0.1055613458, -0.0638541728),
        (1.0, -0.0894841775, -1.2914855480),
    ]
)
_RGB_OF_CONES = np.array(
    [
        (4.0767416621, -3.3077115913, 0.2309699292),
        (-1.2684380046, 2.6097574011, -0.3413193965),
        (-0.0041960863, -0.7034186147, 1.7076147010),
    ]
)


@cache
def heat_ramp() -> npt.NDArray[np.uint8]:
    """Return the 256 colours of heat maps, (256, 3) uint8 RGB, from cold to hot.

    Neighbours are equally far apart to the eye: the ramp is a curve through OKLab that is walked
    at constant speed. It is the same array every time and cannot be written to.

    Source:
        Ottosson 2020, A perceptual color space for image processing
        (bottosson.github.io/posts/oklab).
    """
    lightness, chroma, hue = np.array(_RAMP_STOPS).T
    angle = np.radians(np.unwrap(hue, period=360))
    stops = np.arange(len(_RAMP_STOPS))
    fine = np.linspace(0, stops[-1], _STEPS_A_STOP * len(stops))
    # Lightness, chroma and hue change evenly between stops, so the curve has no corners in hue.
    light, strong, turn = (np.interp(fine, stops, values) for values in (lightness, chroma, angle))
    lab = np.stack([light, strong * np.cos(turn), strong * np.sin(turn)], axis=1)
    way = np.concatenate([[0], np.linalg.norm(np.diff(lab, axis=0), axis=1).cumsum()])
    even = np.linspace(0, way[-1], 256)
    lab = np.stack([np.interp(even, way, values) for values in lab.T], axis=1)
    ramp = _srgb_of_lab(lab)
    ramp.setflags(write=False)
    return ramp


def overlay_heat_map(
    image_u8: npt.NDArray[np.uint8],
    heat_map: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    *,
    scale: int = 1,
) -> npt.NDArray[np.uint8]:
    """Lay a heat map over an image: where it is cold the image shows, where it is hot the heat.

    Args:
        image_u8: (H, W, 3) uint8 RGB.
        heat_map: (h, w) uint8, or float32 in [0, 1]; of any size. It covers the image and is
            interpolated between the centres of its fields.
        scale: Pixels of the result for each pixel of the image, which stay square and sharp.

    Returns:
        (scale * H, scale * W, 3) uint8 RGB.
    """
    image_u8 = image_u8.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = image_u8.shape[:2]
    heat = heat_map.astype(np.float32) / (255 if heat_map.dtype == np.uint8 else 1)
    # Pillow keeps 32-bit floats as they are in its mode F.
    heat = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    colours = heat_ramp()[np.rint(heat.clip(0, 1) * 255).astype(np.uint8)]
    cover = _MOST_COVER * heat.clip(0, 1)[:, :, None]
    blended: npt.NDArray[np.uint8] = np.rint(
        (1 - cover) * image_u8.astype(np.float32) + cover * colours
    ).astype(np.uint8)
    return blended


def _srgb_of_lab(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    linear = ((lab @ _CONES_OF_LAB.T) ** 3 @ _RGB_OF_CONES.T).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: npt.NDArray[np.uint8] = np.rint(255 * encoded).astype(np.uint8)
    return colours
