"""``tinysight recipes``."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "recipes", help="list the recipes that come with the package, or show one"
    )
    parser.add_argument("name", nargs="?", help="show this recipe whole")
    parser.set_defaults(run=run_recipes)


def run_recipes(arguments: argparse.Namespace) -> int:
    """Print one line a recipe, or one recipe."""
    from tinysight.config import find_shipped, shipped_recipes

    if arguments.name:
        print(find_shipped(arguments.name).text, end="")
        return 0
    for recipe in shipped_recipes():
        print(f"{recipe.name:20} {recipe.summary}")
    return 0
