"""Where the real data is, for the tests that read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def real_file(name: str) -> Path:
    """Return a file or folder of the real data; without it the test is skipped and says so.

    The data may not be copied into the project, and not everybody has it.
    """
    root = os.environ.get("TINYSIGHT_DATA")
    if not root:
        pytest.skip("TINYSIGHT_DATA does not name the folder with the real data")
    path = Path(root) / name
    if not path.exists():
        pytest.skip(f"the folder that TINYSIGHT_DATA names has no {name}")
    return path
