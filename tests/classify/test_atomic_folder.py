from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinysight.classify.atomic_folder import whole_or_nothing
from tinysight.errors import DataError


def write(out: Path, text: str, *, replace: bool = False) -> None:
    with whole_or_nothing(out, replace=replace) as folder:
        (folder / "store.json").write_text(text)
        if not replace:
            assert not out.exists()  # nobody sees half a store


def test_the_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    write(tmp_path / "store", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store" / "store.json").read_text() == "one"
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o755


def test_a_store_is_replaced_when_told_to(tmp_path: Path) -> None:
    write(tmp_path / "store", "one")
    write(tmp_path / "store", "two", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store" / "store.json").read_text() == "two"


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_any_fault_leaves_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    def write_half() -> None:
        with whole_or_nothing(tmp_path / "store", replace=False) as folder:
            (folder / "half").write_text("half")
            raise fault

    with pytest.raises(fault):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_the_old_store_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "store", "one")
    replace_folder = os.replace

    def fail_for_the_new_one(source: Path, target: Path) -> None:
        if target == tmp_path / "store" and not source.name.endswith(".old"):
            raise PermissionError(13, "Permission denied")
        replace_folder(source, target)

    monkeypatch.setattr(os, "replace", fail_for_the_new_one)
    with pytest.raises(
        DataError,
        match=r"store: the store must be written whole, Permission denied. Mend that or choose an",
    ):
        write(tmp_path / "store", "two", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store" / "store.json").read_text() == "one"
