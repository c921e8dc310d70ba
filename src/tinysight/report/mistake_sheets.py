"""The most confident mistakes of a run as two pictures: what they are, and where it looked."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tinysight import run_folder, whole_files
from tinysight.numerals import counted, percent
from tinysight.report.heat_maps import overlay_heat_map
from tinysight.report.pictures import contact_sheet
from tinysight.run_facts import short_class_names
from tinysight.run_tables import PICTURES_SCHEMA, gallery_schema, read_matrix, read_table

MOST_SHOWN = 25
_COLUMNS = 5
_TRIPLES = 3
_CAPTION_PX = 14
# About; each pixel of a picture becomes a square of whole pixels.
_PICTURE_PX, _MAP_PX = 192, 128


@dataclass(frozen=True)
class _Mistake:
    picture: npt.NDArray[np.uint8]  # (S, S, 3)
    target: str
    predicted: str
    target_prob: float
    predicted_prob: float
    target_map: npt.NDArray[np.uint8]  # (h, w)
    predicted_map: npt.NDArray[np.uint8]  # (h, w)


def save_mistake_sheets(run: Path, most: int = MOST_SHOWN) -> tuple[Path, ...]:
    """Draw ``misclassified.png`` and ``gradcam.png`` from what is in a run folder.

    The first shows each picture with its right class, the predicted class and the confidence. The
    second shows beside it where there is evidence for the predicted and for the right class.

    Args:
        run: A run folder that was explained.
        most: How many mistakes at most, the most confident first; at least 1.

    Returns:
        The files written: both, or none for a run without mistakes, where earlier ones are removed.

    Raises:
        RunError: The run was not explained, or a file cannot be written.
    """
    mistakes, summary = _load_mistakes(run, most)
    paths = (run / run_folder.MISTAKES_SHEET, run / run_folder.MAPS_SHEET)
    if not mistakes:
        for path in paths:
            whole_files.remove_file(path)
        return ()
    title = f"{_surest(len(mistakes))}{_among(summary)}"
    sheets = (_draw_mistakes(mistakes, title), _draw_maps(mistakes, title, summary["method"]))
    for path, sheet in zip(paths, sheets, strict=True):
        _save_png(sheet, path)
    return paths


def _load_mistakes(run: Path, most: int) -> tuple[list[_Mistake], whole_files.Record]:
    summary = run_folder.read_explanation(run)
    names = short_class_names(run_folder.read_run(run)["classes"])
    gallery, about = read_table(run / run_folder.GALLERY, gallery_schema((1, 1)).names)
    pictures, _ = read_table(run / run_folder.PICTURES, PICTURES_SCHEMA.names)
    row_of = {sample_id: row for row, sample_id in enumerate(gallery["sample_id"].to_pylist())}
    file_of = dict(
        zip(pictures["sample_id"].to_pylist(), pictures["picture"].to_pylist(), strict=True)
    )
    height, width = about["map_hw"]
    maps = {name: read_matrix(gallery, name) for name in ("target_map", "predicted_map")}
    mistakes = []
    for sample_id in summary["confident_mistakes"][:most]:
        row = row_of[sample_id]
        mistakes.append(
            _Mistake(
                picture=np.asarray(Image.open(io.BytesIO(file_of[sample_id])).convert("RGB")),
                target=names[gallery["target"][row].as_py()],
                predicted=names[gallery["predicted"][row].as_py()],
                target_prob=gallery["target_prob"][row].as_py(),
                predicted_prob=gallery["predicted_prob"][row].as_py(),
                target_map=maps["target_map"][row].reshape(height, width),
                predicted_map=maps["predicted_map"][row].reshape(height, width),
            )
        )
    return mistakes, summary


def _draw_mistakes(mistakes: list[_Mistake], title: str) -> Image.Image:
    return contact_sheet(
        [mistake.picture for mistake in mistakes],
        [
            (mistake.target, f"taken for {mistake.predicted}", percent(mistake.predicted_prob))
            for mistake in mistakes
        ],
        _COLUMNS,
        scale=_scale(mistakes, _PICTURE_PX),
        title=f"{title}: right class, guess, confidence",
        caption_px=_CAPTION_PX,
    )


def _draw_maps(mistakes: list[_Mistake], title: str, method: str) -> Image.Image:
    scale = _scale(mistakes, _MAP_PX)
    pictures = []
    captions: list[tuple[str, str]] = []
    for mistake in mistakes:
        pictures.append(mistake.picture.repeat(scale, axis=0).repeat(scale, axis=1))
        captions.append((mistake.target, "as labelled"))
        for name, probability, heat_map in (
            (mistake.predicted, mistake.predicted_prob, mistake.predicted_map),
            (mistake.target, mistake.target_prob, mistake.target_map),
        ):
            pictures.append(overlay_heat_map(mistake.picture, heat_map, scale=scale))
            nothing = "" if heat_map.any() else ", nothing speaks for it"
            captions.append((f"{name}?", percent(probability) + nothing))
    return contact_sheet(
        pictures,
        captions,
        3 * _TRIPLES,
        scale=1,
        title=f"{title}: the picture, what speaks for the guess, what speaks for the "
        f"right class ({method})",
        caption_px=_CAPTION_PX,
        group=3,
    )


def _surest(count: int) -> str:
    return f"The {f'{count} mistakes' if count > 1 else 'mistake'} it was surest of"


def _among(summary: whole_files.Record) -> str:
    """Say how many images were looked at where a limit left others out."""
    images = summary["images"]
    if images == summary["of_images"]:
        return ""
    return f" among the {counted(images, 'image')} looked at"


def _scale(mistakes: list[_Mistake], wanted_px: int) -> int:
    return max(1, round(wanted_px / len(mistakes[0].picture)))


def _save_png(sheet: Image.Image, path: Path) -> None:
    whole_files.replace_file(path, lambda file: sheet.save(file, format="PNG"))
