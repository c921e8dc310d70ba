from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.report.runs import make_run
from tests.report.test_classify_page import named
from tinysight import run_folder, whole_files
from tinysight.errors import RunError
from tinysight.report.compare_page import build_comparison_page, run_names
from tinysight.report.page import Callout, Figure, Page, Text
from tinysight.report.run_results import load_run_results


def page_of(*runs: Path) -> Page:
    return build_comparison_page([load_run_results(run, with_hits=True) for run in runs])


def change_metrics(run: Path, **changes: Any) -> Path:
    metrics = whole_files.read_json(run / run_folder.METRICS)
    whole_files.write_json(run / run_folder.METRICS, metrics | changes)
    return run


def test_headline_says_which_run_is_ahead_and_by_how_much(tmp_path: Path) -> None:
    better = change_metrics(make_run(tmp_path / "b"), accuracy=0.6)
    page = page_of(make_run(tmp_path / "a"), better)
    assert page.headline == "b is 5.0 points ahead of a"
    assert page.lead == "It recognises 60.0 % of its test images, a 55.0 %."
    assert [(stat.label, stat.value) for stat in page.stats] == [("a", "55.0 %"), ("b", "60.0 %")]


def test_small_leads_are_counted_in_images(tmp_path: Path) -> None:
    runs = [
        change_metrics(make_run(tmp_path / name), accuracy=right / 33_000, images=33_000)
        for name, right in (("a", 17_199), ("b", 17_200))
    ]
    page = page_of(*runs)
    assert page.headline == "b is less than 0.1 points ahead of a"
    assert page.lead == "It recognises 17,200 of its 33,000 test images, a 17,199 of 33,000."
    page = page_of(runs[0], change_metrics(runs[1], accuracy=17_233 / 33_000))
    assert page.headline == "b is 0.1 points ahead of a"
    assert page.lead == "It recognises 52.2 % of its test images, a 52.1 %."


def tune(run: Path) -> Path:
    """Make a run one that was measured on a tuning part."""
    rows = whole_files.read_records(run / run_folder.HISTORY)
    tuned = [{key.replace("test_", "tuning_"): value for key, value in row.items()} for row in rows]
    whole_files.write_records(run / run_folder.HISTORY, tuned)
    return run


def make_tuned(run: Path, *, accuracy: float, images: int = 200) -> Path:
    """A run that was trained with a tuning part and not evaluated."""
    tune(make_run(run, train__tuning_fraction=0.1))
    (run / run_folder.METRICS).unlink()
    about = whole_files.read_json(run / run_folder.RUN)
    whole_files.write_json(run / run_folder.RUN, about | {"tuning_images": images})
    rows = whole_files.read_records(run / run_folder.HISTORY)
    last = rows[-1] | {"tuning_accuracy": accuracy, "tuning_loss": 1.5}
    whole_files.write_records(run / run_folder.HISTORY, [*rows[:-1], last])
    return run


@pytest.mark.parametrize(
    ("accuracy", "chance"),
    [
        (0.6, "That may be chance: their 95 % intervals overlap."),
        (0.8, "That is more than chance: their 95 % intervals do not overlap."),
    ],
)
def test_tuning_runs_are_compared_by_their_tuning_part(
    tmp_path: Path, accuracy: float, chance: str
) -> None:
    page = page_of(
        make_tuned(tmp_path / "a", accuracy=0.55), make_tuned(tmp_path / "b", accuracy=accuracy)
    )
    assert page.headline == f"b is {100 * accuracy - 55:.1f} points ahead of a"
    assert page.lead == (
        f"It recognises {100 * accuracy:.1f} % of its tuning images, a 55.0 %. {chance}"
    )
    assert [stat.value for stat in page.stats] == ["55.0 %", f"{100 * accuracy:.1f} %"]
    table = named(page, "metrics")
    rows = table.rows[:4]
    assert [row[:2] for row in rows] == [
        ("Tuning accuracy", "55.0 %"),
        ("95 % interval of it", "48.1 % to 61.7 %"),
        ("Tuning loss", "1.500"),
        ("Tuning images", "200"),
    ]
    assert "Test accuracy" not in [row[0] for row in table.rows], "no rows of dashes alone"
    assert "the test part stays unseen until one of them is chosen" in table.caption


