"""One finding about a run in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "note", "good"]


@dataclass(frozen=True)
class Observation:
    """Something that the files of a run show.

    Attributes:
        kind: What was looked at and found, a short name that stays the same over versions.
        severity: ``warning``: accuracy is being lost; ``note``: worth knowing; ``good``: as it
            should be.
        sentence: What was found, with the figures behind it; plain text.
        advice: What to try next, naming settings of the recipe (``table.key=value``, as ``--set``
            takes them) or commands; empty where there is nothing to do.
    """

    kind: str
    severity: Severity
    sentence: str
    advice: str = ""
