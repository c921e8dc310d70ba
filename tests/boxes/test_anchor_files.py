from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinysight.boxes.anchor_files import find_anchors, load_anchors
from tinysight.boxes.presets import PRESETS
from tinysight.errors import DataError


def write(folder: Path, text: str, name: str = "anchors.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


SETS = {
    "input_size_wh": [640, 640],
    "fit": "letterbox",
    "sets": [
        {"k": 1, "anchors_wh_px": [[50.0, 60.0]]},
        {"k": 2, "anchors_wh_px": [[90.0, 60.0], [10.0, 20.0]]},
    ],
}


@pytest.mark.parametrize(
    "text",
    [
        "10,20, 90,60",
        "10,20  90,60\n",
        "10 20\n90 60\n",
        "10;20;9e1;6.0e+1",
        "\ufeff10,20,90,60",
        "[[10, 20], [90, 60]]",
        '{"anchors_wh_px": [[90, 60], [10, 20]]}',
        "width,height\n10,20\n90,60\n",
        "width;height\r\n10;20,0\r\n90,00;60\r\n",
        '"height_px"\t"width_px"\n20\t10\n60\t90\n',
        "stride_px,width_px,height_px\n8,10,20\n16,90,60\n",
        "width_px;height_px;input_width_px;input_height_px;fit\n10;20;416;416;stretch\n"
        "90,00;60;416;416;stretch\n",
        "anchors:\n  - [10,20]  # P3/8\n  - [90, 60] # P4/16\nbackbone:\n  - [1, 2]\n",
        "nc: 3\nanchors:\n- [10,20, 90,60]\n",
        "[yolo]\nmask = 1,2\nanchors = 1,1, 10,20,  90,60\nnum=3\n",
    ],
)
def test_every_form_is_known_by_its_content(tmp_path: Path, text: str) -> None:
    found = load_anchors(write(tmp_path, text))
    assert found.anchors_wh_px.tolist() == [[10, 20], [90, 60]]


def test_strides_of_a_yaml_are_those_of_its_comments(tmp_path: Path) -> None:
    text = "anchors:\n  - [10,20]  # P3/8\n  - [90,60] # P4/16\n"
    assert load_anchors(write(tmp_path, text)).strides_px == (8, 16)
    assert load_anchors(write(tmp_path, text.replace("/16", ""))).strides_px is None


def test_three_levels_without_strides_have_the_usual_ones(tmp_path: Path) -> None:
    text = "anchors:\n  - [10,20]\n  - [90,60]\n  - [300,200]\n"
    found = load_anchors(write(tmp_path, text))
    assert (found.has_levels, found.strides_px, found.level_strides_px) == (True, None, (8, 16, 32))
    two = load_anchors(write(tmp_path, text[:-14]))
    assert (two.has_levels, two.level_strides_px) == (True, None)
    flat = load_anchors(write(tmp_path, "10,20"))
    assert (flat.has_levels, flat.level_strides_px) == (False, None)


@pytest.mark.parametrize(
    ("line", "fit"),
    [
        ("", "stretch"),
        ("letter_box=0", "stretch"),
        ("#letter_box=1", "stretch"),
        ("letter_box=1", "letterbox"),
        (" letter_box = 1", "letterbox"),
    ],
)
def test_a_cfg_of_darknet_is_for_stretched_images_unless_it_says_letter_box(
    line: str, fit: str, tmp_path: Path
) -> None:
    text = f"[net]\nwidth=416\nheight=320\n{line}\n[yolo]\nmask = 0\nanchors = 10,20\n"
    found = load_anchors(write(tmp_path, text))
    assert (found.input_size_wh, found.fit) == ((416, 320), fit)


def test_a_whole_cfg_says_more_than_a_comment_in_it(tmp_path: Path) -> None:
    comment = "# 1 anchor for an input of 640x640 pixels (letterbox)\n"
    layer = "[yolo]\nmask = 0\nanchors = 10,20\n"
    part = load_anchors(write(tmp_path, comment + layer))
    assert (part.input_size_wh, part.fit) == ((640, 640), "letterbox")
    whole = load_anchors(write(tmp_path, f"[net]\nwidth=416\nheight=320\n{comment}{layer}"))
    assert (whole.input_size_wh, whole.fit) == ((416, 320), "stretch")


def test_a_table_of_anchors_for_several_inputs_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path, "width_px,height_px,input_width_px,input_height_px\n9,9,416,416\n9,8,640,640\n"
    )
    with pytest.raises(DataError) as caught:
        load_anchors(path)
    assert str(caught.value) == (
        f"{path}: all anchors must be for one input, got 2 in the columns input_width_px, "
        f"input_height_px. Make them one."
    )


