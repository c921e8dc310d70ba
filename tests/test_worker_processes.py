from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinysight.worker_processes import open_pool

SCRIPT = """\
import os
from pathlib import Path

from tinysight.worker_processes import ignore_interrupts, open_pool

print("the script runs")
with open_pool(2, initializer=ignore_interrupts) as pool:
    found = list(pool.map(os.path.basename, ["a/b", "a/c"]))
print(found, Path(__file__).name)
"""


@pytest.mark.parametrize("way", ["file", "module", "text"])
def test_a_script_runs_once_whatever_its_workers_do(way: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    text = SCRIPT.replace("Path(__file__).name", "'script.py'")
    words = {"file": ["script.py"], "module": ["-m", "script"], "text": ["-c", text]}[way]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("the script runs\n['b', 'c'] script.py\n", "")


def test_the_main_module_is_as_it_was() -> None:
    main = vars(sys.modules["__main__"])
    before = {name: main.get(name, "none") for name in ("__spec__", "__file__")}
    with open_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
    assert {name: main.get(name, "none") for name in before} == before
