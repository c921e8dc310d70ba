import os
import subprocess
import sys
from pathlib import Path

import pytest

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

FAULTS = """
import resource, sys
import numpy as np
from tinysight.cli.memory import prepare_memory
if sys.argv[1] == "prepare":
    prepare_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

HUGE_KIB = """
from tinysight.cli.memory import prepare_memory
prepare_memory()
import torch
numbers = torch.ones(16_000_000)  # 64 MB
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages:")))
"""


def run(program: str, *words: str, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is on Linux")
def test_memory_that_was_freed_is_used_again() -> None:
    assert run(FAULTS, "prepare") < 0.1 * run(FAULTS, "leave")


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="this system gives no huge pages",
)
def test_tensors_lie_in_huge_pages_unless_the_user_says_no() -> None:
    assert run(HUGE_KIB) > 32 * 1024
    if "[madvise]" in HUGE_PAGES.read_text():
        assert run(HUGE_KIB, THP_MEM_ALLOC_ENABLE="0") < 1024
