"""``tinysight boxes``: check, explain and analyse box annotations, and choose anchor boxes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinysight.cli import (
    boxes_anchors,
    boxes_check,
    boxes_explain,
    boxes_export,
    boxes_report,
    boxes_score,
    boxes_summary,
)

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_COMMANDS = (
    boxes_check,
    boxes_explain,
    boxes_summary,
    boxes_anchors,
    boxes_score,
    boxes_export,
    boxes_report,
)


def add_parser(commands: Subparsers) -> None:
    """Add the group ``boxes`` to the commands of ``tinysight``."""
    parser = commands.add_parser("boxes", help="check box annotations and choose anchor boxes")
    box_commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(box_commands)
