"""The page on a set of box annotations: is it sound, what is in it, which anchors fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from tinysight.numerals import counted, percent
from tinysight.report.anchors_section import choice_section, published_section, sets_section
from tinysight.report.box_classes_section import called, classes_section
from tinysight.report.boxes_charts import (
    MOST_PAIRED,
    ROW_PX,
    aspect_chart,
    boxes_per_image_chart,
    centres_chart,
    class_pairs_chart,
    side_lengths_chart,
    side_shares_chart,
)
from tinysight.report.chart_style import VERMILLION
from tinysight.report.findings_section import soundness_section, verdict
from tinysight.report.page import (
    Block,
    Callout,
    Columns,
    Facts,
    Figure,
    Key,
    Page,
    Picture,
    Pictures,
    Section,
    Stat,
    Text,
)

if TYPE_CHECKING:
    from tinysight.boxes.analysis import BoxAnalysis
    from tinysight.boxes.summary import BoxSummary

_LEAST_PAIRED_CLASSES = 3
_TURNED_NAMES_PX = 50  # about, below a matrix: a page that grows a little is better than a blank
_LEAST_PER_IMAGE = 0.1  # boxes: of fewer, one digit says too little


@dataclass(frozen=True)
class ExamplePicture:
    """An example image with its boxes and, where there are some, their anchors."""

    file: bytes
    num_drawn: int
    """Boxes on the picture, the largest."""
    num_boxes: int
    """Boxes of the image."""


def build_boxes_page(
    analysis: BoxAnalysis, *, name: str, examples: Sequence[ExamplePicture] = ()
) -> Page:
    """Build the page on a set of annotations.

    Args:
        analysis: Everything that is to be said.
        name: What the set is called on the page.
        examples: Pictures of example images.
    """
    return Page(
        title=f"{name} · tinysight",
        kicker=f"{name}: box annotations, {analysis.reading.format}",
        headline=_headline(analysis),
        lead=_lead(analysis),
        stats=tuple(_stats(analysis)),
        sections=tuple(_sections(analysis, examples)),
        pictures=tuple(example.file for example in examples),
    )


def _sections(analysis: BoxAnalysis, examples: Sequence[ExamplePicture]) -> Iterator[Section]:
    yield soundness_section(analysis.reading)
    if analysis.summary.boxes:
        yield classes_section(analysis.summary, with_images=analysis.reading.are_images_named)
        yield _sizes_section(analysis.summary)
        if analysis.reading.are_images_named:
            yield _images_section(analysis.summary)
    if analysis.anchors is None:
        yield Section("anchors", "Anchors", (Text(analysis.why_no_anchors),))
    else:
        yield sets_section(analysis, analysis.anchors)
        yield choice_section(analysis.anchors)
        yield published_section(analysis.anchors)
    if examples:
        yield _examples_section(examples, with_anchors=analysis.anchors is not None)
    yield _about_section(analysis)


def _headline(analysis: BoxAnalysis) -> str:
    boxes = counted(analysis.summary.boxes, "box", "boxes")
    return f"{boxes} on {analysis.reading.images_in_words}"


def _lead(analysis: BoxAnalysis) -> str:
    summary, reading = analysis.summary, analysis.reading
    sentences = []
    if summary.boxes:
        largest, *others = summary.classes
        share = percent(largest.boxes / summary.boxes)
        if not others or others[0].boxes < largest.boxes:
            named = called(largest.name, before_a_number="of class")
            sentences.append(f"{share} of the boxes are {named}.")
    sentences.append(verdict(reading))
    if analysis.anchors is not None:
        chosen = analysis.anchors.chosen
        sentences.append(
            f"With {counted(chosen.k, 'anchor')} the mean best IoU is {chosen.mean_best_iou:.3f}."
        )
    return " ".join(sentences)


def _stats(analysis: BoxAnalysis) -> Iterator[Stat]:
    summary, reading = analysis.summary, analysis.reading
    with_boxes = int((summary.boxes_by_class > 0).sum())
    unused = len(summary.class_names) - with_boxes
    classes = "class" if with_boxes == 1 else "classes"
    yield Stat(f"{with_boxes:,}", classes, f"and {unused:,} without boxes" if unused else "")
    if reading.are_images_named:
        per_image = summary.boxes_per_image
        few = 0 < per_image < _LEAST_PER_IMAGE
        yield Stat(f"below {_LEAST_PER_IMAGE}" if few else f"{per_image:.1f}", "boxes an image")
        empty = summary.images_without_boxes
        yield Stat(f"{empty:,}", f"{'image' if empty == 1 else 'images'} without boxes")
    findings = len(reading.findings)
    yield Stat(f"{findings:,}", "finding" if findings == 1 else "findings")
    if summary.boxes:
        small = summary.sizes["small"] / summary.boxes
        yield Stat(percent(small), "small boxes", "below 32 × 32 px")


def _say_repeated(summary: BoxSummary) -> str:
    """Say how many boxes lie on another one; there are some."""
    same, other = summary.repeated_boxes, summary.relabelled_boxes
    number = same or other
    lie = f"{counted(number, 'box', 'boxes')} {'lies' if number == 1 else 'lie'} almost exactly on"
    if not same:
        return f"{lie} a box of another class."
    and_other = f", {other:,} on one of another class" if other else ""
    return f"{lie} another box of the same class{and_other}."


def _sizes_section(summary: BoxSummary) -> Section:
    blocks: list[Block] = []
    if summary.repeated_boxes or summary.relabelled_boxes:
        blocks.append(
            Callout(
                "note",
                _say_repeated(summary),
                "The same object may be annotated twice. `tinysight boxes summary FILE --csv DIR` "
                "lists them.",
            )
        )
    figures = [
        Figure(
            name="sides-px",
            title="Width and height in pixels",
            chart=side_lengths_chart(summary),
            alt="Heat map of boxes by width and height in pixels, both axes logarithmic.",
            caption="Both axes are logarithmic: a step is a factor. Stronger colour: more boxes.",
            height_px=370,
        )
    ]
    if summary.wh_rel.any():
        figures.append(
            Figure(
                name="sides-rel",
                title="Width and height as shares of the image",
                chart=side_shares_chart(summary),
                alt="Heat map of boxes by width and height as shares of their image.",
                caption="Top right: boxes that fill their image.",
                height_px=370,
            )
        )
    blocks.append(Columns(tuple(figures)))
    shapes = [
        Figure(
            name="aspects",
            title="Shapes",
            chart=aspect_chart(summary.aspect_by_class.sum(axis=0)),
            alt="Histogram of boxes by width over height.",
            height_px=270,
        )
    ]
    if summary.centres.any():
        shapes.append(
            Figure(
                name="centres",
                title="Where their centres are",
                chart=centres_chart(summary.centres),
                alt="Heat map of box centres over the image.",
                caption="All images scaled to one frame.",
                height_px=370,
            )
        )
    blocks.append(Columns(tuple(shapes)))
    lead = ", ".join(
        f"{percent(count / summary.boxes)} {size}" for size, count in summary.sizes.items()
    )
    return Section("sizes", "How large, which shape, where?", tuple(blocks), lead=f"{lead}.")


def _images_section(summary: BoxSummary) -> Section:
    per_image = Figure(
        name="boxes-per-image",
        title="Boxes in an image",
        chart=boxes_per_image_chart(summary.images_by_num_boxes),
        alt="Histogram of images by their number of boxes.",
        keys=(Key("images without boxes", VERMILLION),) if summary.images_without_boxes else (),
        height_px=270,
    )
    blocks: list[Block] = [per_image]
    if sum(entry.boxes > 0 for entry in summary.classes) >= _LEAST_PAIRED_CLASSES:
        blocks.append(_class_pairs(summary))
    return Section("images", "Image by image", tuple(blocks), lead=_images_lead(summary))


def _images_lead(summary: BoxSummary) -> str:
    most = len(summary.images_by_num_boxes) - 1
    if summary.images_by_num_boxes[most] == summary.images:
        return f"Every image has {counted(most, 'box', 'boxes')}."
    median = summary.median_boxes_per_image()
    if median == most:
        return f"No image has more than {counted(most, 'box', 'boxes')}."
    half = f"Half of the images have {counted(median, 'box', 'boxes')} or fewer"
    return f"{half}, none has more than {most:,}."


def _class_pairs(summary: BoxSummary) -> Block:
    num_classes = min(len(summary.meeting_classes()), MOST_PAIRED)
    if not num_classes:
        return Text(summary.note_on_pairs or "No image has boxes of two classes.")
    return Figure(
        name="class-pairs",
        title="Which classes meet in an image",
        chart=class_pairs_chart(summary),
        alt="Matrix of the largest classes: in how many images two of them meet.",
        caption="Colour: images with both, as a share of the images of the rarer one. Classes that "
        f"meet no other are left out. {summary.note_on_pairs}".rstrip(),
        height_px=ROW_PX * num_classes + _TURNED_NAMES_PX,
    )


def _examples_section(examples: Sequence[ExamplePicture], *, with_anchors: bool) -> Section:
    anchors = " and the anchors nearest to them" if with_anchors else ""
    items = tuple(
        Picture(
            number,
            f"Example image {number + 1} with its boxes{anchors}",
            caption=f"The {example.num_drawn:,} largest of {example.num_boxes:,} boxes"
            if example.num_drawn < example.num_boxes
            else "",
        )
        for number, example in enumerate(examples)
    )
    text = "The boxes as annotated."
    if with_anchors:
        text = "Solid: the boxes as annotated. Dashed: the best anchor of each, around the same "
        text += "centre."
    blocks = (Text(text, is_quiet=True), Pictures(items, width_px=260))
    return Section("examples", "On the images", blocks)


def _about_section(analysis: BoxAnalysis) -> Section:
    reading = analysis.reading
    files = [PurePath(path).name for path in reading.files]
    named = ", ".join(files[:5]) + (f" and {len(files) - 5:,} more" if len(files) > 5 else "")
    width, height = analysis.input_size_wh
    crowds = analysis.summary.crowd_boxes
    facts = (
        ("Files", named),
        ("Format", reading.format),
        ("Defective boxes", f"policy {reading.policy}"),
        ("Network input", f"{width} × {height} px, {analysis.fit}"),
        ("Crowd regions", f"{crowds:,}, left out of the anchors" if crowds else "none"),
    )
    return Section("about", "How it was made", (Facts("", facts),))
