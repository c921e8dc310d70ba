from __future__ import annotations

import json
from typing import get_args

import pytest

from tinysight.classify.models.summary import summarize
from tinysight.classify.settings import ModelSettings
from tinysight.cli import main
from tinysight.cli.summary import MODELS, STEMS

Capture = pytest.CaptureFixture[str]


def test_json_is_one_object_with_the_promised_keys(capsys: Capture) -> None:
    assert main(["summary", "resnet18", "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert output.err == ""
    assert result["parameters"] == 11_271_432
    assert result["macs"] == 2_221_772_800
    assert result["receptive_field"] == 109
    assert result["layers"][0] == {
        "name": "conv1",
        "kind": "Conv2d",
        "output_shape": [64, 64, 64],
        "parameters": 1728,
        "macs": 1728 * 64 * 64,
        "receptive_field": 3,
        "jump": 1,
        "activation_bytes": 64 * 64 * 64 * 4,
    }


def test_json_follows_the_options(capsys: Capture) -> None:
    words = ["summary", "resnet18", "--stem", "7x7", "--classes", "10", "--input", "3x96x64"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["input_chw"] == [3, 96, 64]
    assert result["feature_hw"] == [3, 2]
    assert result["layers"][-1]["output_shape"] == [10]
    assert result["parameters"] == 11_279_112 - 190 * 513
    assert (result["receptive_field"], result["jump"]) == (435, 32)


@pytest.mark.parametrize("words", [["resnet18"], ["resnet34", "--stem", "7x7"], ["compact"]])
def test_the_table_is_aligned_fits_100_columns_and_has_every_layer(
    capsys: Capture, words: list[str]
) -> None:
    assert main(["summary", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 100
    first, last = (number for number, line in enumerate(lines) if set(line) == {"-"})
    rows = lines[first + 1 : last]
    main(["summary", *words, "--json"])
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert len(rows) == len(layers)
    ends = [lines[0].index(word) + len(word) for word in ("output", "parameters", "field px")]
    for row, layer in zip(rows, layers, strict=True):
        assert row[: lines[0].index("kind")].rstrip() == layer["name"]
        assert row[lines[0].index("kind") :].startswith(layer["kind"] + " ")
        shape = "x".join(map(str, layer["output_shape"]))
        parameters = f"{layer['parameters']:,}" if layer["parameters"] else " "
        field = str(layer["receptive_field"])
        for text, end in zip((shape, parameters, field), ends, strict=True):
            assert row[:end].endswith(" " + text)


def test_the_table_ends_with_totals_and_the_field_in_plain_words(capsys: Capture) -> None:
    main(["summary", "resnet18", "--stem", "7x7"])
    end = capsys.readouterr().out.splitlines()[-4:]
    assert end == [
        "11,279,112 parameters; for one image of 3x64x64: 0.148 GMAC, 2.6 MiB of float32 "
        "activations",
        "",
        "Each of the 2x2 positions of the last feature map sees 435x435 px, its receptive field; "
        "the image",
        "has 64x64 px: all of them see the whole image.",
    ]


def test_one_row_by_hand(capsys: Capture) -> None:
    main(["summary", "resnet18", "--stem", "7x7"])
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert rows["conv1"] == ["conv1", "Conv2d", "64x32x32", "9,408", "9.63", "7", "2", "256.0"]
    assert rows["maxpool"] == ["maxpool", "MaxPool2d", "64x16x16", "11", "4", "64.0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet50"], "argument MODEL: invalid choice: 'resnet50' (choose from "),
        (
            ["compact", "--input", "64x64"],
            "argument --input: must be 3xHEIGHTxWIDTH with both from 32 to 99999 px, got '64x64'. "
            "Example: 3x64x64.",
        ),
        (["compact", "--input", "3x64x31"], "must be 3xHEIGHTxWIDTH with both from 32 to 99999 px"),
        (["compact", "--input", "3x64x100000"], "got '3x64x100000'. Example: 3x64x64."),
        (["compact", "--input", "1x64x64"], "must be 3xHEIGHTxWIDTH with both from 32 to 99999 px"),
        (["compact", "--classes", "0"], "argument --classes: must be a whole number from 1 to"),
        (
            ["compact", "--classes", "100000000000"],
            "argument --classes: must be a whole number from 1 to 1000000000, got '100000000000'",
        ),
    ],
)
def test_wrong_words_are_usage_errors(capsys: Capture, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["summary", *words])
    output = capsys.readouterr()
    assert exit_.value.code == 2
    assert output.out == ""
    assert message in output.err


def test_a_stem_for_the_compact_network_is_a_fault(capsys: Capture) -> None:
    assert main(["summary", "compact", "--stem", "7x7"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("tinysight: model.stem must be left out for model.name = compact")


def test_the_command_knows_every_model_and_stem_of_the_settings() -> None:
    fields = ModelSettings.model_fields
    assert get_args(fields["name"].annotation) == MODELS
    assert get_args(fields["stem"].annotation) == STEMS


def test_the_figures_are_the_librarys(capsys: Capture) -> None:
    from tinysight.classify.models import build_model

    main(["summary", "compact", "--classes", "7", "--json"])
    result = json.loads(capsys.readouterr().out)
    summary = summarize(build_model(ModelSettings(name="compact"), 7, seed=0))
    assert result["activation_bytes"] == summary.activation_bytes
    assert result["whole_view_positions"] == summary.whole_view_positions
    assert [layer["macs"] for layer in result["layers"]] == [row.macs for row in summary.layers]


def test_a_network_that_no_memory_could_hold_is_described(capsys: Capture) -> None:
    assert main(["summary", "compact10", "--classes", "1000000000", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    head = result["layers"][-1]
    assert head["output_shape"] == [10**9]
    assert head["parameters"] == head["macs"] + 10**9 > 10**11
