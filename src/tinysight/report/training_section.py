"""The part of a page that says how training went."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tinysight.numerals import counted, percent
from tinysight.report.chart_style import BLUE, PURPLE
from tinysight.report.page import Block, Column, Columns, Figure, Fold, Key, Section, Table, Text
from tinysight.report.training_charts import (
    Curve,
    curves_of,
    epoch_chart,
    measured_accuracy,
    measured_part,
    say_sizes,
    series_of,
    sizes_of,
    step_chart,
    step_points,
)
from tinysight.whole_files import Record

_EPOCH_COLUMNS = (
    ("train_loss", "Train loss", "number", 3),
    ("train_accuracy", "Train accuracy", "share", 1),
    ("{part}_loss", "{Part} loss", "number", 3),
    ("{part}_accuracy", "{Part} accuracy", "share", 1),
    ("ema_{part}_accuracy", "{Part} accuracy, averaged weights", "share", 1),
    ("lr", "Learning rate", "number", 5),
    ("momentum", "Momentum", "number", 3),
    ("images_per_s", "Images/s", "number", 0),
)


def build_training_section(
    history: Sequence[Record], steps: Sequence[Record], recipe: Record
) -> Section:
    """Build the section.

    Args:
        history: Rows of ``history.jsonl``.
        steps: Rows of ``steps.jsonl``.
        recipe: Settings of the run.
    """
    if not history:
        empty = Text("No epoch is finished yet. Curves appear after the first one.", is_quiet=True)
        return Section("training", "How training went", (empty,))
    part = measured_part(history)
    blocks: list[Block] = [
        Columns((_accuracy_figure(history), _loss_figure(history))),
        Columns((*_step_figures(steps), _speed_figure(history)), is_narrow=True),
        Text(_remark(history, recipe, part), is_quiet=True),
        Fold("Every epoch as a table", (_epoch_table(history, part),)),
    ]
    return Section("training", "How training went", tuple(blocks), lead=_lead(history, part))


def _remark(history: Sequence[Record], recipe: Record, part: str) -> str:
    remark = (
        "Training values are those of the batches as they were learned from, with the "
        f"augmentation of the recipe; {part} values are of the whole part after the epoch."
    )
    if how_large := say_sizes(history):
        remark += f" {how_large}"
    smoothing = recipe["train"].get("label_smoothing", 0.0)
    if smoothing:
        remark += (
            f" The training loss is that of smoothed labels ({smoothing:g}), which no network can "
            f"bring to 0, so it may lie above the {part} loss."
        )
    return remark


def _lead(history: Sequence[Record], part: str) -> str:
    last = history[-1]
    words = [f"After {counted(last['epoch'] + 1, 'epoch')} the network gets"]
    words.append(f"{percent(last['train_accuracy'])} of the training images right")
    accuracy = measured_accuracy(last, part)
    if accuracy is not None:
        words.append(f"and {percent(accuracy)} of the {part} images")
    return " ".join(words) + "."


def _keys(curves: Sequence[Curve]) -> tuple[Key, ...]:
    return tuple(Key(curve.label, curve.colour, curve.is_dashed) for curve in curves)


def _accuracy_figure(history: Sequence[Record]) -> Figure:
    curves = curves_of(history, "accuracy")
    return Figure(
        name="accuracy",
        title="Accuracy by epoch",
        chart=epoch_chart(curves, is_share=True, sizes=sizes_of(history)),
        alt="Line chart of accuracy by epoch. " + _ends(curves, is_share=True),
        keys=_keys(curves),
        height_px=290,
    )


def _loss_figure(history: Sequence[Record]) -> Figure:
    curves = curves_of(history, "loss")
    return Figure(
        name="loss",
        title="Loss by epoch",
        chart=epoch_chart(curves, is_share=False, sizes=sizes_of(history)),
        alt="Line chart of loss by epoch. " + _ends(curves, is_share=False),
        keys=_keys(curves),
        height_px=290,
    )


def _ends(curves: Sequence[Curve], *, is_share: bool) -> str:
    """Say in words where each line begins and ends; one of a single epoch is a point."""

    def show(value: float) -> str:
        return percent(value) if is_share else f"{value:.2f}"

    sentences = []
    for curve in curves:
        first, last = (show(curve.points[end]["value"]) for end in (0, -1))
        way = f"goes from {first} to {last}" if len(curve.points) > 1 else f"is {last}"
        sentences.append(f"{curve.label.capitalize()} {way}.")
    return " ".join(sentences)


def _step_figures(steps: Sequence[Record]) -> Iterator[Figure]:
    named = (("lr", "Learning rate", BLUE), ("momentum", "Momentum", PURPLE))
    for name, title, colour in named:
        points = step_points(steps, name)
        if not points:
            continue
        highest = max(points, key=lambda point: point["value"])
        yield Figure(
            name=name,
            title=f"{title} by step",
            chart=step_chart([Curve(title, colour, points)]),
            alt=f"Line chart of the {title.lower()} by optimizer step. It is highest at step "
            f"{highest['steps']:,}, {highest['value']:.4g}, and ends at "
            f"{points[-1]['value']:.4g}.",
            height_px=170,
        )


def _speed_figure(history: Sequence[Record]) -> Figure:
    points = series_of(history, "images_per_s")
    slowest, fastest = (pick(point["value"] for point in points) for pick in (min, max))
    curve = Curve("Images/s", BLUE, points)
    return Figure(
        name="speed",
        title="Training images a second",
        chart=epoch_chart(
            [curve],
            is_share=False,
            height_px=120,
            value_range=(0.0, 1.15 * fastest),
            sizes=sizes_of(history),
        ),
        alt=f"Line chart of training images a second by epoch, between {slowest:,.0f} and "
        f"{fastest:,.0f}.",
        height_px=170,
    )


def _epoch_table(history: Sequence[Record], part: str) -> Table:
    columns: list[Column] = [Column("Epoch", "number")]
    keys: list[str] = []
    for key, name, kind, digits in _EPOCH_COLUMNS:
        key = key.format(part=part)
        values = [row[key] for row in history if row.get(key) is not None]
        if values:
            if key == "lr" and min(values) > 0:  # two digits of the least, however small it is
                digits = max(digits, 1 - math.floor(math.log10(min(values))))
            name = name.format(part=part, Part=part.capitalize())
            columns.append(Column(name, kind, digits))  # type: ignore[arg-type]
            keys.append(key)
    rows: list[tuple[Any, ...]] = [
        (row["epoch"] + 1, *(row.get(key) for key in keys)) for row in history
    ]
    return Table("epochs", "Epochs", tuple(columns), tuple(rows), shown=200)
