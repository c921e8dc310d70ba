from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.builders import write_tree
from tinysight.classify.sources import file_tree
from tinysight.classify.sources.file_tree import FolderTree, SubTree, read_text
from tinysight.classify.sources.index import Unreadable
from tinysight.errors import DataError


def test_files_are_listed_in_sorted_order_without_hidden_ones(tmp_path: Path) -> None:
    names = ["b/2", "b/1", "a", ".git/config", "b/.DS_Store"]
    tree = FolderTree(write_tree(tmp_path / "t", dict.fromkeys(names, b"")))
    assert tree.names == ["a", "b/1", "b/2"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    tree = FolderTree(write_tree(tmp_path, {"a": b"x"}))
    assert list(tree.read_many(["a", "b"])) == [b"x", Unreadable("missing")]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert list(FolderTree(tmp_path).read_many(["folder"])) == [
        Unreadable("not readable: Is a directory")
    ]


def test_a_file_too_large_is_told_without_being_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_tree, "MAX_FILE_BYTES", 2**20)
    tree = FolderTree(write_tree(tmp_path, {"a": bytes(2**20), "b": bytes(2**20 + 1)}))
    whole, too_large = tree.read_many(["a", "b"])
    assert whole == bytes(2**20)
    assert too_large == Unreadable("larger than 1 MiB")


def link(place: Path, target: str | Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, place)


def test_linked_folders_are_followed_but_not_back_up(tmp_path: Path) -> None:
    write_tree(tmp_path / "elsewhere", {"1.png": b""})
    (tmp_path / "t").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "t" / "cat")
    os.symlink(tmp_path / "t", tmp_path / "t" / "up")
    assert FolderTree(tmp_path / "t").names == ["cat/1.png"]


def test_folders_that_links_lead_to_beside_are_read_under_both_names(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"cat/1.png": b"cat", "dog/1.png": b"dog"})
    link(root / "aaa", "cat")
    link(root / "ant" / "similar", "../dog")
    tree = FolderTree(root)
    assert tree.names == ["aaa/1.png", "ant/similar/1.png", "cat/1.png", "dog/1.png"]
    assert list(tree.read_many(tree.names)) == [b"cat", b"dog", b"cat", b"dog"]


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"a/1": b"", "b/2": b""})
    link(root / "a" / "b", "../b")
    link(root / "b" / "a", "../a")
    assert FolderTree(root).names == ["a/1", "a/b/2", "b/2", "b/a/1"]


@pytest.mark.timeout(10)
def test_many_folders_that_link_to_each_other_are_refused_at_once(tmp_path: Path) -> None:
    names = "abcdefghijkl"
    for here in names:
        for there in set(names) - {here}:
            link(tmp_path / here / there, f"../{there}")
    with pytest.raises(
        DataError,
        match=r"/a/b/c/d/e/f: at most 4 links may lie on the way to a folder, 5 do. Remove links "
        r"between folders that lead to each other.",
    ):
        FolderTree(tmp_path)


def test_links_that_lead_nowhere_are_told_from_others(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"a": b"", "below/b": b""})
    link(root / "below" / "lost", tmp_path / "nowhere")
    link(root / "below" / "itself", "itself")
    link(root / "good", "a")
    tree = FolderTree(root)
    faults = {name: tree.fault_of_link(name) for name in tree.names}
    assert {name for name, fault in faults.items() if fault} == {"below/itself", "below/lost"}
    assert SubTree(tree, "below/").fault_of_link("lost") == "leads nowhere"


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        DataError, match=r"every folder of a source must be readable, Permission denied. Change"
    ):
        FolderTree(tmp_path)


def test_folders_with_nothing_but_hidden_files_are_empty(tmp_path: Path) -> None:
    tree = FolderTree(write_tree(tmp_path, {"a/.DS_Store": b"", "b/1": b""}))
    assert tree.empty_folders == ["a"]


def test_folders_with_nothing_but_empty_folders_are_empty(tmp_path: Path) -> None:
    for folder in ("a/b/c", "d/e"):
        (tmp_path / folder).mkdir(parents=True)
    link(tmp_path / "f" / "up", "..")
    tree = FolderTree(write_tree(tmp_path, {"d/1": b""}))
    assert tree.empty_folders == ["a", "a/b", "a/b/c", "d/e", "f"]


def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, parent in ((b"caf\xe9.png", tmp_path / "a"), (b"\xff", tmp_path)):
        path = os.path.join(os.fsencode(parent), name)
        os.mkdir(path)
        with pytest.raises(
            DataError,
            match=re.escape(
                f"{parent}: names of files and folders must be UTF-8, {name!r} is not. Rename it."
            ),
        ):
            FolderTree(tmp_path)


def test_a_folder_that_vanishes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at = os.stat

    def vanish(path: str, **options: bool) -> os.stat_result:
        if path == str(tmp_path):
            raise FileNotFoundError(2, "No such file or directory", path)
        return look_at(path, **options)

    monkeypatch.setattr(os, "stat", vanish)
    with pytest.raises(DataError, match=r"must be readable, No such file or directory. Change"):
        FolderTree(tmp_path)


def test_a_part_of_a_tree_names_its_files_from_its_own_top(tmp_path: Path) -> None:
    whole = FolderTree(write_tree(tmp_path, {"a/b/1": b"x", "a/b/c/2": b"y", "3": b"z"}))
    tree = SubTree(whole, "a/b/")
    assert tree.names == ["1", "c/2"]
    assert list(tree.read_many(["c/2"])) == [b"y"]
    assert SubTree(whole, "").names == whole.names


def test_text_that_is_missing_or_no_text_is_told(tmp_path: Path) -> None:
    tree = FolderTree(write_tree(tmp_path / "t", {"a.txt": b"\xff"}))
    with pytest.raises(DataError, match=r"t: b.txt must be there and readable, it is missing"):
        read_text(tree, "b.txt")
    with pytest.raises(DataError, match=r"t: a.txt must be UTF-8 text, byte 0 is not"):
        read_text(tree, "a.txt")
