"""The line on which every table stands: processor, cores, Python, torch."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def hardware_line() -> str:
    """Return processor, matrix unit, cores and versions in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = dict(line.split("\t:", 1) if "\t:" in line else (line, "") for line in lines)
    name = fields.get("model name\t", fields.get("model name", platform.processor())).strip()
    has_amx = any("amx_bf16" in line for line in lines)
    return (
        f"{name}{' with AMX' if has_amx else ''}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {version('torch')}"
    )
