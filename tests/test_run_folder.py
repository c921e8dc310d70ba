import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import IO

import pytest

from tests.report.runs import make_run
from tinysight import run_folder
from tinysight.classify.settings import Recipe
from tinysight.errors import RunError

EXPLANATION = {
    "format_version": 1,
    "method": "grad-cam",
    "images": 3,
    "of_images": 3,
    "mistakes": 3,
    "confident_mistakes": [],
    "confused_pairs": [],
    "confusion": {"order": [], "counts": []},
    "label_issues": {"found": 0, "of_images": 3},
    "duplicates": {"identical": 0, "near": 0, "across_split": 0, "two_labels": 0},
}


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    run_folder.write_text(path, "old")
    run_folder.write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        run_folder.write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    run_folder.write_text(path, "old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_folder.replace_file(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    run_folder.write_text(path, "old")

    def fill(file: IO[bytes]) -> None:
        file.write(b"x" * 100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        RunError,
        match=r"a\.txt: the disk must have room for the file, but it is full \(No space .*\)\. "
        r"Nothing was left half-written; make room and run the command again",
    ):
        run_folder.replace_file(path, fill)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"b/a\.txt: must be writable, but No such file"):
        run_folder.write_text(tmp_path / "b" / "a.txt", "x")


def test_appending_to_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"b/a\.jsonl: must be writable, but No such file"):
        run_folder.append_records(tmp_path / "b" / "a.jsonl", [{"a": 1}])


def test_a_full_disk_may_leave_half_of_what_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(
        RunError, match=r"a\.jsonl: the disk must have room .*\)\. Make room and run the command"
    ):
        run_folder.append_records(tmp_path / "a.jsonl", [{"a": 1}])


def test_records_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(
        RunError, match=r"a\.jsonl: must be a readable file, but Permission denied\. Name a run"
    ):
        run_folder.read_records(tmp_path / "a.jsonl")


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert run_folder.read_records(path) == []
    run_folder.append_records(path, [{"a": 1}, {"a": 0.1}])
    run_folder.append_records(path, [{"a": "ü\n"}])
    assert run_folder.read_records(path) == [{"a": 1}, {"a": 0.1}, {"a": "ü\n"}]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert run_folder.read_records(path) == [{"a": 1}]


def test_a_torn_line_in_the_middle_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RunError, match=r"a\.jsonl: line 2 must be JSON"):
        run_folder.read_records(path)


@pytest.mark.parametrize("text", ['{"a": 1}\n3\n', '{"a": 1}\n3'])
def test_a_line_that_is_no_record_is_a_fault(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    message = r"a\.jsonl: line 2 must be one JSON object, got int\. Train the run again\.$"
    with pytest.raises(RunError, match=message):
        run_folder.read_records(path)


def test_lines_that_will_be_written_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    run_folder.write_records(path, [{"epoch": 0}, {"epoch": 1}, {"epoch": 2}])
    kept = run_folder.keep_records(path, lambda record: record["epoch"] < 2)
    assert kept == run_folder.read_records(path) == [{"epoch": 0}, {"epoch": 1}]


def test_a_recipe_comes_back_as_it_was_written(tmp_path: Path) -> None:
    recipe = Recipe()
    run_folder.write_recipe(tmp_path, recipe.model_dump())
    assert Recipe.model_validate(run_folder.read_recipe(tmp_path)) == recipe


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"recipe\.toml: must be a readable file, but No such file"):
        run_folder.read_recipe(tmp_path)


@pytest.mark.parametrize("content", [b"[", '# "smörgås"'.encode("latin-1")])
def test_a_damaged_recipe_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(RunError, match=r"recipe\.toml: must be TOML"):
        run_folder.read_recipe(tmp_path)


