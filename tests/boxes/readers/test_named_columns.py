from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tinysight.boxes.findings import Reading
from tinysight.boxes.near_duplicates import find_near_duplicates
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def read(tmp_path: Path, text: str, **over: Any) -> Reading:
    path = tmp_path / "a.csv"
    path.write_text(text)
    return read_boxes(path, **over)


HEADERS = {
    "TensorFlow": (
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,dog,10,20,40,60\n",
        "xyxy",
    ),
    "any order": (
        "ymax,xmax,label,xmin,image,ymin,image_height,image_width\n60,40,dog,10,a.jpg,20,80,100\n",
        "xyxy",
    ),
    "semicolon, decimal comma": (
        "image;class;x;y;width;height;img_w;img_h\na.jpg;dog;10,0;20,0;30,0;40,0;100;80\n",
        "xywh",
    ),
    "tab, centre": (
        "image\tclass\tx_center\ty_center\tw\th\timage_width\timage_height\n"
        "a.jpg\tdog\t25\t40\t30\t40\t100\t80\n",
        "cxcywh",
    ),
    "bar, quoted": (
        '"image"|"class"|"x1"|"y1"|"x2"|"y2"|"image_width"|"image_height"\n'
        '"a.jpg"|"dog"|"10"|"20"|"40"|"60"|"100"|"80"\n',
        "xyxy",
    ),
    "Open Images": (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n"
        "a.jpg,xclick,dog,1,0.1,0.4,0.25,0.75,0,0\n",
        "xyxy:rel",
    ),
    "SKU without header": ("a.jpg,10,20,40,60,dog,100,80\n", "xyxy"),
    "makesense.ai without header": ("dog,10,20,30,40,a.jpg,100,80\n", "xywh"),
    "prefixed": (
        "image_path,class_name,bbox_x,bbox_y,bbox_width,bbox_height,image_width,image_height\n"
        "a.jpg,dog,10,20,30,40,100,80\n",
        "xywh",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_columns_are_found_by_name_in_any_order_and_with_any_separator(
    name: str, tmp_path: Path
) -> None:
    text, order = HEADERS[name]
    reading = read(tmp_path, text, image_size_wh=(100, 80))
    assert (reading.format, str(reading.box_order), len(reading.findings)) == ("csv", order, 0)
    assert reading.table.xywh_px == pytest.approx(np.array([[10, 20, 30, 40]]))
    assert reading.table.image_names == ("a.jpg",)
    assert reading.table.class_names == ("dog",)
    assert reading.table.image_wh_px.tolist() == [[100, 80]]


def test_first_row_of_keras_retinanet_may_be_an_image_without_boxes(tmp_path: Path) -> None:
    reading = read(tmp_path, "b.jpg,,,,,\na.jpg,10,20,40,60,dog\n", image_size_wh=(100, 80))
    assert reading.table.image_names == ("b.jpg", "a.jpg")
    assert reading.table.class_names == ("dog",)
    assert (reading.accepted, len(reading.findings)) == (1, 0)


def test_columns_without_a_name_at_the_end_are_passed_over(tmp_path: Path) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax,,\na.jpg,dog,10,20,40,60,,\n"
    reading = read(tmp_path, text, image_size_wh=(100, 80))
    assert (reading.accepted, reading.table.class_names, len(reading.findings)) == (1, ("dog",), 0)


@pytest.mark.parametrize("column", ["wnid", "synset"])
def test_ids_of_wordnet_are_classes(column: str, tmp_path: Path) -> None:
    text = f"file_name,{column},xmin,ymin,xmax,ymax\na.jpg,n02123045,10,20,40,60\n"
    reading = read(tmp_path, text, image_size_wh=(100, 80))
    assert reading.table.class_names == ("n02123045",)


@pytest.mark.parametrize(
    ("written", "classes"),
    [
        (["1.0", "", "2.00", "1"], ["1", "2", "1"]),
        (["-1.0", "1.5", "10.0"], ["-1", "1.5", "10"]),
        (["1.0", "1", "dog"], ["1.0", "1", "dog"]),
        (["1.0", "nan"], ["1.0", "nan"]),
    ],
)
def test_whole_number_with_a_point_is_the_same_class_without(
    written: list[str], classes: list[str], tmp_path: Path
) -> None:
    # The second row of the first case is an image without boxes, as pandas writes it.
    rows = [f"{row}.jpg,{'1,2,9,9' if name else ',,,'},{name}" for row, name in enumerate(written)]
    text = "\n".join(["filename,xmin,ymin,xmax,ymax,class", *rows])
    table = read(tmp_path, text, image_size_wh=(100, 80)).table
    assert [table.class_names[row] for row in table.class_index] == classes
    assert len(set(table.class_names)) == table.num_classes


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename,width,height,class,x,y,w,h", "a.jpg,100,80,dog,10,20,30,40"),
        ("filename,class,cx,cy,w,h,width,height", "a.jpg,dog,25,40,30,40,100,80"),
        ("filename,class,xmin,ymin,w,h,width,height", "a.jpg,dog,10,20,30,40,100,80"),
        ("filename,class,bbox_x,bbox_y,bbox_w,bbox_h,width,height", "a.jpg,dog,10,20,30,40,100,80"),
        (
            "filename,class,bbox_x,bbox_y,bbox_width,bbox_height,width,height",
            "a.jpg,dog,10,20,30,40,100,80",
        ),
        (
            "filename,class,xmin,ymin,xmax,ymax,box_width,box_height,width,height",
            "a.jpg,dog,10,20,40,60,30,40,100,80",
        ),
    ],
)
def test_width_and_height_beside_those_of_the_box_are_those_of_the_image(
    header: str, row: str, tmp_path: Path
) -> None:
    table = read(tmp_path, f"{header}\n{row}\n").table
    assert table.xywh_px.tolist() == [[10, 20, 30, 40]]
    assert table.image_wh_px.tolist() == [[100, 80]]


