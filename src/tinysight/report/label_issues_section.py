"""The part of a page that lists images whose label is probably wrong."""

from __future__ import annotations

from tinysight.numerals import counted, percent
from tinysight.report.page import Column, Section, Table, Text
from tinysight.report.picture_shelf import PictureShelf, picture_cell, sample_link
from tinysight.report.run_results import RunResults

_MOST_LISTED = 300


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
                picture_cell(shelf, sample_id, labels[target], in_gallery),
                labels[target],
                labels[suggested],
                issues["suggested_prob"][number],
                issues["target_prob"][number],
                sample_link(sample_id, in_gallery),
            )
        )
    lead = (
        f"The {'label' if found['found'] == 1 else 'labels'} of {found['found']:,} of "
        f"{counted(found['of_images'], 'test image')} "
        f"{'looks' if found['found'] == 1 else 'look'} suspicious{_to_whom(results)}."
        if count
        else "No test image looks as if its label were wrong."
    )
    title = "Labels that may be wrong"
    if not rows:
        return Section("labels", title, (), lead=lead)
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
    )
    remark = Text(
        "Found by confident learning: an image is suspicious when the network is surer of another "
        "class than it usually is for images of that class. The network learned from labels of the "
        "same source, so this is a list to look through, not a verdict; many are hard pictures "
        "with a right label.",
        is_quiet=True,
    )
    return Section("labels", title, (table, remark), lead=lead)


def _to_whom(results: RunResults) -> str:
    if results.metrics is None:
        return ""
    return f" to a network that itself recognises {percent(results.metrics['accuracy'])}"
