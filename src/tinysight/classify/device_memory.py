"""Faults for a memory that is too small, that of a GPU or of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tinysight.classify.settings import TrainSettings
from tinysight.errors import RunError, TrainingError

# What torch says where it has no type of its own for it: its allocator on the CPU, CUDA beyond its
# allocator, the libraries of CUDA, and MPS.
_WANT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED")
_TRIED = re.compile(r"[Tt]ried to allocate [\d.,]+ \w+")
_FREE = re.compile(r"[\d.]+ [KMG]i?B is free")


@contextmanager
def enough_memory(
    settings: TrainSettings, device: torch.device, *, num_processes: int = 1
) -> Iterator[None]:
    """Turn the want of memory in training into a fault that says what to change.

    Args:
        settings: Those of the recipe.
        device: Where the network computes.
        num_processes: Processes that share a batch.

    Raises:
        TrainingError: The memory was too small for what was done in the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_want_of_memory(error):
            raise
        of_process = settings.batch_size // num_processes
        raise TrainingError(
            f"{device}: its memory must hold all images, the network and what it computes for "
            f"{of_process // settings.accumulate} of them at once, but is too small: "
            f"{_what_was_missing(error)}. End other programs that use it, or start again in "
            f"another folder with {_smaller_parts(of_process, settings)}."
        ) from error
    except MemoryError as error:  # of a list of images that no machine could hold
        raise TrainingError(
            f"train.batch_size (={settings.batch_size}): this machine must have room for a batch, "
            f"but has not. Start again in another folder with a smaller one."
        ) from error


@contextmanager
def enough_memory_to_look(device: torch.device) -> Iterator[None]:
    """Turn the want of memory for looking at images with a trained network into a fault likewise.

    The images of a batch are no setting here, so another device or more room is the way out.

    Raises:
        RunError: The memory was too small for what was done in the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_want_of_memory(error):
            raise
        raise RunError(
            f"{device}: its memory must hold the network, the images and what it computes for a "
            f"batch of them, but is too small: {_what_was_missing(error)}. Try --device cpu, or "
            f"end other programs that use this memory."
        ) from error


def is_want_of_memory(error: RuntimeError) -> bool:
    """Return whether torch says with this error that a memory is too small."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_WANT_OF_MEMORY.search(str(error)))


def _smaller_parts(num_images: int, settings: TrainSettings) -> str:
    """The setting with which fewer of the images of a batch are computed at once."""
    fitting = next(
        (
            parts
            for parts in range(settings.accumulate + 1, num_images + 1)
            if num_images % parts == 0 and settings.batch_size % (2 * parts) == 0
        ),
        None,
    )
    if fitting is None:
        return f"train.batch_size below {settings.batch_size}"
    return f"train.accumulate={fitting}, which takes a batch in smaller parts"


def _what_was_missing(error: RuntimeError) -> str:
    """What torch says of amounts; the rest of its text is about its allocator."""
    text = str(error)
    amounts = [found[0] for pattern in (_TRIED, _FREE) if (found := pattern.search(text))]
    if amounts:
        return "torch " + ", and ".join(amounts).replace("Tried", "tried").replace("you ", "")
    return (text.splitlines() or [type(error).__name__])[0].partition(". ")[0]