QUADS = [[100, 50, 300, 60, 290, 160, 95, 150], [100, 50, 300, 50, 300, 160, 100, 160]]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("num_points", [3, 4])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_points_of_a_quadrilateral_give_the_box_around_them(
    kind: str, num_points: int, first: int, tmp_path: Path
) -> None:
    names = [f"{axis}{first + number}" for number in range(num_points) for axis in "xy"]
    columns: dict[str, Any] = {"filename": ["a.jpg", "b.jpg"], "class": ["c", "c"]}
    columns |= {"image_width": [640, 640], "image_height": [480, 480]}
    columns |= {name: [quad[at] for quad in QUADS] for at, name in enumerate(names)}
    if kind == "parquet":
        path = tmp_path / "a.parquet"
        parquet.write_table(pyarrow.table(columns), path)
        reading = read_boxes(path)
    else:
        rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        reading = read(tmp_path, "\n".join([",".join(columns), *rows]))
    expected = [[95, 50, 205, 110], [100, 50, 200, 110]]
    if num_points == 3:
        expected[0] = [100, 50, 200, 110]
    assert reading.table.xywh_px.tolist() == expected
    assert (str(reading.box_order), len(reading.findings)) == ("xyxy", 0)


def test_corners_with_names_go_before_points(tmp_path: Path) -> None:
    text = "filename,class,x1,y1,x2,y2,x3,y3,xmin,ymin,xmax,ymax\na,c,1,1,9,1,9,9,10,20,40,60\n"
    assert read(tmp_path, text).table.xywh_px.tolist() == [[10, 20, 30, 40]]


def test_points_that_are_none_are_named(tmp_path: Path) -> None:
    text = (
        "filename,class,x1,y1,x2,y2,x3,y3,x4,y4\na,c,1,1,9,1,9,9,1,9\na,c,1,1,9,1,9,9,1,\n"
        "a,c,1,1,9,1,9,9,one,9\na,c,1,1,9,1,9,9,1,inf\na,c,1,1,9,1,5,1,2,1\nb,,,,,,,,,\n"
    ) + "c,c,1,1,9,1,9,9,1,9\n" * 9
    reading = read(tmp_path, text, image_size_wh=(20, 20))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (14, 10, 4)
    assert reading.table.image_names == ("a", "b", "c")
    assert {finding.record: (finding.kind, finding.message) for finding in reading.findings} == {
        "row 3": ("box_not_numbers", "a point must be two numbers, got [1.0, null]. Left out."),
        "row 4": ("box_not_numbers", "a point must be two numbers, got ['one', 9.0]. Left out."),
        "row 5": (
            "box_not_finite",
            "the numbers of a point must be finite, got [1.0, inf]. Left out.",
        ),
        "row 6": ("zero_size", "width and height must be > 0 pixels, got 8 x 0. Left out."),
    }


def table_with_sides(rows: list[tuple[float, ...]], kind: str, tmp_path: Path) -> Path:
    """A table of left, top, right, bottom, width, height, two rows an image."""
    names = ["xmin", "ymin", "xmax", "ymax", "width", "height"]
    columns: dict[str, Any] = {"filename": [f"{row // 2}.jpg" for row in range(len(rows))]}
    columns |= {"class": ["c"] * len(rows)}
    columns |= {name: [row[at] for row in rows] for at, name in enumerate(names)}
    if kind == "parquet":
        path = tmp_path / "a.parquet"
        parquet.write_table(pyarrow.table(columns), path, row_group_size=3)
    else:
        path = tmp_path / "a.csv"
        lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join([",".join(columns), *lines]))
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("more", [0, 1])
def test_width_and_height_that_repeat_the_sides_of_boxes_are_not_of_the_image(
    more: int, kind: str, tmp_path: Path
) -> None:
    rows: list[tuple[float, ...]] = [
        (10 + 40 * i, 20 + 30 * i, 60 + 41 * i, 80 + 30 * i, 50 + i + more, 60 + more)
        for i in range(10)
    ]
    rows[3] = (*rows[3][:4], 7, 7)  # one in ten may be wrong
    reading = read_boxes(table_with_sides(rows, kind, tmp_path))
    assert (reading.accepted, len(reading.findings)) == (10, 0)
    assert np.isnan(reading.table.image_wh_px).all()


