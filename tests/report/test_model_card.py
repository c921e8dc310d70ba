from __future__ import annotations

import hashlib
import html
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tinysight import run_folder, whole_files
from tinysight.errors import RunError
from tinysight.report.model_card import escape_markdown, render_model_card

EVIL = "</script><img src=x onerror=alert(1)>"
MARKDOWN = MarkdownIt("commonmark").enable("table")


def make_run(folder: Path, **changes: Any) -> Path:
    """A run folder of three classes with what a card needs; a change to None leaves a file out."""
    folder.mkdir()
    names = changes.get("names", ("cat", "dog | wolf", EVIL))
    classes = [
        {"index": index, "wnid": f"n{index}", "name": name} for index, name in enumerate(names)
    ]
    whole_files.write_json(
        folder / run_folder.RUN,
        {
            "format_version": 1,
            "tinysight": "0.1.0",
            "recipe_name": "/home/somebody/secret/my_recipe.toml",
            "store": "/home/somebody/secret/pets",
            "split": "70/30",
            "split_seed": 7,
            "split_digest": "d1" * 32,
            "train_images": 1_400,
            "test_images": 600,
            "size_px": 64,
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.2, 0.2],
            "classes": classes,
        },
    )
    whole_files.write_json(
        folder / run_folder.ENVIRONMENT,
        {
            "started_at": "2026-11-21T08:34:44Z",
            "command": ["train", "/home/somebody/secret/pets"],
            "python": "3.11.7",
            "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
            "processor": "Some Processor",
            "cores": 2,
            "device": changes.get("device", "cpu"),
            "processes": changes.get("processes", 1),
        },
    )
    run_folder.write_recipe(
        folder,
        {
            "model": {"name": "compact"},
            "augment": {"mix_probability": changes.get("mix", 0.0)},
            "train": {"epochs": 12, "seed": 3, "tuning_fraction": changes.get("tuning", 0.0)},
        },
    )
    row = {"epoch": 11, "steps": 3612, "seconds": 120.0, "images_per_s": 499.3}
    row |= {"train_loss": 0.4, "train_accuracy": 0.9, "lr": 1e-5}
    if changes.get("tuning"):
        row |= {"tuning_accuracy": 0.5, "ema_tuning_accuracy": 0.625}
    whole_files.write_records(folder / run_folder.HISTORY, [row])
    if changes.get("weights", True):
        (folder / run_folder.MODEL).write_bytes(b"weights")
    if changes.get("metrics", True):
        whole_files.write_json(
            folder / run_folder.METRICS,
            {
                "images": 600,
                "accuracy": 0.75,
                "top5": 1.0,
                "loss": 0.81234,
                "calibration": [],
                "calibration_error": 0.0345,
                "weights": changes.get("weights_kind", "ema"),
                "classes": [
                    {
                        **entry,
                        "images": 200,
                        "accuracy": accuracy,
                        "guesses": guesses,
                        "precision": 0.5 if guesses else None,
                    }
                    for entry, accuracy, guesses in zip(
                        classes,
                        changes.get("accuracies", (0.9, 0.8, 0.55)),
                        (100, 50, 0)[: len(names)],
                        strict=True,
                    )
                ],
            },
        )
    return folder


def test_five_guesses_are_a_figure_where_there_are_more_classes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    metrics |= {"top5": 0.9, "classes": 2 * metrics["classes"]}
    whole_files.write_json(run / run_folder.METRICS, metrics)
    assert "| right class among the first five | 90.0 % (87.3 % to 92.2 %) |" in render_model_card(
        run
    )


