"""The settings that a run was trained with, read back and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tinysight import run_folder
from tinysight.classify.settings import Recipe
from tinysight.errors import RunError


def read_settings(run: Path) -> Recipe:
    """Read the settings of a run; what did not exist when it was begun has its default.

    Settings without effect that were once accepted beside each other do not close a finished run:
    they are read as what they amounted to.

    Args:
        run: The run folder.

    Raises:
        RunError: There is no recipe, it is not TOML, or this version does not know a setting.
    """
    values = as_trained(run_folder.read_recipe(run))
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            is_unknown = fault["type"] == "extra_forbidden"
            said = "is unknown" if is_unknown else fault["msg"].removeprefix("Value error, ")
            faults.append(f"{key} {said}" if is_unknown else f"{key}: {said}")
        raise RunError(
            f"{run / run_folder.RECIPE}: must hold settings of this version of tinysight, but "
            f"{'; '.join(faults)}. Use the version that {run_folder.RUN} names, or undo what was "
            f"changed in the file."
        ) from error


def require_begun(run: Path) -> None:
    """Refuse to resume a run that is not there.

    Args:
        run: What should be its folder.

    Raises:
        RunError: No run was begun in it.
    """
    # Unlike Path.exists this takes folders that may not be looked into.
    if not os.path.exists(run / run_folder.RUN):
        raise RunError(
            f"{run}: a run that is resumed must have been begun, but no {run_folder.RUN} is seen "
            f"in it. Leave out --resume to begin it, or name the folder of the run."
        )


def as_trained(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables of settings in which what had no effect in training says so."""
    tables = {name: dict(table) for name, table in values.items() if isinstance(table, Mapping)}
    augment, schedule = tables.get("augment", {}), tables.get("schedule", {})
    if augment.get("alternate_flips"):
        augment.pop("flip_probability", None)  # each image was shown both ways, as by default
    if not schedule.get("full_size_epoch"):
        schedule.pop("first_image_px", None)  # all epochs had images of the last size
    return {**values, **tables}
