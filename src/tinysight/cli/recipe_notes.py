"""Words about a recipe that may not be what the user wants, for before the work begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinysight.numerals import counted

if TYPE_CHECKING:
    import torch

    from tinysight.classify.settings import TrainSettings
    from tinysight.classify.store import Store

DEFAULT_RECIPE = "baseline"
_OF_PROCESSORS = "cpu"


def notes_on_recipe(
    settings: TrainSettings, store: Store, device: torch.device, *, is_chosen: bool
) -> Iterator[str]:
    """Yield what is to be said.

    Args:
        settings: Those of the recipe.
        store: The images.
        device: Where the network computes.
        is_chosen: Whether the user named the recipe, now or when the run was begun.

    Raises:
        RecipeError: A class has too few training images for the tuning part.
    """
    from tinysight.classify.training_images import rows_to_learn_from

    if not is_chosen and device.type == "cpu":
        yield (
            f"--recipe: none is named, so {DEFAULT_RECIPE} is taken, a recipe for GPUs. For a "
            f"processor take --recipe {_OF_PROCESSORS}; `tinysight recipes` lists all."
        )
    num_images = len(rows_to_learn_from(store, settings)[0])
    if settings.batch_size > num_images:
        yield (
            f"train.batch_size (={settings.batch_size}): there are only "
            f"{counted(num_images, 'training image')}, so an epoch is one step in which each is "
            f"seen {settings.batch_size / num_images:.1f} times on average. Lower "
            f"train.batch_size."
        )
