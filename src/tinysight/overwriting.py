"""What no command writes over: the files that it reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tinysight.errors import RunError


def require_other_file(
    out: Path, inputs: Iterable[str | Path], *, what: str, option: str = "--out"
) -> None:
    """Refuse to write something over a file that is read, by whatever path each is named.

    Args:
        out: The file to write, which need not exist.
        inputs: What is read; of a folder nothing that is in it.
        what: What that is, in the plural.
        option: What the user named ``out``, or its folder, with.

    Raises:
        RunError: ``out`` is one of them.
    """
    if os.path.realpath(out) in map(os.path.realpath, inputs):
        raise RunError(
            f"{out}: {option} must not write over {what}, which would be lost. "
            f"Choose another {option}."
        )
