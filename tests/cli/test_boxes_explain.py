from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from tests.boxes.annotation_files import (
    make_coco,
    make_createml,
    make_cvat,
    make_labelme,
    write_json,
)
from tests.real_data import real_file
from tinysight.cli import main


def test_dogs_are_explained_on_their_own_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "explain", str(real_file("dogs/dog_boundingbox_export_coco.json"))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "is a COCO json file." in out
    assert "images: list of the photographs: id, file name, size" in out
    # The text "0" beside the number 0 is what is odd about this file.
    assert '* image_id "0" the `id` of the image the box is in' in out
    assert "* bbox [76, 20, 312, 299] the box: left, top, width, height in pixels" in out
    assert "segmentation [76, 20, 388, 20, 388, 319, 76, 319] outline of the object" in out
    assert (
        "In 0.jpg (500 x 375 px) there is something of the class dog. Its box begins 76 px from "
        "the left and 20 px from the top edge and is 312 px wide and 299 px high: 49.8 % of the"
    ) in out
    assert "98 x repeated_category (repaired)." in out
    assert "53 x image_id_type (repaired)." in out


def test_unknown_keys_are_called_extras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = make_coco(mood="fine")
    coco["images"][0]["weather"] = "rain"
    assert main(["boxes", "explain", str(write_json(tmp_path / "a.json", coco)), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "mood: an extra; not used" in result["layout"]
    fields = {field["name"]: field for field in result["records"][0]["fields"]}
    assert fields["weather"]["meaning"] == "an extra of this file, not part of the format"
    assert not fields["weather"]["is_used"]
    assert fields["file_name"]["is_used"]
    assert result["odd"] == []


FILES = {
    "a.csv": ("image,class,x,y,width,height\nz.jpg,dog,1,2,3,4\n", "* width 3 width of the box"),
    "a.txt": ("0 0.5 0.5 0.2 0.4\n", "* cx 0.5 x of the centre of the box as a fraction"),
    "wider.txt": ("a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n", "blur 0 0 clear, 1 blurred"),
    "tiny.txt": ("a.JPEG\tn01443537\t0\t0\t63\t62\n", "* ymax 62 last pixel row of the box"),
    "a.xml": (
        "<annotation><filename>a.jpg</filename><size><width>9</width><height>8</height></size>"
        "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax>"
        "</bndbox></object></annotation>",
        "* xmax 9 last pixel column of its box",
    ),
    "labelme.json": (
        json.dumps(make_labelme(imageData="/9j/" + "A" * 5000)),
        'imageData "/9j/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA… the image itself as text, or null',
    ),
    "labelme of lines.json": (
        json.dumps(make_labelme()),
        "* points [[10, 20], [40, 60]] x, y of its points in pixels",
    ),
    "cvat.xml": (
        make_cvat(
            '<image id="0" name="a.jpg" width="100" height="80"><tag label="dog"/>'
            '<box label="dog" source="manual" xtl="1" ytl="2" xbr="4" ybr="6"/></image>'
        ),
        "* xbr 4 right edge of the box in pixels",
    ),
    "createml.json": (
        json.dumps(make_createml()),
        '* coordinates {"x": 25, "y": 40, "width": 30, "height… the box: x and y of its centre',
    ),
    "via.json": (
        '{"k": {"filename": "a.jpg", "size": 1, "regions": [{"shape_attributes": {"name": "rect", '
        '"x": 1, "y": 2, "width": 3, "height": 4}, "region_attributes": {"class": "dog"}}]}}',
        "* height 4 height of the rectangle in pixels",
    ),
    "attributes.json": (
        '{"k": {"filename": "a.jpg", "size": 1, "regions": [{"shape_attributes": {"name": "rect", '
        '"x": 1, "y": 2, "width": 3, "height": 4}, '
        '"region_attributes": {"id": "7", "class": "dog"}}]}}',
        'id "7" another attribute of the region * class "dog" the class of what is in the region',
    ),
    "ellipse.json": (
        '{"k": {"filename": "a.jpg", "size": 1, "regions": [{"shape_attributes": {"name": "ellipse"'
        ', "cx": 20, "cy": 30, "rx": 9, "ry": 4, "theta": 1.5}, '
        '"region_attributes": {"c": "d"}}]}}',
        "* theta 1.5 by how many radians the ellipse is turned about its centre",
    ),
    "points.csv": (
        "filename,class,x1,y1,x2,y2,x3,y3\na.jpg,dog,1,2,9,2,9,8\n",
        "* y3 8 y of point 3; the box goes around the points",
    ),
    "sides.csv": (
        "filename,class,xmin,ymin,xmax,ymax,w,h\na.jpg,dog,10,20,40,60,30,40\n",
        " w 30 width of the box, which its corners tell already h 40 height of the box, which",
    ),
    "sizes.csv": (
        "filename,class,xmin,ymin,xmax,ymax,w,h\na.jpg,dog,10,20,40,60,100,80\n",
        "* w 100 width of the image in pixels * h 80 height of the image in pixels",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_explained_on_its_first_record(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, told = FILES[name]
    path = tmp_path / name
    path.write_text(text)
    assert main(["boxes", "explain", str(path), "--image-size", "100x80"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert told in out
    assert "The first box in words" in out
    assert re.search(r"In all: \d images?, \d class(es)?, 1 box read = 1 accepted", out)
    assert not re.search(r"\b1 (images|classes|boxes)\b", out)


def voc_text(first: int) -> str:
    """A box over the whole of its image, whose pixels count from ``first``."""
    corners = {"xmin": first, "ymin": first, "xmax": 100, "ymax": 80}
    return (
        "<annotation><filename>a.jpg</filename><size><width>100</width><height>80</height></size>"
        "<object><name>dog</name><bndbox>"
        + "".join(f"<{name}>{number}</{name}>" for name, number in corners.items())
        + "</bndbox></object></annotation>"
    )


EDGES = (
    "* xmin 0 left edge of its box in pixels * ymin 0 top edge of its box in pixels "
    "* xmax 100 right edge of its box in pixels * ymax 80 bottom edge of its box in pixels"
)


@pytest.mark.parametrize(
    ("first", "asked", "told", "order"),
    [
        (0, None, EDGES, "left, top, right, bottom in pixels."),
        (
            1,
            None,
            "* xmin 1 first pixel column of its box, counted from 1 "
            "* ymin 1 first pixel row of its box, counted from 1 "
            "* xmax 100 last pixel column of its box * ymax 80 last pixel row of its box",
            "left, top, right, bottom in pixels, counted from 1, the last pixel included.",
        ),
        (
            0,
            "xyxy:last",
            "* xmin 0 first pixel column of its box, counted from 0 "
            "* ymin 0 first pixel row of its box, counted from 0 "
            "* xmax 100 last pixel column of its box * ymax 80 last pixel row of its box",
            "left, top, right, bottom in pixels, the last pixel included.",
        ),
        (
            1,
            "xywh:1",
            "* xmin 1 left edge of its box in pixels, counted from 1 "
            "* ymin 1 top edge of its box in pixels, counted from 1 "
            "* xmax 100 width of its box in pixels * ymax 80 height of its box in pixels",
            "left, top, width, height in pixels, counted from 1.",
        ),
        (
            0,
            "cxcywh:rel",
            "* xmin 0 centre x of its box as a fraction of the image ",
            None,  # no part of such a box is in its image
        ),
    ],
)
def test_the_corners_of_voc_are_called_what_they_were_read_as(
    first: int,
    asked: str | None,
    told: str,
    order: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.xml").write_text(voc_text(first))
    words = ["boxes", "explain", str(tmp_path)]
    assert main(words + (["--box-order", asked] if asked else [])) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert told in out
    if order is not None:
        assert f"The order of its four numbers is {order}" in out


def explained(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    path.write_text(text)
    assert main(["boxes", "explain", str(path)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_numbers_that_json_has_not_are_shown_as_they_stand_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(make_coco()).replace("[10, 20, 30, 40]", "[NaN, -Infinity, Infinity, 1e999]")
    out = explained(tmp_path / "a.json", text, capsys)
    assert "* bbox [NaN, -Infinity, Infinity, Infinity] the box" in out
    text = json.dumps(make_labelme()).replace("[10, 20]", "[NaN, 20]")
    assert "* points [[NaN, 20], [40, 60]] x, y" in explained(tmp_path / "b.json", text, capsys)


def test_columns_of_parquet_are_called_what_they_were_read_as(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.parquet"
    sides = {name: [10.0, 12.0] for name in ("xmin", "ymin")}
    sides |= {name: [40.0, 50.0] for name in ("xmax", "ymax")}
    columns = {"image": [b"abc", b"def"], "path": ["a.jpg", "b.jpg"], **sides, "class": ["a", "b"]}
    parquet.write_table(pyarrow.table(columns), path)
    assert main(["boxes", "explain", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "* path a.jpg the image the box is in" in out
    assert "image b'abc' an extra of this file" in out
    assert "* image" not in out


def test_json_that_is_indented_is_shown_without_its_line_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = explained(tmp_path / "a.json", json.dumps(make_labelme(), indent=2), capsys)
    assert "* points [[10, 20], [40, 60]] x, y of its points in pixels" in out


def test_numbers_that_have_names_have_no_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = (
        '<image id="0" name="a.jpg" width="100" height="80"><mask label="dog" rle="" left="1" '
        'top="2" width="30" height="40"/></image>'
    )
    for text in (make_cvat(body), json.dumps(make_labelme())):
        out = explained(tmp_path / "a", text, capsys)
        assert "px high: 15.0 % of the image. What is odd" in out


def test_tracks_and_shapes_without_area_of_cvat_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = '<track id="0" label="dog"><points frame="0" points="1,2" outside="0"/></track>'
    out = explained(tmp_path / "a.xml", make_cvat(body), capsys)
    assert " id 0 the number of the track * label dog" in out
    assert (
        " points 1,2 x,y of its points between semicolons; without an area it gives no box" in out
    )
    assert "* points" not in out


@pytest.mark.parametrize("regions", [5, "x", True, {"a": 5}, [5]])
def test_via_regions_that_are_none_are_no_traceback(
    regions: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a.jpg": {"filename": "a.jpg", "regions": regions}}))
    assert main(["boxes", "explain", str(path), "--image-size", "9x9"]) == 0
    assert "image a.jpg" in capsys.readouterr().out


def test_plain_rows_say_that_the_order_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "explain", str(real_file("sample_coco.txt"))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "* bbox [69, 464, 312, 175] the box in pixels; nothing says in which order" in out
    assert "Its box begins 464 px from the left and 69 px from the top edge" in out


def test_an_image_that_was_not_seen_is_not_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    assert main(["boxes", "explain", str(tmp_path), "--image-size", "100x80"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "In the image of 1.txt (100 x 80 px) there is something of the class 0" in out
    assert ".jpg" not in out
    Image.new("L", (100, 80)).save(tmp_path / "labels" / "1.png")
    assert main(["boxes", "explain", str(tmp_path)]) == 0
    assert "In 1.png (100 x 80 px) there is" in " ".join(capsys.readouterr().out.split())


def test_a_table_without_header_is_not_said_to_name_its_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("z.jpg,1,2,3,4,dog\n")
    assert main(["boxes", "explain", str(path), "--image-size", "100x80"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "Each row is one box; no row names the columns, so that the place of each says what it is."
        in out
    )
    assert "the first row names" not in out
    path.write_text("image,x1,y1,x2,y2,class\nz.jpg,1,2,3,4,dog\n")
    assert main(["boxes", "explain", str(path), "--image-size", "100x80"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the first row names the columns, which may come in any order." in out


def test_yolo_tree_is_explained_though_its_first_label_file_is_a_broken_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "b.txt").write_text("3 0.5 0.5 0.2 0.4\n")
    assert main(["boxes", "explain", str(tmp_path), "--image-size", "100x100"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "first record of b.txt (* is used) * class 3" in out
    assert "1 x unreadable_file (rejected)." in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.1 0.2 0.3 0.2 0.3 0.4", "* points 0.1 0.2 0.3 0.2 0.3 0.4 x and y of the points of"),
        ("0 0.5 0.5 0.2 0.4 0.9", "confidence 0.9 how sure a detector is of the box"),
    ],
)
def test_numbers_after_the_class_of_a_yolo_line_are_called_what_they_are(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\n")
    assert main(["boxes", "explain", str(tmp_path), "--image-size", "100x100"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert said in out
    assert ("* cx" in out) == ("points" not in said)


def test_track_of_a_video_is_explained_with_its_first_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        make_cvat(
            '<track id="0" label="dog"><box frame="7" outside="0" keyframe="1" xtl="1" ytl="2" '
            'xbr="4" ybr="6"/></track>'
        )
    )
    assert main(["boxes", "explain", str(path), "--image-size", "100x80"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "is a CVAT XML file." in out
    assert "first <track> of a.xml (* is used)" in out
    assert "* label dog the class of the object that the track follows" in out
    assert "* frame 7 the frame of the video" in out
    assert "In frame_000007 (100 x 80 px) there is something of the class dog." in out


@pytest.mark.parametrize("name", ["a.json", "a.xml"])
def test_tree_is_explained_though_its_first_file_is_broken(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = (
        '<image name="a.jpg" width="9" height="9"><box label="a" xtl="1" ytl="2" xbr="4" ybr="6"/>'
    )
    text = json.dumps(make_labelme()) if name == "a.json" else make_cvat(f"{box}</image>")
    (tmp_path / name).write_text(text[:-20])
    (tmp_path / f"b{name}").write_text(text)
    format = "labelme" if name == "a.json" else "cvat"
    assert main(["boxes", "explain", str(tmp_path), "--format", format]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"b{name} (* is used)" in out
    assert "1 x unreadable_file (rejected)." in out
