"""The notebooks: clean as committed, and every cell runs as a reader would run it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MOST_BYTES = 50_000


def name_of(path: Path) -> str:
    return path.stem


def code_of(notebook: Any) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_there_is_a_notebook_of_the_classify_half() -> None:
    assert EXAMPLES / "classify.ipynb" in NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebook_is_committed_without_outputs_and_paths(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < MOST_BYTES
    assert not [cell.id for cell in notebook.cells if cell.get("outputs")]
    assert not [cell.id for cell in notebook.cells if cell.get("execution_count")]
    source = "\n".join(cell.source for cell in notebook.cells)
    assert not re.findall(r"""["'\s](/(?:home|Users|tmp|root|mnt|work)\b|[A-Z]:\\)""", source)
    assert "http" not in code_of(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_every_step_is_explained_before_it_is_run(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith("# ")
    headings = [cell for cell in cells if cell.source.startswith("## ")]
    assert len(headings) >= 5
    for cell, following in pairwise(cells):
        if following.cell_type == "code" and following.id != "imports":
            assert cell.cell_type == "markdown", following.id


@pytest.fixture
def private_jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a kernel writes about itself, and all temporary files, out of the home folder."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "TMPDIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # or it warns that it will look elsewhere
    # A second thread makes it a little quicker on free cores, and many times slower on busy ones.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.timeout(600)  # under a minute on two free cores
@pytest.mark.usefixtures("private_jupyter")
def test_classify_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "classify.ipynb", as_version=4)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    client = NotebookClient(
        notebook,
        timeout=500,  # for one cell
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    texts = {
        name: "".join(output.text for output in each if output.output_type == "stream")
        for name, each in outputs.items()
    }
    pictures = {
        name
        for name, each in outputs.items()
        for output in each
        if {"image/png", "image/svg+xml"} & set(output.get("data", {}))
    }
    assert pictures == {"pack", "lr-test", "train-run", "explain", "label-issues"}
    assert not [
        output.text
        for each in outputs.values()
        for output in each
        if output.output_type == "stream" and output.name == "stderr"
    ]
    match = re.search(
        r"([\d.]+)% of \d+ test images are recognised, ± ([\d.]+)%", texts["evaluate"]
    )
    assert match is not None
    chance = re.search(r"guessing would reach ([\d.]+)%", texts["evaluate"])
    assert chance is not None
    accuracy, error = float(match[1]), float(match[2])
    assert accuracy > float(chance[1]) + 4 * error, "the network must have learned something"
    assert "[" in texts["diagnose"]
    page = Path(texts["report"].split(": ", 1)[1].strip())
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(folder.iterdir()), "a reader's own folder is left alone"
