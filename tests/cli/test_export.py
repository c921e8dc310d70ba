import json
import shutil
import sys
from pathlib import Path

import onnxruntime
import pytest
from safetensors import safe_open

from tinysight import run_folder, whole_files
from tinysight.classify.diagnosis import diagnose_run
from tinysight.classify.export import export_safetensors
from tinysight.cli import main
from tinysight.report.model_card import render_model_card

QUICK = ("--recipe", "smoke", "--set", "train.epochs=2", "--set", "train.batch_size=8")


@pytest.fixture(scope="module")
def finished(packed_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", str(packed_shapes), "--out", str(run), *QUICK]) == 0
    return run


def test_export_writes_onnx_and_says_how_close_it_is(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    assert main(["export", str(finished), "--format", "onnx", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: ONNX with opset 18, ")
    assert "on 18 test images its logits differ from torch's by at most" in printed.out
    assert "(allowed 1e-04)" in printed.out
    assert printed.err == ""
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["images"]


def test_export_prints_one_json_object(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file_format, extra in (
        ("onnx", {"opset", "input", "output", "images_compared", "max_difference"}),
        ("safetensors", set()),
        ("card", set()),
    ):
        out = tmp_path / file_format
        words = ["export", str(finished), "--format", file_format, "--out", str(out), "--json"]
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1
        result = json.loads(printed)
        assert {"run", "format", "out", "bytes"} | extra <= result.keys()
        assert result["bytes"] == out.stat().st_size
        assert result["out"] == str(out)


@pytest.mark.parametrize(
    ("name", "begin"), [("card.MD", b"# Model card"), ("net.safetensors", None)]
)
def test_export_writes_what_the_name_of_the_file_says(
    name: str, begin: bytes | None, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / name
    assert main(["export", str(finished), "--out", str(out)]) == 0
    if begin:
        assert out.read_bytes().startswith(begin)
    else:
        with safe_open(out, framework="pt") as weights:
            assert "classes" in weights.metadata()


def test_export_refuses_the_suffix_of_another_format(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.onnx"
    assert main(["export", str(finished), "--format", "card", "--out", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {out}: the file must not end as that of another format does, but --format is "
        "card. Let it end with .md, or pass --format onnx.\n"
    )
    assert not out.exists()


def test_export_of_safetensors_and_card_are_the_library_calls(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights.safetensors"
    assert main(["export", str(finished), "--format", "safetensors", "--out", str(out)]) == 0
    assert "with classes, normalisation and recipe in its metadata" in capsys.readouterr().out
    library = export_safetensors(finished, tmp_path / "library.safetensors")
    with safe_open(out, framework="pt") as ours, safe_open(library, framework="pt") as theirs:
        # The order of the entries is the only thing that the format leaves open.
        assert ours.metadata() == theirs.metadata()
        assert "classes" in ours.metadata()
    assert out.stat().st_size == library.stat().st_size

    card = tmp_path / "card.md"
    assert main(["export", str(finished), "--format", "card", "--out", str(card)]) == 0
    warnings = [each.sentence for each in diagnose_run(finished) if each.severity == "warning"]
    assert card.read_text() == render_model_card(finished, findings=warnings)
    assert card.read_text().startswith("# Model card: finished\n")


def test_a_card_needs_no_store_and_onnx_can_be_told_where_it_is(
    finished: Path,
    packed_shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    about = run_folder.read_run(run)
    whole_files.write_json(run / run_folder.RUN, about | {"store": str(tmp_path / "moved")})
    assert main(["export", str(run), "--format", "card", "--out", str(tmp_path / "c.md")]) == 0
    out = str(tmp_path / "m.onnx")
    assert main(["export", str(run), "--out", out]) == 1
    message = f"none is seen at {tmp_path / 'moved'}. Name the place where it is now with --store."
    assert message in capsys.readouterr().err
    assert main(["export", str(run), "--out", out, "--store", str(packed_shapes)]) == 0


def test_a_place_that_cannot_be_written_is_named_before_any_work(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(finished), "--out", str(tmp_path)]) == 1
    assert "--out must be a file, but a folder has this name" in capsys.readouterr().err
    assert main(["export", str(finished), "--out", str(tmp_path / "no" / "m.onnx")]) == 1
    assert "--out must be in a folder that exists" in capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["onnx", "safetensors", "card"])
@pytest.mark.parametrize("name", [run_folder.MODEL, run_folder.RUN, "checkpoints/step-00000012.pt"])
def test_no_file_of_the_run_is_written_over(
    finished: Path, capsys: pytest.CaptureFixture[str], file_format: str, name: str
) -> None:
    out = finished / name
    before = out.read_bytes()
    assert main(["export", str(finished), "--format", file_format, "--out", str(out)]) == 1
    assert (
        f"{out}: --out must not write over the files of the run itself, which would be lost. "
        f"Choose another --out."
    ) in capsys.readouterr().err
    assert out.read_bytes() == before


def test_without_the_packages_of_onnx_the_extra_is_named(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(finished), "--out", str(tmp_path / "m.onnx")]) == 1
    assert "pip install 'tinysight[export]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
