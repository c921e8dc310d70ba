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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_folder_is_open_to_whom_umask_leaves_it(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "store", "one")
    finally:
        os.umask(before)
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_store_is_replaced_when_told_to(tmp_path: Path) -> None:
    write(tmp_path / "store", "one")
    write(tmp_path / "store", "two", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store" / "store.json").read_text() == "two"


@pytest.mark.parametrize("name", ["run/model.safetensors", "notes.txt"])
def test_a_store_with_something_else_in_its_folder_is_not_replaced(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / "store", "one")
    kept = tmp_path / "store" / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("days of training")
    with pytest.raises(
        DataError,
        match=r"store: only a store can be replaced, and in the folder of this one there is "
        rf"{name.split('/')[0]} as well, which would be lost. Move it away or choose another --out",
    ):
        write(tmp_path / "store", "two", replace=True)
    assert kept.read_text() == "days of training"
    assert (tmp_path / "store" / "store.json").read_text() == "one"


def test_hidden_files_that_a_system_leaves_in_a_store_are_in_nobodys_way(tmp_path: Path) -> None:
    write(tmp_path / "store", "one")
    (tmp_path / "store" / ".DS_Store").write_text("")
    write(tmp_path / "store", "two", replace=True)
    assert (tmp_path / "store" / "store.json").read_text() == "two"


def test_folders_above_the_store_are_made(tmp_path: Path) -> None:
    write(tmp_path / "stores" / "tiny" / "first", "one")
    assert (tmp_path / "stores" / "tiny" / "first" / "store.json").read_text() == "one"


def test_a_file_where_a_folder_above_must_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "stores").write_text("")
    with pytest.raises(
        DataError,
        match=r"stores: must be a folder that can be written to, File exists. Mend that or choose",
    ):
        write(tmp_path / "stores" / "tiny", "one")


def test_a_link_stays_and_the_store_behind_it_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "store", "one")
    (tmp_path / "link").symlink_to("store")
    write(tmp_path / "link", "two", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "store"]
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "store" / "store.json").read_text() == "two"


@pytest.mark.parametrize("replace", [False, True])
def test_what_appears_while_the_store_is_made_is_left_alone(tmp_path: Path, replace: bool) -> None:
    out = tmp_path / "store"

    def write_slowly() -> None:
        with whole_or_nothing(out, replace=replace) as folder:
            (folder / "store.json").write_text("ours")
            out.mkdir()
            (out / "letter.txt").write_text("theirs")

    message = (
        "only a store can be replaced, and" if replace else "must not exist yet, there is some"
    )
    with pytest.raises(DataError, match=f"store: {message}"):
        write_slowly()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_a_place_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    out = tmp_path / ("long" * 100)  # root may look into every folder, but no name is so long
    with pytest.raises(
        DataError,
        match=r"must be in folders that can be looked into, File name too long. Change th",
    ):
        write(out, "one")


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_any_fault_leaves_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    def write_half() -> None:
        with whole_or_nothing(tmp_path / "store", replace=False) as folder:
            (folder / "half").write_text("half")
            raise fault

    with pytest.raises(fault):
        write_half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "is_done", "survivor"), [(1, False, "one"), (1, True, "one"), (2, True, "two")]
)
def test_a_signal_while_the_stores_change_places_leaves_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, is_done: bool, survivor: str
) -> None:
    write(tmp_path / "store", "one")
    replace_folder = os.replace
    calls: list[Path] = []

    def be_interrupted(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) != call or is_done:
            replace_folder(source, target)
        if len(calls) == call:
            raise KeyboardInterrupt  # what a signal becomes

    monkeypatch.setattr(os, "replace", be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", "two", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store" / "store.json").read_text() == survivor


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
