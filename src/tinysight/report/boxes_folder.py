"""The folder of a report on a set of boxes: a page, and beside it charts, tables and anchors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinysight.boxes.findings import save_findings
from tinysight.boxes.summary_tables import TABLE_NAMES, save_tables, tables_of
from tinysight.errors import DataError, RunError
from tinysight.overwriting import require_other_file
from tinysight.whole_files import make_folder, write_json, write_text
from tinysight.writable_names import writable
from tinysight.written_files import WRITTEN, replacing, require_own

if TYPE_CHECKING:
    from tinysight.boxes.analysis import AnchorAnalysis, BoxAnalysis
    from tinysight.report.boxes_page import ExamplePicture

PAGE = "report.html"
FINDINGS = "findings.csv"
ANCHORS = "anchors.json"
TABLES = "tables"
CHARTS = "charts"

_ALWAYS = (PAGE, FINDINGS, ANCHORS, *(f"{TABLES}/{name}" for name in TABLE_NAMES))


@dataclass(frozen=True)
class BoxesReport:
    """A written report.

    Attributes:
        page: The HTML file.
        bytes: Its length.
        files: Everything that was written but the note of it, relative to the folder, with slashes.
        charts: Names of the charts, each of which is there as PNG and as SVG.
        num_examples: Photographs on the page.
    """

    page: Path
    bytes: int
    files: tuple[str, ...]
    charts: tuple[str, ...]
    num_examples: int


def write_boxes_report(
    analysis: BoxAnalysis,
    out: str | Path,
    *,
    name: str | None = None,
    images_dir: str | Path | None = None,
    num_examples: int = 9,
) -> BoxesReport:
    """Write a folder with one self-contained HTML page, and its charts, tables and anchors.

    Files of an earlier report that this one does not write are removed; those of others stay.

    Args:
        analysis: What :func:`tinysight.analyse_boxes` says of the boxes.
        out: The folder, which need not exist.
        name: What the set is called on the page; when not given, the name of its file, or how
            many files it has.
        images_dir: Folder with the photographs, to draw boxes and anchors on some of them.
        num_examples: On how many at the most.

    Raises:
        DataError: ``out`` is a file.
        RunError: ``out`` cannot be written, or holds files that no report wrote, or that were
            changed since, or that the boxes were read from.
    """
    from tinysight.report.boxes_figures import box_figures
    from tinysight.report.boxes_page import build_boxes_page
    from tinysight.report.chart_style import save_svg_and_png
    from tinysight.report.page_html import render_page

    out = Path(out)
    require_report_folder(out, analysis.reading.files)
    name = writable(_name_of(analysis.reading.files) if name is None else name)
    examples = (
        []
        if images_dir is None
        else list(_example_pictures(analysis, Path(images_dir), num_examples))
    )
    html = writable(render_page(build_boxes_page(analysis, name=name, examples=examples)))
    tables = tables_of(analysis.summary)
    charts = dict(box_figures(analysis, name))
    files = (
        FINDINGS,
        *([ANCHORS] if analysis.anchors else []),
        *(f"{TABLES}/{table_name}" for table_name in tables),
        *(f"{CHARTS}/{chart_name}.{kind}" for chart_name in charts for kind in ("png", "svg")),
        PAGE,
    )
    with replacing(out, files):
        make_folder(out / CHARTS)
        save_findings(analysis.reading.findings, out / FINDINGS)
        save_tables(tables, out / TABLES)
        for chart_name, chart in charts.items():
            save_svg_and_png(chart, out / CHARTS / chart_name)
        if analysis.anchors is not None:
            write_json(out / ANCHORS, _anchors_json(analysis, analysis.anchors))
        write_text(out / PAGE, html)  # last: whoever sees the page finds the rest
    return BoxesReport(
        page=out / PAGE,
        bytes=len(html.encode()),
        files=files,
        charts=tuple(sorted(charts)),
        num_examples=len(examples),
    )


def report_outputs(out: Path) -> list[Path]:
    """Return the files that any report writes into its folder, charts apart."""
    return [out / name for name in (*_ALWAYS, WRITTEN)]


def require_report_folder(out: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse a folder that no report can be written into, before anything is computed.

    Args:
        out: The folder, which need not exist.
        inputs: Files that the boxes are read from.

    Raises:
        DataError, RunError: As :func:`write_boxes_report`.
    """
    if os.path.isfile(out):
        raise DataError(
            f"{out}: a report needs a folder to be written into, but there is a file. "
            f"Choose another --out."
        )
    # Unlike Path.exists this takes folders that may not be looked into.
    parent = next((path for path in (out, *out.parents) if os.path.exists(path)), Path())
    if not parent.is_dir():
        raise RunError(
            f"{out}: a report must be in a folder, but {parent} is a file. Choose another --out."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(
            f"{out}: must be a folder that can be written to, but {parent} may not be. "
            f"Choose another --out."
        )
    inputs = tuple(inputs)
    for path in report_outputs(out):
        require_other_file(path, inputs, what="annotations that are read")
    require_own(out, _ALWAYS)


def _name_of(files: tuple[str, ...]) -> str:
    return Path(files[0]).name if len(files) == 1 else f"{len(files):,} files"


def _example_pictures(
    analysis: BoxAnalysis, images_dir: Path, num_examples: int
) -> Iterator[ExamplePicture]:
    if num_examples == 0 or analysis.summary.boxes == 0:
        return
    from tinysight.boxes.examples import choose_examples
    from tinysight.report.box_pictures import draw_boxes, encode_picture
    from tinysight.report.boxes_page import ExamplePicture

    anchors = analysis.anchors.chosen if analysis.anchors else None
    for example in choose_examples(analysis.reading.table, images_dir, num_examples):
        match = example.match(anchors) if anchors is not None else None
        picture = draw_boxes(
            example.photograph,
            example.boxes_xywh_px,
            example.class_names,
            match.wh_px if match else None,
            match.index if match else None,
        )
        num_drawn = len(example.class_names)
        yield ExamplePicture(encode_picture(picture), num_drawn, example.num_boxes)


def _anchors_json(analysis: BoxAnalysis, anchors: AnchorAnalysis) -> dict[str, object]:
    return {
        "input_size_wh": list(analysis.input_size_wh),
        "fit": analysis.fit,
        "sets": [
            {
                "k": one.k,
                "anchors_wh_px": one.anchors_wh_px.tolist(),
                "mean_best_iou": one.mean_best_iou,
                "best_possible_recall": one.best_possible_recall,
                "upper_bound": one.upper_bound,
                "gap": one.gap,
            }
            for one in anchors.sets
        ],
    }
