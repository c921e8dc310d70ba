"""The part of a page that lists pairs of images that show the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinysight.numerals import counted
from tinysight.report.page import Column, Section, Table
from tinysight.report.picture_shelf import PictureShelf, picture_cell
from tinysight.report.run_results import RunResults

_MOST_LISTED = 300


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
                *(picture_cell(shelf, sample_id, label, in_gallery) for sample_id, label in sides),
                sides[0][1],
                sides[1][1],
                _kind_of(pairs, row),
                f"{pairs['part_a'][row]} and {pairs['part_b'][row]}"
                if pairs["part_a"][row] != pairs["part_b"][row]
                else f"both {pairs['part_a'][row]}",
                float(pairs["distance"][row]),
            )
        )
    title, lead = "Pictures that are there twice", _lead(counts)
    if not rows:
        return Section("duplicates", title, (), lead=lead)
    table = Table(
        "duplicate-pairs",
        _title(len(rows), of_pairs=total, found=explanation.duplicates_found),
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
        "A copied table has the names of the files in place of the pictures."
        + _what_was_cut(total, found=explanation.duplicates_found),
    )
    return Section("duplicates", title, (table,), lead=lead)


def _title(listed: int, *, of_pairs: int, found: int) -> str:
    if of_pairs < found:
        return f"{listed:,} of the closest {of_pairs:,} of {found:,} pairs"
    return f"{listed:,} of {of_pairs:,} pairs" if listed < of_pairs else "All pairs"


def _what_was_cut(of_pairs: int, *, found: int) -> str:
    if of_pairs == found:
        return ""
    return (
        f" Only the closest {of_pairs:,} were kept: pairs across the split and pairs with two "
        f"labels are counted among these."
    )


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