def test_tuning_runs_of_other_images_are_not_compared(tmp_path: Path) -> None:
    first = make_tuned(tmp_path / "a", accuracy=0.5)
    for name, other in (
        ("fewer", make_tuned(tmp_path / "b", accuracy=0.6, images=100)),
        ("tested", make_run(tmp_path / "c")),
    ):
        page = page_of(first, other)
        assert page.headline == "Runs side by side", name
        assert page.lead == (
            "Fewer than two of them were evaluated on their test part, or on one tuning part."
        )
        assert "Tuning accuracy" not in [row[0] for row in named(page, "metrics").rows]


def test_curves_are_named_after_the_part_that_was_measured(tmp_path: Path) -> None:
    tuned = [tune(make_run(tmp_path / name)) for name in "ab"]
    figure = named(page_of(*tuned), "measured-accuracy")
    assert figure.title == "Tuning accuracy"
    assert figure.alt.startswith("Line chart of tuning accuracy by epoch. a ends at 55.0 %.")
    assert [key.label for key in figure.keys] == ["a", "b"]
    page = page_of(make_run(tmp_path / "c"), tuned[0])
    figure = named(page, "measured-accuracy")
    assert figure.title == "Test or tuning accuracy"
    assert figure.alt == (
        "Line chart of test or tuning accuracy by epoch. c, test images ends at 55.0 %. "
        "a, tuning images ends at 55.0 %."
    )
    assert [key.label for key in figure.keys] == ["c, test images", "a, tuning images"]
    assert named(page, "measured-loss").title == "Test or tuning loss"
    assert [key.label for key in named(page, "train-accuracy").keys] == ["c", "a"]


def test_runs_whose_images_grew_say_so(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, epochs=2) for name in "abc"]
    for run in runs[:2]:
        rows = whole_files.read_records(run / run_folder.HISTORY)
        sizes = [row | {"image_px": px} for row, px in zip(rows, (48, 64), strict=True)]
        whole_files.write_records(run / run_folder.HISTORY, sizes)
    texts = [block.text for block in page_of(*runs).blocks() if isinstance(block, Text)]
    assert [text for text in texts if "grew" in text] == [
        "a, b: The training images grew: 48 px up to epoch 1, then 64 px."
    ]


def test_equal_runs_are_level(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "a"), make_run(tmp_path / "b"))
    assert page.headline == "a and b are level"
    assert page.lead == "Both recognise 55.0 % of their test images."
    table = named(page, "differences")
    assert table.rows == ()
    assert table.empty == "Every setting of their recipes is the same."


def test_every_run_at_the_best_accuracy_is_counted(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in "abcd"]
    worse = change_metrics(make_run(tmp_path / "w"), accuracy=0.4)
    page = page_of(worse, *runs[:3])
    assert page.headline == "a, b and c are level"
    assert page.lead == "All 3 recognise 55.0 % of their test images."
    page = page_of(worse, *runs)
    assert page.headline == "4 of 5 runs are level"
    assert page.lead == "a, b, c and d recognise 55.0 % of their test images."


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", train__epochs=9, schedule__max_lr=0.1)
    table = named(page_of(make_run(tmp_path / "a"), other), "differences")
    assert {row[0]: row[1:] for row in table.rows} == {
        "schedule.max_lr": ("0.05", "0.1"),
        "train.epochs": ("5", "9"),
    }


def test_settings_that_differ_in_their_last_digits_do_differ(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / name, schedule__max_lr=lr)
        for name, lr in (("a", 0.12345671), ("b", 0.12345672), ("c", 0.5))
    ]
    table = named(page_of(*runs), "differences")
    assert table.rows == (("schedule.max_lr", "0.12345671", "0.12345672", "0.5"),)


