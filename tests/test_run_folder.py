import errno
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.report.runs import make_run
from tinysight import run_folder, whole_files
from tinysight.classify.settings import Recipe
from tinysight.errors import RunError
from tinysight.required_keys import EPOCH, STEP
from tinysight.whole_files import Record

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
    whole_files.write_json(
        run / run_folder.RUN, {name: about[name] for name in about if name not in names}
    )
    text = (
        f"{run / 'run.json'}: must say what the run was trained on, but {said}. Copy the file anew "
        f"from where the run was trained, or use the version of tinysight that wrote it."
    )
    with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        run_folder.read_run(run)


@pytest.mark.parametrize(
    ("read", "name", "what", "whole"),
    [
        (run_folder.read_history, "history.jsonl", "epoch", EPOCH),
        (run_folder.read_steps, "steps.jsonl", "step", STEP),
    ],
)
def test_a_line_that_lacks_what_every_line_has_is_named(
    tmp_path: Path,
    read: Callable[[Path], list[Record]],
    name: str,
    what: str,
    whole: tuple[str, ...],
) -> None:
    assert read(tmp_path) == []
    row = dict.fromkeys(whole, 0.5)
    whole_files.write_records(tmp_path / name, [row, row])
    assert read(tmp_path) == [row, row]
    for key in whole:
        lacking = {other: value for other, value in row.items() if other != key}
        (tmp_path / name).write_text(f"{json.dumps(row)}\n\n{json.dumps(lacking)}\n")
        text = (
            f"{tmp_path / name}: line 3 must say how its {what} went, but {key} is missing. Copy "
            f"the file anew from where the run was trained, or train the run again."
        )
        with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
            read(tmp_path)


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
    whole_files.write_json(tmp_path / run_folder.ENVIRONMENT, {})
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

    whole_files.replace_file(path, copy)
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


def test_a_name_that_no_folder_can_have_is_told(tmp_path: Path) -> None:
    settings = Recipe().model_dump()
    path = tmp_path / ("a" * 300)
    assert run_folder.files_in_the_way(path, settings) == ()
    with pytest.raises(RunError, match=r"must be a folder that can be written to, but File name"):
        whole_files.make_folder(path)


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


def test_a_run_is_explained_once_its_summary_is_there(tmp_path: Path) -> None:
    assert not run_folder.is_explained(tmp_path)
    whole_files.write_json(tmp_path / run_folder.EXPLANATION, EXPLANATION)
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
