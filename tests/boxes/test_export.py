"""Every export is read back by a parser of its format, or run against a stand-in of its framework.

The stand-ins make anchors with the formulas of the frameworks: detectron2's
``generate_cell_anchors`` (w = size / sqrt(ratio), h = w * ratio), torchvision's
``generate_anchors`` (the same, corners rounded, ratios outermost) and mmdetection's
``gen_single_level_base_anchors``.
"""

from __future__ import annotations

import configparser
import csv
import io
import json
import math
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tinysight.boxes.anchor_files import load_anchors
from tinysight.boxes.anchors import AnchorSet
from tinysight.boxes.export import FORMATS, export_anchors, export_warnings, render_anchors
from tinysight.boxes.leveled_anchors import LeveledAnchors, factor_level, number_text
from tinysight.boxes.presets import PRESETS, sizes_times_ratios
from tinysight.boxes.strides import assign_strides, group_levels
from tinysight.errors import DataError

FREE = np.array(
    [
        *((9.53, 11.21), (21.07, 19), (17, 41.5)),
        *((43, 32), (39, 70.25), (86, 64)),
        *((65, 131), (134, 130.5), (400, 280)),
    ]
)


def leveled(
    anchors: Any = FREE,
    strides: Sequence[int] = (8, 16, 32),
    *,
    classes: int | None = 20,
    size: int = 640,
    rule: Any = "equal",
    fit: str = "letterbox",
) -> LeveledAnchors:
    return LeveledAnchors(assign_strides(anchors, strides, rule=rule), (size, size), fit, classes)


def fitted(anchors: Any = FREE) -> AnchorSet:
    by_area = anchors[np.argsort(anchors.prod(axis=1))]
    return AnchorSet(by_area, (416, 416), "letterbox", "iou", 0.7, 0.9)


def preset(name: str) -> LeveledAnchors:
    found = PRESETS[name]
    return LeveledAnchors(
        group_levels(found.levels_wh_px, found.strides_px), found.input_size_wh, found.fit, 80
    )


def levels_of(export: LeveledAnchors) -> list[list[list[float]]]:
    return [level.anchors_wh_px.tolist() for level in export.levels]


def assert_levels(found: Any, export: LeveledAnchors, tolerance: float = 0.006) -> None:
    """The levels hold the same anchors, in any order within a level."""
    assert len(found) == len(export.levels)
    for own, expected in zip(found, levels_of(export), strict=True):
        assert np.array(sorted(own)) == pytest.approx(np.array(sorted(expected)), abs=tolerance)


# --- darknet


def read_cfg(text: str) -> list[tuple[str, dict[str, str]]]:
    """Read sections as darknet does: repeated names, # for comments, spaces ignored."""
    sections: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        line = line.replace(" ", "")
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            sections.append((line, {}))
        else:
            key, value = line.split("=")
            sections[-1][1][key] = value
    return sections


def test_one_anchor_is_told_in_the_singular() -> None:
    leveled = LeveledAnchors(group_levels([[(10, 20)]], (8,)), (64, 64), "letterbox")
    assert leveled.about == "1 anchor for an input of 64x64 pixels (letterbox)"


@pytest.mark.parametrize(("to", "finest_first"), [("darknet", True), ("darknet-v3", False)])
def test_darknet_layers_have_masks_and_filters_in_the_order_of_their_version(
    to: str, finest_first: bool
) -> None:
    export = leveled()
    sections = read_cfg(render_anchors(export, to))
    assert [name for name, _ in sections] == ["[convolutional]", "[yolo]"] * 3
    masks = []
    found = []
    for (_, convolution), (_, yolo) in zip(sections[::2], sections[1::2], strict=True):
        assert int(convolution["filters"]) == (20 + 5) * 3
        assert (yolo["classes"], yolo["num"]) == ("20", "9")
        numbers = [float(number) for number in yolo["anchors"].split(",")]
        anchors = list(zip(numbers[::2], numbers[1::2], strict=True))
        mask = [int(row) for row in yolo["mask"].split(",")]
        masks.append(mask)
        found.append([list(anchors[row]) for row in mask])
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert masks == (expected if finest_first else expected[::-1])
    assert_levels(found if finest_first else found[::-1], export)


