"""A trained run, opened to look at images with it: its network and its images, on a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tinysight import run_folder, whole_files
from tinysight.classify.batches import LabelledImages, place_images
from tinysight.classify.checkpoint import load_model_weights, load_weights
from tinysight.classify.models import build_model
from tinysight.classify.placement import place_model, settings_to_look
from tinysight.classify.run_settings import read_settings
from tinysight.classify.settings import Recipe, TrainSettings
from tinysight.classify.store import Store
from tinysight.errors import RunError

# Decoders of JPEG that round differently move a mean or a deviation by less than this.
_SAME_PIXELS = 1e-3


@dataclass(frozen=True)
class TrainedRun:
    """The network of a run and the images of its store, on one device.

    Attributes:
        folder: The run folder.
        about: What :func:`tinysight.run_folder.read_run` returns.
        device: Where network and images are.
        model: The network with its trained weights, in evaluation mode.
        settings: Those to run it with; their precision fits the device.
        metadata: That of the weights.
        model_sha256: Digest of the file of weights.
        images: All of the store, normalised as in training, with their classes.
        sample_ids: (N,) name of each of them.
        test_rows: (n,) int64, rows of ``images`` that the network was not trained on.
    """

    folder: Path
    about: whole_files.Record
    device: torch.device
    model: nn.Module
    settings: TrainSettings
    metadata: dict[str, Any]
    model_sha256: str
    images: LabelledImages
    sample_ids: NDArray[np.str_]
    test_rows: NDArray[np.int64]


def open_run(run: Path, store: Store, device: torch.device | None = None) -> TrainedRun:
    """Load the network of a run and place it and its images on a device.

    Args:
        run: A run folder with trained weights.
        store: The store that the run was trained on.
        device: The CPU when not given.

    Raises:
        RunError: No trained weights, or weights of another network, or another store.
    """
    device = device or torch.device("cpu")
    about = run_folder.read_run(run)
    require_same_store(run, about, store)
    model, settings, metadata = load_model_on(device, run, about)
    return TrainedRun(
        folder=run,
        about=about,
        device=device,
        model=model,
        settings=settings,
        metadata=metadata,
        model_sha256=run_folder.digest_of_weights(run),
        images=LabelledImages(
            place_images(store.images_u8, device),
            store.targets,
            mean=np.asarray(about["mean"]),
            std=np.asarray(about["std"]),
        ),
        sample_ids=store.sample_ids,
        test_rows=np.flatnonzero(~store.is_train),
    )


def load_model(run: Path, about: dict[str, Any]) -> tuple[nn.Module, Recipe, dict[str, Any]]:
    """Build the network of a run and fill it with its trained weights.

    Args:
        run: The run folder.
        about: What :func:`tinysight.run_folder.read_run` returns.

    Returns:
        The network in evaluation mode, the settings of the run, the metadata of its weights.

    Raises:
        RunError: No trained weights, weights of another network, or settings of another version.
    """
    recipe = read_settings(run)
    model = build_model(recipe.model, len(about["classes"]), seed=recipe.train.seed)
    weights, metadata = load_model_weights(run)
    load_weights(model, weights, where=str(run / run_folder.MODEL))
    return model.eval(), recipe, metadata


def load_model_on(
    device: torch.device, run: Path, about: dict[str, Any]
) -> tuple[nn.Module, TrainSettings, dict[str, Any]]:
    """Load the network of a run to look at images with it on a device.

    Returns:
        The network, as :func:`load_model` returns it, on the device; the settings to run it with,
        whose precision fits the device; the metadata of its weights.
    """
    model, recipe, metadata = load_model(run, about)
    settings = settings_to_look(recipe.train, device)
    return place_model(model, settings, device), settings, metadata


def require_same_store(run: Path, about: dict[str, Any], store: Store) -> None:
    """Make sure that a store is the one that a run was trained on.

    Pixels are compared by their channel statistics alone, so a store may be packed again on a
    machine whose JPEG decoder rounds differently.

    Raises:
        RunError: It has other images or classes, images of another size, or another split.
    """
    its = f"must be the one that {run} was trained on"
    right = "Name the store that the run was trained on, or pack it again"
    if about["split_digest"] != store.split_digest:
        raise RunError(
            f"{store.path}: the split {its} (digest {about['split_digest'][:12]}…), got "
            f"{store.split_digest[:12]}…. {right} with the same seed."
        )
    if about["size_px"] != store.size_px:
        raise RunError(
            f"{store.path}: the side of the images {its} ({about['size_px']} px), got "
            f"{store.size_px} px. {right} with --size {about['size_px']}."
        )
    wnids = [entry["wnid"] for entry in about["classes"]]
    for index, (was, now) in enumerate(zip_longest(wnids, store.wnids)):
        if was != now:
            raise RunError(
                f"{store.path}: class {index} {its} ({was}), got {now}. {right} from the same "
                f"source."
            )
    for name, was, now in (("mean", about["mean"], store.mean), ("std", about["std"], store.std)):
        if not np.allclose(was, now, rtol=0.0, atol=_SAME_PIXELS):
            raise RunError(
                f"{store.path}: the channel {name} of the training images {its} "
                f"({_listed(was)}), within {_SAME_PIXELS:g}, got {_listed(now)}. {right} from "
                f"the same images."
            )


def _listed(channels: Iterable[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in channels)
