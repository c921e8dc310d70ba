"""What training reads: the images of a store, on the device, and what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from tinysight.classify.batches import LabelledImages, place_images
from tinysight.classify.settings import Recipe, TrainSettings
from tinysight.classify.split import stratified_split
from tinysight.classify.store import Store
from tinysight.errors import DataError, RecipeError


@dataclass(frozen=True)
class TrainingData:
    """The images of a store, and which of them train, test and tune.

    Attributes:
        images: All of the store, with their classes.
        train_rows: (n,) int64, rows of ``images`` to train on.
        test_rows: (m,) int64, rows to test on after each epoch.
        tuning_rows: (t,) int64, rows to choose by; when there are any, they are looked at instead
            of the test rows.
    """

    images: LabelledImages
    train_rows: NDArray[np.int64]
    test_rows: NDArray[np.int64]
    tuning_rows: NDArray[np.int64]

    @property
    def own_px(self) -> int:
        """Side of the images in the store."""
        return int(self.images.images_u8.shape[1])


def training_data(store: Store, recipe: Recipe, device: torch.device) -> TrainingData:
    """Return the images of a store, on the device, with the rows that train, test and tune.

    Raises:
        RecipeError: A class has too few training images for the tuning part.
    """
    train_rows, tuning_rows = rows_to_learn_from(store, recipe.train)
    return TrainingData(
        images=LabelledImages(
            place_images(store.images_u8, device), store.targets, store.mean, store.std
        ),
        train_rows=train_rows,
        test_rows=np.flatnonzero(~store.is_train),
        tuning_rows=tuning_rows,
    )


def rows_to_learn_from(
    store: Store, settings: TrainSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to train on, and those of the training part that are held back to tune by.

    The tuning rows are the same for every seed of the recipe, so that runs can be compared.

    Raises:
        RecipeError: A class has too few training images for the tuning part.
    """
    train_rows = np.flatnonzero(store.is_train)
    is_kept = np.ones(len(train_rows), dtype=np.bool_)
    if settings.tuning_fraction > 0:
        try:
            is_kept = stratified_split(
                [str(store.sample_ids[row]) for row in train_rows],
                store.targets[train_rows],
                store.wnids,
                train_fraction=1 - Fraction(str(settings.tuning_fraction)),
                seed=store.split_seed,
            )
        except DataError as error:
            counts = np.bincount(store.targets[train_rows], minlength=len(store.wnids))
            least = counts.min()
            if least < 2:
                raise RecipeError(
                    f"train.tuning_fraction (={settings.tuning_fraction:g}) must hold back and "
                    f"leave at least 1 training image of every class, but class "
                    f"{store.class_names[counts.argmin()]!r} has {least} in all. Add images to it "
                    f"or leave the class out, or choose 0 for no tuning part."
                ) from error
            raise RecipeError(
                f"train.tuning_fraction (={settings.tuning_fraction:g}) must hold back and "
                f"leave at least 1 training image of every class, but the smallest class has "
                f"{least}. Choose a fraction nearer to one half, or 0 for no tuning part."
            ) from error
    return train_rows[is_kept], train_rows[~is_kept]