def test_what_speed_depends_on_stands_beside_it(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b")
    environment = whole_files.read_json(other / run_folder.ENVIRONMENT) | {"device": "Some GPU"}
    whole_files.write_json(other / run_folder.ENVIRONMENT, environment)
    about = whole_files.read_json(other / run_folder.RUN)
    whole_files.write_json(other / run_folder.RUN, about | {"size_px": 64})
    rows = {
        row[0]: row[1:] for row in named(page_of(make_run(tmp_path / "a"), other), "metrics").rows
    }
    assert rows["Device"] == ("cpu", "Some GPU")
    assert rows["Image side"] == ("32 px", "64 px")
    assert rows["Processor"] == ("A processor", "A processor")


def test_curves_of_every_run_share_their_axes(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "a"), make_run(tmp_path / "b", epochs=8, seed=3))
    figures = [block for block in page.blocks() if isinstance(block, Figure)]
    test, train = (
        next(figure for figure in figures if figure.name == name)
        for name in ("measured-accuracy", "train-accuracy")
    )
    domains = [
        figure.chart.to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"]
        for figure in (test, train)
    ]
    assert domains[0] == domains[1] == [0.0, 1.0]
    assert [key.label for key in test.keys] == ["a", "b"]
    assert "a ends at 55.0 %. b ends at 82.0 %." in test.alt


def test_averaged_weights_count_where_there_are_any(tmp_path: Path) -> None:
    averaged = make_run(tmp_path / "b")
    rows = whole_files.read_records(averaged / run_folder.HISTORY)
    whole_files.write_records(
        averaged / run_folder.HISTORY, [row | {"ema_test_accuracy": 0.777} for row in rows]
    )
    page = page_of(make_run(tmp_path / "a"), averaged)
    assert "b ends at 77.7 %." in named(page, "measured-accuracy").alt


