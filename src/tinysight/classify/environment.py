"""Versions, hardware and command of a run."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tinysight
from tinysight.classify.processes import Processes


def describe_environment(device: torch.device, processes: Processes) -> dict[str, Any]:
    """Return versions, hardware and command, for ``environment.json``."""
    packages = ("numpy", "pillow", "pyarrow", "safetensors")
    return {
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv[1:],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"tinysight": tinysight.__version__}
        | {name: version(name) for name in packages}
        | {"torch": str(torch.__version__)},  # with its build, such as +cu130, which others drop
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes.count,
    }


def processor_name() -> str:
    """Return what the operating system calls the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