def test_width_and_height_in_fractions_that_repeat_the_sides_are_not_of_the_image(
    tmp_path: Path,
) -> None:
    path = table_with_sides([(0.2, 0.3, 0.5, 0.9, 0.3, 0.6)], "csv", tmp_path)
    reading = read_boxes(path, image_size_wh=(100, 100))
    assert (str(reading.box_order), len(reading.findings)) == ("xyxy:rel", 0)
    assert reading.table.image_wh_px.tolist() == [[100, 100]]


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 64, 48, 64, 48)] * 4,  # boxes that are their images whole
        [(1, 1, 64, 48, 64, 48)] * 4,
        [(0, 0, 64, 48, 64, 48)] * 10 + [(9, 9, 20, 20, 64, 48)],
        [(9, 9, 20, 20, 64, 48)] * 2,
        [(9, 9, 20, 20, 11, 11)] * 4 + [(9, 9, 20, 20, 64, 48)],  # one in five
    ],
)
def test_width_and_height_beside_corners_are_else_those_of_the_image(
    rows: list[tuple[float, ...]], tmp_path: Path
) -> None:
    path = table_with_sides(rows, "csv", tmp_path)
    table = read_boxes(path, policy="keep").table
    assert table.image_wh_px[-1].tolist() == [64, 48]


def test_rows_of_a_table_without_images_have_one_each(tmp_path: Path) -> None:
    text = "xmin,ymin,xmax,ymax,class,image_width,image_height\n" + "".join(
        f"10,20,40,60,dog,{width},80\n" for width in (100, 100, 200)
    )
    reading = read(tmp_path, text)
    (finding,) = reading.findings
    assert (finding.kind, finding.message) == (
        "no_image_column",
        "a table of boxes must have a column with the image, such as image or file_name, but has "
        "none. Each row stands for an image of its own.",
    )
    assert (reading.accepted, reading.are_images_named) == (3, False)
    assert reading.table.image_wh_px.tolist() == [[100, 80], [100, 80], [200, 80]]
    assert len(find_near_duplicates(reading.table).first) == 0


@pytest.mark.parametrize("column", ["cls", "Object Class", "object_name", "Species", "tag"])
def test_class_has_other_usual_names(column: str, tmp_path: Path) -> None:
    reading = read(tmp_path, f"image,{column},xmin,ymin,xmax,ymax\na.jpg,dog,1,2,3,4\n")
    assert (reading.table.class_names, reading.made_up_classes) == (("dog",), ())


def test_table_without_a_class_is_told(tmp_path: Path) -> None:
    reading = read(tmp_path, "image,kind of pet,xmin,ymin,xmax,ymax\na.jpg,dog,1,2,3,4\n")
    assert reading.table.class_names == ("object",)
    assert reading.made_up_classes == ((reading.files[0], "object"),)
    assert len(reading.findings) == 0  # many a table has one class and no column for it


def test_traffic_signs_have_regions_of_interest(tmp_path: Path) -> None:
    text = (
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
        "00000_00000.ppm;29;30;5;6;24;25;0\n"
    )
    table = read(tmp_path, text).table
    assert table.xywh_px.tolist() == [[5, 6, 19, 19]]
    assert table.image_wh_px.tolist() == [[29, 30]]


def test_csv_of_via_is_called_by_its_name(tmp_path: Path) -> None:
    text = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        "region_attributes\n"
        'a.jpg,9,"{}",1,0,"{""name"":""rect"",""x"":10,""y"":20,""width"":30,""height"":40}","{}"\n'
    )
    with pytest.raises(
        DataError,
        match=r"but it is a CSV of VGG Image Annotator, which has regions in one column. "
        r"Export from there as JSON or COCO.",
    ):
        read(tmp_path, text)


def test_rows_that_name_no_image_share_none(tmp_path: Path) -> None:
    text = "image,class,x,y,width,height\na.jpg,dog,1,2,3,4\n" + ",dog,1,2,3,4\n" * 3
    reading = read(tmp_path, text, policy="keep")
    assert (reading.accepted, reading.images, len(reading.findings)) == (4, 4, 3)
    assert len(find_near_duplicates(reading.table).first) == 0
    assert read(tmp_path, text).images == 1


