"""Run folders as `tinysight train` and `tinysight explain` write them, without training."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tinysight import run_folder, whole_files
from tinysight.run_tables import (
    DUPLICATES_SCHEMA,
    LABEL_ISSUES_SCHEMA,
    PICTURES_SCHEMA,
    gallery_schema,
    write_table,
)

HOSTILE_NAME = "</script><img src=x onerror=alert(1)>"
LONG_NAME = "a class with a name " + "that goes on and on " * 4 + "until its 120 characters"
RTL_NAME = "قطة برية صغيرة"
CLASS_NAMES = ("goldfish, Carassius auratus", HOSTILE_NAME, LONG_NAME, RTL_NAME, "lemon", "orange")
MAP_HW = (4, 4)
SIZE_PX = 32


def make_run(folder: Path, *, epochs: int = 5, seed: int = 0, **changes: Any) -> Path:
    """A run that was trained and evaluated; ``train__epochs=9`` changes a setting."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    whole_files.write_json(folder / run_folder.RUN, _about())
    recipe: dict[str, dict[str, Any]] = {
        "model": {"name": "compact"},
        "schedule": {"max_lr": 0.05, "peak_epoch": 1.0},
        "train": {"epochs": epochs, "batch_size": 32},
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        recipe[table][name] = value
    from tinysight.classify.settings import Recipe

    run_folder.write_recipe(folder, Recipe.model_validate(recipe).model_dump())
    whole_files.write_json(
        folder / run_folder.ENVIRONMENT,
        {
            "started_at": "2026-01-02T03:04:05Z",
            "command": ["train", "/somewhere/else/store", "--out", "/home/me/run"],
            "python": "3.11.7",
            "packages": {"tinysight": "0.1.0"},
            "processor": "A processor",
            "cores": 2,
            "device": "cpu",
        },
    )
    history = [_epoch(epoch, seed) for epoch in range(epochs)]
    whole_files.write_records(folder / run_folder.HISTORY, history)
    steps = [
        {"step": step, "loss": 2.0, "lr": 0.05 * min(1, step / 10), "momentum": 0.9}
        for step in range(10 * epochs)
    ]
    whole_files.write_records(folder / run_folder.STEPS, steps)
    (folder / run_folder.MODEL).write_bytes(b"weights")
    whole_files.write_json(folder / run_folder.METRICS, _metrics(rng))
    return folder


def _about() -> dict[str, Any]:
    return {
        "format_version": 1,
        "tinysight": "0.1.0",
        "recipe_name": "smoke",
        "store": "/somewhere/else/store",
        "split": "70/30",
        "split_seed": 0,
        "split_digest": "0123456789abcdef" * 4,
        "train_images": 700,
        "test_images": 300,
        "size_px": SIZE_PX,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.2],
        "classes": [
            {"index": index, "wnid": f"n{index:08d}", "name": name}
            for index, name in enumerate(CLASS_NAMES)
        ],
    }


def _epoch(epoch: int, seed: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "steps": 10 * (epoch + 1),
        "train_loss": 2.0 / (epoch + 1),
        "train_accuracy": 0.2 + 0.1 * epoch,
        "lr": 0.05 / (epoch + 1),
        "momentum": 0.9,
        "seconds": 10.0 * (epoch + 1),
        "images_per_s": 100.0 + epoch,
        "test_loss": 2.2 / (epoch + 1) + 0.01 * seed,
        "test_accuracy": 0.15 + 0.1 * epoch - 0.01 * seed,
        "test_top5": 0.9,
    }


def _metrics(rng: np.random.Generator) -> dict[str, Any]:
    accuracies = rng.uniform(0.1, 0.9, len(CLASS_NAMES))
    bins = [
        {
            "low": number / 5,
            "high": (number + 1) / 5,
            "images": 60,
            "confidence": (number + 0.5) / 5,
            "accuracy": (number + 0.3) / 5,
        }
        for number in range(5)
    ]
    return {
        "images": 300,
        "accuracy": 0.55,
        "top5": 0.9,
        "loss": 1.25,
        "calibration_error": 0.04,
        "calibration": bins,
        "classes": [
            {
                "index": index,
                "wnid": f"n{index:08d}",
                "name": name,
                "images": 50,
                "accuracy": float(accuracy),
                "guesses": 40 + index,
                "precision": 0.5,
            }
            for index, (name, accuracy) in enumerate(zip(CLASS_NAMES, accuracies, strict=True))
        ],
        "weights": "raw",
    }