def test_no_accuracy_is_certain(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    whole_files.write_json(run / run_folder.METRICS, metrics | {"accuracy": 1.0, "images": 27})
    assert "| test accuracy | 100.0 % (87.5 % to 100.0 %) |" in render_model_card(run)


def test_the_card_has_what_a_reader_must_know(tmp_path: Path) -> None:
    run = make_run(tmp_path / "pets_run")
    card = render_model_card(run)
    for text in (
        "# Model card: pets\\_run",
        "A compact ResNet that sorts images of 64x64 pixels into 3 classes",
        "It recognises **75.0 %** of 600 test images",
        "| store | pets |",
        "| training images | 1,400 |",
        "| split | 70/30, seed 7 |",
        f"| split digest | `{'d1' * 32}` |",
        "| recipe | my\\_recipe.toml |",
        "| epochs | 12 |",
        "| optimizer steps | 3,612 |",
        "| training time | 2 min (499 images/s in the last epoch) |",
        "| hardware | Some Processor, 2 cores |",
        "| software | Python 3.11.7, torch 2.13.0, numpy 2.4.6 |",
        "| test accuracy | 75.0 % (71.4 % to 78.3 %) |",
        "| test loss (cross entropy) | 0.812 |",
        "| expected calibration error | 3.5 points |",
        "| weights | averaged over the steps (EMA) |",
        "| training accuracy (augmented images, while learned from) | 90.0 % |",
        f"| SHA-256 | `{hashlib.sha256(b'weights').hexdigest()}` |",
        "| mean of the channels in [0, 1] | 0.500000, 0.400000, 0.300000 |",
        "- 150 of 600 test images are put into a wrong class.",
        "- One run with one seed (3)",
    ):
        assert text in card, text
    assert "first five" not in card  # of three classes
    titles = [line for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Data",
        "## Training",
        "## Metrics",
        "## Weights",
        "## Intended use",
        "## Limits",
    ]


def test_the_card_holds_every_setting_of_the_recipe(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    recipe = (run / run_folder.RECIPE).read_text().strip()
    assert f"```toml\n{recipe}\n```" in render_model_card(run)
    (run / run_folder.RECIPE).write_text(
        '[model]\nname = "a```b"\n[augment]\n[train]\nepochs = 1\nseed = 0\n'
    )
    assert "````toml\n" in render_model_card(run)


def test_the_card_is_markdown_without_html_and_without_links(tmp_path: Path) -> None:
    page = MARKDOWN.render(
        render_model_card(make_run(tmp_path / "run", names=(EVIL, "http://x.y", "a|b")))
    )
    assert "<img" not in page
    assert "<script" not in page
    assert "<a " not in page
    assert f"<td>{EVIL.replace('<', '&lt;').replace('>', '&gt;')}</td>" in page
    assert "<td>a|b</td>" in page
    assert page.count("<table>") == 5


def test_paths_of_the_machine_are_left_out(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run"))
    assert "somebody" not in card
    assert str(tmp_path) not in card


def test_folders_of_another_system_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    about = run_folder.read_run(run) | {
        "store": r"C:\Users\bob\secret project\pets",
        "recipe_name": r"C:\Users\bob\mine.toml",
    }
    whole_files.write_json(run / run_folder.RUN, about)
    card = render_model_card(run)
    assert "| store | pets |" in card
    assert "| recipe | mine.toml |" in card
    assert "bob" not in card


def test_weights_of_an_unknown_kind_are_named_as_they_are(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run", weights_kind="<b>soup"))
    assert "| weights | &lt;b&gt;soup |" in card


def test_a_folder_whose_name_is_no_utf8_is_spelt_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / os.fsdecode(b"run\xff"))
    assert "# Model card: run\\udcff\n" in render_model_card(run)


def test_the_worst_classes_come_first_and_a_class_without_images_is_left_out(
    tmp_path: Path,
) -> None:
    card = render_model_card(make_run(tmp_path / "run", accuracies=(0.9, None, 0.55)))
    assert "The 2 classes that are recognised least often:" in card
    rows = re.findall(r"^\| (.+) \| (55.0|90.0) % of 200 \| (.+) \|$", card, re.MULTILINE)
    assert [(accuracy, guesses) for _, accuracy, guesses in rows] == [
        ("55.0", "none"),
        ("90.0", "50.0 % of 100"),
    ]


def test_a_single_class_is_spoken_of_as_such(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run", accuracies=(None, 0.55, None)))
    assert "The only class with test images:" in card
    assert "least often" not in card
    assert "an image of something else is put into one of them, sometimes with a high" in card
    card = render_model_card(make_run(tmp_path / "one", names=("cat",), accuracies=(0.55,)))
    assert "- It knows 1 class and nothing else: an image of something else is put into it" in card


def test_many_classes_are_shown_from_both_ends(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    metrics = whole_files.read_json(run / run_folder.METRICS)
    metrics["classes"] = [
        metrics["classes"][0] | {"index": index, "name": f"class {index}", "accuracy": index / 100}
        for index in range(40)
    ]
    whole_files.write_json(run / run_folder.METRICS, metrics)
    names = re.findall(r"^\| class (\d+) \|", render_model_card(run), re.MULTILINE)
    assert names == [str(index) for index in [*range(10), *range(39, 29, -1)]]


def test_several_gpus_are_named(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run", device="Some GPU", processes=8))
    assert "| hardware | Some GPU; Some Processor, 2 cores; 8 processes |" in card


def test_mixed_training_images_are_said_to_be(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run", mix=0.5, weights_kind="raw"))
    assert "training accuracy (augmented images, partly mixed, while learned from)" in card
    assert "| weights | of the last step |" in card


def test_a_run_that_was_not_evaluated_says_how_to(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run", metrics=False))
    assert "not predicted yet: run `tinysight evaluate`" in card
    assert "It recognises" not in card
    tuned = render_model_card(make_run(tmp_path / "tuned", metrics=False, tuning=0.1))
    assert "Accuracy on the images held back for choosing: 62.5 %." in tuned
    assert "| held back for choosing | 140 |" in tuned


def test_findings_are_among_the_limits(tmp_path: Path) -> None:
    card = render_model_card(make_run(tmp_path / "run"), findings=("Over-fitted: *a lot*.",))
    assert card.endswith("- Over-fitted: \\*a lot\\*.\n")


def test_a_run_without_weights_has_no_card(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", weights=False)
    with pytest.raises(RunError, match=r"model\.safetensors: must exist for a model card, but"):
        render_model_card(run)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    page = MARKDOWN.render(f"| x {escape_markdown(text)} y |\n|---|\n").replace("&quot;", '"')
    shown = re.search(r"<th>x (.*)y</th>", page, re.DOTALL)
    assert shown is not None

    assert " ".join(html.unescape(shown[1]).split()) == " ".join(text.split())