def test_group_boxes_of_open_images_are_crowds(tmp_path: Path) -> None:
    text = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,dog,0.1,0.4,0.2,0.7,1\n"
    assert read(tmp_path, text, image_size_wh=(100, 80)).table.is_crowd.tolist() == [True]


@pytest.mark.parametrize(
    ("count", "largest", "unit"),
    [
        (1000, 1.6, "rel"),
        (11, 1.6, "rel"),
        (11, 9.9, "rel"),
        (11, 10, "px"),
        (9, 1.5, "rel"),
        (9, 1.6, "px"),  # one in nine is more than a tenth
    ],
)
def test_few_boxes_far_over_an_edge_make_no_pixels_of_fractions(
    count: int, largest: float, unit: str, tmp_path: Path
) -> None:
    rows = ["a.jpg,dog,0.1,0.4,0.25,0.75"] * (count - 1) + [f"a.jpg,dog,0.5,{largest},0.25,0.75"]
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax"
    reading = read(tmp_path, "\n".join([header, *rows]), image_size_wh=(100, 80))
    (order,) = {decision.order for decision in reading.decisions}
    assert (order.layout, order.unit) == ("xyxy", unit)
    if unit == "rel":
        assert reading.table.xywh_px[0] == pytest.approx([10, 20, 30, 40])
        assert reading.table.xywh_px[-1] == pytest.approx([50, 20, 50, 40])
        assert {(finding.kind, finding.record) for finding in reading.findings} >= {
            ("over_edge", f"row {count + 1}")
        }


@pytest.mark.parametrize("rows", [["0,0,1,1"], ["0,0,0,0", "0,0,1,1", "1,1,1.5,nan"]])
def test_whole_numbers_are_no_fractions(rows: list[str], tmp_path: Path) -> None:
    text = "image,class,xmin,ymin,xmax,ymax\n" + "".join(f"a,dog,{row}\n" for row in rows)
    assert str(read(tmp_path, text, image_size_wh=(9, 9)).box_order) == "xyxy"


@pytest.mark.parametrize(
    ("text", "left"), [("0,125", 0.125), ("00,125", 0.125), ("-0,025", -0.025), ("10,25", 10.25)]
)
def test_comma_is_a_decimal_one_where_it_cannot_be_of_thousands(
    text: str, left: float, tmp_path: Path
) -> None:
    rows = f"image;class;x;y;width;height\na;dog;{text};2;30;40\n"
    reading = read(tmp_path, rows, image_size_wh=(2000, 2000), policy="keep")
    assert reading.table.xywh_px.tolist() == [[left, 2, 30, 40]]


@pytest.mark.parametrize("text", ["1,024", "+1,024", "12,500", "1,024,000"])
def test_comma_before_three_digits_is_no_decimal_comma(text: str, tmp_path: Path) -> None:
    rows = f"image;class;x;y;width;height\na;dog;{text};2;30;40\na;dog;1;2;30;40\n"
    reading = read(tmp_path, rows, image_size_wh=(2000, 2000))
    assert [(finding.record, finding.kind, finding.message) for finding in reading.findings] == [
        (
            "row 2",
            "box_not_numbers",
            f"a box must have four numbers, got ['{text}', 2.0, 30.0, 40.0]. Left out.",
        )
    ]
    assert reading.table.xywh_px.tolist() == [[1, 2, 30, 40]]


def test_rows_without_numbers_are_images_without_boxes(tmp_path: Path) -> None:
    text = "patientId,x,y,width,height,Target\na,,,,,0\nb,264.0,152.0,213.0,379.0,1\n"
    reading = read(tmp_path, text, image_size_wh=(1024, 1024))
    assert (reading.boxes_read, reading.accepted, len(reading.findings)) == (1, 1, 0)
    assert reading.table.image_names == ("a", "b")
    assert reading.table.class_names == ("1",)


def test_column_of_lists_is_measured_and_width_is_that_of_the_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ""
    for number in range(60):
        x, y = rng.integers(0, 800, 2)
        w, h = rng.integers(100, 1000 - x), rng.integers(100, 1000 - y)
        rows += f'i{number},1000,1000,"[{x}.0, {y}.0, {w}.0, {h}.0]",usask\n'
    reading = read(tmp_path, "image_id,width,height,bbox,source\n" + rows)
    (decision,) = reading.decisions
    assert (str(decision.order), decision.basis) == ("xywh", "measured")
    assert reading.accepted == 60