def comments(text: str) -> str:
    return " ".join(line[2:] for line in text.splitlines() if line.startswith("# "))


@pytest.mark.parametrize(
    ("export", "to", "told"),
    [
        (
            leveled(),
            "darknet",
            "In the order of YOLOv4 and v7, finest first. In the two layers of the same stride of "
            "your cfg change only filters in [convolutional] and mask, anchors, classes, num in "
            "[yolo]. Keep every other line, activation as well. [net] must have width=640 and "
            "height=640.",
        ),
        (
            leveled(),
            "darknet-v3",
            "In the order of YOLOv3 and the tiny v3 and v4, coarsest first. In the two layers of "
            "the same stride of your cfg change only filters in [convolutional] and mask, anchors, "
            "classes, num in [yolo]. Keep every other line, activation as well. [net] must have "
            "width=640 and height=640.",
        ),
        (
            preset("yolov2-coco"),
            "darknet-v2",
            "In the last two layers of your cfg change only filters in [convolutional] and "
            "anchors, classes, num in [region]. Keep every other line, such as bias_match=1 and "
            "softmax=1: darknet takes 0 for each where it is missing. [net] must have width=416 "
            "and height=416.",
        ),
    ],
)
def test_darknet_prints_the_lines_that_change_and_says_that_no_other_does(
    export: LeveledAnchors, to: str, told: str
) -> None:
    text = render_anchors(export, to)
    assert told in comments(text)
    layers = {name: set(lines) for name, lines in read_cfg(text)}
    in_last = {"anchors", "classes", "num"}
    expected = {"[region]": in_last} if to == "darknet-v2" else {"[yolo]": {"mask"} | in_last}
    assert layers == {"[convolutional]": {"filters"}} | expected


@pytest.mark.parametrize("to", ["darknet", "darknet-v3", "darknet-v2"])
@pytest.mark.parametrize(
    ("fit", "mend"),
    [
        ("letterbox", "Set letter_box=1 and mosaic=0, or fit"),
        ("shorter-side", "Fit"),
        ("stretch", None),
    ],
)
def test_darknet_warns_of_anchors_for_images_that_are_not_stretched(
    fit: str, mend: str | None, to: str
) -> None:
    export = leveled(strides=(32,) if to == "darknet-v2" else (8, 16, 32), fit=fit)
    warning = (
        f"AlexeyAB's darknet stretches images unless [net] has letter_box=1, but these anchors are "
        f"for the fit {fit}. {mend} for stretched images with `tinysight boxes anchors FILE --fit "
        f"stretch`."
    )
    own = set(export_warnings(export, to)) - set(export.assignment.warnings)
    assert own == ({warning} if mend else set())
    assert (warning in comments(render_anchors(export, to))) == (mend is not None)
    assert ("letter_box" in render_anchors(export, to)) == (mend is not None)
    assert export_warnings(export, "json") == export.assignment.warnings


def test_darknet_layers_can_hold_different_numbers_of_anchors() -> None:
    export = leveled([(10, 10), (50, 50), (90, 90), (200, 200)], rule="size")
    sections = read_cfg(render_anchors(export, "darknet"))
    assert [section["filters"] for _, section in sections[::2]] == ["25", "25", "50"]


def test_darknet_needs_the_number_of_classes() -> None:
    with pytest.raises(DataError, match=r"darknet: the number of classes must be known and >= 1"):
        render_anchors(leveled(classes=None), "darknet")


def test_darknet_refuses_a_level_without_anchors() -> None:
    export = leveled([(100, 100), (200, 200)], rule="size")
    with pytest.raises(DataError, match=r"the \[yolo\] layer of stride 8 must have an anchor"):
        render_anchors(export, "darknet")


