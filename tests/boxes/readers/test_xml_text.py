from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tinysight.boxes.readers.xml_text import parse_xml, root_tag
from tinysight.errors import DataError


@pytest.mark.parametrize(
    ("head", "tag"),
    [
        ("", ""),
        ("<", ""),
        ("<a>", "a"),
        ("<a/>", "a"),
        ("<annotations\n x='1'>", "annotations"),
        ("<?xml version='1.0'?><!-- <b> --><!-- <c> -->\n<a><b>", "a"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>", "a"),
        ("<!-- <b> without an end", ""),
    ],
)
def test_root_is_the_first_element_that_is_no_comment(head: str, tag: str) -> None:
    assert root_tag(head) == tag


def parse(path: Path, largest_bytes: int | None = None) -> list[object]:
    events: list[object] = []

    def start(tags: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        events.append((tags, dict(attributes), line))

    def end(tags: tuple[str, ...], text: str) -> None:
        events.append((tags, text))

    parse_xml(
        path, start, end, root="a", what="Test", advice="Mend it.", largest_bytes=largest_bytes
    )
    return events


def test_elements_below_the_root_come_with_their_tags_line_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a>\n<b x='1'> one &amp; <c/>two </b></a>")
    assert parse(path) == [
        (("b",), {"x": "1"}, 2),
        (("b", "c"), {}, 2),
        (("b", "c"), ""),
        (("b",), "two"),
    ]


def test_file_of_another_root_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<b/>" + " " * 2**21)
    with pytest.raises(DataError) as fault:
        parse(path)
    assert str(fault.value) == f"{path}: must be a Test <a>, got <b>. Mend it."
    with pytest.raises(DataError) as fault:
        parse(path, largest_bytes=2**20)
    assert str(fault.value) == (
        f"{path}: must have at most 1 MiB, as the annotation of one image; got 2 MiB. Check that "
        f"this is a Test file."
    )
