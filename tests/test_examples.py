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


def test_there_is_a_notebook_of_each_half() -> None:
    assert {"boxes", "classify"} <= {name_of(path) for path in NOTEBOOKS}


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


class Executed:
    """What the cells of a notebook put out, by the names of the cells."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
        client = NotebookClient(
            notebook,
            timeout=500,  # for one cell
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute()
        self._outputs = {cell.id: cell.outputs for cell in notebook.cells if "outputs" in cell}

    def text(self, cell: str) -> str:
        return self._joined("stdout", cell)

    @property
    def complaints(self) -> str:
        return "".join(self._joined("stderr", cell) for cell in self._outputs)

    @property
    def pictures(self) -> set[str]:
        return {
            cell
            for cell, outputs in self._outputs.items()
            for output in outputs
            if {"image/png", "image/svg+xml"} & set(output.get("data", {}))
        }

    def _joined(self, stream: str, cell: str) -> str:
        return "".join(each.text for each in self._outputs[cell] if each.get("name") == stream)


@pytest.mark.timeout(600)  # under a minute on two free cores
@pytest.mark.usefixtures("private_jupyter")
def test_classify_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    found = Executed("classify", tmp_path / "elsewhere")
    assert found.pictures == {"pack", "lr-test", "train-run", "explain", "label-issues"}
    assert found.complaints == ""
    match = re.search(
        r"([\d.]+)% of \d+ test images are recognised, ± ([\d.]+)%", found.text("evaluate")
    )
    assert match is not None
    chance = re.search(r"guessing would reach ([\d.]+)%", found.text("evaluate"))
    assert chance is not None
    accuracy, error = float(match[1]), float(match[2])
    assert accuracy > float(chance[1]) + 4 * error, "the network must have learned something"
    assert "[" in found.text("diagnose")
    page = Path(found.text("report").split(": ", 1)[1].strip())
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(found.folder.iterdir()), "a reader's own folder is left alone"


@pytest.mark.timeout(300)  # half a minute on two free cores
@pytest.mark.usefixtures("private_jupyter")
def test_boxes_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    found = Executed("boxes", tmp_path / "elsewhere")
    assert found.pictures == {
        "classes",
        "sizes-rel",
        "sizes-log",
        "to-scale",
        "elbow",
        "certify",
        "on-sizes",
        "examples",
    }
    assert found.complaints == ""
    assert "1,000 read = 995 accepted + 2 repaired + 3 rejected" in found.text("spoil")
    assert found.text("iou-by-hand").count("0.5714") == 2
    assert_text_of_methods_is_true(found.text("methods"))
    for line in found.text("wcss").splitlines()[1:]:
        _, by_hand, chosen = map(float, line.split())
        assert chosen == pytest.approx(by_hand, rel=0.02), line  # both may stop a little early
    bounds = re.findall(r"k = (\d): ([\d.]+) reached, ([\d.]+) is", found.text("certify"))
    assert [k for k, _, _ in bounds] == ["3", "4", "5", "6"]
    assert all(float(bound) >= float(reached) for _, reached, bound in bounds)
    assert "anchors:\n  - [" in found.text("yolov5")
    page = Path(found.text("report").split(": ", 1)[1].strip())
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(found.folder.iterdir()), "a reader's own folder is left alone"


def assert_text_of_methods_is_true(table: str) -> None:
    """The search is never behind k-means, and its mean is that of the calculation by hand."""
    rows = [line.split() for line in table.splitlines()[1:5]]
    assert [row[0] for row in rows] == ["3", "4", "5", "6"]
    for _, wh, log, iou in rows:
        assert float(iou) >= max(float(wh), float(log))
    assert table.rstrip().endswith(f"k = 3: {rows[0][3]}")