def test_a_darknet_cfg_is_read_back_with_its_levels_and_size(tmp_path: Path) -> None:
    export = leveled()
    path = tmp_path / "my.cfg"
    path.write_text("[net]\nwidth=640\nheight = 640\n" + render_anchors(export, "darknet-v3"))
    found = load_anchors(path)
    assert found.input_size_wh == (640, 640)
    assert_levels([level.tolist() for level in found.levels_wh_px], export)


def test_yolov2_has_one_level_in_cells() -> None:
    export = preset("yolov2-coco")
    (_, convolution), (name, region) = read_cfg(render_anchors(export, "darknet-v2"))
    assert (name, convolution["filters"], region["num"]) == ("[region]", "425", "5")
    numbers = [float(number) for number in region["anchors"].split(",")]
    assert np.array(numbers).reshape(-1, 2) * 32 == pytest.approx(
        PRESETS["yolov2-coco"].anchors_wh_px, rel=5e-4
    )
    with pytest.raises(DataError, match=r"darknet-v2: YOLOv2 has one level, got 3\. Name one"):
        render_anchors(leveled(), "darknet-v2")


# --- yolov5, v7


@pytest.mark.parametrize("to", ["yolov5", "yolov7"])
def test_yolo_yaml_is_grouped_by_stride_finest_first(to: str) -> None:
    export = leveled()
    text = render_anchors(export, to)
    value = yaml.safe_load(text)
    assert value["nc"] == 20
    # As Detect() does it: a flat list a level, na = half its length, equal for all.
    assert [len(row) for row in value["anchors"]] == [6, 6, 6]
    found = [list(map(list, zip(row[::2], row[1::2], strict=True))) for row in value["anchors"]]
    assert_levels(found, export)
    areas = [np.prod(level, axis=1).mean() for level in found]
    assert areas == sorted(areas)  # check_anchor_order has nothing to reverse
    assert [line.split("# ")[1] for line in text.splitlines()[3:]] == ["P3/8", "P4/16", "P5/32"]


def test_yolo_yaml_names_no_classes_where_they_are_not_known() -> None:
    assert "nc:" not in render_anchors(leveled(classes=None), "yolov5")


def test_yolo_yaml_needs_equal_levels() -> None:
    export = leveled([(10, 10), (50, 50), (90, 90), (200, 200)], rule="size")
    with pytest.raises(
        DataError,
        match=r"yolov5 needs the same number of anchors on every level, got 1 at stride 8, 1 at "
        r"stride 16, 2 at stride 32\. Divide them equally",
    ):
        render_anchors(export, "yolov5")


# --- frameworks that make anchors from sizes and ratios


class DefaultAnchorGenerator:
    """detectron2's formula."""

    def __init__(self, cfg: Any) -> None:
        settings = cfg.MODEL.ANCHOR_GENERATOR
        self.cell_anchors = [
            self.generate_cell_anchors(sizes, ratios)
            for sizes, ratios in zip(settings.SIZES, settings.ASPECT_RATIOS, strict=True)
        ]

    def generate_cell_anchors(self, sizes: Any, aspect_ratios: Any) -> torch.Tensor:
        anchors = []
        for size in sizes:
            for ratio in aspect_ratios:
                w = math.sqrt(size**2 / ratio)
                h = ratio * w
                anchors.append([-w / 2, -h / 2, w / 2, h / 2])
        return torch.tensor(anchors)


class AnchorGenerator:
    """torchvision's formula."""

    def __init__(self, sizes: Any, aspect_ratios: Any) -> None:
        self.sizes, self.aspect_ratios = sizes, aspect_ratios
        self.cell_anchors = [
            self.generate_anchors(own, ratios)
            for own, ratios in zip(sizes, aspect_ratios, strict=True)
        ]

    def generate_anchors(self, scales: Any, aspect_ratios: Any) -> torch.Tensor:
        h_ratios = torch.sqrt(torch.as_tensor(aspect_ratios, dtype=torch.float32))
        w_ratios = 1 / h_ratios
        scales = torch.as_tensor(scales, dtype=torch.float32)
        ws = (w_ratios[:, None] * scales[None, :]).view(-1)
        hs = (h_ratios[:, None] * scales[None, :]).view(-1)
        return (torch.stack([-ws, -hs, ws, hs], dim=1) / 2).round()

    def num_anchors_per_location(self) -> list[int]:
        return [len(s) * len(a) for s, a in zip(self.sizes, self.aspect_ratios, strict=True)]


