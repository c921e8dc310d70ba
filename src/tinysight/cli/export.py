"""``tinysight export``: a trained network, or its model card, for other people and programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinysight.cli.output import check_file_to_write, print_json, print_lines
from tinysight.errors import RunError

SUFFIXES = {"onnx": ".onnx", "safetensors": ".safetensors", "card": ".md"}
"""What files of each format usually end with."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a trained network as ONNX or safetensors, or its model card",
        description="Write the trained network of a run for other programs, or its model card. "
        "ONNX takes float32 RGB images (batch, 3, S, S) in [0, 1], normalises them itself, and is "
        "compared with torch on 100 test images before the file appears.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder `train` wrote")
    parser.add_argument(
        "--format", choices=tuple(SUFFIXES), help="default: what FILE ends with, else onnx"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--store", type=Path, help="the run's store, if it was moved (default: where it was)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    from tinysight.run_folder import require_outside_run

    out: Path = arguments.out
    require_outside_run(arguments.run_folder, out)
    format = _format_of(out, arguments.format)
    check_file_to_write(out)
    write = {"onnx": _write_onnx, "safetensors": _write_safetensors, "card": _write_card}
    result, sentence = write[format](arguments.run_folder, out, arguments.store)
    if arguments.json:
        print_json({"run": str(arguments.run_folder), "format": format} | result)
    else:
        print_lines([f"{out}: {sentence}"])
    return 0


def _format_of(out: Path, stated: str | None) -> str:
    by_suffix = {suffix: format for format, suffix in SUFFIXES.items()}
    by_name = by_suffix.get(out.suffix.lower())
    if stated and by_name and by_name != stated:
        raise RunError(
            f"{out}: the file must not end as that of another format does, but --format is "
            f"{stated}. Let it end with {SUFFIXES[stated]}, or pass --format {by_name}."
        )
    return stated or by_name or "onnx"


def _write_onnx(run: Path, out: Path, store: Path | None) -> tuple[dict[str, Any], str]:
    from tinysight.classify.export import INPUT_NAME, MAX_DIFFERENCE, OUTPUT_NAME, export_onnx
    from tinysight.cli.run_store import load_run_store

    images = load_run_store(run, store)
    done = export_onnx(run, images, out)
    result = {
        "out": str(out),
        "bytes": done.bytes,
        "opset": done.opset,
        "input": INPUT_NAME,
        "output": OUTPUT_NAME,
        "images_compared": done.images,
        "max_difference": done.max_difference,
        "allowed_difference": MAX_DIFFERENCE,
    }
    return result, (
        f"ONNX with opset {done.opset}, {done.bytes / 1e6:,.1f} MB, normalisation inside; on "
        f"{done.images} test images its logits differ from torch's by at most "
        f"{done.max_difference:.1e} (allowed {MAX_DIFFERENCE:.0e})"
    )


def _write_safetensors(run: Path, out: Path, _: Path | None) -> tuple[dict[str, Any], str]:
    from tinysight.classify.export import export_safetensors

    size = export_safetensors(run, out).stat().st_size
    return {"out": str(out), "bytes": size}, (
        f"safetensors, {size / 1e6:,.1f} MB, with classes, normalisation and recipe in its metadata"
    )


def _write_card(run: Path, out: Path, _: Path | None) -> tuple[dict[str, Any], str]:
    from tinysight.classify.diagnosis import diagnose_run
    from tinysight.report.model_card import render_model_card
    from tinysight.whole_files import write_text

    findings = [each.sentence for each in diagnose_run(run) if each.severity == "warning"]
    write_text(out, render_model_card(run, findings=findings))
    size = out.stat().st_size
    return {"out": str(out), "bytes": size}, f"model card, {size / 1e3:,.1f} kB of Markdown"
