"""What an explanation of an annotation file is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST_VALUE = 40


@dataclass(frozen=True)
class FieldNote:
    """One field of a real record."""

    name: str
    value: str
    """As it stands in the file, shortened."""
    meaning: str
    is_used: bool
    """Whether tinysight reads it."""


@dataclass(frozen=True)
class RecordNote:
    """One real record of a file and what its fields mean."""

    heading: str
    fields: tuple[FieldNote, ...]


@dataclass(frozen=True)
class Explanation:
    """The schema of one file, shown on its own records."""

    title: str
    layout: tuple[str, ...]
    """Sentences on how the format is built."""
    records: tuple[RecordNote, ...]
    in_words: str
    """The first box as a sentence; empty where no box was kept."""
    odd: tuple[str, ...]
    """What is not as the format says, one sentence a kind."""


def field_notes(
    record: Mapping[str, Any], meanings: Mapping[str, str], used: frozenset[str]
) -> tuple[FieldNote, ...]:
    """Return a note for each field of a record, in its order."""
    return tuple(
        FieldNote(
            name,
            shorten(value),
            meanings.get(name, "an extra of this file, not part of the format"),
            name in used,
        )
        for name, value in record.items()
    )


def shorten(value: object) -> str:
    """Return a value on one line of bounded length."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
