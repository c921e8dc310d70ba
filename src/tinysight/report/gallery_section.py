"""The part of a page that shows what a network got wrong, and where it looked."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from tinysight.numerals import counted
from tinysight.report.heat_maps import heat_ramp
from tinysight.report.page import Block, Callout, Column, Fold, Section, Table, Text, Widget
from tinysight.report.picture_shelf import PictureShelf
from tinysight.report.run_results import Explanation, RunResults
from tinysight.whole_files import Record

_MOST_MAP_SIDE = 16  # a picture of 64 pixels shows no finer map


def build_mistakes_section(results: RunResults, shelf: PictureShelf) -> Section:
    """Build the gallery; the run is explained."""
    explanation = results.explanation
    assert explanation is not None
    about = explanation.gallery_about
    blocks: list[Block] = []
    if explanation.is_stale:
        blocks.append(
            Callout(
                "warning",
                "The weights of this run have changed since it was explained: pictures, heat maps "
                "and confusions below are those of the old weights.",
                "Write them again with `tinysight explain RUN`, the folder of this run for RUN.",
            )
        )
    blocks.append(_gallery(results, explanation, shelf))
    remark = (
        f"The heat map says where evidence for a class was found ({about['method']} at layer "
        f"{about['layer']}, {about['map_hw'][0]} × {about['map_hw'][1]} fields over the picture), "
        "each scaled to its own maximum. Filters and the open picture are part of the address of "
        "this page: copy it to show somebody what you see."
    )
    blocks.append(Text(remark, is_quiet=True))
    faithfulness = explanation.summary.get("faithfulness", ())
    if faithfulness:
        blocks.append(Fold("How far the heat maps can be trusted", (_trust_table(faithfulness),)))
    others = len(explanation.gallery["sample_id"]) - about["mistakes_shown"]
    lead = f"{_mistakes_lead(about)}{_others_lead(others, beside=about['mistakes_shown'])}"
    return Section("mistakes", "The pictures it got wrong", tuple(blocks), lead=lead)


def _mistakes_lead(about: Record) -> str:
    shown, wrong = about["mistakes_shown"], about["mistakes_of"]
    looked_at, of_images = about["images"], about["of_images"]
    limit = (
        f"Only {looked_at:,} of {counted(of_images, 'test image')} "
        f"{'was' if looked_at == 1 else 'were'} looked at. "
        if looked_at < of_images
        else ""
    )
    if shown == 0 < wrong:
        return f"{limit}None of {counted(wrong, 'mistake')} is here."
    if shown < wrong:
        return (
            f"{limit}{shown:,} of {counted(wrong, 'mistake')} "
            f"{'is' if shown == 1 else 'are'} here, those of each class it was surest of first."
        )
    if wrong > 1:
        return f"{limit}All {wrong:,} mistakes are here."
    return "Its only mistake is here." if wrong else "There are none: it made no mistake."


def _others_lead(others: int, *, beside: int) -> str:
    if others == 0:
        return ""
    where = "Beside them" if beside else "Here"
    return (
        f" {where} {'is' if others == 1 else 'are'} {counted(others, 'picture')} that it "
        f"recognised: those it was least sure of, and those with a doubtful label or a duplicate."
    )


def _gallery(results: RunResults, explanation: Explanation, shelf: PictureShelf) -> Widget:
    gallery, about = explanation.gallery, explanation.gallery_about
    reasons = sorted({reason for why in gallery["why"] for reason in why})
    map_hw = tuple(about["map_hw"])
    maps = {
        name: _packed(gallery[name], (map_hw[0], map_hw[1]))
        for name in ("predicted_map", "target_map")
    }
    return Widget(
        kind="gallery",
        name="gallery",
        title="",
        data={
            "labels": results.class_labels,
            "anchors": results.class_anchors,
            "reasons": reasons,
            "sample_id": gallery["sample_id"],
            "picture": [shelf.number_of(sample_id) for sample_id in gallery["sample_id"]],
            "target": gallery["target"],
            "predicted": gallery["predicted"],
            # In full: who rounds a figure that was rounded before may get another one.
            "predicted_prob": gallery["predicted_prob"],
            "loss": gallery["loss"],
            "top5": gallery["top5"],
            "top5_probs": gallery["top5_probs"],
            "why": [[reasons.index(reason) for reason in why] for why in gallery["why"]],
            "ramp": base64.b64encode(heat_ramp().tobytes()).decode(),
            "map_hw": _shown_hw((map_hw[0], map_hw[1])),
            **maps,
        },
    )


def _trust_table(faithfulness: Sequence[Record]) -> Table:
    rows = tuple(
        (
            measured["method"],
            measured["layer"],
            measured["images"],
            measured["deletion"],
            measured["random_deletion"],
            measured["insertion"],
            measured["random_insertion"],
        )
        for measured in faithfulness
    )
    return Table(
        "faithfulness",
        "",
        (
            Column("Method"),
            Column("Layer"),
            Column("Images", "number"),
            Column("Deletion", "number", 3),
            Column("at random", "number", 3),
            Column("Insertion", "number", 3),
            Column("at random", "number", 3),
        ),
        rows,
        caption="Areas under curves of the probability of the class while the picture is taken "
        "away (deletion) or put back (insertion), the hottest places of the map first. A map that "
        "shows what the network goes by has a lower deletion and a higher insertion than places "
        "in a random order.",
    )


def _shown_hw(map_hw: tuple[int, int]) -> tuple[int, int]:
    height, width = (min(side, _MOST_MAP_SIDE) for side in map_hw)
    return height, width


def _packed(maps: npt.NDArray[np.uint8], map_hw: tuple[int, int]) -> str:
    """Return maps (N, h * w), one after the other, as base64; large ones as means of areas."""
    height, width = _shown_hw(map_hw)
    if (height, width) == map_hw:
        return base64.b64encode(maps.tobytes()).decode()
    small = [
        Image.fromarray(heat).resize((width, height), Image.Resampling.BOX).tobytes()
        for heat in maps.reshape(-1, *map_hw)
    ]
    return base64.b64encode(b"".join(small)).decode()