class Registry(dict[str, Any]):
    def register(self) -> Any:
        def add(made: type) -> type:
            self[made.__name__] = made
            return made

        return add


def run_with(monkeypatch: pytest.MonkeyPatch, text: str, modules: dict[str, dict[str, Any]]) -> Any:
    """Run an exported file with stand-ins for the modules that it imports."""
    for name, members in modules.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            parent = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        vars(sys.modules[name]).update(members)
    scope: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "exported.py", "exec"), scope)
    return types.SimpleNamespace(**scope)


def sizes_of(cells: Any) -> list[list[list[float]]]:
    return [[[x1 - x0, y1 - y0] for x0, y0, x1, y1 in level.tolist()] for level in cells]


def test_torchvision_makes_free_anchors_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    export = leveled()
    made = run_with(
        monkeypatch,
        render_anchors(export, "torchvision"),
        {"torchvision.models.detection.anchor_utils": {"AnchorGenerator": AnchorGenerator}},
    ).anchor_generator
    assert made.num_anchors_per_location() == [3, 3, 3]
    assert_levels(sizes_of(made.cell_anchors), export, 1e-4)


def test_torchvision_makes_structured_anchors_from_sizes_and_ratios(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = preset("torchvision-faster-rcnn")
    free = preset("faster-rcnn-fpn")
    text = render_anchors(free, "torchvision")
    made = run_with(
        monkeypatch,
        text,
        {"torchvision.models.detection.anchor_utils": {"AnchorGenerator": AnchorGenerator}},
    ).anchor_generator
    assert made.sizes == ((32,), (64,), (128,), (256,), (512,))
    assert made.aspect_ratios == ((0.5, 1, 2),) * 5
    assert_levels(sizes_of(made.cell_anchors), export)  # the published ones, corners rounded


def test_detectron2_code_makes_free_anchors_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    export = leveled()
    registry = Registry()
    made = run_with(
        monkeypatch,
        render_anchors(export, "detectron2-code"),
        {
            "detectron2.modeling.anchor_generator": {
                "ANCHOR_GENERATOR_REGISTRY": registry,
                "DefaultAnchorGenerator": DefaultAnchorGenerator,
            }
        },
    )
    cfg = types.SimpleNamespace(
        MODEL=types.SimpleNamespace(ANCHOR_GENERATOR=types.SimpleNamespace())
    )
    made.add_fitted_anchors(cfg)
    generator = registry[cfg.MODEL.ANCHOR_GENERATOR.NAME](cfg)
    assert_levels(sizes_of(generator.cell_anchors), export, 0.01)


@pytest.mark.parametrize("name", ["retinanet", "faster-rcnn-fpn"])
def test_detectron2_config_makes_the_published_anchors(name: str) -> None:
    export = preset(name)
    value = yaml.safe_load(render_anchors(export, "detectron2"))
    cfg = types.SimpleNamespace(
        MODEL=types.SimpleNamespace(
            ANCHOR_GENERATOR=types.SimpleNamespace(**value["MODEL"]["ANCHOR_GENERATOR"])
        )
    )
    assert_levels(sizes_of(DefaultAnchorGenerator(cfg).cell_anchors), export, 0.01)


def test_detectron2_config_holds_one_free_anchor_a_level() -> None:
    export = leveled(FREE[[0, 4, 8]])
    settings = yaml.safe_load(render_anchors(export, "detectron2"))["MODEL"]["ANCHOR_GENERATOR"]
    assert [len(row) for row in settings["SIZES"]] == [1, 1, 1]
    for level, (size,), (ratio,) in zip(
        export.levels, settings["SIZES"], settings["ASPECT_RATIOS"], strict=True
    ):
        width, height = level.anchors_wh_px[0]
        assert (size / ratio**0.5, size * ratio**0.5) == pytest.approx((width, height), rel=1e-3)


def test_detectron2_config_refuses_anchors_without_that_structure() -> None:
    with pytest.raises(DataError, match=r"a config holds sizes times ratios only.*detectron2-code"):
        render_anchors(leveled(), "detectron2")


def mmdet_anchors(generator: dict[str, Any]) -> list[list[list[float]]]:
    """mmdetection's AnchorGenerator and YOLOAnchorGenerator."""
    if generator["type"] == "YOLOAnchorGenerator":
        assert len({len(level) for level in generator["base_sizes"]}) == 1
        return [[list(pair) for pair in level] for level in generator["base_sizes"]]
    return [
        [
            [base * scale / ratio**0.5, base * scale * ratio**0.5]
            for ratio in generator["ratios"]
            for scale in generator["scales"]
        ]
        for base in generator["base_sizes"]
    ]


def test_mmdetection_lists_free_anchors_coarsest_first() -> None:
    export = leveled()
    scope: dict[str, Any] = {}
    exec(render_anchors(export, "mmdetection"), scope)
    head = scope["model"]["bbox_head"]
    generator = head["anchor_generator"]
    assert generator["type"] == "YOLOAnchorGenerator"
    assert generator["strides"] == head["featmap_strides"] == [32, 16, 8]
    assert_levels(mmdet_anchors(generator)[::-1], export)


def test_mmdetection_config_makes_the_published_retinanet() -> None:
    export = preset("retinanet")
    scope: dict[str, Any] = {}
    exec(render_anchors(export, "mmdetection"), scope)
    generator = scope["model"]["bbox_head"]["anchor_generator"]
    assert generator["type"] == "AnchorGenerator"
    assert generator["strides"] == [8, 16, 32, 64, 128]
    assert generator["ratios"] == [0.5, 1, 2]
    assert_levels(mmdet_anchors(generator), export, 0.01)


def test_ssd_default_boxes_are_fractions_of_the_input() -> None:
    export = preset("ssd300-coco")
    value = json.loads(render_anchors(export, "ssd"))
    assert value["steps_px"] == [8, 16, 32, 64, 100, 300]
    assert [len(level) for level in value["default_boxes_wh"]] == [4, 6, 6, 6, 4, 4]
    width, height = value["input_size_wh"]
    found = [[[w * width, h * height] for w, h in level] for level in value["default_boxes_wh"]]
    assert_levels(found, export, 1e-9)


# --- our own


def test_json_and_csv_are_read_back_to_the_bit(tmp_path: Path) -> None:
    export = preset("retinanet")
    for to in ("json", "csv"):
        path = tmp_path / f"anchors.{to}"
        path.write_text(render_anchors(export, to))
        found = load_anchors(path)
        assert found.strides_px == (8, 16, 32, 64, 128)
        for level, expected in zip(found.levels_wh_px, export.levels, strict=True):
            assert np.array_equal(level, expected.anchors_wh_px)
        assert (found.input_size_wh, found.fit) == ((1333, 800), "shorter-side")


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize("to", ["csv", "darknet", "darknet-v3", "json", "yolov5", "yolov7"])
def test_forms_that_are_read_back_say_for_which_input_they_are(
    to: str, fit: str, tmp_path: Path
) -> None:
    path = tmp_path / "anchors.txt"
    path.write_text(render_anchors(leveled(size=416, fit=fit), to))
    found = load_anchors(path)
    assert (found.input_size_wh, found.fit) == ((416, 416), fit)
    assert len(found.levels_wh_px) == 3


def test_json_lists_all_anchors_by_area() -> None:
    value = json.loads(render_anchors(preset("yolov5-p5"), "json"))
    assert value["anchors_wh_px"] == PRESETS["yolov5-p5"].anchors_wh_px.tolist()
    assert [level["stride_px"] for level in value["levels"]] == [8, 16, 32]


def test_csv_has_a_row_for_each_anchor() -> None:
    rows = list(csv.DictReader(io.StringIO(render_anchors(leveled(), "csv"))))
    assert [row["stride_px"] for row in rows] == ["8"] * 3 + ["16"] * 3 + ["32"] * 3
    assert [[float(row["width_px"]), float(row["height_px"])] for row in rows] == FREE[
        np.argsort(FREE.prod(axis=1))
    ].tolist()


# --- fitted anchors


def test_fitted_anchors_are_written_for_their_input_and_divided_over_the_usual_levels(
    tmp_path: Path,
) -> None:
    path = tmp_path / "anchors.yaml"
    assert export_anchors(fitted(), "yolov5", path) == ()
    found = load_anchors(path)
    assert (found.input_size_wh, found.fit) == ((416, 416), "letterbox")
    assert found.level_strides_px == (8, 16, 32)
    assert np.allclose(found.anchors_wh_px, fitted().anchors_wh_px, rtol=1e-3)


def test_levels_their_rule_and_the_number_of_classes_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "yolo.cfg"
    warnings = export_anchors(
        fitted(), "darknet", path, strides_px=(16, 32), rule="size", num_classes=7
    )
    text = path.read_text()
    (on_fine, on_coarse) = assign_strides(FREE, (16, 32), rule="size").levels
    filters = [len(level.anchors_wh_px) * (5 + 7) for level in (on_fine, on_coarse)]
    assert [int(line) for line in re.findall(r"filters=(\d+)", text)] == filters
    expected = LeveledAnchors(
        assign_strides(FREE, (16, 32), rule="size"), (416, 416), "letterbox", 7
    )
    assert warnings == export_warnings(expected, "darknet")


def test_a_format_of_one_level_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "yolo.cfg"
    export_anchors(fitted(FREE[:5]), "darknet-v2", path, num_classes=3)
    assert path.read_text().count("anchors") >= 1
    assert "num=5" in path.read_text()


# --- all


@pytest.mark.parametrize("to", [to for to in FORMATS if to not in ("darknet-v2", "detectron2")])
def test_every_format_says_for_which_input_it_holds(to: str) -> None:
    text = render_anchors(leveled(size=416), to)
    assert "416" in text
    assert "letterbox" in text


def test_an_unknown_format_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"yolo5: the format must be one of csv, darknet, .* Did you mean yolov5\?"
    ):
        export_anchors(fitted(), "yolo5", tmp_path / "x.yaml")
    assert not list(tmp_path.iterdir())


