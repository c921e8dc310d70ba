from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tinysight.errors import RunError
from tinysight.written_files import (
    WRITTEN,
    remove_stale,
    replacing,
    require_own,
    save_written,
    written_names,
)


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


def test_what_a_report_wrote_is_known_by_name(tmp_path: Path) -> None:
    write(tmp_path, "anchors.json", "tables/classes.csv", "mine.json")
    assert written_names(tmp_path) == frozenset()
    save_written(tmp_path, ["anchors.json", "tables/classes.csv"])
    assert written_names(tmp_path) == {WRITTEN, "anchors.json", "tables/classes.csv"}


@pytest.mark.parametrize(
    "text", ['{"a":' * 100_000, '{"sha256": {"old": "x"}}' + " " * 2**22, '{"images": []}', "\xff"]
)
def test_a_file_that_only_has_the_name_of_a_note_is_none(tmp_path: Path, text: str) -> None:
    write(tmp_path, "old")
    (tmp_path / WRITTEN).write_text(text, encoding="latin-1")
    assert written_names(tmp_path) == frozenset()
    remove_stale(tmp_path, [])
    assert names_in(tmp_path) == {"old"}


def test_only_what_was_noted_and_is_unchanged_may_be_written_over(tmp_path: Path) -> None:
    require_own(tmp_path / "absent", ["new"])
    write(tmp_path, "ours", "edited", "mine")
    save_written(tmp_path, ["ours", "edited"])
    (tmp_path / "edited").write_text("by hand")
    require_own(tmp_path, ["ours", "new"])
    for name, fault in (("edited", "it was changed since"), ("mine", "none noted that it did")):
        with pytest.raises(RunError) as caught:
            require_own(tmp_path, ["ours", name])
        assert str(caught.value) == (
            f"{tmp_path / name}: must be absent or as an earlier report wrote it, but {fault}, and "
            f"it would be lost. Move it away, or choose another --out."
        )


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"sha256": ["old"]}'])
def test_a_file_that_is_no_note_is_not_written_over(tmp_path: Path, note: str) -> None:
    (tmp_path / WRITTEN).write_text(note)
    with pytest.raises(RunError, match="but it is no note of what a report wrote, and"):
        require_own(tmp_path, ["new"])
    assert (tmp_path / WRITTEN).read_text() == note


def test_what_was_written_until_a_fault_is_noted_beside_what_was_noted_before(
    tmp_path: Path,
) -> None:
    write(tmp_path, "old", "both")
    save_written(tmp_path, ["old", "both"])
    with suppress(KeyboardInterrupt), replacing(tmp_path, ["both", "new", "never"]):
        (tmp_path / "both").write_text("again")
        write(tmp_path, "new")
        raise KeyboardInterrupt
    assert written_names(tmp_path) == {WRITTEN, "old", "both", "new"}
    with replacing(tmp_path, ["both"]):
        (tmp_path / "both").write_text("in the end")
    assert names_in(tmp_path) == {"both"}
