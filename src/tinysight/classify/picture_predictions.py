"""What a trained network says about a person's own pictures, and where it looked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tinysight import run_folder
from tinysight.classify.augment import normalise_batch
from tinysight.classify.cam import class_activation_maps
from tinysight.classify.decode import DecodedImage, UndecodableImage, decode_image
from tinysight.classify.device_memory import enough_memory_to_look
from tinysight.classify.metrics import softmax, top_classes
from tinysight.classify.trained_run import load_model_on

BATCH_SIZE = 64


@dataclass(frozen=True)
class ImagePrediction:
    """What the network says about one picture.

    Attributes:
        file: The picture.
        width_px: As the file has it, upright.
        height_px: Likewise.
        repairs: What was done to make it an image of the store's size, by name.
        pixels_u8: (S, S, 3) uint8 RGB, what the network saw.
        classes: (k,) int64, the likeliest classes, likeliest first.
        probs: (k,) float64, their probabilities.
        heat_map: (h, w) float32 in [0, 1], what speaks for the first of them.
    """

    file: Path
    width_px: int
    height_px: int
    repairs: tuple[str, ...]
    pixels_u8: NDArray[np.uint8]
    classes: NDArray[np.int64]
    probs: NDArray[np.float64]
    heat_map: NDArray[np.float32]


@dataclass(frozen=True)
class UnusablePicture:
    """A file that is not a picture, or cannot be read: why, and what was found."""

    file: Path
    reason: str
    detail: str


@dataclass(frozen=True)
class PicturePredictions:
    """What became of all pictures.

    Attributes:
        class_names: By class index.
        wnids: By class index.
        predictions: In the order of the files, those that cannot be used left out.
        unusable: In the order of the files.
    """

    class_names: tuple[str, ...]
    wnids: tuple[str, ...]
    predictions: tuple[ImagePrediction, ...]
    unusable: tuple[UnusablePicture, ...]


def predict_images(
    run: str | Path,
    files: str | Path | Sequence[str | Path],
    *,
    top_k: int = 5,
    device: torch.device | None = None,
) -> PicturePredictions:
    """Predict pictures of any size and format with the network of a run.

    Pictures are decoded and scaled exactly as :func:`tinysight.pack_store` does: turned upright,
    any colour mode to RGB, the shorter side scaled to the size of the training images, the centre
    cut out.

    Args:
        run: A run folder with trained weights.
        files: The pictures, or a single one.
        top_k: How many classes to return for each.
        device: Where to run the network; the CPU when not given.

    Raises:
        RunError: No trained weights, or weights of another network, or the memory of the device is
            too small.
    """
    run = Path(run)
    pictures = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    device = device or torch.device("cpu")
    about = run_folder.read_run(run)
    with enough_memory_to_look(device):
        model, settings, _ = load_model_on(device, run, about)
    mean, std = np.asarray(about["mean"]), np.asarray(about["std"])
    predictions: list[ImagePrediction] = []
    unusable: list[UnusablePicture] = []
    for start in range(0, len(pictures), BATCH_SIZE):
        decoded: list[tuple[Path, DecodedImage]] = []
        for file in pictures[start : start + BATCH_SIZE]:
            outcome = _decode(file, about["size_px"])
            if isinstance(outcome, DecodedImage):
                decoded.append((file, outcome))
            else:
                unusable.append(UnusablePicture(file, outcome.reason, outcome.detail))
        if not decoded:
            continue
        pixels = torch.from_numpy(np.stack([image.pixels_u8 for _, image in decoded]))
        with enough_memory_to_look(device):
            images = normalise_batch(pixels.to(device), mean=mean, std=std)
            looked = class_activation_maps(model, images, settings=settings)
        logits = looked.logits.cpu().numpy()
        maps = looked.maps[:, 0].cpu().numpy()
        best = top_classes(logits, top_k)
        probs = np.take_along_axis(softmax(logits), best, axis=1)
        predictions += [
            ImagePrediction(
                file=file,
                width_px=image.width_px,
                height_px=image.height_px,
                repairs=image.repairs,
                pixels_u8=image.pixels_u8,
                classes=best[number],
                probs=probs[number],
                heat_map=maps[number],
            )
            for number, (file, image) in enumerate(decoded)
        ]
    return PicturePredictions(
        class_names=tuple(entry["name"] for entry in about["classes"]),
        wnids=tuple(entry["wnid"] for entry in about["classes"]),
        predictions=tuple(predictions),
        unusable=tuple(unusable),
    )


def _decode(file: Path, size_px: int) -> DecodedImage | UndecodableImage:
    try:
        with warnings.catch_warnings():
            # What Pillow warns about (odd metadata, large images) is judged by decode_image.
            warnings.simplefilter("ignore")
            return decode_image(file.read_bytes(), size_px=size_px)
    except IsADirectoryError:
        return UndecodableImage("a folder", "name the pictures in it")
    except OSError as error:
        return UndecodableImage("not readable", error.strerror or str(error))
    except UndecodableImage as error:
        return error