def test_change_of_each_class_is_from_the_first_run_to_the_last(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    page = page_of(*runs)
    table = named(page, "class-table")
    changes = [abs(row[-1]) for row in table.rows]
    assert changes == sorted(changes, reverse=True)
    metrics = [whole_files.read_json(run / run_folder.METRICS)["classes"] for run in runs]
    first = next(row for row in table.rows if row[0] == "goldfish")
    expected = 100 * (metrics[1][0]["accuracy"] - metrics[0][0]["accuracy"])
    assert first[-1] == pytest.approx(expected)


def test_a_single_class_or_setting_is_spoken_of_as_such(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", train__epochs=9)]
    classes = whole_files.read_json(runs[1] / run_folder.METRICS)["classes"]
    classes[0]["accuracy"] += 0.05
    page = page_of(runs[0], change_metrics(runs[1], classes=classes))
    leads = {section.name: section.lead for section in page.sections}
    assert leads["classes"] == "From a to b, 1 class is recognised better and 0 worse."
    assert leads["recipes"].startswith("1 of ")
    assert leads["recipes"].endswith(" settings differs.")
    assert named(page, "class-changes").alt == (
        "Scatter chart of class accuracies: 1 class is recognised better by b, 0 worse, 5 alike."
    )


def predict(run: Path, is_right: Sequence[bool]) -> Path:
    """Write the predictions of a run, and the accuracy that follows."""
    count = len(is_right)
    guesses = np.where(is_right, 0, 1)
    pq.write_table(
        pa.table(
            {
                "sample_id": [f"test/{number}" for number in range(count)],
                "target": np.zeros(count, np.int32),
                "top5": fixed_lists(np.stack([guesses, 1 - guesses], axis=1).astype(np.int32)),
                "top5_probs": fixed_lists(np.tile(np.array([0.8, 0.2], np.float32), (count, 1))),
                "loss": np.ones(count, np.float32),
                "logits": fixed_lists(np.zeros((count, 2), np.float16)),
            }
        ),
        run / run_folder.PREDICTIONS,
    )
    return change_metrics(run, accuracy=sum(is_right) / count, images=count)


def fixed_lists(matrix: npt.NDArray[Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def test_accuracies_have_intervals_and_leads_are_counted_image_by_image(tmp_path: Path) -> None:
    both, none = [True] * 130, [False] * 140
    runs = [
        predict(make_run(tmp_path / "a"), [*both, *none, *[True] * 10, *[False] * 20]),
        predict(make_run(tmp_path / "b"), [*both, *none, *[False] * 10, *[True] * 20]),
    ]
    page = page_of(*runs)
    table = named(page, "metrics")
    assert table.rows[:6] == (
        ("Test accuracy", "46.7 %", "50.0 %"),
        ("95 % interval of it", "41.1 % to 52.3 %", "44.4 % to 55.6 %"),
        ("Ahead of a, points", None, "+3.3 (-0.3 to +6.9)"),
        ("Recognised by it, not by a", None, "20"),
        ("Recognised by a, not by it", None, "10"),
        ("So uneven by chance", None, "9.9 %"),
    )
    assert table.shown == len(table.rows)
    assert "Another seed in training changes an accuracy as well" in table.caption
    assert "“So uneven by chance” is how often two equally good networks" in table.caption
    assert "exact McNemar test" in table.caption
    assert page.headline == "b is 3.3 points ahead of a"
    assert page.lead == (
        "It recognises 50.0 % of its test images, a 46.7 %. That may be chance: the "
        "probability that two equally good networks differ at least so much on these images is "
        "9.9 %."
    )


def test_a_lead_that_is_no_chance_is_called_so(tmp_path: Path) -> None:
    runs = [
        predict(make_run(tmp_path / "a"), [True] * 130 + [False] * 170),
        predict(make_run(tmp_path / "b"), [True] * 150 + [False] * 150),
    ]
    assert page_of(*runs).lead.endswith(
        "That is more than chance: the probability that two equally good networks differ at least "
        "so much on these images is below 0.1 %."
    )


def test_runs_without_predictions_have_intervals_alone(tmp_path: Path) -> None:
    table = named(page_of(make_run(tmp_path / "a"), make_run(tmp_path / "b")), "metrics")
    assert [row[0] for row in table.rows[:3]] == [
        "Test accuracy",
        "95 % interval of it",
        "Among the first five",
    ]
    assert table.rows[1][1] == "49.3 % to 60.5 %"
    assert "McNemar" not in table.caption


def test_other_test_images_are_warned_of(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b")
    about = whole_files.read_json(other / run_folder.RUN)
    whole_files.write_json(other / run_folder.RUN, about | {"split_digest": "another"})
    page = page_of(make_run(tmp_path / "a"), other)
    (callout,) = [block for block in page.blocks() if isinstance(block, Callout)]
    assert callout.text.startswith("These runs were tested on different images")
    assert "McNemar" not in named(page, "metrics").caption
    assert page.headline == "Runs side by side"  # and none of them is called ahead
    assert page.lead == callout.text
    assert "classes" not in [section.name for section in page.sections]


def test_runs_of_other_classes_are_not_compared_class_by_class(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b")
    about = whole_files.read_json(other / run_folder.RUN)
    about["classes"][0]["name"] = "another"
    whole_files.write_json(other / run_folder.RUN, about)
    page = page_of(make_run(tmp_path / "a"), other)
    assert "classes" not in [section.name for section in page.sections]


def test_run_that_was_not_evaluated_is_shown_with_dashes(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b")
    for name in (run_folder.METRICS, run_folder.HISTORY, run_folder.STEPS):
        (other / name).unlink()
    page = page_of(make_run(tmp_path / "a"), other)
    assert page.headline == "Runs side by side"
    assert named(page, "metrics").rows[0] == ("Test accuracy", "55.0 %", None)


def test_runs_of_one_name_are_numbered(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place / "run") for place in ("a", "b")]
    assert run_names([load_run_results(run) for run in runs]) == ("run (1)", "run (2)")


def test_more_runs_than_colours_are_refused(tmp_path: Path) -> None:
    results = load_run_results(make_run(tmp_path / "a"))
    with pytest.raises(RunError, match=r"a page must show at most 6 runs, got 7\. Compare fewer"):
        build_comparison_page([results] * 7)
