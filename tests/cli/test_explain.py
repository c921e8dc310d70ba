from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.report.runs import make_run
from tinysight import run_folder, whole_files
from tinysight.classify.explain import FILES, ExplainResult
from tinysight.classify.faithfulness import Faithfulness
from tinysight.classify.mistakes import ConfusedPair
from tinysight.cli import explain, main
from tinysight.cli.explain import METHODS

SHEETS = (run_folder.MISTAKES_SHEET, run_folder.MAPS_SHEET)
QUICK = ("--recipe", "smoke", "--set", "train.epochs=2", "--set", "train.batch_size=8")


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinysight.classify.explain.FAITHFULNESS_IMAGES", 4)


@pytest.fixture(scope="module")
def trained(packed_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["train", str(packed_shapes), "--out", str(run), *QUICK]) == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_explain_prints_one_json_object_with_the_promised_keys(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(run), "--device", "cpu", "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    metrics = json.loads((run / run_folder.METRICS).read_text())
    assert result["accuracy"] == pytest.approx(metrics["accuracy"])
    assert result["images"] == result["of_images"] == 18
    assert result["mistakes"] == round(18 * (1 - metrics["accuracy"]))
    assert result["run"] == str(run)
    assert [Path(file).name for file in result["files"]] == [*FILES, *SHEETS]
    assert all(Path(file).is_file() for file in result["files"])
    assert {"method", "layer", "faithfulness", "confused_pairs", "label_issues", "duplicates"} <= (
        result.keys()
    )
    assert result["duplicates"]["identical"] == 1  # drawn so


def test_explain_says_it_in_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", str(run), "--device", "cpu", "--limit", "6", "--method", "layer-cam"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for part in (
        "mistakes in 18 test images",
        "heat maps   6 of 18 test images, layer-cam at layer ",
        "random order",
        "hires-cam",
        "taken for",
        "of 18 test images may be labelled wrong",
        "duplicates  1 pair of equal files and 0 pairs of pictures that show the same",
        f"tinysight report {run}",
    ):
        assert part in printed, printed


def test_a_store_that_moved_can_be_named(
    run: Path, packed_shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((run / run_folder.RUN).read_text())
    whole_files.write_json(run / run_folder.RUN, about | {"store": "/nowhere/store"})
    assert main(["explain", str(run)]) == 1
    assert "/nowhere/store" in capsys.readouterr().err
    words = ["explain", str(run), "--store", str(packed_shapes), "--limit", "2", "--device", "cpu"]
    assert main(words) == 0


def test_a_layer_that_is_not_there_is_one_message(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(run), "--layer", "layer9", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tinysight: ")
    assert "layer9" in captured.err
    assert not run_folder.is_explained(run)


def test_a_folder_that_is_no_run_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(tmp_path)]) == 1
    assert "run.json: must be a readable file" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-3", "many"])
def test_a_limit_must_be_a_count(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", "RUN", "--limit", limit])
    assert f"must be a whole number from 1 up, got '{limit}'" in capsys.readouterr().err


def test_the_methods_of_the_command_are_those_of_the_library() -> None:
    from tinysight.classify.cam import METHODS as LIBRARY_METHODS

    assert METHODS == LIBRARY_METHODS


def test_one_of_a_thing_is_told_in_the_singular_and_no_share_is_nothing(tmp_path: Path) -> None:
    trust = Faithfulness("grad-cam", "body", 1, 0.1, 0.9, 0.5, 0.5, 1.0)
    result = ExplainResult(
        run=make_run(tmp_path / "run"),
        images=1,
        of_images=1,
        accuracy=0.99996,
        mistakes=1,
        method="grad-cam",
        layer="body",
        faithfulness=(trust,),
        confused_pairs=(ConfusedPair(0, 1, 1, 1 / 250),),
        label_issues=0,
        duplicates={"identical": 1, "near": 2, "across_split": 0, "two_labels": 0},
        files=(),
    )
    text = "\n".join(explain._lines(result, ()))
    assert "accuracy    over 99.99 %: 1 mistake in 1 test image\n" in text
    assert "heat maps   1 of 1 test image, grad-cam at layer body\n" in text
    assert "trust       on 1 image  deletion" in text
    assert ": 1 (below 1 % of the class)\n" in text
    assert "duplicates  1 pair of equal files and 2 pairs of pictures" in text
