"""``tinysight boxes report``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinysight.cli.boxes_anchors import add_anchor_arguments
from tinysight.cli.boxes_input import add_input_arguments, read_input, require_not_input
from tinysight.cli.boxes_score import add_against_argument
from tinysight.cli.number_arguments import whole_number
from tinysight.cli.output import print_json, print_lines
from tinysight.numerals import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tinysight.boxes.analysis import BoxAnalysis
    from tinysight.boxes.summary import BoxSummary
    from tinysight.report.boxes_page import ExamplePicture
    from tinysight.report.chart_style import Chart

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PAGE = "report.html"
FINDINGS = "findings.csv"
ANCHORS = "anchors.json"
TABLES = "tables"
CHARTS = "charts"

_CERTIFY_S = 5.0
_CHART_PX = 560


def add_parser(commands: Subparsers) -> None:
    """Add ``report`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "report",
        help="one page on a set of annotations, with charts, tables and anchors beside it",
        description="Write a folder with one HTML page that opens from disk: what is wrong with "
        "the annotations, what is in them, anchors for each k with a proof of how near to the "
        "best possible they are, and how published anchors compare. Files of an earlier report "
        "that this one no longer writes are removed; files of others stay, and one that has the "
        "name of a file of the report is refused.",
    )
    add_input_arguments(parser)
    add_anchor_arguments(parser, certify_s=_CERTIFY_S)
    add_against_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--name", help="what the set is called on the page (default: the file)")
    parser.add_argument(
        "--examples",
        type=whole_number(0),
        default=9,
        metavar="N",
        help="with --images: draw boxes and anchors on so many of them (default 9)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> int:
    """Analyse the annotations and write the folder."""
    from tinysight import cli
    from tinysight.boxes.analysis import analyse_boxes
    from tinysight.boxes.anchors import DEFAULT_KS
    from tinysight.boxes.findings import save_findings
    from tinysight.boxes.presets import find_preset
    from tinysight.boxes.proofs import proof_processes
    from tinysight.boxes.summary_tables import TABLE_NAMES, save_tables, tables_of
    from tinysight.report.boxes_page import build_boxes_page
    from tinysight.report.chart_style import save_svg_and_png
    from tinysight.report.page_html import render_page
    from tinysight.run_folder import make_folder, write_text
    from tinysight.writable_names import writable
    from tinysight.written_files import WRITTEN, replacing, require_own

    out: Path = arguments.out
    _check_out(out)
    against = find_preset(arguments.against) if arguments.against else None
    always = [PAGE, FINDINGS, ANCHORS, *(f"{TABLES}/{name}" for name in TABLE_NAMES)]
    outputs = [out / name for name in (*always, WRITTEN)]
    require_not_input(outputs, arguments.files)
    require_own(out, always)
    reading = read_input(arguments, outputs=outputs)
    certify_s = _CERTIFY_S if arguments.certify is None else arguments.certify
    with proof_processes(len(arguments.k or DEFAULT_KS) if certify_s > 0 else 0) as executor:
        analysis = analyse_boxes(
            reading,
            arguments.k,
            input_size_wh=arguments.input_size,
            fit=arguments.fit,
            against=against,
            certify_s=certify_s,
            seed=arguments.seed,
            executor=executor,
        )
    examples = list(_examples(analysis, arguments))
    name = writable(arguments.name or ", ".join(_name_of(path) for path in arguments.files))
    html = writable(render_page(build_boxes_page(analysis, name=name, examples=examples)))

    tables = tables_of(analysis.summary)
    charts = dict(_charts(analysis, name))
    written = [
        FINDINGS,
        *([ANCHORS] if analysis.anchors else []),
        *(f"{TABLES}/{table_name}" for table_name in tables),
        *(f"{CHARTS}/{chart_name}.{kind}" for chart_name in charts for kind in ("png", "svg")),
        PAGE,
    ]
    with replacing(out, written):
        make_folder(out / CHARTS)
        save_findings(reading.findings, out / FINDINGS)
        save_tables(tables, out / TABLES)
        for chart_name, chart in charts.items():
            save_svg_and_png(chart, out / CHARTS / chart_name)
        if analysis.anchors is not None:
            _save_anchors(analysis, out / ANCHORS)
        write_text(out / PAGE, html)  # last: whoever sees the page finds the rest

    if arguments.json:
        print_json(
            {
                "page": str(out / PAGE),
                "bytes": len(html.encode()),
                "images": reading.images,
                "boxes_read": reading.boxes_read,
                "accepted": reading.accepted,
                "repaired": reading.repaired,
                "rejected": reading.rejected,
                "k": analysis.anchors.chosen.k if analysis.anchors else None,
                "charts": sorted(charts),
                "examples": len(examples),
            }
        )
        return cli.OK
    beside = [FINDINGS, *([ANCHORS] if analysis.anchors else []), f"{TABLES}/"]
    beside += [f"{CHARTS}/ ({len(charts)} as PNG and SVG)"] if charts else []
    print_lines(
        [
            f"read        {counted(reading.boxes_read, 'box', 'boxes')} on "
            f"{reading.images_in_words}: "
            f"{reading.accepted:,} accepted, {reading.repaired:,} repaired, "
            f"{reading.rejected:,} rejected",
            f"page        {out / PAGE} ({len(html.encode()) / 1e6:.1f} MB)",
            f"beside it   {', '.join(beside)}",
            *_what_is_missing(analysis, arguments, len(examples)),
        ]
    )
    return cli.OK


def _what_is_missing(
    analysis: BoxAnalysis, arguments: argparse.Namespace, num_examples: int
) -> Iterator[str]:
    if analysis.anchors is None:
        yield f"anchors     none. {analysis.why_no_anchors}"
    elif analysis.left_out_ks:
        left_out = ", ".join(map(str, analysis.left_out_ks))
        yield f"anchors     none for k = {left_out}: there are fewer distinct box sizes"
    if arguments.images is not None and arguments.examples and not num_examples:
        yield (
            f"examples    none: no image with boxes is found by its name in {arguments.images} and "
            f"can be read"
        )


def _name_of(path: Path) -> str:
    """Return the name of a file or folder, that of the folder itself where it is `.` or `..`."""
    return path.name if path.name not in ("", "..") else path.resolve().name or str(path)


def _check_out(out: Path) -> None:
    """Refuse a folder that cannot be made or written, before anything is computed or written."""
    from tinysight.errors import DataError, RunError

    if os.path.isfile(out):
        raise DataError(f"{out}: --out must be a folder, but there is a file. Choose another name.")
    # Unlike Path.exists this takes folders that may not be looked into.
    parent = next((path for path in (out, *out.parents) if os.path.exists(path)), Path())
    if not parent.is_dir():
        raise RunError(
            f"{out}: --out must be in a folder, but {parent} is a file. Choose another name."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(
            f"{out}: --out must be a folder that can be written, but {parent} may not be. Choose "
            f"another folder."
        )


def _examples(analysis: BoxAnalysis, arguments: argparse.Namespace) -> Iterator[ExamplePicture]:
    if arguments.images is None or arguments.examples == 0 or analysis.summary.boxes == 0:
        return
    from tinysight.boxes.examples import choose_examples
    from tinysight.report.box_pictures import draw_boxes, encode_picture
    from tinysight.report.boxes_page import ExamplePicture

    anchors = analysis.anchors.chosen if analysis.anchors else None
    for example in choose_examples(analysis.reading.table, arguments.images, arguments.examples):
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


def _charts(analysis: BoxAnalysis, name: str) -> Iterator[tuple[str, Chart]]:
    from tinysight.report import anchor_charts, boxes_charts
    from tinysight.report.chart_style import with_style

    summary, anchors, px = analysis.summary, analysis.anchors, _CHART_PX
    if not summary.boxes:
        return
    classes = [entry for entry in summary.classes if entry.boxes]
    most = boxes_charts.MOST_CLASSES
    with_images = analysis.reading.are_images_named
    which, it = "each class", "it"
    if len(classes) > most:
        which, it = f"the {most} largest of {len(classes):,} classes", "them"
    # A file has no legend beside it, so its title says what the marks are.
    bare: dict[str, tuple[str, Chart]] = {
        "classes": (
            f"Boxes of {which}{f'; orange: images that hold {it}' if with_images else ''}",
            boxes_charts.class_boxes_chart(classes, with_images=with_images, width_px=px),
        ),
        "sides-px": (
            "Width and height in pixels",
            boxes_charts.side_lengths_chart(summary, width_px=px),
        ),
        "aspects": (
            "Shapes",
            boxes_charts.aspect_chart(summary.aspect_by_class.sum(axis=0), width_px=px),
        ),
    }
    if with_images:
        bare["boxes-per-image"] = (
            "Boxes in an image",
            boxes_charts.boxes_per_image_chart(summary.images_by_num_boxes, width_px=px),
        )
    # Without the sizes of images neither is known.
    if summary.wh_rel.any():
        bare["sides-rel"] = (
            f"Width and height as shares of the image{_of_boxes(summary.wh_rel, summary)}",
            boxes_charts.side_shares_chart(summary, width_px=px),
        )
    if summary.centres.any():
        bare["centres"] = (
            f"Where the centres are{_of_boxes(summary.centres, summary)}",
            boxes_charts.centres_chart(summary.centres, width_px=px),
        )
    if anchors is not None:
        width, height = analysis.input_size_wh
        for one in anchors.sets:
            bare[f"anchors-k{one.k}"] = (
                f"{one.k} anchor{'' if one.k == 1 else 's'} at {width} × {height} px, "
                f"mean best IoU {one.mean_best_iou:.4f}",
                anchor_charts.anchors_on_sizes_chart(anchors.points, one, width_px=px),
            )
        bare["anchors-to-scale"] = (
            f"Anchors at {width} × {height} px, to scale",
            anchor_charts.anchor_shapes_chart(anchors.sets),
        )
        are_proved = any(one.upper_bound is not None for one in anchors.curve)
        limit = ", proved limit (orange)" if are_proved else ""
        bare["elbow"] = (
            f"Mean best IoU (blue){limit}, recall (green), WCSS (purple)",
            anchor_charts.elbow_chart(
                anchors.curve, anchors.choice, chosen_k=anchors.chosen.k, width_px=px
            ),
        )
    for chart_name, (title, chart) in bare.items():
        yield chart_name, with_style(chart, title, name)


def _of_boxes(counts: NDArray[np.int64], summary: BoxSummary) -> str:
    """Return how many boxes a chart shows, where it does not show all."""
    shown = int(counts.sum())
    return "" if shown == summary.boxes else f", of {shown:,} of {summary.boxes:,} boxes"


def _save_anchors(analysis: BoxAnalysis, path: Path) -> None:
    from tinysight.run_folder import write_json

    assert analysis.anchors is not None
    write_json(
        path,
        {
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
                for one in analysis.anchors.sets
            ],
        },
    )
