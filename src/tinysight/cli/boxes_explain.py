"""``tinysight boxes explain``: the schema of an annotation file, shown on its own records."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from tinysight.cli.boxes_input import add_input_arguments, read_input
from tinysight.cli.output import print_json, print_lines
from tinysight.numerals import counted

if TYPE_CHECKING:
    from tinysight.boxes.explanation import Explanation, RecordNote
    from tinysight.boxes.findings import Reading

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_COLUMNS = 99


def add_parser(commands: Subparsers) -> None:
    """Add ``explain`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "explain",
        help="walk through the schema of an annotation file on its own records",
        description="Show the first image, annotation and class of this very file, what each key "
        "means, which ones are used, and what is odd here.",
    )
    add_input_arguments(parser, takes_many=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_explain)


def run_explain(arguments: argparse.Namespace) -> int:
    """Print the explanation of one file."""
    from tinysight import cli
    from tinysight.boxes.explain import explain_annotations

    reading = read_input(arguments)
    explanation = explain_annotations(reading)
    if arguments.json:
        print_json({"format": reading.format, **asdict(explanation)})
    else:
        print_lines(_lines(explanation, reading))
    return cli.OK


def _lines(explanation: Explanation, reading: Reading) -> Iterator[str]:
    yield f"{explanation.title}."
    yield ""
    for number, sentence in enumerate(explanation.layout):
        yield from _wrapped(sentence, "" if number == 0 else "  ")
    for record in explanation.records:
        yield ""
        yield from _record_lines(record)
    if explanation.in_words:
        yield ""
        yield "The first box in words"
        yield from _wrapped(explanation.in_words, "  ")
    yield ""
    yield "What is odd in this file"
    for oddity in explanation.odd or ("Nothing: every record is as the format says.",):
        yield from _wrapped(oddity, "  ")
    yield ""
    yield from _wrapped(
        f"In all: {reading.images_in_words}, "
        f"{counted(reading.table.num_classes, 'class', 'classes')}, "
        f"{counted(reading.boxes_read, 'box', 'boxes')} read = {reading.accepted:,} accepted + "
        f"{reading.repaired:,} repaired + {reading.rejected:,} rejected.",
        "",
    )


def _record_lines(record: RecordNote) -> Iterator[str]:
    yield f"{record.heading}  (* is used)"
    if not record.fields:
        return
    name_width = min(20, max(len(field.name) for field in record.fields))
    value_width = min(40, max(len(field.value) for field in record.fields))
    for field in record.fields:
        mark = "*" if field.is_used else " "
        line = f"{mark} {field.name:{name_width}}  {field.value:{value_width}}  {field.meaning}"
        yield from textwrap.wrap(
            line,
            _COLUMNS,
            initial_indent="  ",
            subsequent_indent=" " * (name_width + value_width + 8),
            drop_whitespace=True,
        )


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
