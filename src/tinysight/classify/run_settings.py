"""The settings that a run was trained with, read back and checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tinysight import run_folder
from tinysight.classify.settings import Recipe
from tinysight.errors import RunError


def read_settings(run: Path) -> Recipe:
    """Read the settings of a run; what did not exist when it was begun has its default.

    Args:
        run: The run folder.

    Raises:
        RunError: There is no recipe, it is not TOML, or this version does not know a setting.
    """
    values = run_folder.read_recipe(run)
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
            f"{'; '.join(faults)}. Use the version that {run_folder.RUN} names."
        ) from error
