import fcntl
import os
import re
from pathlib import Path

import pytest

from tests.classify.test_run import Listener, run
from tinysight.classify.run_lock import sole_training
from tinysight.classify.settings import Recipe
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store
from tinysight.errors import RunError


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_trainings_do_not_write_into_one_folder(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    folder, stop = tmp_path / "run", StopRequest()
    run(store, recipe, folder, stop=stop, listener=Listener(stop, after_step=7))
    before = files_of(folder)
    text = (
        f"{folder}: must be written by one training at a time, but another one is at work in it. "
        f"Wait until it has ended, or choose another --out."
    )
    with sole_training(folder), pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        run(store, recipe, folder, resume=True)
    assert files_of(folder) == before
    assert run(store, recipe, folder, resume=True).is_finished


def test_a_folder_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), sole_training(tmp_path):
        raise KeyboardInterrupt
    with sole_training(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with sole_training(tmp_path):
        pass


def test_a_folder_that_cannot_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    message = "run: must be a folder that can be looked into, but Permission denied. Choose another"
    with pytest.raises(RunError, match=message), sole_training(tmp_path / "run"):
        pass