def test_bad_rows_are_named_by_the_row_of_a_spreadsheet(tmp_path: Path) -> None:
    text = (
        "image,class,x,y,width,height\na.jpg,dog,1,2,3,4\na.jpg,dog,1,2,3\na.jpg,dog,1,two,3,4\n"
        "a.jpg,dog,1,,3,4\na.jpg,dog,1,2,nan,4\n,dog,1,2,3,4\na.jpg,,1,2,3,4\n"
    )
    reading = read(tmp_path, text, image_size_wh=(50, 50))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (7, 1, 6)
    assert {finding.record: finding.message for finding in reading.findings} == {
        "row 3": "a row must have 6 fields, got 5 in 'a.jpg,dog,1,2,3'. Left out.",
        "row 4": "a box must have four numbers, got [1.0, 'two', 3.0, 4.0]. Left out.",
        "row 5": "a box must have four numbers, got [1.0, null, 3.0, 4.0]. Left out.",
        "row 6": "the numbers of a box must be finite, got [1.0, 2.0, nan, 4.0]. Left out.",
        "row 7": "a box must have an image, got none. Left out.",
        "row 8": "a box must have a class, got none. Left out.",
    }


def test_quote_that_is_never_closed_does_not_swallow_the_file(tmp_path: Path) -> None:
    text = 'image,class,x,y,width,height\na.jpg,do"g,1,2,3,4\n' + "b.jpg,dog,1,2,3,4\n" * 3
    reading = read(tmp_path, text, image_size_wh=(50, 50))
    assert (reading.boxes_read, reading.table.num_boxes) == (4, 4)
    assert [finding.kind for finding in reading.findings] == ["stray_quote"]


HEADER = "image,class,x,y,width,height\n"


@pytest.mark.parametrize(
    "rows",
    [
        'a.jpg,"dog,1,2,3,4\nb.jpg,cat,1,2,3,4\nc.jpg,"dog,1,2,3,4\n',
        'a.jpg,"dog,1,2,3,4\nb.jpg,cat,1,2,3,4\n"c.jpg,dog,1,2,3,4\n',  # at another column
    ],
)
def test_rows_between_two_stray_quotes_are_not_lost(rows: str, tmp_path: Path) -> None:
    reading = read(tmp_path, HEADER + rows, image_size_wh=(50, 50))
    assert (reading.boxes_read, reading.table.num_boxes) == (3, 3)
    assert [(finding.kind, finding.message) for finding in reading.findings] == [
        (
            "stray_quote",
            "quotes must stand around a field, but one is left over. All were read as text.",
        )
    ]


def test_field_of_several_lines_is_read_and_told(tmp_path: Path) -> None:
    text = (
        "image,class,x,y,width,height,note\n"
        'a.jpg,dog,1,2,3,4,"first line\nsecond, longer line"\n\nb.jpg,dog,1,2,3,4,\nc.jpg,dog\n'
    )
    reading = read(tmp_path, text, image_size_wh=(50, 50))
    assert reading.table.num_boxes == 2
    assert [(finding.kind, finding.record, finding.message) for finding in reading.findings] == [
        (
            "line_break_in_field",
            "",
            "a field must be on one line, but one in quotes has several. Read as one field.",
        ),
        ("wrong_field_count", "row 5", "a row must have 7 fields, got 2 in 'c.jpg,dog'. Left out."),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blank_rows_are_no_boxes_and_are_counted(end: str, tmp_path: Path) -> None:
    rows = ["", "  ", HEADER.strip(), "a.jpg,dog,1,2,3,4", "", "", "a.jpg,dog,1,two,3,4"]
    rows += ["", "a.jpg,dog,1", "a.jpg,dog,1,nan,3,4", "", ""]
    path = tmp_path / "a.csv"
    path.write_bytes(end.join(rows).encode())
    reading = read_boxes(path, image_size_wh=(50, 50))
    assert (reading.boxes_read, reading.accepted) == (4, 1)
    assert sorted(finding.record for finding in reading.findings) == ["row 10", "row 7", "row 9"]


def test_gzipped_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"image,class,x,y,width,height\na.jpg,dog,1,2,3,4\n"))
    assert read_boxes(path, image_size_wh=(50, 50)).accepted == 1


def test_windows_text_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("image,class,x,y,width,height\nä.jpg,dog,1,2,3,4\n".encode("cp1252"))
    reading = read_boxes(path, image_size_wh=(50, 50))
    assert reading.table.image_names == ("ä.jpg",)
    assert [finding.kind for finding in reading.findings] == ["not_utf8"]


def test_column_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns must have names of their own, got 'x' twice"):
        read(tmp_path, "image,x,x,y,width,height\n")


@pytest.mark.parametrize("kind", ["columns", "lists", "dictionary"])
def test_parquet_columns_are_read_as_typed(kind: str, tmp_path: Path) -> None:
    boxes = [[10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 90.0, 5.0]]
    columns: dict[str, Any] = {
        "image_id": [7, 8],
        "category_id": [3, 1],
        "image_width": [100, 100],
        "image_height": [80, 80],
    }
    if kind == "lists":
        columns["bbox"] = boxes
    else:
        for name, values in zip(("x", "y", "w", "h"), zip(*boxes, strict=True), strict=True):
            columns[name] = list(values)
    if kind == "dictionary":
        columns["image_id"] = pyarrow.array(["7", "8"]).dictionary_encode()
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    reading = read_boxes(path, box_order="xywh" if kind == "lists" else None)
    table = reading.table
    assert (reading.format, len(reading.findings)) == ("parquet", 0)
    assert table.xywh_px.tolist() == boxes
    assert table.image_names == ("7", "8")
    assert (table.class_names, table.category_ids) == (("1", "3"), (1, 3))
    assert [table.class_names[i] for i in table.class_index] == ["3", "1"]