def test_a_number_that_json_cannot_say_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    run_folder.write_json(path, {"a": [float("nan"), 1.5], "b": {"c": float("inf")}})
    assert json.loads(path.read_text()) == {"a": [None, 1.5], "b": {"c": None}}


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"run\.json: must be a readable file.*Name a run folder that"
    ):
        run_folder.read_run(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"run\.json: must be JSON"),
        ("[]", r"run\.json: must be one JSON object, got list"),
        (json.dumps({"format_version": 99}), r"run\.json: format_version must be 1, got 99"),
        ("{}", r"run\.json: format_version must be 1, got None"),
    ],
)
def test_a_run_of_another_kind_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=message):
        run_folder.read_run(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [(("store",), "store is missing"), (("mean", "std"), "mean, std are missing")],
)
def test_a_run_that_does_not_say_what_it_was_trained_on_is_named(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    run = make_run(tmp_path / "run")
    about = run_folder.read_run(run)
    run_folder.write_json(
        run / run_folder.RUN, {name: about[name] for name in about if name not in names}
    )
    text = (
        f"{run / 'run.json'}: must say what the run was trained on, but {said}. Copy the file anew "
        f"from where the run was trained, or use the version of tinysight that wrote it."
    )
    with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        run_folder.read_run(run)


def test_checkpoints_are_listed_newest_first(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for step in (9, 10, 100_000_000):
        run_folder.checkpoint_file(tmp_path, step).touch()
    (tmp_path / "checkpoints" / ".step-00000011.pt.tmp").touch()
    names = [path.name for path in run_folder.checkpoint_files(tmp_path)]
    assert names == ["step-100000000.pt", "step-00000010.pt", "step-00000009.pt"]


def test_a_run_that_was_killed_before_it_began_is_in_nobodys_way(tmp_path: Path) -> None:
    settings = Recipe().model_dump()
    assert run_folder.files_in_the_way(tmp_path / "none", settings) == ()
    run_folder.write_recipe(tmp_path, settings)
    run_folder.write_json(tmp_path / run_folder.ENVIRONMENT, {})
    (tmp_path / ".gitignore").touch()
    assert run_folder.files_in_the_way(tmp_path, settings) == ()
    (tmp_path / run_folder.RUN).touch()
    every = ("environment.json", "recipe.toml", "run.json")
    assert run_folder.files_in_the_way(tmp_path, settings) == every


def test_a_recipe_of_somebodys_own_is_in_the_way(tmp_path: Path) -> None:
    settings = Recipe().model_dump()
    run_folder.write_recipe(tmp_path, settings)
    with open(tmp_path / run_folder.RECIPE, "a") as file:
        file.write("# mine\n")
    assert run_folder.files_in_the_way(tmp_path, settings) == ("recipe.toml",)
    (tmp_path / run_folder.RECIPE).unlink()
    (tmp_path / run_folder.ENVIRONMENT).touch()
    assert run_folder.files_in_the_way(tmp_path, settings) == ("environment.json",)


def kill_while_writing(path: Path) -> None:
    """Leave what a process that is killed in the middle of a file leaves."""
    before = {each.name for each in path.parent.iterdir()}

    def copy(file: IO[bytes]) -> None:
        (name,) = {each.name for each in path.parent.iterdir()} - before
        path.with_name(f"x{name}").touch()  # the file itself goes when the writing ends

    run_folder.replace_file(path, copy)
    path.unlink()
    for each in path.parent.glob("x.*"):
        each.rename(each.with_name(each.name[1:]))


def test_the_unfinished_files_of_a_killed_process_are_removed_and_no_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "checkpoints").mkdir()
    kill_while_writing(tmp_path / "recipe.toml")
    kill_while_writing(tmp_path / "report.html")
    kill_while_writing(run_folder.checkpoint_file(tmp_path, 7))
    assert len([path for path in tmp_path.rglob(".*") if path.is_file()]) == 3
    kept = [
        *(".env", ".gitignore", ".recipe.toml.original", ".recipe.toml.swp", "recipe.toml"),
        *(".notes.txt.abcdefgh.unfinished", ".step-00000007.pt.abcdefgh.unfinished"),
        *("checkpoints/.nfs0001", "checkpoints/.gitkeep", "checkpoints/step-00000001.pt"),
        *("checkpoints/.recipe.toml.abcdefgh.unfinished",),
    ]
    for name in kept:
        (tmp_path / name).touch()
    run_folder.remove_unfinished_files(tmp_path)
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, found)) == sorted(kept)


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    run_folder.make_folder(tmp_path / "a" / "b")
    run_folder.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "it is a file"), ("file/run", "Not a directory")]
)
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError,
        match=rf"{name}: must be a folder that can be written to, but {reason}\. Choose another "
        r"--out\.$",
    ):
        run_folder.make_folder(tmp_path / name)


def test_a_name_that_no_folder_can_have_is_told(tmp_path: Path) -> None:
    settings = Recipe().model_dump()
    path = tmp_path / ("a" * 300)
    assert run_folder.files_in_the_way(path, settings) == ()
    with pytest.raises(RunError, match=r"must be a folder that can be written to, but File name"):
        run_folder.make_folder(path)


def test_a_folder_that_cannot_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(
        RunError, match=r"must be a folder that can be looked into, but Permission denied\. Choose"
    ):
        run_folder.files_in_the_way(tmp_path, Recipe().model_dump())


def test_a_file_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gradcam.png"
    path.touch()
    run_folder.remove_file(path)
    run_folder.remove_file(path)
    assert not path.exists()

    def refuse(path: Path, *, missing_ok: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(RunError, match=r"gradcam\.png: must be writable, but Permission denied\."):
        run_folder.remove_file(path)


def test_a_folder_of_somebody_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(
        RunError, match=r"must be a folder that can be written to, but Permission denied\. Choose"
    ):
        run_folder.make_folder(tmp_path)


def test_a_run_is_explained_once_its_summary_is_there(tmp_path: Path) -> None:
    assert not run_folder.is_explained(tmp_path)
    run_folder.write_json(tmp_path / run_folder.EXPLANATION, EXPLANATION)
    assert run_folder.is_explained(tmp_path)
    assert run_folder.read_explanation(tmp_path) == EXPLANATION


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "must be a readable file, but there is none"),
        ('{"format_version": 1', "must be JSON, but Expecting"),
        ('{"format_version": 7}', "format_version must be 1, got 7"),
        ("[]", "format_version must be 1, got None"),
    ],
)
def test_an_explanation_that_cannot_be_used_names_the_command_that_writes_it(
    content: str | None, fault: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / run_folder.EXPLANATION).write_text(content)
    with pytest.raises(
        RunError, match=rf"explanation\.json: {fault}.* Write it with: tinysight explain "
    ):
        run_folder.read_explanation(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", r"metrics\.json: must be JSON, but Expecting property name"),
        ("[]", r"metrics\.json: must be one JSON object, got list"),
        (
            '{"accuracy": 0.5, "images": 8, "loss": 1, "top5": 1, "classes": []}',
            r"metrics\.json: must hold the results on the test images, but calibration, "
            r"calibration_error, weights are missing",
        ),
    ],
)
def test_damaged_metrics_name_the_command_that_writes_them(
    tmp_path: Path, text: str, fault: str
) -> None:
    assert run_folder.read_metrics(tmp_path) is None
    (tmp_path / run_folder.METRICS).write_text(text)
    with pytest.raises(RunError, match=rf"{fault}.*\. Write it with: tinysight evaluate"):
        run_folder.read_metrics(tmp_path)
