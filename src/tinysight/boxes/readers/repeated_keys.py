"""Lists that a JSON object has twice, of which a parser would keep the last without a word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from tinysight.errors import DataError
from tinysight.numerals import counted

_STRING_OR_BRACKET = re.compile(rb'"(?P<text>(?:[^"\\]|\\.)*+)"|[\[\]{}]', re.DOTALL)
_COLON = re.compile(rb"\s*:")


def refuse_repeated_keys(data: bytes | memoryview, names: Collection[str], path: Path) -> None:
    """Refuse an object that has one of some keys more than once.

    Keys of objects within it are not looked at.

    Args:
        data: JSON that was parsed as an object before.
        names: The keys, of letters only.
        path: Name of the file, for messages.

    Raises:
        DataError: It has one of them twice or more.
    """
    text = bytes(data)
    if all(text.count(b'"%s"' % name.encode()) < 2 for name in names):
        return  # nearly always, and much sooner than it is known what is nested
    for name, count in _outer_keys(text).items():
        if name in names and count > 1:
            raise DataError(
                f"{path}: must have the list `{name}` once, but has it "
                f"{counted(count, 'time')}, and readers of JSON keep only the last. "
                f"Merge them into one list."
            )


def _outer_keys(text: bytes) -> Counter[str]:
    """Count the keys of an object itself."""
    keys: Counter[str] = Counter()
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match[0][:1]
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
        elif depth == 1 and _COLON.match(text, match.end()):
            keys[match["text"].decode(errors="replace")] += 1
    return keys
