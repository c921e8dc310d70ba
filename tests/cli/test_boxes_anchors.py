from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.boxes.tables import draw_table, make_table, take_images, write_coco
from tinysight.boxes.anchors import DISTANCES as LIBRARY_DISTANCES
from tinysight.boxes.anchors import AnchorSet, FitSettings, fit_anchor_sets
from tinysight.boxes.choice_of_k import ChoiceOfK, RuleChoice
from tinysight.boxes.engine import ShardSettings, summarize_shards
from tinysight.boxes.geometry import FITS as LIBRARY_FITS
from tinysight.boxes.histogram_anchors import fit_to_histogram
from tinysight.cli import main
from tinysight.cli.anchor_lines import set_lines
from tinysight.cli.boxes_anchors import DISTANCES, FITS

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(draw_table(boxes=150), tmp_path_factory.mktemp("boxes") / "drawn.json")


def test_the_words_of_the_options_are_those_of_the_library() -> None:
    assert DISTANCES == LIBRARY_DISTANCES
    assert FITS == LIBRARY_FITS


def test_json_is_one_object_with_the_promised_keys(drawn: Path, capsys: Capture) -> None:
    assert main(["boxes", "anchors", str(drawn), "--k", "2,3", "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert output.out.count("\n") == 1
    assert result["input_size_wh"] == [640, 640]
    assert result["fit"] == "letterbox"
    assert [anchors["k"] for anchors in result["sets"]] == [2, 3]
    for anchors in result["sets"]:
        assert anchors["distance"] == "iou"
        assert np.array(anchors["anchors_wh_px"]).shape == (anchors["k"], 2)
        assert anchors["mean_best_iou"] <= anchors["upper_bound"]
        assert anchors["gap"] == pytest.approx(
            1 - anchors["mean_best_iou"] / anchors["upper_bound"], abs=1e-12
        )
    assert set(result["elbow"]) == {"k", "agreed", "rules"}
    assert set(result["elbow"]["rules"]) == {"kneedle", "chord", "silhouette", "gain"}
    assert len(result["wcss"]) == 10
    assert result["wcss_k"] == list(range(1, 11))


def test_the_command_says_what_the_library_call_finds(drawn: Path, capsys: Capture) -> None:
    words = "--k 4 --fit stretch --input-size 320x256 --distance ratio --seed 3 --certify 0 --json"
    assert main(["boxes", "anchors", str(drawn), *words.split()]) == 0
    (said,) = json.loads(capsys.readouterr().out)["sets"]
    (found,) = fit_anchor_sets(
        draw_table(boxes=150),
        [4],
        input_size_wh=(320, 256),
        fit="stretch",
        settings=FitSettings(distance="ratio", seed=3),
    )
    assert said["anchors_wh_px"] == found.anchors_wh_px.tolist()
    assert said["mean_best_iou"] == found.mean_best_iou
    assert said["upper_bound"] is None


def test_anchors_are_fitted_to_images_as_torchvision_scales_them(
    drawn: Path, capsys: Capture
) -> None:
    words = ["boxes", "anchors", str(drawn), "--k", "4", "--certify", "0", "--json"]
    assert main([*words, "--fit", "shorter-side", "--input-size", "1333x800"]) == 0
    said = json.loads(capsys.readouterr().out)
    (found,) = fit_anchor_sets(
        draw_table(boxes=150), [4], input_size_wh=(1333, 800), fit="shorter-side"
    )
    assert (said["fit"], said["input_size_wh"]) == ("shorter-side", [1333, 800])
    assert said["sets"][0]["anchors_wh_px"] == found.anchors_wh_px.tolist()
    assert main([*words, "--fit", "shorter-side", "--input-size", "800x1333"]) == 1
    assert "got 800 x 1333. Turn them round: 1333 x 800." in capsys.readouterr().err


def test_the_text_shows_value_bound_and_distance_to_the_best(drawn: Path, capsys: Capture) -> None:
    assert main(["boxes", "anchors", str(drawn), "--k", "1:3"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("% of the best possible" in line for line in lines) == 3
    assert "crowd boxes left out" in lines[0]
    assert "elbow" in text
    assert "kneedle" in text


def test_without_a_proof_nothing_is_claimed(drawn: Path, capsys: Capture) -> None:
    assert main(["boxes", "anchors", str(drawn), "--k", "2", "--certify", "0"]) == 0
    assert "best possible" not in capsys.readouterr().out


def test_a_proof_that_ran_out_of_time_says_so(drawn: Path, capsys: Capture) -> None:
    assert main(["boxes", "anchors", str(drawn), "--k", "4", "--certify", "0.001"]) == 0
    assert "time ran out: --certify SECONDS for more" in capsys.readouterr().out


def test_a_proof_that_proved_nothing_claims_nothing() -> None:
    nothing = one_set(upper_bound=None, gap=None, is_proof_finished=False)
    (line,) = [
        line
        for line in set_lines([nothing], None, 9, 0)
        if line.endswith("nothing proved yet (time ran out: --certify SECONDS for more)")
    ]
    assert "0.6100" in line
    assert "best possible" not in line


def test_structured_anchors_are_sizes_by_level_and_ratios(drawn: Path, capsys: Capture) -> None:
    words = ["boxes", "anchors", str(drawn), "--k", "1", "--certify", "0", "--structured", "3x2x2"]
    assert main([*words, "--json"]) == 0
    structured = json.loads(capsys.readouterr().out)["structured"]
    assert np.array(structured["sizes_px"]).shape == (3, 2)
    assert len(structured["ratios"]) == 2
    assert main(words) == 0
    text = capsys.readouterr().out
    assert f"structured  mean IoU {structured['mean_best_iou']:.4f}" in text
    assert "level 3" in text


def test_more_anchors_than_distinct_sizes_are_refused(tmp_path: Path, capsys: Capture) -> None:
    path = write_coco(make_table([(0, 0, 5, 5, 10, 10)] * 4), tmp_path / "equal.json")
    assert main(["boxes", "anchors", str(path), "--k", "3"]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {path}: `k` (=3) must be from 1 to the number of distinct box sizes (=1) at "
        f"this input. Use another k.\n"
    )


@pytest.mark.parametrize(
    ("num_sizes", "ks", "note"),
    [
        (1, [1], "1 instead of 3, 4, 5, 6: at this input there is only 1 distinct box size"),
        (2, [2], "2 instead of 3, 4, 5, 6: at this input there are only 2 distinct box sizes"),
        (
            4,
            [3, 4],
            "3, 4 instead of 3, 4, 5, 6: at this input there are only 4 distinct box sizes",
        ),
        (6, [3, 4, 5, 6], None),
    ],
)
def test_the_default_k_is_cut_to_the_distinct_sizes_and_says_so(
    num_sizes: int, ks: list[int], note: str | None, tmp_path: Path, capsys: Capture
) -> None:
    boxes = [(0, 0, 0, 0, 10 * size, 10) for size in range(1, num_sizes + 1)]
    path = write_coco(make_table(boxes), tmp_path / "few.json")
    words = ["boxes", "anchors", str(path), "--certify", "0"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["k"] for one in said["sets"]] == ks
    assert said["note_on_k"] == note
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "instead of" in line] == (
        [f"k           {note}"] if note else []
    )
    assert main([*words, "--k", "1:7"]) == 1
    assert "must be from 1 to the number of distinct box sizes" in capsys.readouterr().err


def test_equal_boxes_get_one_perfect_anchor(tmp_path: Path, capsys: Capture) -> None:
    path = write_coco(make_table([(0, 0, 5, 5, 10, 10)] * 4), tmp_path / "equal.json")
    assert main(["boxes", "anchors", str(path), "--k", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sets"][0]["mean_best_iou"] == pytest.approx(1)
    assert result["elbow"]["k"] is None
    assert main(["boxes", "anchors", str(path), "--k", "1"]) == 0
    text = capsys.readouterr().out
    assert "elbow       none: no rule finds one; choose by mean IoU and your budget\n" in text
    assert "disagree" not in text


def test_a_file_without_boxes_is_refused(tmp_path: Path, capsys: Capture) -> None:
    path = write_coco(make_table(), tmp_path / "empty.json")
    assert main(["boxes", "anchors", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {path}: Anchors need at least one box that is not a crowd region, got none. "
        f"`tinysight boxes summary` counts the crowd regions and what was rejected.\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--k", "0", "must be numbers from 1 to 100 as in 3,4,5,6 or 1:12, got '0'"),
        ("--k", "5:3", "must be numbers from 1 to 100"),
        ("--k", "three", "must be numbers from 1 to 100"),
        ("--input-size", "0", "must be a size in pixels from 1 up, or WIDTHxHEIGHT, got '0'"),
        ("--structured", "5x3", "each from 1 to 99 and at most 500 anchors in all, got '5x3'"),
        ("--structured", "99x99x99", "at most 500 anchors in all, got '99x99x99'. Example: 5"),
        ("--certify", "-1", "must be a number from 0 up, got '-1'"),
        ("--seed", "-1", "must be a whole number from 0 to 4294967295, got '-1'"),
        ("--seed", "4294967296", "must be a whole number from 0 to 4294967295, got '4294967296'"),
        ("--certify", "nan", "must be a number from 0 up, got 'nan'"),
    ],
)
def test_words_out_of_range_are_a_usage_fault(
    drawn: Path, capsys: Capture, option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["boxes", "anchors", str(drawn), f"{option}={value}"])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def one_set(**changes: Any) -> AnchorSet:
    return replace(
        AnchorSet(
            anchors_wh_px=np.array([[10.0, 20.0]]),
            input_size_wh=(640, 640),
            fit="letterbox",
            distance="iou",
            mean_best_iou=0.61,
            best_possible_recall=1.0,
            upper_bound=0.61161,
            gap=0.0026321,
            is_proof_finished=True,
        ),
        **changes,
    )


def choice_with_gain(gain: int | None, most: int = 3) -> ChoiceOfK:
    rules = dict.fromkeys(("kneedle", "chord", "silhouette"), RuleChoice(2, 1.0))
    ks = tuple(range(1, most + 1))
    rules["gain"] = RuleChoice(gain, 0.5)
    return ChoiceOfK(ks, (1.0,) * most, (1.0,) * most, (0.5,) * most, rules, 20)


def test_one_crowd_box_is_told_in_the_singular() -> None:
    lines = list(set_lines([one_set()], None, 5, 1))
    assert lines[0] == "boxes       5 (1 crowd box left out)"


def test_a_bound_and_a_gap_are_printed_rounded_up() -> None:
    lines = list(set_lines([one_set()], choice_with_gain(2), 5, 0))
    (row,) = (line for line in lines if "best possible" in line)
    assert row.split()[1:4] == ["0.6100", "1.0000", "0.6117"]
    assert row.endswith("0.6117  within 0.264 % of the best possible")


def test_no_line_ends_with_a_blank(drawn: Path, capsys: Capture) -> None:
    words = ["boxes", "anchors", str(drawn), "--k", "1,2", "--structured", "2x1x2", "--certify"]
    for seconds in ("0", "1"):
        assert main([*words, seconds]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("gain", "most", "said"),
    [
        (2, 3, "(gain: one anchor more than 2 raises the mean IoU by less than 0.02)"),
        (None, 3, "(gain: up to k = 3 each further anchor raises the mean IoU by 0.02 or more)"),
        (None, 1, "(gain: there is one size, so a further anchor brings nothing)"),
    ],
)
def test_the_rule_of_gains_is_said_in_words(gain: int | None, most: int, said: str) -> None:
    lines = list(set_lines([one_set()], choice_with_gain(gain, most), 5, 0))
    assert said in [line.strip() for line in lines]
    assert not any("points end" in line for line in lines)


def shards_of_drawn(folder: Path) -> list[str]:
    return [
        str(write_coco(take_images(draw_table(1), range(at, at + 20)), folder / f"{at}.json"))
        for at in (0, 20, 40)
    ]


def test_shards_give_the_anchors_of_all_their_boxes_without_proof_or_elbow(
    tmp_path: Path, capsys: Capture
) -> None:
    whole = str(write_coco(draw_table(1), tmp_path / "whole.json"))
    parts = shards_of_drawn(tmp_path)
    assert main(["boxes", "anchors", whole, "--k", "2,4", "--certify", "0", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    words = ["boxes", "anchors", *parts, "--k", "2,4", "--shards", "--workers", "1"]
    assert main([*words, "--json"]) == 0
    many = json.loads(capsys.readouterr().out)
    assert set(many) == set(one)
    assert (many["boxes"], many["crowd_boxes_left_out"]) == (
        one["boxes"],
        one["crowd_boxes_left_out"],
    )
    for found, expected in zip(many["sets"], one["sets"], strict=True):
        assert set(found) == set(expected)
        assert found["mean_best_iou"] == pytest.approx(expected["mean_best_iou"], abs=5e-3)
        assert (found["upper_bound"], found["gap"], found["is_proof_finished"]) == (None,) * 3
    assert many["elbow"] == {"k": None, "agreed": None, "rules": None}
    assert [many[key] for key in ("wcss", "wcss_k", "wcss_wh", "structured")] == [None] * 4
    assert (many["shards"], many["box_orders"]) == (3, ["xywh"])
    assert (one["shards"], one["findings"]) == (None, None)
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "elbow       not known: the boxes were counted by size and not kept" in text
    assert text.endswith("shards      3\n")
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_the_command_on_shards_says_what_the_library_finds(tmp_path: Path, capsys: Capture) -> None:
    parts = shards_of_drawn(tmp_path)
    words = "--k 3 --seed 5 --fit stretch --input-size 320x256 --shards --workers 1 --json"
    assert main(["boxes", "anchors", *parts, *words.split()]) == 0
    (said,) = json.loads(capsys.readouterr().out)["sets"]
    result = summarize_shards(
        parts, ShardSettings(input_size_wh=(320, 256), fit="stretch"), num_workers=1
    )
    assert result.histogram is not None
    (found,) = fit_to_histogram(
        result.histogram, (3,), input_size_wh=(320, 256), fit="stretch", seed=5
    )
    assert said["anchors_wh_px"] == found.anchors_wh_px.tolist()


def test_the_default_k_is_cut_on_shards_too(tmp_path: Path, capsys: Capture) -> None:
    path = str(
        write_coco(make_table([(0, 0, 0, 0, 9, 9), (0, 0, 0, 0, 30, 9)]), tmp_path / "a.json")
    )
    assert main(["boxes", "anchors", path, "--shards"]) == 0
    assert "k           2 instead of 3, 4, 5, 6: at this input" in capsys.readouterr().out
    empty = str(write_coco(make_table(), tmp_path / "empty.json"))
    assert main(["boxes", "anchors", empty, "--shards"]) == 1
    assert f"{empty}: Anchors need at least one box" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shards", "--certify", "1"], "without a proof, as the boxes themselves are not kept"),
        (["--shards", "--distance", "log"], "got --distance log. Leave it out"),
        (["--shards", "--structured", "1x1x1"], "got --structured."),
        (["--shards", "--recall-weight", "1"], "got --recall-weight."),
        (["--workers", "2"], "--workers and --dask are for files that are shards. Add --shards."),
    ],
)
def test_what_shards_cannot_tell_is_refused(
    drawn: Path, capsys: Capture, words: list[str], message: str
) -> None:
    assert main(["boxes", "anchors", str(drawn), *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("distance", ["log", "wh", "ratio"])
def test_recall_weight_without_effect_is_refused(
    drawn: Path, capsys: Capture, distance: str
) -> None:
    words = ["boxes", "anchors", str(drawn), "--recall-weight", "0.5", "--distance", distance]
    assert main(words) == 1
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(
            f"--recall-weight must go with --distance iou, got --distance {distance}. Leave one of "
            f"them out."
        )
    )
