"""Recipes: TOML in, frozen typed settings out, every fault said at once.

A recipe names only what differs from the defaults in :mod:`tinysight.classify.settings`. Unknown
keys and impossible values are collected and shown together, each with the nearest valid name.
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tinysight.classify.settings import Recipe, SettingsError, faults_of_length
from tinysight.errors import RecipeError


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes with the package.

    Attributes:
        name: What ``--recipe`` takes.
        summary: The first line of its header.
        text: The whole file, header included.
    """

    name: str
    summary: str
    text: str


def shipped_recipes() -> tuple[ShippedRecipe, ...]:
    """Return the recipes that come with the package, by name."""
    found = []
    for file in files("tinysight.recipes").iterdir():
        if file.name.endswith(".toml"):
            text = file.read_text(encoding="utf-8")
            summary = text.splitlines()[0].lstrip("# ").rstrip()
            found.append(ShippedRecipe(file.name.removesuffix(".toml"), summary, text))
    return tuple(sorted(found, key=lambda recipe: recipe.name))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides to it.

    Args:
        name_or_path: The name of a shipped recipe, or the path of a TOML file.
        overrides: ``KEY=VALUE`` texts such as ``train.epochs=3``. A value is read as TOML, and
            as plain text where it is not TOML.

    Returns:
        Checked settings.

    Raises:
        RecipeError: No such recipe, not TOML, unknown keys or impossible values; all of them at
            once.
    """
    where, text = _find(str(name_or_path))
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: a recipe must be TOML, but {_lower(str(error))}.") from error
    return override_recipe(values, overrides, where=where)


def override_recipe(values: dict[str, Any], overrides: Sequence[str], *, where: str) -> Recipe:
    """Apply ``KEY=VALUE`` texts to the values of a recipe and check the outcome.

    Args:
        values: Tables of settings, as read from TOML.
        overrides: As for :func:`load_recipe`.
        where: What error messages call the recipe.

    Raises:
        RecipeError: Unknown keys or impossible values; all of them at once.
    """
    values = copy.deepcopy(values)
    for number, override in enumerate(overrides):
        _apply(values, override, earlier=overrides[:number])
    return parse_recipe(values, where=f"{where} with --set" if overrides else where)


def parse_recipe(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Check the values of a recipe.

    Args:
        values: Tables of settings, as read from TOML.
        where: What error messages call the recipe.

    Raises:
        RecipeError: Unknown keys or impossible values; all of them at once.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        faults = [text for fault in found for text in _describe(fault["loc"], fault)]
        faults += _faults_between_tables(values, {fault["loc"] for fault in found})
        count = f"{len(faults)} fault" + ("s" if len(faults) > 1 else "")
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise RecipeError(f"{where}: {count}.{lines}") from error


def find_shipped(name: str) -> ShippedRecipe:
    """Return the shipped recipe of a name.

    Raises:
        RecipeError: There is none; the message names the nearest.
    """
    shipped = {recipe.name: recipe for recipe in shipped_recipes()}
    if name not in shipped:
        raise RecipeError(
            f"recipe {name!r}: must be the name of a shipped recipe or of a TOML file"
            f"{_did_you_mean(name, shipped) or '.'} Shipped: {', '.join(shipped)}."
        )
    return shipped[name]


def _find(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        return f"recipe {name_or_path}", find_shipped(name_or_path).text
    try:
        # The mark that editors of Windows put in front of UTF-8 is no part of the text.
        return str(path), path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(
            f"{path}: a recipe must be a readable TOML file, but {_lower(str(reason))}. "
            f"`tinysight recipes` lists those that come with the package."
        ) from error


def _apply(values: dict[str, Any], override: str, *, earlier: Sequence[str]) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(
            f"--set: must be KEY=VALUE such as train.epochs=3, got {override!r}. "
            f"Put the name of a setting before the equals sign."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = values
    for depth, part in enumerate(parts[:-1], 1):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            for other in earlier:
                if other.partition("=")[0].strip().split(".") == parts[:depth]:
                    raise RecipeError(
                        f"--set {other}: {part} must be a table of settings, got a value. Name "
                        f"one of its settings."
                    )
            raise RecipeError(
                f"--set {override}: {part} must be a table of settings, but it is a value. "
                f"Write one dot less."
            )
        table = inner
    table[parts[-1]] = value


def _faults_between_tables(
    values: Mapping[str, Any], faulty: Set[tuple[int | str, ...]]
) -> Iterator[str]:
    """Yield what pydantic looks for only where each table is faultless by itself.

    Args:
        values: Tables of settings.
        faulty: Where a fault was found, the key of a setting or of a table.
    """
    keys = (("train", "epochs"), ("schedule", "peak_epoch"), ("schedule", "full_size_epoch"))
    tables = {name: values.get(name, {}) for name, _ in keys}
    are_tables = all(isinstance(table, Mapping) for table in tables.values())
    if () in faulty or not are_tables or not faulty.isdisjoint(keys):
        return  # found already, or not to be judged
    defaults = Recipe().model_dump()
    length = {key: tables[name].get(key, defaults[name][key]) for name, key in keys}
    yield from (f"{fault}." for fault in faults_of_length(**length))


def _describe(location: Sequence[int | str], fault: Any) -> Iterator[str]:
    if fault["type"] == "value_error" and isinstance(fault["ctx"]["error"], SettingsError):
        table = "".join(f"{part}." for part in location)
        yield from (f"{table}{text}." for text in fault["ctx"]["error"].faults)
    else:
        yield _describe_setting(location, fault)


def _describe_setting(location: Sequence[int | str], fault: Any) -> str:
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        siblings = _fields_of(location[:-1])
        hint = _did_you_mean(str(location[-1]), siblings) or _elsewhere(str(location[-1]))
        return f"{key}: unknown key{hint or '.'} Known here: {', '.join(siblings)}."
    rule = fault["msg"].removeprefix("Input should be ").removeprefix("Input ")
    found = fault["input"]
    hint = ""
    if fault["type"] == "literal_error" and isinstance(found, str):
        allowed = fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        hint = _did_you_mean(found, allowed)
    if fault["type"] == "model_type":
        rule = "a table of settings"
    return f"{key}: must be {rule}, got {found!r}{hint or '.'}"


def _fields_of(location: Sequence[int | str]) -> list[str]:
    settings: type[BaseModel] = Recipe
    for part in location:
        inner = settings.model_fields[str(part)].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            settings = inner
    return list(settings.model_fields)


def _elsewhere(name: str) -> str:
    """The setting of that name in another table, as a question."""
    homes = {field: table for table in Recipe.model_fields for field in _fields_of([table])}
    nearest = difflib.get_close_matches(name.lower(), homes, n=1, cutoff=0.8)
    return f", did you mean {homes[nearest[0]]}.{nearest[0]}?" if nearest else ""


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f", did you mean {nearest[0]}?" if nearest else ""


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
