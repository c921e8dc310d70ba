"""The section of the boxes page on its classes: how many boxes each has, and which have too few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinysight.numerals import counted
from tinysight.report.anchors_section import MOST_CLASS_ROWS
from tinysight.report.boxes_charts import MOST_CLASSES, ROW_PX, class_boxes_chart
from tinysight.report.chart_style import BLUE, VERMILLION
from tinysight.report.page import Block, Callout, Cell, Column, Figure, Key, Section, Table

if TYPE_CHECKING:
    from tinysight.boxes.summary import BoxSummary

_FEW_BOXES = 20  # of a class: too few to learn from or to measure by
_MANY_TIMES = 20  # as many boxes as another class: worth a word


def classes_section(summary: BoxSummary, *, with_images: bool) -> Section:
    """Return the bars of boxes a class, the table of all, and what to know before training.

    Args:
        summary: What is in the set; it has boxes.
        with_images: Whether records name their images, so that images can be counted.
    """
    classes = [entry for entry in summary.classes if entry.boxes]
    is_cut = len(summary.class_names) > MOST_CLASS_ROWS
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            entry.name,
            entry.boxes,
            entry.boxes / summary.boxes,
            *([entry.images] if with_images else []),
            *entry.sizes.values(),
        )
        for entry in summary.classes[:MOST_CLASS_ROWS]
    )
    columns = (
        Column("Class"),
        Column("Boxes", "number"),
        Column("Of all boxes", "share"),
        *([Column("Images", "number")] if with_images else []),
        Column("Small", "number"),
        Column("Medium", "number"),
        Column("Large", "number"),
    )
    shown = min(len(classes), MOST_CLASSES)
    what = "Boxes and images" if with_images else "Boxes"
    title = f"{what} of each class"
    if shown < len(classes):
        title = f"{what} of the {shown} largest of {len(classes):,} classes"
    figure = Figure(
        name="class-boxes",
        title=title,
        chart=class_boxes_chart(classes, with_images=with_images),
        alt="Bars of boxes a class. "
        + " ".join(
            f"{entry.name}: {counted(entry.boxes, 'box', 'boxes')}." for entry in classes[:8]
        ),
        keys=(Key("boxes", BLUE), Key("images that hold the class", VERMILLION))
        if with_images
        else (),
        height_px=ROW_PX * shown,
    )
    table = Table(
        "class-table",
        f"The {MOST_CLASS_ROWS:,} largest of {len(summary.class_names):,} classes"
        if is_cut
        else "All classes",
        columns,
        rows,
        caption="Small, medium and large by the limits of COCO, 32 × 32 and 96 × 96 px of the "
        "source image, measured on boxes."
        + (" tables/classes.csv has all classes." if is_cut else ""),
    )
    return Section(
        "classes",
        "Which classes?",
        (*_imbalance(summary), figure, table),
        lead=_classes_lead(summary),
    )


def _classes_lead(summary: BoxSummary) -> str:
    first, *others = (entry for entry in summary.classes if entry.boxes)
    if not others:
        return f"One class has boxes: {first.name}."
    last = others[-1]
    if last.boxes == first.boxes:
        which = "class with boxes" if 0 in summary.boxes_by_class else "class"
        return f"Each {which} has {counted(first.boxes, 'box', 'boxes')}."
    times = first.boxes / last.boxes
    return (
        f"{called(first.name, before_a_number='Class')} has "
        f"{counted(first.boxes, 'box', 'boxes')}, "
        f"{called(last.name, before_a_number='class')} has {last.boxes:,}: "
        f"{times:,.{int(times < 10)}f} times as many."
    )


def called(name: str, *, before_a_number: str) -> str:
    """Return what a sentence calls a class: its name, and a number with a word before it."""
    return f"{before_a_number} {name}" if name.isdecimal() else name


def _imbalance(summary: BoxSummary) -> Iterator[Block]:
    rare = [entry for entry in summary.classes if 0 < entry.boxes < _FEW_BOXES]
    if summary.imbalance and summary.imbalance >= _MANY_TIMES:
        yield Callout(
            "note",
            "The classes are unbalanced.",
            "Look at the results of each class and not only at their mean; sample rare classes "
            "more often, or collect more of them.",
        )
    if rare:
        named = ", ".join(entry.name for entry in rare[:5])
        more = f" and {len(rare) - 5:,} more" if len(rare) > 5 else ""
        yield Callout(
            "note",
            f"{counted(len(rare), 'class', 'classes')} with fewer than {_FEW_BOXES} boxes: "
            f"{named}{more}.",
            "A figure measured on so few boxes says little.",
        )