def test_path_of_an_image_with_its_bytes_is_its_name(tmp_path: Path) -> None:
    image = [{"bytes": b"\xff\xd8", "path": "a.jpg"}, {"bytes": b"", "path": None}]
    table = pyarrow.table({"image": image, "label": ["dog", "cat"], "bbox": [[1, 2, 3, 4]] * 2})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = read_boxes(tmp_path / "a.parquet", box_order="xywh")
    assert found.table.image_names == ("a.jpg",)
    (finding,) = found.findings
    assert finding.message == "a box must have an image, got none. Left out."


@pytest.mark.parametrize(
    ("column", "values", "must", "type_name"),
    [
        ("label", [["dog"]], "one value", "list<"),
        ("label", [{"name": "dog"}], "one value", "struct<name: string>"),
        ("image", [[1, 2]], "a name, or {bytes, path}", "list<"),
        ("image", [{"bytes": b"", "path": ["a"]}], "a name, or {bytes, path}", "struct<bytes:"),
        ("image", [{"bytes": b""}], "a name, or {bytes, path}", "struct<bytes: binary>"),
        ("bbox", [[[1, 2, 3, 4], [1, 2, 3, 4]]], "a list of four numbers", "list<"),
        ("bbox", [{"x": 1}], "a list of four numbers", "struct<x: int64>"),
    ],
)
def test_parquet_column_of_other_things_than_values_is_refused(
    column: str, values: list[Any], must: str, type_name: str, tmp_path: Path
) -> None:
    columns = {"image": ["a.jpg"], "label": ["dog"], "bbox": [[1, 2, 3, 4]], column: values}
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    text = f"{path}: in the column {column} a row must have {must}, but the column is {type_name}"
    with pytest.raises(DataError, match=re.escape(text)) as caught:
        read_boxes(path)
    assert str(caught.value).endswith("Write one row for each box, or leave the column out.")


@pytest.mark.parametrize("kind", ["binary", "large_binary", "fixed", "dictionary"])
def test_parquet_image_of_bytes_alone_is_refused(kind: str, tmp_path: Path) -> None:
    pictures: Any = [b"\xff\xd8" + bytes(100) + bytes([number]) for number in range(5)]
    image = {
        "binary": lambda: pyarrow.array(pictures),
        "large_binary": lambda: pyarrow.array(pictures, pyarrow.large_binary()),
        "fixed": lambda: pyarrow.array(pictures, pyarrow.binary(103)),
        "dictionary": lambda: pyarrow.array(pictures).dictionary_encode(),
    }[kind]()
    columns = {"image": image, "label": ["dog"] * 5, "bbox": [[1, 2, 3, 4]] * 5}
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    text = (
        f"{path}: in the column image a row must have a name, or {{bytes, path}}, but the column "
        f"is {image.type}. Add a column file_name with the name of each image as text."
    )
    with pytest.raises(DataError) as caught:
        read_boxes(path)
    assert str(caught.value) == text


