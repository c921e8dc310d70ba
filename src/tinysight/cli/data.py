"""``tinysight data``: fetch an archive, pack it into a store, show what is inside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinysight.cli import data_fetch, data_pack, data_show

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(commands: Subparsers) -> None:
    """Add the group ``data`` to the commands of ``tinysight``."""
    parser = commands.add_parser("data", help="fetch, pack and show the images")
    data_commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (data_fetch, data_pack, data_show):
        module.add_parser(data_commands)
