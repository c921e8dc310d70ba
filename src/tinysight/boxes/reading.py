"""Any annotation files to one table of checked boxes and an account of every record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np

from tinysight.boxes.box_order import LARGEST_SIDE_PX, BoxOrder, decide_box_order, parse_box_order
from tinysight.boxes.findings import FindingGroup, Findings, Reading, whole_file_finding
from tinysight.boxes.formats import READERS, TREE_FORMATS, find_all_annotations
from tinysight.boxes.image_sizes import fill_image_sizes
from tinysight.boxes.merging import JudgedSource, merge_sources
from tinysight.boxes.policies import POLICIES, Policy, judge_boxes
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError
from tinysight.numerals import counted
from tinysight.writable_names import all_writable


def read_boxes(
    paths: str | Path | Iterable[str | Path],
    *,
    format: str | None = None,
    box_order: str | BoxOrder | None = None,
    policy: Policy = "clip",
    images_dir: str | Path | None = None,
    image_size_wh: tuple[int, int] | None = None,
) -> Reading:
    """Read annotation files or folders of any known format into one table.

    Images of the same name and size, with a finding, and classes of the same name are one across
    all files.

    Args:
        paths: Files or folders, one or several.
        format: Name of the format; found by content when not given.
        box_order: What the four numbers mean, such as ``"xyxy:1"``; when not given it is what the
            format declares, tested against the edges of the images, or else measured by that test.
        policy: What becomes of defective boxes; the table is in :mod:`tinysight.boxes.policies`.
        images_dir: Folder with the images, to read sizes from that the files do not state.
        image_size_wh: Width, height in pixels of images whose size is not known otherwise.

    Raises:
        DataError: A file cannot be read at all, its format or box order is not clear, or the
            policy is ``strict`` and there is a finding.
    """
    sources = _paths_of(paths)
    asked = parse_box_order(box_order) if isinstance(box_order, str) else box_order
    if policy not in POLICIES:
        raise DataError(f"`policy` must be one of {', '.join(POLICIES)}, got {policy!r}.")
    if format is not None and format not in READERS:
        raise DataError(f"`format` must be one of {', '.join(READERS)}, got {format!r}.")
    options = ReadOptions(
        images_dir=None if images_dir is None else _folder(Path(images_dir)),
        image_size_wh=_checked_size(image_size_wh),
    )
    judged = []
    named = [(format, path) for path in sources] if format else find_all_annotations(sources)
    for raw in _raw_boxes(named, options):
        raw = _with_writable_names(fill_image_sizes(raw, options))
        decision = decide_box_order(
            raw.numbers,
            raw.image_wh_px[raw.image_index],
            declared=raw.declared,
            asked=asked,
            is_first_pixel_open=raw.is_first_pixel_open,
            are_axes_named=raw.are_axes_named,
            where=raw.where,
        )
        _check_sizes(raw, decision.order)
        judged.append(JudgedSource(raw, decision, judge_boxes(raw, decision, policy)))
    files = tuple(file for source in judged for file in source.raw.files)
    if len(sources) > 1:
        _check_read_once(files, sources)
    judgements = [source.judgement for source in judged]
    repaired = sum(int(judgement.is_repaired.sum()) for judgement in judgements)
    kept = sum(int(judgement.is_kept.sum()) for judgement in judgements)
    boxes_read = sum(len(source.raw.numbers) for source in judged)
    table, notes = merge_sources(judged)
    groups = [group for judgement in judgements for group in judgement.findings.groups]
    groups += notes
    if boxes_read == 0:
        groups.append(_no_boxes(judged[0].raw.where, policy))
    return Reading(
        table=table,
        format=", ".join(dict.fromkeys(name for name, _ in named)),
        files=files,
        decisions=tuple(source.decision for source in judged),
        policy=policy,
        boxes_read=boxes_read,
        accepted=kept - repaired,
        repaired=repaired,
        rejected=boxes_read - kept,
        findings=Findings(tuple(groups)),
        are_images_named=all(source.raw.are_images_named for source in judged),
        made_up_classes=tuple(
            (source.raw.where, source.raw.made_up_class)
            for source in judged
            if source.raw.made_up_class is not None
        ),
    )


def _raw_boxes(named: Sequence[tuple[str, Path]], options: ReadOptions) -> Iterable[RawBoxes]:
    """Read the sources; neighbours of a format with one image a file are one source."""
    for name, group in groupby(named, key=lambda item: item[0]):
        paths = [path for _, path in group]
        if name in TREE_FORMATS:
            yield READERS[name](paths, options)
        else:
            for path in paths:
                yield READERS[name]([path], options)


def _with_writable_names(raw: RawBoxes) -> RawBoxes:
    return replace(
        raw,
        image_names=all_writable(raw.image_names),
        class_names=all_writable(raw.class_names),
    )


def _check_sizes(raw: RawBoxes, order: BoxOrder) -> None:
    """Refuse fractions of images of which no size is known: no box could be kept."""
    used = raw.image_wh_px[raw.image_index]
    if order.unit == "rel" and len(used) and not np.isfinite(used).all(axis=1).any():
        images = counted(len(np.unique(raw.image_index)), "image")
        raise DataError(
            f"{raw.where}: boxes in fractions need the sizes of their images, and of {images} none "
            f"is known. Pass --images DIR or --image-size WxH."
        )


def _no_boxes(where: str, policy: Policy) -> FindingGroup:
    message = "annotations must have boxes, but there is none."
    if policy == "strict":
        raise DataError(f"{where}: {message} Name the file or folder with the boxes.")
    return whole_file_finding("no_boxes", "accepted", where, message)


def _paths_of(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("Annotation files must be named, got none. Name a file or a folder.")
    found = [Path(path) for path in given]
    seen: dict[Path, Path] = {}
    for path in found:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12 raise both for a loop
            raise DataError(
                f"{path}: must be a file or folder of box annotations, found: "
                f"{_reason(error)}. Check the path."
            ) from error
        if real in seen:
            raise DataError(f"{path}: must be named once, but {seen[real]} is the same file.")
        seen[real] = path
    return found


def _check_read_once(files: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuse paths of which two lead to one file, as a folder and one below it do.

    A link within a folder may lead to a file that the folder has already.
    """
    real_folder = cache(os.path.realpath)
    seen: dict[str, str] = {}
    for file in files:
        folder, name = os.path.split(file)
        real = os.path.join(real_folder(folder), name)
        first = seen.get(real)
        seen.setdefault(real, file)
        if first is None:
            continue
        is_of_one_path = first != file and any(
            Path(first).is_relative_to(path) and Path(file).is_relative_to(path) for path in sources
        )
        if not is_of_one_path:
            raise DataError(
                f"{file}: must be read once, but two of the paths that are named lead to it. Name "
                f"one of them."
            )


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "its symbolic links lead in a circle"


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path}: must be a folder with the images, but there is none. Check it.")
    return path


def _checked_size(image_size_wh: tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size_wh is None:
        return None
    sides = np.asarray(image_size_wh)
    if sides.shape != (2,) or not all(0 < side < LARGEST_SIDE_PX for side in sides):
        raise DataError(
            f"`image_size_wh` must be a width and a height > 0 pixels, got {image_size_wh}."
        )
    return image_size_wh