@pytest.mark.parametrize("line_break", ["", "\n  "])
def test_levels_of_a_yaml_may_be_in_one_pair_of_brackets(tmp_path: Path, line_break: str) -> None:
    text = f"nc: 2\nanchors: [[10,13, 16,30],{line_break} [30,61, 62,45]]  # P3, P4\nhead: [[1]]\n"
    found = load_anchors(write(tmp_path, text))
    assert [level.tolist() for level in found.levels_wh_px] == [
        [[10, 13], [16, 30]],
        [[30, 61], [62, 45]],
    ]
    assert found.strides_px is None


def test_structured_anchors_are_taken_where_no_set_is_chosen(tmp_path: Path) -> None:
    structured = {"sizes_px": [[20.0, 30.0], [40.0, 60.0]], "ratios": [0.25, 1.0]}
    path = write(tmp_path, json.dumps({**SETS, "structured": structured}))
    found = load_anchors(path)
    assert [level.tolist() for level in found.levels_wh_px] == [
        [[40, 10], [60, 15], [20, 20], [30, 30]],
        [[80, 20], [120, 30], [40, 40], [60, 60]],
    ]
    assert (found.strides_px, found.input_size_wh) == (None, (640, 640))
    assert load_anchors(path, k=1).anchors_wh_px.tolist() == [[50, 60]]
    assert load_anchors(write(tmp_path, json.dumps({**SETS, "structured": None})), k=1)


def test_a_list_of_anchors_longer_than_any_file_name_is_no_traceback() -> None:
    with pytest.raises(DataError, match=r"^10,20, .{53}…: there is no such file, and the name of"):
        find_anchors("10,20, " * 100)


def test_the_set_of_that_many_anchors_is_taken(tmp_path: Path) -> None:
    found = load_anchors(write(tmp_path, json.dumps(SETS)), k=2)
    assert found.anchors_wh_px.tolist() == [[10, 20], [90, 60]]
    assert (found.input_size_wh, found.fit, found.strides_px) == ((640, 640), "letterbox", None)


@pytest.mark.parametrize(
    "text",
    [
        "[[10, 20], [30, 40], [90, 60]]",
        "10,20, 30,40, 90,60",
        "width,height\n10,20\n30,40\n90,60\n",
        "anchors:\n  - [10,20]\n  - [30,40]\n  - [90,60]\n",
        "[yolo]\nmask = 0,1,2\nanchors = 10,20, 30,40, 90,60\n",
        '{"levels": [{"stride_px": 8, "anchors_wh_px": [[10, 20], [30, 40], [90, 60]]}]}',
    ],
)
def test_of_one_set_another_number_of_anchors_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert (
        load_anchors(path, k=3).anchors_wh_px.tolist() == load_anchors(path).anchors_wh_px.tolist()
    )
    with pytest.raises(DataError) as caught:
        load_anchors(path, k=2)
    assert str(caught.value) == (
        f"{path}: --k must name one of several sets in a file, got 2, but it has one set, of 3 "
        f"anchors. Leave --k out."
    )


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_lose_no_level(tmp_path: Path, line_end: str) -> None:
    lines = ["anchors:", "", "  - [10,20]  # P3/8", "", "  - [90,60]  # P4/16", "  # coarsest"]
    text = "\n".join([*lines, "  - [300,200]  # P5/32", "", "backbone:", "  - [1, 2]", ""])
    path = tmp_path / "anchors.yaml"
    path.write_bytes(text.replace("\n", line_end).encode())
    found = load_anchors(path)
    assert found.anchors_wh_px.tolist() == [[10, 20], [90, 60], [300, 200]]
    assert found.strides_px == (8, 16, 32)
    path.write_bytes(b"[net]\nwidth=416\nheight=320\n[yolo]\nmask=0\nanchors = 10,20\n")
    path.write_bytes(path.read_bytes().replace(b"\n", line_end.encode()))
    assert load_anchors(path).input_size_wh == (416, 320)


