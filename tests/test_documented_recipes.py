"""Every recipe that a document or a notebook trains can be loaded with the settings beside it."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tinysight.config import load_recipe

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/*"))]

_CODE = re.compile(r"^```\w*\n(.*?)^```$|`([^`]+)`", re.M | re.S)
_COMMAND = re.compile(r"\btinysight (?:train|lr-find) [^\n]*")
_CALL = re.compile(r"\bload_recipe\(.*?\)", re.S)
_DEFAULT = "baseline"


def text_of(document: Path) -> str:
    text = document.read_text(encoding="utf-8")
    if document.suffix != ".ipynb":
        return text
    sources = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(text)["cells"]]
    return "\n".join(f"```\n{text}\n```" if kind == "code" else text for text, kind in sources)


def codes_of(text: str) -> Iterator[str]:
    """Yield the text of each block of code, and of each code in a line, as one line."""
    for block, inline in _CODE.findall(text):
        yield block.replace("\\\n", " ") if block else " ".join(inline.split())


def recipe_of_command(command: str) -> tuple[str, list[str]]:
    words = shlex.split(command)
    options = list(pairwise(words))
    names = [value for option, value in options if option == "--recipe"]
    # N stands for any number.
    sets = [re.sub(r"=N$", "=0", value) for option, value in options if option == "--set"]
    return names[0] if names else _DEFAULT, sets


def recipe_of_call(call: str) -> tuple[str, list[str]]:
    arguments = [ast.literal_eval(each) for each in ast.parse(call, mode="eval").body.args]  # type: ignore[attr-defined]
    return arguments[0], list(arguments[1]) if len(arguments) > 1 else []


def documented_recipes() -> Iterator[tuple[str, str, list[str]]]:
    for document in DOCUMENTS:
        for code in codes_of(text_of(document)):
            for command in _COMMAND.findall(code):
                name, sets = recipe_of_command(command)
                if name != "R":  # stands for any recipe
                    yield document.name, name, sets
            for call in _CALL.findall(code):
                if "..." not in call:
                    yield document.name, *recipe_of_call(call)


RECIPES = list(documented_recipes())


def test_the_recipes_of_documents_are_found() -> None:
    found = {(document, name) for document, name, _ in RECIPES}
    assert {("README.md", "cpu"), ("README.md", "speed-cpu"), ("speedrun.md", "speed-gpu")} <= found
    assert {("tutorial-classify.md", "smoke"), ("classify.ipynb", "smoke")} <= found
    assert sum(bool(sets) for *_, sets in RECIPES) >= 8
    assert list(codes_of("`a\nb`, then\n```\nc \\\nd\n```\n")) == ["a b", "c  d\n"]


@pytest.mark.parametrize(
    ("document", "name", "sets"), RECIPES, ids=[" ".join([d, n, *s]) for d, n, s in RECIPES]
)
def test_a_documented_recipe_can_be_loaded(document: str, name: str, sets: list[str]) -> None:
    load_recipe(name, sets)
