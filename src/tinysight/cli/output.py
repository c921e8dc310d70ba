"""Results on stdout, text for people or one JSON object, and files that a user names for them.

A reader that has seen enough (`| head`) does not end a command: what it does after printing, and
its exit code, stay what they are.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from tinysight.errors import RunError
from tinysight.whole_files import finite_or_null
from tinysight.writable_folders import why_not_writable


def print_json(result: Mapping[str, Any]) -> None:
    """Print exactly one JSON object; a number that is not finite becomes null."""
    plain = finite_or_null(result)
    text = json.dumps(plain, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # JSON has escapes of its own
        text = json.dumps(plain)
    _print(text, sys.stdout)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as :func:`on_one_line` shows each: no name of a file may steer a terminal."""
    _print("\n".join(map(on_one_line, lines)), sys.stdout)


def print_faults(lines: Iterable[str]) -> None:
    """Print lines on stderr as :func:`print_lines` does on stdout; nothing where there are none.

    Faults come before results, as the reader of these may stop reading.
    """
    for line in lines:
        _print(on_one_line(line), sys.stderr)


def discard_further(stream: TextIO) -> None:
    """Let nothing more reach a stream whose reader is gone: Python would flush it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        discard_further(stream)


def on_one_line(text: str) -> str:
    """Return a text with a blank for each line break, escape and other sign that is not shown.

    Lone surrogates stay, as the streams spell them out.
    """
    return "".join(
        sign if sign.isprintable() or "\ud800" <= sign <= "\udfff" else " " for sign in text
    )


def check_file_to_write(
    out: Path, *, option: str = "--out", suffixes: tuple[str, ...] = ()
) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Args:
        out: The file.
        option: What the user named it with.
        suffixes: Those that it may have, in small letters; any when not given.

    Raises:
        RunError: The file has another suffix, is a folder, is in none, or in one that nothing can
            be written into.
    """
    if suffixes and out.suffix.lower() not in suffixes:
        raise RunError(
            f"{out}: {option} must be a file that ends with {suffixes[0]}. Choose another name."
        )
    # Unlike Path.is_dir this takes folders that may not be looked into.
    if os.path.isdir(out):
        raise RunError(
            f"{out}: {option} must be a file, but a folder has this name. Choose another."
        )
    if not os.path.isdir(out.parent):
        raise RunError(
            f"{out}: {option} must be in a folder that exists, and none is seen at {out.parent}. "
            f"Make it or choose another."
        )
    if reason := why_not_writable(out.parent):  # a file that is there is replaced as well
        raise RunError(
            f"{out}: {option} must be in a folder that can be written to, but for {out.parent}: "
            f"{reason}. Mend that or choose another folder."
        )