def test_a_model_yaml_of_yolov5_is_read(tmp_path: Path) -> None:
    text = """# parameters
nc: 80  # number of classes
depth_multiple: 0.33

# anchors
anchors:
  - [10,13, 16,30, 33,23]  # P3/8
  - [30,61, 62,45, 59,119]  # P4/16
  - [116,90, 156,198, 373,326]  # P5/32

# YOLOv5 backbone
backbone:
  # [from, number, module, args]
  - [-1, 1]
  [[-1, 1, Focus, [64, 3]],
   [-1, 1, Conv, [128, 3, 2]],
  ]
"""
    found = load_anchors(write(tmp_path, text))
    assert np.array_equal(found.anchors_wh_px, PRESETS["yolov5-p5"].anchors_wh_px)
    assert found.strides_px == (8, 16, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"anchors must be pairs of width and height, got 0 numbers"),
        ("1,2,3", r"anchors must be pairs of width and height, got 3 numbers"),
        ("1,0", r"anchors\[0\]: width and height must be finite and > 0 pixels, got 1 x 0"),
        ("1" * 5000 + "x", r"must hold anchors as JSON, CSV"),
        ("anchors:\n  - [1,2,x,4]\n", r"anchors must be pairs of width and height, got 'x'"),
        ("nothing here", r"must hold anchors as JSON, CSV, yolov5 yaml, darknet cfg or plain"),
        ('{"anchors_wh_px": ', r"must be JSON, but "),
        ("{}", r"must have the key 'anchors_wh_px', got an object with the keys none"),
        ('{"anchors_wh_px": []}', r"anchors must be a list of \[width, height\], got \[\]"),
        ('{"anchors_wh_px": [[1]]}', r"must be a list of \[width, height\], got \[\[1\]\]"),
        ('{"anchors_wh_px": [[1, true]]}', r"must be a list of \[width, height\]"),
        ('{"anchors_wh_px": [[1, NaN]]}', r"must be a list of \[width, height\]"),
        ('{"anchors_wh_px": [[1, -2]]}', r"anchors\[0\]: width and height must be finite and > 0"),
        (f'{{"anchors_wh_px": [[1, 1{"0" * 400}]]}}', r"must be a list of \[width, height\]"),
        ('{"anchors_wh_px": [[1,2]], "fit": "pad"}', r"fit must be one of letterbox, stretch, sho"),
        (
            '{"anchors_wh_px": [[1,2]], "input_size_wh": [0, 3]}',
            r"input_size_wh must be \[width, height\] in pixels, got \[0, 3\]",
        ),
        ('{"levels": [{"stride_px": 8}]}', r"must have the key 'anchors_wh_px', got an object wi"),
        (
            '{"levels": [{"stride_px": 8.5, "anchors_wh_px": [[1, 2]]}]}',
            r"stride_px must be a whole number from 1 up, got 8\.5",
        ),
        (
            '{"levels": [{"stride_px": 8, "anchors_wh_px": []}]}',
            r"must be one or more pairs of wid",
        ),
        ('{"sets": 3}', r"must hold one set of anchors, got 0 of the sets k = none"),
        (json.dumps(SETS), r"must hold one set of anchors, got 2 of the sets k = 1, 2\. Choose o"),
        (
            '{"structured": {"sizes_px": [[1, 0]], "ratios": [1]}}',
            r"sizes_px, a list of numbers > 0 for each level, and ratios > 0; got \[\[1, 0\]\] and",
        ),
        ('{"structured": {"sizes_px": 3, "ratios": []}}', r"and ratios > 0; got 3 and \[\]"),
        ('{"structured": {"sizes_px": []}}', r"must have the key 'ratios', got an object with the"),
        ("anchors: 3\n", r"anchors must be a list of lists of numbers.* automatic anchors"),
        ("[yolo]\nanchors = 1,2\n", r"each \[yolo\] layer must have `mask =` and `anchors =`"),
        ("[yolo]\nmask = 4\nanchors = 1,2\n", r"a mask must name anchors 0 to 0, got 4"),
        ("width,depth\n1,2\n", r"the first row must name the columns width_px and height_px, got"),
        ("width,height\n1,x\n", r"every row must hold numbers, but 'x' is none\. Mend the row"),
        ("width;height\n1;1.000,5\n", r"every row must hold numbers, but '1\.000,5' is none\. M"),
        ("width,height\n1\n", r"every row must hold numbers, but a value is missing\. Mend"),
    ],
)
def test_a_file_without_anchors_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        load_anchors(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_brackets_without_end_are_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold anchors as JSON"):
        load_anchors(write(tmp_path, "[" * 100_000))
    with pytest.raises(DataError, match="must be JSON, but"):
        load_anchors(write(tmp_path, '{"a":' * 100_000))


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text", ["\n" * 10**6, "1" * 10**6, "anchors:" + "\n" * 10**6, " - [" * 250_000, "a" * 10**6]
)
def test_a_file_made_to_be_slow_is_not(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        load_anchors(write(tmp_path, text))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be at most 1 MiB, this is larger\. Is it a file of"):
        load_anchors(write(tmp_path, "1,2," * 2**18 + "1,2"))


def test_a_file_that_is_missing_or_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a readable file of anchors, but No such file"):
        load_anchors(tmp_path / "none.json")
    with pytest.raises(DataError, match="must be a readable file of anchors, but Is a directory"):
        load_anchors(tmp_path)
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="must hold anchors as JSON"):
        load_anchors(path)


def test_a_name_is_a_preset_or_a_file(tmp_path: Path) -> None:
    found = find_anchors("retinanet")
    assert (found.input_size_wh, found.fit) == ((1333, 800), "shorter-side")
    assert found.strides_px == (8, 16, 32, 64, 128)
    assert find_anchors(str(write(tmp_path, "1,2"))).anchors_wh_px.tolist() == [[1, 2]]
    with pytest.raises(DataError, match=r"retinanett: there is no such file, and .* retinanet\?"):
        find_anchors("retinanett")
