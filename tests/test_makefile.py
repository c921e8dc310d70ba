"""The targets of a fresh checkout: each sets up what it needs before it runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("target", "runs"), [("test", "-m pytest"), ("demo", "tinysight demo --out demo")]
)
def test_a_fresh_checkout_installs_before_it_runs(tmp_path: Path, target: str, runs: str) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    plan = subprocess.run(
        ["make", "--dry-run", target], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert 0 < plan.index("pip install --quiet --requirement requirements.lock") < plan.index(runs)
