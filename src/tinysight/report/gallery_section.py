"""The parts of a page that show pictures: mistakes, suspected label errors, near-duplicates."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from tinysight.numerals import counted, percent
from tinysight.report.heat_maps import heat_ramp
from tinysight.report.page import (
    Block,
    Callout,
    Column,
    Fold,
    Link,
    PictureCell,
    Section,
    Table,
    Text,
    Widget,
)
from tinysight.report.run_results import Explanation, RunResults
from tinysight.run_folder import Record

_MOST_LISTED = 300
_MOST_MAP_SIDE = 16  # a picture of 64 pixels shows no finer map


class PictureShelf:
    """The pictures of a page, each once, in the order in which they were asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._numbers: dict[str, int] = {}

    def number_of(self, sample_id: str) -> int | None:
        """Return the number of a picture, or None where there is none."""
        if sample_id not in self._files:
            return None
        return self._numbers.setdefault(sample_id, len(self._numbers))

    @property
    def files(self) -> list[bytes]:
        """The image files by number."""
        return [self._files[sample_id] for sample_id in self._numbers]


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
    lead = f"{_mistakes_lead(about)}{_others_lead(others)}"
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


def _others_lead(others: int) -> str:
    if others == 0:
        return ""
    return (
        f" Among them {'is' if others == 1 else 'are'} {counted(others, 'picture')} that it "
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
    height, width = (side // max(1, -(-side // _MOST_MAP_SIDE)) for side in map_hw)
    return height, width


def _packed(maps: npt.NDArray[np.uint8], map_hw: tuple[int, int]) -> str:
    """Return maps (N, h * w), one after the other, as base64; large ones as means of blocks."""
    height, width = _shown_hw(map_hw)
    grid = maps.reshape(-1, *map_hw)
    step_h, step_w = map_hw[0] // height, map_hw[1] // width
    blocks = grid[:, : height * step_h, : width * step_w].reshape(-1, height, step_h, width, step_w)
    means: npt.NDArray[np.uint8] = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return base64.b64encode(means.tobytes()).decode()


def build_label_issues_section(results: RunResults, shelf: PictureShelf) -> Section:
    """Build the section on suspected label errors; the run is explained."""
    explanation = results.explanation
    assert explanation is not None
    issues = explanation.label_issues
    found = explanation.summary["label_issues"]
    count = len(issues["sample_id"])
    in_gallery = set(explanation.gallery["sample_id"])
    labels = results.class_labels
    rows = []
    for number in range(min(count, _MOST_LISTED)):
        sample_id, target = issues["sample_id"][number], issues["target"][number]
        suggested = issues["suggested"][number]
        rows.append(
            (
                _picture_cell(shelf, sample_id, labels[target], in_gallery),
                labels[target],
                labels[suggested],
                issues["suggested_prob"][number],
                issues["target_prob"][number],
                _sample_link(sample_id, in_gallery),
            )
        )
    lead = (
        f"The {'label' if found['found'] == 1 else 'labels'} of {found['found']:,} of "
        f"{counted(found['of_images'], 'test image')} "
        f"{'looks' if found['found'] == 1 else 'look'} suspicious{_to_whom(results)}."
        if count
        else "No test image looks as if its label were wrong."
    )
    table = Table(
        "label-issues",
        f"The {len(rows)} most suspicious" if count > len(rows) else "Worst first",
        (
            Column("Picture", "picture"),
            Column("Labelled"),
            Column("Looks like"),
            Column("Probability of that", "share"),
            Column("Of its label", "share"),
            Column("Image"),
        ),
        tuple(rows),
        empty="None found.",
    )
    remark = Text(
        "Found by confident learning: an image is suspicious when the network is surer of another "
        "class than it usually is for images of that class. The network learned from labels of the "
        "same source, so this is a list to look through, not a verdict; many are hard pictures "
        "with a right label.",
        is_quiet=True,
    )
    return Section("labels", "Labels that may be wrong", (table, remark), lead=lead)


def _to_whom(results: RunResults) -> str:
    if results.metrics is None:
        return ""
    return f" to a network that itself recognises {percent(results.metrics['accuracy'])}"


def _picture_cell(
    shelf: PictureShelf, sample_id: str, label: str, in_gallery: Collection[str]
) -> PictureCell | None:
    number = shelf.number_of(sample_id)
    if number is None:
        return None
    anchor = _image_anchor(sample_id) if sample_id in in_gallery else ""
    return PictureCell(number, f"{sample_id}, labelled {label}", anchor)


def _sample_link(sample_id: str, in_gallery: Collection[str]) -> Link | str:
    return Link(sample_id, _image_anchor(sample_id)) if sample_id in in_gallery else sample_id


def _image_anchor(sample_id: str) -> str:
    return f"#{urlencode({'image': sample_id})}"


def build_duplicates_section(results: RunResults, shelf: PictureShelf) -> Section:
    """Build the section on pictures that show the same; the run is explained."""
    explanation = results.explanation
    assert explanation is not None
    pairs = explanation.duplicates
    counts = explanation.summary["duplicates"]
    in_gallery = set(explanation.gallery["sample_id"])
    labels = results.class_labels
    rows = []
    total = len(pairs["sample_id_a"])
    # Those that can do harm come first: across the split or under two labels, then the closest.
    order = sorted(
        range(total),
        key=lambda row: (
            pairs["part_a"][row] == pairs["part_b"][row],
            pairs["target_a"][row] == pairs["target_b"][row],
            pairs["distance"][row],
            row,
        ),
    )
    for row in order[:_MOST_LISTED]:
        sides = [
            (pairs[f"sample_id_{side}"][row], labels[pairs[f"target_{side}"][row]])
            for side in ("a", "b")
        ]
        rows.append(
            (
                *(_picture_cell(shelf, sample_id, label, in_gallery) for sample_id, label in sides),
                sides[0][1],
                sides[1][1],
                _kind_of(pairs, row),
                f"{pairs['part_a'][row]} and {pairs['part_b'][row]}"
                if pairs["part_a"][row] != pairs["part_b"][row]
                else f"both {pairs['part_a'][row]}",
                float(pairs["distance"][row]),
            )
        )
    table = Table(
        "duplicate-pairs",
        f"{len(rows):,} of {total:,} pairs" if total > len(rows) else "All pairs",
        (
            Column("One", "picture"),
            Column("Other", "picture"),
            Column("Label of one"),
            Column("Label of the other"),
            Column("Kind"),
            Column("Part"),
            Column("Distance", "number", 3),
        ),
        tuple(rows),
        shown=8,
        caption="Pairs across the split come first, then pairs with two labels, then the closest. "
        "A copied table has the names of the files in place of the pictures.",
        empty="No two images show the same.",
    )
    return Section("duplicates", "Pictures that are there twice", (table,), lead=_lead(counts))


def _kind_of(pairs: Mapping[str, Any], row: int) -> str:
    is_mirrored = pairs["is_mirrored"][row] if "is_mirrored" in pairs else False
    return f"{pairs['kind'][row]}, mirrored" if is_mirrored else str(pairs["kind"][row])


def _lead(counts: Mapping[str, int]) -> str:
    if not counts["identical"] + counts["near"]:
        return "No two images of the data set show the same."
    identical, across, labels = (
        counts[name] for name in ("identical", "across_split", "two_labels")
    )
    return (
        f"{counted(identical, 'pair')} {'is' if identical == 1 else 'are'} the same file and "
        f"{counts['near']:,} nearly so; {across:,} {'has' if across == 1 else 'have'} one picture "
        f"in training and one in the test, and {labels:,} {'bears' if labels == 1 else 'bear'} two "
        f"labels."
    )
