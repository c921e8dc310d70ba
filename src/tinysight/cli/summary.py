"""``tinysight summary``."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import TYPE_CHECKING, Any

from tinysight.cli.number_arguments import whole_number
from tinysight.cli.output import print_json

if TYPE_CHECKING:
    from tinysight.classify.models.summary import LayerSummary, ModelSummary

# The words of classify.settings.ModelSettings, repeated so that --help needs no pydantic.
MODELS = ("resnet18", "resnet34", "compact", "compact10", "compact12", "compact14", "compact20")
STEMS = ("3x3", "7x7")
SMALLEST_INPUT_PX, LARGEST_INPUT_PX = 32, 99_999
TABLE_COLUMNS = 99
_MOST_CLASSES = 10**9  # beyond some thousand times more, torch cannot count the bytes


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "summary", help="layers of a network: shapes, parameters, MACs, receptive field, memory"
    )
    parser.add_argument("model", metavar="MODEL", choices=MODELS, help=", ".join(MODELS))
    parser.add_argument(
        "--input",
        type=_input_chw,
        default=(3, 64, 64),
        metavar="CxHxW",
        help="shape of an image (default 3x64x64)",
    )
    parser.add_argument(
        "--classes",
        type=whole_number(1, _MOST_CLASSES),
        default=200,
        metavar="N",
        help="classes (default 200)",
    )
    parser.add_argument(
        "--stem", choices=STEMS, default="3x3", help="first layers of a ResNet (default 3x3)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_summary)


def run_summary(arguments: argparse.Namespace) -> int:
    """Print the layers of one network and their totals."""
    from tinysight.classify.models import build_without_weights
    from tinysight.classify.models.summary import describe_receptive_field, summarize
    from tinysight.classify.settings import ModelSettings

    settings = ModelSettings(name=arguments.model, stem=arguments.stem)
    summary = summarize(build_without_weights(settings, arguments.classes), arguments.input)
    if arguments.json:
        print_json(
            {
                "model": arguments.model,
                "input_chw": summary.input_chw,
                "classes": arguments.classes,
                "parameters": summary.parameters,
                "macs": summary.macs,
                "activation_bytes": summary.activation_bytes,
                "receptive_field": summary.receptive_field_px,
                "jump": summary.jump_px,
                "feature_hw": summary.feature_hw,
                "whole_view_positions": summary.whole_view_positions,
                "layers": [_layer_json(layer) for layer in summary.layers],
            }
        )
        return 0
    _print_table(summary)
    print()
    print(textwrap.fill(describe_receptive_field(summary), TABLE_COLUMNS))
    return 0


def _print_table(summary: ModelSummary) -> None:
    row = "{:21} {:17} {:>11} {:>11} {:>9} {:>8} {:>7} {:>8}"
    heading = row.format(
        "layer", "kind", "output", "parameters", "MMAC", "field px", "jump px", "KiB"
    )
    print(heading)
    print("-" * TABLE_COLUMNS)
    for layer in summary.layers:
        print(
            row.format(
                layer.name,
                layer.kind,
                "x".join(str(size) for size in layer.output_shape),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.macs / 1e6:,.2f}" if layer.macs else "",
                layer.receptive_field_px,
                layer.jump_px,
                f"{layer.activation_bytes / 1024:,.1f}" if layer.activation_bytes else "",
            )
        )
    print("-" * TABLE_COLUMNS)
    shape = "x".join(str(size) for size in summary.input_chw)
    print(
        f"{summary.parameters:,} parameters; for one image of {shape}: {summary.macs / 1e9:.3f} "
        f"GMAC, {summary.activation_bytes / 2**20:.1f} MiB of float32 activations"
    )


def _layer_json(layer: LayerSummary) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "output_shape": layer.output_shape,
        "parameters": layer.parameters,
        "macs": layer.macs,
        "receptive_field": layer.receptive_field_px,
        "jump": layer.jump_px,
        "activation_bytes": layer.activation_bytes,
    }


def _input_chw(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"3x([0-9]{1,9})x([0-9]{1,9})", text)
    if match:
        height, width = map(int, match.groups())
        sides = SMALLEST_INPUT_PX <= min(height, width), max(height, width) <= LARGEST_INPUT_PX
        if all(sides):
            return 3, height, width
    raise argparse.ArgumentTypeError(
        f"must be 3xHEIGHTxWIDTH with both from {SMALLEST_INPUT_PX} to {LARGEST_INPUT_PX} "
        f"px, got {text!r}. Example: 3x64x64."
    )