def test_a_format_that_cannot_hold_them_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("old")
    with pytest.raises(DataError):
        export_anchors(fitted(), "detectron2", path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10.0, "10"),
        (9.53, "9.53"),
        (1333.126, "1333.13"),
        (0.5, "0.5"),
        (0.012345, "0.01235"),
        (100.0, "100"),
        (12345.0, "12345"),
    ],
)
def test_numbers_are_written_short(value: float, text: str) -> None:
    assert number_text(value) == text


def test_products_of_sizes_and_ratios_are_recognised() -> None:
    found = factor_level(sizes_times_ratios([32, 40], [0.5, 1, 2])[::-1])
    assert found is not None
    assert found[0] == pytest.approx((32, 40))
    assert found[1] == pytest.approx((0.5, 1, 2))
    assert factor_level(FREE[:3]) is None
    assert factor_level(FREE[:1]) is not None
    # As many as products would be, but one is there twice and one is missing.
    twice = sizes_times_ratios([32, 40], [1, 2])[[0, 1, 2, 2]]
    assert factor_level(twice) is None


def test_a_cfg_reader_of_the_standard_library_reads_a_single_layer_too() -> None:
    parser = configparser.ConfigParser(strict=True)
    parser.read_string(render_anchors(preset("yolov2-voc"), "darknet-v2"))
    assert parser["region"]["num"] == "5"
