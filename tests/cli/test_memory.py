import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from tinysight.cli.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is on Linux")
def test_memory_that_was_freed_is_used_again() -> None:
    def faults(word: str) -> int:
        words = [sys.executable, "-c", PROGRAM, word]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    assert faults("keep") < 0.1 * faults("free")