@pytest.mark.parametrize("image", [b"\xff\xd8", {"bytes": b"\xff\xd8"}, [255, 216]])
def test_parquet_image_that_is_no_name_gives_way_to_a_column_with_one(
    image: Any, tmp_path: Path
) -> None:
    columns = {"image": [image] * 2, "label": ["dog", "cat"], "bbox": [[1, 2, 3, 4]] * 2}
    table = pyarrow.table(columns | {"img": [b""] * 2, "path": ["a.jpg", "b.jpg"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    reading = read_boxes(tmp_path / "a.parquet", box_order="xywh")
    assert (reading.table.image_names, len(reading.findings)) == (("a.jpg", "b.jpg"), 0)


def test_parquet_columns_of_no_type_are_read(tmp_path: Path) -> None:
    # As pandas writes a table without rows, and a column without any value.
    names = ["image", "class", "x", "y", "width", "height", "image_width", "image_height"]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({name: pyarrow.nulls(0) for name in names}), path)
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.table.image_names) == (0, ())
    assert [finding.kind for finding in reading.findings] == ["no_boxes"]
    columns: dict[str, Any] = {"image": ["a", "b"]} | {name: [1.0, 1.0] for name in names[2:6]}
    columns |= {name: pyarrow.nulls(2) for name in ("class", *names[6:])}
    parquet.write_table(pyarrow.table(columns), path)
    reading = read_boxes(path)
    assert (reading.boxes_read, reading.rejected, reading.table.class_names) == (2, 2, ())
    assert [finding.kind for finding in reading.findings] == ["unknown_category"] * 2


def test_parquet_with_nulls_keeps_its_good_rows(tmp_path: Path) -> None:
    columns = {
        "image": ["a", "a", None],
        "x": [1.0, None, 1.0],
        "y": [1.0, 2.0, 1.0],
        "width": [5.0, 5.0, 5.0],
        "height": [5.0, 5.0, 5.0],
        "class": ["dog", "dog", "dog"],
    }
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    reading = read_boxes(path, image_size_wh=(50, 50))
    assert (reading.boxes_read, reading.accepted) == (3, 1)
    assert {finding.record: finding.kind for finding in reading.findings} == {
        "row 1": "box_not_numbers",
        "row 2": "unknown_image",
    }


def test_a_name_of_any_length_makes_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f"{'[' * 2000},b,c\n1,2,3\n")
    with pytest.raises(DataError, match="must have four columns of a box") as caught:
        read_boxes(path, format="csv")
    assert (
        f"got the columns {'[' * 40}…, b, c. Rename the columns, or export one row for each box."
        in str(caught.value)
    )
    path.write_text(f"{'x' * 99},{'x' * 99}\n1,2\n")
    with pytest.raises(DataError) as caught:
        read_boxes(path, format="csv")
    assert str(caught.value).endswith(f"got '{'x' * 40}…' twice.")


SIZES = {
    "decimal comma": ("640,0", "480,00", [640, 480], []),
    "thousands": ("1,920", "640", None, ["'1,920' x '640'"]),
    "no number": ("N/A", "-3", None, ["'N/A' x '-3'"]),
    "nought": ("0", "480", None, ["'0' x '480'"]),
    "too large": ("1e12", "480", None, ["'1e12' x '480'"]),
    "one missing": ("640", "", None, ["'640' x none"]),
    "none": ("", " ", None, []),
}


@pytest.mark.parametrize(("width", "height", "expected", "shown"), SIZES.values(), ids=SIZES.keys())
def test_stated_size_that_is_none_is_a_finding(
    width: str, height: str, expected: list[int] | None, shown: list[str], tmp_path: Path
) -> None:
    text = "image;class;xmin;ymin;xmax;ymax;image_width;image_height\nb;c;1;1;2;2;64;48\n"
    reading = read(tmp_path, f"{text}a;c;1;1;2;2;{width};{height}\na;;;;;;{width};{height}\n")
    size = [None if np.isnan(side) else side for side in reading.table.image_wh_px[1]]
    assert size == (expected or [None, None])
    message = "an image must have a width and a height > 0 pixels, got {0}. Left out."
    found = [(finding.kind, finding.record, finding.message) for finding in reading.findings]
    assert found == [
        ("no_image_size", f"row {row}", message.format(one)) for row in (3, 4) for one in shown
    ]
    assert (reading.accepted, reading.rejected) == (2, 0)


def test_rows_of_one_image_that_state_two_sizes_are_a_finding(tmp_path: Path) -> None:
    text = (
        "image,class,xmin,ymin,xmax,ymax,image_width,image_height\n"
        "a.jpg,c,10,10,20,20,640,480\na.jpg,c,10,10,20,20,1000,900.5\na.jpg,c,1,1,2,2,640,480\n"
    )
    reading = read(tmp_path, text)
    assert reading.table.image_wh_px.tolist() == [[640, 480]]
    (finding,) = reading.findings
    assert (finding.kind, finding.record, finding.action) == (
        "conflicting_image_size",
        "row 3",
        "repaired",
    )
    assert finding.message == (
        "the rows of an image must have one size, but it is 1000 x 900.5 here and 640 x 480 "
        "before. The first is used."
    )


def test_missing_sizes_of_a_parquet_table_are_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns: dict[str, list[Any]] = {"image": ["a", "b", "c"], "class": ["c", "c", "c"]}
    columns |= {key: [1, 1, 1] for key in ("xmin", "ymin")}
    columns |= {key: [2, 2, 2] for key in ("xmax", "ymax")}
    columns |= {"image_width": [64.0, np.nan, None], "image_height": [48.0, np.nan, None]}
    parquet.write_table(pyarrow.table(columns), path)
    reading = read_boxes(path)
    assert reading.table.image_wh_px[0].tolist() == [64, 48]
    assert np.isnan(reading.table.image_wh_px[1:]).all()
    assert len(reading.findings) == 0


