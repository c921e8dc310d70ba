from pathlib import Path

import numpy as np
import pytest

from tinysight.classify.settings import Recipe
from tinysight.classify.store import Store

CLASS_NAMES = ("red", "green", "blue")
IMAGES_PER_CLASS = 16
SIZE_PX = 32


def make_store(
    path: Path,
    *,
    images_per_class: int = IMAGES_PER_CLASS,
    seed: int = 0,
    size_px: int = SIZE_PX,
) -> Store:
    """A store in memory whose classes are told apart by colour; three quarters train."""
    generator = np.random.default_rng(seed)
    count = len(CLASS_NAMES) * images_per_class
    images_u8 = generator.integers(0, 120, (count, size_px, size_px, 3), dtype=np.uint8)
    targets = np.repeat(np.arange(len(CLASS_NAMES)), images_per_class)
    for row, target in enumerate(targets):
        images_u8[row, ..., target] += 100
    is_train = np.arange(count) % 4 != 3
    pixels = images_u8[is_train] / 255
    return Store(
        path=path,
        images_u8=images_u8,
        sample_ids=np.array([f"all/{row:03d}.png" for row in range(count)]),
        targets=targets,
        is_train=is_train,
        wnids=("n00000001", "n00000002", "n00000003"),
        class_names=CLASS_NAMES,
        mean=pixels.mean(axis=(0, 1, 2)),
        std=pixels.std(axis=(0, 1, 2)),
        split="75/25",
        split_seed=0,
        split_digest=f"digest-of-{images_per_class}-{seed}",
        size_px=size_px,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


def make_recipe(**tables: dict[str, object]) -> Recipe:
    """A recipe that trains the smallest network for three epochs of five steps."""
    values: dict[str, dict[str, object]] = {
        "model": {"name": "compact10"},
        "augment": {"pad_px": 2},
        "schedule": {"max_lr": 0.05, "peak_epoch": 1.0},
        "train": {"epochs": 3, "batch_size": 8, "ema_decay": 0.5, "precision": "fp32"},
    }
    for table, changes in tables.items():
        values[table] = values.get(table, {}) | changes
    return Recipe.model_validate(values)


@pytest.fixture
def recipe() -> Recipe:
    return make_recipe()