def explain_run(
    run: Path,
    *,
    images: int = 150,
    label_issues: int = 20,
    duplicates: int = 6,
    map_hw: tuple[int, int] = MAP_HW,
    seed: int = 0,
) -> Path:
    """Add what `tinysight explain` writes, for pictures that are drawn at random."""
    rng = np.random.default_rng(seed)
    classes = json.loads((run / run_folder.RUN).read_text())["classes"]
    num_classes = len(classes)
    size_px = json.loads((run / run_folder.RUN).read_text())["size_px"]
    sample_ids = [f"val/images/val_{number}.JPEG" for number in range(images)]
    targets = rng.integers(0, num_classes, images)
    predicted = (targets + rng.integers(1, num_classes, images)) % num_classes
    predicted_probs = rng.uniform(0.3, 0.99, images).astype(np.float32)
    target_probs = ((1 - predicted_probs) / 2).astype(np.float32)
    why = [
        ["mistake", *(["confident mistake"] if number % 7 == 0 else [])]
        + (["label issue"] if number < label_issues else [])
        for number in range(images)
    ]
    for number in range(0, images, 11):
        predicted[number] = targets[number]
        why[number] = ["unsure hit"]
    about = {
        "method": "grad-cam",
        "layer": "features",
        "map_hw": list(map_hw),
        "images": 300,
        "of_images": 300,
        "model_sha256": hashlib.sha256((run / run_folder.MODEL).read_bytes()).hexdigest(),
    }
    top5 = [
        [int(first), int(right), *[c for c in range(num_classes) if c not in (first, right)]][:5]
        for first, right in zip(predicted, targets, strict=True)
    ]
    fields = map_hw[0] * map_hw[1]
    write_table(
        run / run_folder.GALLERY,
        {
            "sample_id": sample_ids,
            "file": [sample_id.rpartition("/")[2] for sample_id in sample_ids],
            "target": targets.astype(np.int32),
            "predicted": predicted.astype(np.int32),
            "target_prob": target_probs,
            "predicted_prob": predicted_probs,
            "loss": -np.log(target_probs),
            "top5": top5,
            "top5_probs": [
                [float(first), float(rest), *[float(rest) / 4] * (len(classes_) - 2)]
                for first, rest, classes_ in zip(predicted_probs, target_probs, top5, strict=True)
            ],
            "why": why,
            "predicted_map": rng.integers(0, 256, (images, fields), dtype=np.uint8),
            "target_map": rng.integers(0, 256, (images, fields), dtype=np.uint8),
        },
        gallery_schema(map_hw),
        about
        | {
            "size_px": size_px,
            "mistakes_shown": images - len(range(0, images, 11)),
            "mistakes_of": 500,
        },
    )
    train_ids = [f"train/images/{number}.JPEG" for number in range(duplicates)]
    write_table(
        run / run_folder.PICTURES,
        {
            "sample_id": [*sample_ids, *train_ids],
            "picture": [_picture(rng, size_px) for _ in range(images + duplicates)],
        },
        PICTURES_SCHEMA,
        about,
    )
    write_table(
        run / run_folder.LABEL_ISSUES,
        {
            "sample_id": sample_ids[:label_issues],
            "target": targets[:label_issues].astype(np.int32),
            "suggested": predicted[:label_issues].astype(np.int32),
            "target_prob": target_probs[:label_issues],
            "suggested_prob": predicted_probs[:label_issues],
            "score": target_probs[:label_issues],
        },
        LABEL_ISSUES_SCHEMA,
        about,
    )
    write_table(
        run / run_folder.DUPLICATES,
        {
            "sample_id_a": train_ids,
            "sample_id_b": sample_ids[:duplicates],
            "target_a": targets[:duplicates].astype(np.int32),
            "target_b": targets[:duplicates].astype(np.int32),
            "part_a": ["train"] * duplicates,
            "part_b": ["test"] * duplicates,
            "kind": ["identical" if number % 2 else "near" for number in range(duplicates)],
            "is_mirrored": [False] * duplicates,
            "distance": [0.01 * number for number in range(duplicates)],
        },
        DUPLICATES_SCHEMA,
        about,
    )
    _write_summary(run, about, targets, predicted, num_classes, label_issues, duplicates)
    return run


def drop_pictures(run: Path, *, target: int, predicted: int | None = None) -> None:
    """Leave pictures out of the gallery, as its limit for each class does."""
    gallery = pq.read_table(run / run_folder.GALLERY)
    is_out = np.asarray(gallery["target"]) == target
    if predicted is not None:
        is_out &= np.asarray(gallery["predicted"]) == predicted
    pq.write_table(gallery.filter(pa.array(~is_out)), run / run_folder.GALLERY)


def _write_summary(
    run: Path,
    about: dict[str, Any],
    targets: Any,
    predicted: Any,
    num_classes: int,
    label_issues: int,
    duplicates: int,
) -> None:
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (targets, predicted), 1)
    counts += 10 * np.eye(num_classes, dtype=np.int64)
    off = counts - np.diag(np.diag(counts))
    pairs = sorted(
        (
            (int(off[a, b]), a, b)
            for a in range(num_classes)
            for b in range(num_classes)
            if off[a, b]
        ),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    summary = {
        "format_version": 1,
        **{key: about[key] for key in ("method", "layer", "map_hw", "images", "of_images")},
        "is_closed_form": True,
        "mistakes": int(off.sum()),
        "faithfulness": [
            {
                "method": "grad-cam",
                "layer": "features",
                "images": 100,
                "deletion": 0.12,
                "insertion": 0.45,
                "random_deletion": 0.2,
                "random_insertion": 0.3,
                "seconds": 1.0,
            }
        ],
        "confusion": {
            "order": list(reversed(range(num_classes))),
            "counts": [
                [row, column, int(counts[row, column])]
                for row in range(num_classes)
                for column in range(num_classes)
                if counts[row, column]
            ],
        },
        "confused_pairs": [
            {"target": a, "predicted": b, "images": n, "share": n / int(counts[a].sum())}
            for n, a, b in pairs[:100]
        ],
        "confident_mistakes": [],
        "unsure_hits": [],
        "best_classes": list(range(min(10, num_classes))),
        "worst_classes": list(range(min(10, num_classes))),
        "label_issues": {"found": label_issues, "of_images": 300},
        "duplicates": {
            "identical": duplicates // 2,
            "near": duplicates - duplicates // 2,
            "across_split": duplicates,
            "two_labels": 0,
        },
    }
    whole_files.write_json(run / run_folder.EXPLANATION, summary)


def _picture(rng: np.random.Generator, size_px: int) -> bytes:
    """Coloured blobs as WebP, about as many bytes as a photograph of that size."""
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((size_px, size_px), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80, method=4)
    return file.getvalue()