@pytest.mark.parametrize("line", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\ufeffsep=;\n"])
def test_a_first_line_of_excel_names_the_separator(line: str, tmp_path: Path) -> None:
    # By number of signs the comma would be taken.
    text = f"{line}image;class, a, b, c, d, e;xmin;ymin;xmax;ymax\na;c;1;1;2;2\nb;c;1;1;2\n"
    reading = read(tmp_path, text)
    assert (reading.accepted, reading.table.image_names) == (1, ("a",))
    assert [finding.record for finding in reading.findings] == ["row 4"], "as Excel counts"


def tiny_imagenet_shard(tmp_path: Path) -> Path:
    """Corners that run from 0 to 63 in images of 64 pixels, some of boxes one pixel wide."""
    corners = [(0, 0, 63, 63)] * 16 + [(5, 7, 5, 60), (9, 8, 40, 8), (12, 10, 50, 61)]
    columns: dict[str, Any] = {
        name: [box[at] for box in corners]
        for at, name in enumerate(("xmin", "ymin", "xmax", "ymax"))
    }
    names = [f"{row}.JPEG" for row in range(len(corners))]
    path = tmp_path / "part-0.parquet"
    parquet.write_table(
        pyarrow.table({"wnid": ["n01"] * len(names), "file_name": names, **columns}), path
    )
    return path


def test_corners_of_parquet_name_the_last_pixel_where_boxes_at_edges_say_so(tmp_path: Path) -> None:
    reading = read_boxes(tiny_imagenet_shard(tmp_path), image_size_wh=(64, 64))
    assert str(reading.box_order) == "xyxy:last"
    assert reading.decisions[0].are_pixels_measured
    assert (reading.accepted, len(reading.findings)) == (19, 0)
    assert reading.table.xywh_px[[0, 16]].tolist() == [[0, 0, 64, 64], [5, 7, 1, 54]]


def test_corners_of_parquet_that_may_name_the_last_pixel_are_a_finding(tmp_path: Path) -> None:
    path = tiny_imagenet_shard(tmp_path)
    reading = read_boxes(path)
    assert (str(reading.box_order), reading.accepted, reading.rejected) == ("xyxy", 17, 2)
    doubt = next(found for found in reading.findings if found.kind == "last_pixel_doubtful")
    assert str(doubt) == (
        f"{path}: right and bottom must be edges, but they may name the last pixel: 2 boxes of 19 "
        f"would then be a pixel wide or high and not without size, and no box is known to reach "
        f"an edge, which would tell. Read as edges; pass --box-order xyxy:last if that is wrong, "
        f"or --images DIR or --image-size WxH to find out."
    )
    assert doubt.action == "accepted"
    as_said = read_boxes(path, box_order="xyxy:last")
    assert (as_said.accepted, len(as_said.findings)) == (19, 0)


def test_row_of_numbers_that_are_none_is_an_image_without_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "image,xmin,ymin,xmax,ymax,class,image_width,image_height\n"
        "a.jpg,1,2,30,40,dog,100,80\nb.jpg,nan,nan,NaN,nan,,nan,nan\nc.jpg,1,nan,3,4,dog,100,80\n"
    )
    reading = read_boxes(path)
    assert (reading.images, reading.boxes_read, reading.rejected) == (3, 2, 1)
    assert [(f.record, f.kind) for f in reading.findings] == [("row 4", "box_not_finite")]


def test_parquet_row_of_numbers_that_are_none_is_an_image_without_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    sides = {name: [5.0, float("nan")] for name in ("x", "y", "w", "h")}
    columns = {"image": ["a.jpg", "b.jpg"], "class": ["dog", None], **sides}
    parquet.write_table(pyarrow.table(columns), path)
    reading = read_boxes(path)
    assert (reading.images, reading.boxes_read, len(reading.findings)) == (2, 1, 0)


def test_ids_of_a_table_are_checked_as_those_of_coco(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "id,image,xmin,ymin,xmax,ymax,class\n"
        "1,a.jpg,1,2,30,40,x\n1,a.jpg,5,2,30,40,x\n,a.jpg,5,6,30,40,x\n2,a.jpg,5,7,30,40,x\n"
    )
    reading = read_boxes(path, image_size_wh=(100, 80))
    assert [(f.record, f.kind, f.message) for f in reading.findings] == [
        (
            "row 4 (id=2)",
            "annotation_without_id",
            "a box must have an id, got none. Its position is used instead. Repaired.",
        ),
        (
            "row 3 (id=1)",
            "repeated_annotation_id",
            "the id of a box must be its own, but 1 was used before. Kept as it is.",
        ),
    ]


def test_rows_of_numbers_alone_are_not_only_told_to_have_a_header(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,-1,20,66,217,235,0.028,-1,-1,-1\n")
    text = (
        f"{path}: the first row must name the columns, such as image, class, xmin, ymin, xmax, "
        f"ymax; got '1, -1, 20, 66, 217, 235, 0.028, -1, -1, -1'. Add a header; if no column "
        f"names the image or the class, as in MOT and VisDrone, convert the files to COCO."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes(path)
