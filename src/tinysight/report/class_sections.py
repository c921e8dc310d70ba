"""The parts of a page that say which classes a network recognises, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from tinysight.numerals import counted, in_points, percent
from tinysight.report.chart_style import BLUE, VERMILLION
from tinysight.report.class_charts import calibration_chart, class_accuracy_chart, confidence_chart
from tinysight.report.page import (
    Block,
    Cell,
    Column,
    Columns,
    Command,
    Figure,
    Key,
    Link,
    Section,
    Table,
    Widget,
)
from tinysight.report.run_results import Explanation, RunResults
from tinysight.run_facts import Calibration, read_calibration
from tinysight.whole_files import Record

_RANKED = 10


def pair_anchor(results: RunResults, target: int, predicted: int | None = None) -> str:
    """Return the link to the pictures of a class, or of one class taken for another."""
    anchors = results.class_anchors
    chosen = {"class": anchors[target]}
    if predicted is not None:
        chosen["predicted"] = anchors[predicted]
    return f"#{urlencode(chosen)}"


def class_link(results: RunResults, target: int) -> Cell:
    """Return the name of a class, as a link to its pictures where the page has any."""
    label, explanation = results.class_labels[target], results.explanation
    if explanation is None or target not in explanation.pictured_classes:
        return label
    return Link(label, pair_anchor(results, target))


def build_confusions_section(results: RunResults) -> Section:
    """Build the section on what is taken for what."""
    if results.explanation is None:
        return Section("confusions", "What it confuses", (_missing(),))
    summary = results.explanation.summary
    pairs = summary["confused_pairs"]
    return Section(
        "confusions",
        "What it confuses",
        (
            _pairs_table(results, results.explanation, pairs),
            _matrix(results, results.explanation),
        ),
        lead=_confusions_lead(results.class_labels, pairs),
    )


def _missing() -> Command:
    return Command(
        "This run was not explained yet. One command, with the folder of this run for RUN, adds "
        "the confusion matrix, the pictures of its mistakes with heat maps, suspected label errors "
        "and near-duplicates:",
        "tinysight explain RUN",
    )


def _confusions_lead(labels: Sequence[str], pairs: Sequence[Record]) -> str:
    if not pairs:
        return "Nothing: every test image is recognised."
    first = pairs[0]
    return (
        f"Most often it takes {labels[first['target']]} for {labels[first['predicted']]}: "
        f"{counted(first['images'], 'image')}, {percent(first['share'])} of the class."
    )


def _pairs_table(results: RunResults, explanation: Explanation, pairs: Sequence[Record]) -> Table:
    wrong = {
        (target, predicted): images
        for target, predicted, images in explanation.summary["confusion"]["counts"]
        if target != predicted
    }
    labels = results.class_labels
    rows = tuple(
        (
            labels[pair["target"]],
            labels[pair["predicted"]],
            _images_of_pair(results, explanation, pair),
            pair["share"],
            wrong.get((pair["predicted"], pair["target"]), 0),
        )
        for pair in pairs
    )
    return Table(
        "pairs",
        "Most confused pairs",
        (
            Column("True class"),
            Column("Taken for"),
            Column("Images", "number"),
            Column("Of the class", "share"),
            Column("The other way round", "number"),
        ),
        rows,
        caption=_pairs_caption(len(rows), of_pairs=len(wrong))
        + _what_numbers_lead_to(explanation, pairs),
        empty="No image is taken for another class.",
    )


def _what_numbers_lead_to(explanation: Explanation, pairs: Sequence[Record]) -> str:
    """Say that a gallery with its limit for each class holds a part of the images of a pair."""
    for pair in pairs:
        if 0 < explanation.pictured[pair["target"], pair["predicted"]] < pair["images"]:
            return " The number of images leads to those of them that are on this page."
    return ""


def _images_of_pair(results: RunResults, explanation: Explanation, pair: Record) -> Cell:
    """Return the number of images of a pair, as a link to those that are on the page."""
    images: int = pair["images"]
    if not explanation.pictured[pair["target"], pair["predicted"]]:
        return images
    return Link(f"{images:,}", pair_anchor(results, pair["target"], pair["predicted"]))


def _pairs_caption(pairs: int, *, of_pairs: int) -> str:
    if pairs < of_pairs:
        are = "is" if pairs == 1 else "are"
        return f"The {counted(pairs, 'pair')} that {are} confused most, of {of_pairs:,}."
    if pairs > 1:
        return f"All {pairs} pairs that are confused."
    return "No other class is taken for another." if pairs else ""


def _matrix(results: RunResults, explanation: Explanation) -> Widget:
    confusion = explanation.summary["confusion"]
    images_of = [0] * len(results.about["classes"])
    for target, _, images in confusion["counts"]:
        images_of[target] += images
    return Widget(
        kind="confusion",
        name="matrix",
        title="Confusion matrix",
        data={
            "labels": results.class_labels,
            "anchors": results.class_anchors,
            "order": confusion["order"],
            "images": images_of,
            "counts": [number for cell in confusion["counts"] for number in cell],
            "pictured": [
                number
                for (target, predicted), pictures in explanation.pictured.items()
                for number in (target, predicted, pictures)
            ],
        },
        options={
            "caption": "Rows are true classes, columns what they are taken for; classes that are "
            "confused stand beside each other, so confusions show as blocks along the diagonal. "
            "Colour is the share of the images of a row, for mistakes on a square-root scale: rare "
            "ones can be seen. Where cells are smaller than a pixel, the largest share shows."
        },
    )


def build_classes_section(results: RunResults) -> Section:
    """Build the section on single classes; the run has metrics."""
    assert results.metrics is not None
    classes = results.metrics["classes"]
    known = [entry for entry in classes if entry["accuracy"] is not None]
    ranked = sorted(known, key=lambda entry: (entry["accuracy"], entry["index"]))
    labels = results.class_labels
    # No class is among the best and among the worst.
    count = min(_RANKED, len(ranked) // 2)
    worst, best = ranked[:count], ranked[::-1][:count]
    figure = Figure(
        name="class-accuracy",
        title="How many classes are recognised how well",
        chart=class_accuracy_chart(labels, [entry["accuracy"] for entry in classes]),
        alt=f"Histogram of classes by the share of their images that is recognised, from "
        f"{percent(ranked[0]['accuracy'])} to {percent(ranked[-1]['accuracy'])}.",
        height_px=250,
    )
    blocks: list[Block] = [figure]
    if len(known) > _RANKED:
        blocks.append(
            Columns(
                (
                    _ranked_table(results, "best-classes", "Best classes", best),
                    _ranked_table(results, "worst-classes", "Worst classes", worst),
                )
            )
        )
    blocks.append(_classes_table(results, classes))
    return Section("classes", "Class by class", tuple(blocks), lead=_ends(labels, ranked))


def _ends(labels: Sequence[str], ranked: Sequence[Record]) -> str:
    names = [labels[entry["index"]] for entry in (ranked[0], ranked[-1])]
    worst, best = (percent(entry["accuracy"]) for entry in (ranked[0], ranked[-1]))
    if len(ranked) == 1:
        return f"{names[0]}, the only class with test images: {best}."
    if worst == best:
        return f"Every class is recognised as well as any other: {best}."
    return f"Best is {names[1]} with {best}, worst {names[0]} with {worst}."


def _ranked_table(results: RunResults, name: str, title: str, classes: Sequence[Record]) -> Table:
    rows = tuple(
        (class_link(results, entry["index"]), entry["accuracy"], entry["precision"])
        for entry in classes
    )
    columns = (Column("Class"), Column("Recognised", "share"), Column("Precision", "share"))
    return Table(name, title, columns, rows)


def _classes_table(results: RunResults, classes: Sequence[Record]) -> Table:
    rows = tuple(
        (
            class_link(results, entry["index"]),
            entry["name"],
            entry["images"],
            entry["accuracy"],
            entry["guesses"],
            entry["precision"],
        )
        for entry in classes
    )
    columns = (
        Column("Class"),
        Column("All its names"),
        Column("Test images", "number"),
        Column("Recognised", "share"),
        Column("Guessed", "number"),
        Column("Precision", "share"),
    )
    return Table(
        "all-classes",
        "All classes",
        columns,
        rows,
        caption="Recognised: share of the images of the class that are named right. Guessed: "
        "images that are taken for the class; precision: the share of those that are of it.",
    )


def build_calibration_section(metrics: Record) -> Section:
    """Build the section on whether confidence can be believed."""
    bins = [bin for bin in metrics["calibration"] if bin["images"]]
    found = read_calibration(metrics)
    return Section(
        "calibration",
        "Can its confidence be believed?",
        (Columns(tuple(_calibration_figures(bins, found.error))),),
        lead=f"On average the network is {percent(found.confidence)} sure and right in "
        f"{percent(found.accuracy)} of the cases: {_how_sure(found)}.",
    )


def _how_sure(found: Calibration) -> str:
    if found.verdict == "calibrated":
        return "as sure as it should be, or nearly so"
    if found.verdict == "errors cancel out":
        return (
            f"its errors cancel out, for in groups of like confidence the two are "
            f"{in_points(found.error)} apart"
        )
    return f"{found.verdict} by {in_points(found.gap)}"


def _calibration_figures(bins: Sequence[Record], error: float) -> Iterator[Figure]:
    last = bins[-1]
    yield Figure(
        name="reliability",
        title=f"Reliability: expected calibration error {percent(error)}",
        chart=calibration_chart(bins),
        alt="Reliability diagram. "
        + " ".join(
            f"At {percent(bin['confidence'])} confidence {percent(bin['accuracy'])} are right."
            for bin in bins[:: max(1, len(bins) // 5)]
        ),
        caption="A dot is a group of images of like confidence, its size their number. On the "
        "dashed line confidence would be what it says; the orange bars are what is lacking.",
        height_px=350,
    )
    yield Figure(
        name="confidence",
        title="How sure it is",
        chart=confidence_chart(bins),
        alt="Stacked histogram of test images by confidence, right and wrong ones apart. "
        + f"Of the {counted(last['images'], 'image')} it is surest of, at confidences from "
        f"{percent(last['low'], 0)} to {percent(last['high'], 0)}, "
        f"{percent(last['accuracy'])} are right.",
        keys=(Key("first guess right", BLUE), Key("first guess wrong", VERMILLION)),
        height_px=350,
    )
