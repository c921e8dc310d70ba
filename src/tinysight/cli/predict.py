"""``tinysight predict``: what a trained network says about a person's own pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.cli.number_arguments import whole_number
from tinysight.cli.output import check_file_to_write, print_faults, print_json, print_lines
from tinysight.numerals import percent

if TYPE_CHECKING:
    from tinysight.classify.picture_predictions import PicturePredictions, UnusablePicture

_PICTURE_PX = 128  # on the sheet, about
_SHEET_PAIRS = 3  # a row
_MOST_DRAWN = 300  # a sheet of more is too long to look at


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "predict",
        help="classify your own pictures",
        description="Classify pictures of any size with the trained network of a run. They are "
        "decoded and scaled exactly as `tinysight data pack` does. Files that are no pictures are "
        "named and the others predicted; the exit code is then 1.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder `train` wrote")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="picture files")
    parser.add_argument(
        "--top",
        type=whole_number(),
        default=5,
        metavar="K",
        help="classes for each picture (default 5)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="SHEET.png",
        help="draw the pictures as the network saw them, with where it looked",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_predict)


def run_predict(arguments: argparse.Namespace) -> int:
    """Predict, print, draw where asked to, and name what could not be used."""
    from tinysight import cli
    from tinysight.classify.picture_predictions import predict_images
    from tinysight.classify.placement import choose_device
    from tinysight.overwriting import require_other_file
    from tinysight.run_folder import require_outside_run

    out: Path | None = arguments.out
    if out is not None:
        check_file_to_write(out, suffixes=(".png",))
        require_other_file(out, arguments.images, what="the pictures")
        require_outside_run(arguments.run_folder, out)
    found = predict_images(
        arguments.run_folder,
        arguments.images,
        top_k=arguments.top,
        device=choose_device(arguments.device),
    )
    drawn = out if out is not None and found.predictions else None
    if drawn is not None:
        _draw(found, drawn, arguments.run_folder)
    print_faults(f"tinysight: {_fault_of(picture)}" for picture in found.unusable)
    if arguments.json:
        print_json(_as_json(found, arguments.run_folder, drawn))
    else:
        if found.predictions:
            print_lines(_lines(found))
        if drawn is not None:
            print_lines(["", f"{drawn} shows where the network looked"])
    return cli.FAULT if found.unusable else cli.OK


def _fault_of(picture: UnusablePicture) -> str:
    from tinysight.classify.decode import FORMATS, TOO_LARGE, TOO_LONG

    detail = f" ({picture.detail})" if picture.detail else ""
    fault = f"{picture.file}: must be a picture that can be read, found: {picture.reason}{detail}."
    if picture.reason in (TOO_LARGE, TOO_LONG):
        return fault
    return f"{fault} Give a file in one of the formats {', '.join(FORMATS)}."


def _lines(found: PicturePredictions) -> Iterator[str]:
    for number, prediction in enumerate(found.predictions):
        if number:
            yield ""
        done = f" ({', '.join(prediction.repairs)})" if prediction.repairs else ""
        yield f"{prediction.file}: {prediction.width_px}x{prediction.height_px} px{done}"
        for class_index, prob in zip(prediction.classes, prediction.probs, strict=True):
            yield f"  {percent(prob):>11}  {found.class_names[class_index]}"


def _as_json(found: PicturePredictions, run: Path, sheet: Path | None) -> dict[str, Any]:
    return {
        "run": str(run),
        "images": [
            {
                "file": str(prediction.file),
                "width_px": prediction.width_px,
                "height_px": prediction.height_px,
                "repairs": prediction.repairs,
                "top": [
                    {
                        "index": int(class_index),
                        "wnid": found.wnids[class_index],
                        "name": found.class_names[class_index],
                        "probability": float(prob),
                    }
                    for class_index, prob in zip(prediction.classes, prediction.probs, strict=True)
                ],
            }
            for prediction in found.predictions
        ],
        "unusable": [
            {"file": str(picture.file), "reason": picture.reason, "detail": picture.detail}
            for picture in found.unusable
        ],
        "sheet": str(sheet) if sheet else None,
    }


def _draw(found: PicturePredictions, out: Path, run: Path) -> None:
    """Draw each picture as the network saw it and, beside it, what spoke for its first guess."""
    from tinysight.report.heat_maps import overlay_heat_map
    from tinysight.report.pictures import contact_sheet
    from tinysight.whole_files import replace_file

    scale = max(1, round(_PICTURE_PX / len(found.predictions[0].pixels_u8)))
    images, captions = [], []
    drawn = found.predictions[:_MOST_DRAWN]
    for prediction in drawn:
        name, prob = found.class_names[prediction.classes[0]], prediction.probs[0]
        seen = prediction.pixels_u8.repeat(scale, axis=0).repeat(scale, axis=1)
        images += [seen, overlay_heat_map(prediction.pixels_u8, prediction.heat_map, scale=scale)]
        captions += [(prediction.file.name, "as the network saw it"), (name, percent(prob))]
    count = f", first {len(drawn)} pictures" if len(drawn) < len(found.predictions) else ""
    sheet = contact_sheet(
        images,
        captions,
        columns=2 * min(_SHEET_PAIRS, len(drawn)),
        scale=1,
        title=f"{run.resolve().name}: what speaks for the first guess{count}",
    )
    replace_file(out, lambda file: sheet.save(file, format="PNG"))
