from __future__ import annotations

from pathlib import Path

import pytest

from tinysight.written_files import WRITTEN, remove_stale, save_written


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def names_in(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != WRITTEN
    }


def test_only_what_was_noted_and_is_unchanged_is_removed(tmp_path: Path) -> None:
    write(tmp_path, "charts/old.png", "charts/new.png", "charts/edited.png", "charts/mine.png")
    save_written(tmp_path, ["charts/old.png", "charts/new.png", "charts/edited.png"])
    (tmp_path / "charts" / "edited.png").write_text("by hand")
    remove_stale(tmp_path, ["charts/new.png"])
    assert names_in(tmp_path) == {"charts/new.png", "charts/edited.png", "charts/mine.png"}
    remove_stale(tmp_path, ["charts/new.png"])  # what is gone already is no fault


def test_a_folder_without_a_note_keeps_everything(tmp_path: Path) -> None:
    write(tmp_path, "charts/old.png")
    remove_stale(tmp_path, [])
    assert names_in(tmp_path) == {"charts/old.png"}


@pytest.mark.parametrize(
    "note",
    ["", "[]", "{}", '{"sha256": ["old"]}', '{"sha256": {"old": 7}}', '{"sha256": {"old": "x"}}'],
)
def test_a_note_that_is_none_removes_nothing(tmp_path: Path, note: str) -> None:
    write(tmp_path, "old")
    (tmp_path / WRITTEN).write_text(note)
    remove_stale(tmp_path, [])
    assert names_in(tmp_path) == {"old"}


def test_a_note_cannot_reach_out_of_its_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    write(outside, "a")
    (inside / "link").symlink_to(outside)
    save_written(inside, ["../outside/a", "link/a", str(outside / "a")])
    remove_stale(inside, [])
    assert names_in(outside) == {"a"}
