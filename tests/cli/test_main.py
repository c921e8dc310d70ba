import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinysight import __version__, cli
from tinysight.cli import main, recipes
from tinysight.errors import DataError


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"tinysight {__version__}\n"


@pytest.mark.parametrize("words", [[], ["trian"], ["train"], ["data"]])
def test_wrong_words_are_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == cli.USAGE
    assert "usage: tinysight" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a.zip: must be a zip."), 1, "tinysight: a.zip: must be a zip.\n"),
        (KeyboardInterrupt(), 130, "\ntinysight: stopped by Ctrl-C.\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            1,
            "tinysight: this command needs the package torch, which is not installed. "
            "Install it with: pip install 'tinysight[train]'\n",
        ),
    ],
)
def test_a_fault_is_said_without_a_traceback(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(recipes, "run_recipes", fail)
    assert main(["recipes"]) == code
    assert capsys.readouterr().err == message


def test_what_the_terminal_cannot_show_is_spelt_out(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    table = folder / "a.csv"
    table.write_text(
        "image,class,x,y,width,height,image_width,image_height\n"
        + "a.jpg,größe,1,2,30,40,100,80\n" * 9
        + "a.jpg,größe,1,2,30\n"
    )
    done = {}
    for words in ("summary", "summary --json", "check", "check --json", "explain", "check --help"):
        command = [sys.executable, "-m", "tinysight", "boxes", *words.split(), os.fsencode(table)]
        done[words] = subprocess.run(
            command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
        )
        assert done[words].stderr == b""
    assert b"gr\\xf6\\xdfe" in done["summary"].stdout
    assert b"\\u2588" in done["summary"].stdout  # a bar
    assert json.loads(done["summary --json"].stdout)["classes"][0]["name"] == "größe"
    assert b"caf\\udce9/a.csv" in done["check"].stdout
    examples = json.loads(done["check --json"].stdout)["findings"][0]["examples"]
    assert "caf\\udce9/a.csv" in examples[0]


def test_a_module_that_no_extra_brings_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr(recipes, "run_recipes", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["recipes"])


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    shell = f"{sys.executable} -m tinysight recipes smoke | head -n 1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("# ")


PIPELINE = """set -o pipefail; {python} -m tinysight {words} | true; echo ${{PIPESTATUS[0]}}"""


@pytest.mark.parametrize("words", ["{file}", "{file} --json", "{file} absent 2>&1"])
def test_a_guard_of_a_pipeline_does_not_pass_when_its_reader_closes_early(
    words: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("image,class,xmin,ymin,xmax,ymax\na.jpg,dog,5,5,2,9\n")
    words = "boxes check " + words.format(file=file)
    shell = PIPELINE.format(python=sys.executable, words=words)
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_reader_that_reads_nothing_is_no_fault() -> None:
    shell = PIPELINE.format(python=sys.executable, words="recipes")
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
