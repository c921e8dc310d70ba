import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import load_file

from tinysight import run_folder, whole_files
from tinysight.classify.checkpoint import load_model_weights
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.processes import Processes
from tinysight.classify.run import RunResult, train_run
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import load_store
from tinysight.cli import main, train
from tinysight.cli.training_progress import TrainingProgress
from tinysight.config import load_recipe
from tinysight.errors import RunError

QUICK = ("--recipe", "smoke", "--set", "train.epochs=2", "--set", "train.batch_size=8")
NUM_STEPS = 12  # 42 training images in batches of 8, twice


def tinysight(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tinysight", *map(str, words)]


@pytest.fixture(scope="module")
def finished(packed_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", str(packed_shapes), "--out", str(run), *QUICK]) == 0
    return run


def test_train_writes_a_whole_run_folder(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        run_folder.CHECKPOINTS,
        run_folder.CURVES,
        run_folder.ENVIRONMENT,
        run_folder.EVENTS,
        run_folder.HISTORY,
        run_folder.METRICS,
        run_folder.MODEL,
        run_folder.PREDICTIONS,
        run_folder.RECIPE,
        run_folder.RUN,
        run_folder.STEPS,
    }
    assert (finished / run_folder.CURVES).read_bytes().startswith(b"\x89PNG")


def test_train_prints_one_json_object_with_the_promised_keys(
    packed_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", str(packed_shapes), "--out", str(run), "--json", *QUICK]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    assert result["epochs"] == 2
    assert result["steps"] == NUM_STEPS
    assert result["run"] == str(run)
    last = whole_files.read_records(run / run_folder.HISTORY)[-1]
    assert result["test_accuracy"] == last["ema_test_accuracy"]
    assert result["train_accuracy"] == last["train_accuracy"]
    assert {"test_top5", "test_loss", "images_per_s", "seconds"} <= result.keys()
    assert "epoch 2/2  train loss" in captured.err
    assert " images/s of 64 px\n" in captured.err


def test_a_run_without_a_recipe_is_written_down_as_one_of_the_default_recipe(
    packed_shapes: Path, tmp_path: Path
) -> None:
    quick = ("train.epochs=1", "schedule.peak_epoch=0.5", "train.batch_size=8")
    words = [word for setting in (*quick, "model.name=compact10") for word in ("--set", setting)]
    assert main(["train", str(packed_shapes), "--out", str(tmp_path / "run"), *words]) == 0
    assert run_folder.read_run(tmp_path / "run")["recipe_name"] == "baseline"


def test_train_is_the_library_call(packed_shapes: Path, finished: Path, tmp_path: Path) -> None:
    recipe = load_recipe("smoke", ["train.epochs=2", "train.batch_size=8"])
    store = load_store(packed_shapes)
    device = torch.device("cpu")
    train_run(
        store,
        recipe,
        tmp_path / "run",
        device=device,
        processes=Processes(),
        resume=False,
        stop=StopRequest(),
        listener=TrainingProgress(2),
    )
    evaluate_run(tmp_path / "run", store, device=device)
    for name in (
        run_folder.METRICS,
        run_folder.MODEL,
        run_folder.PREDICTIONS,
        run_folder.RECIPE,
        run_folder.STEPS,
    ):
        assert (finished / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name


def test_evaluate_prints_one_json_object_with_the_promised_keys(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(finished), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    metrics = json.loads((finished / run_folder.METRICS).read_text())
    assert result["test_accuracy"] == metrics["accuracy"]
    assert result["images"] == 18
    assert result["epochs"] == 2
    assert {"train_accuracy", "test_top5", "test_loss", "images_per_s", "run"} <= result.keys()


def test_evaluate_reports_both_looks_apart(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(finished), "--flip", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    metrics = json.loads((finished / run_folder.METRICS).read_text())
    assert result["test_accuracy"] == metrics["accuracy"]
    for name in ("accuracy", "top5", "loss"):
        assert result[f"flip_test_{name}"] == metrics["with_flip"][name]
    assert main(["evaluate", str(finished), "--flip"]) == 0
    assert "with the mirror images' help, logits averaged" in capsys.readouterr().out


def test_a_finished_run_that_is_resumed_keeps_its_files(
    finished: Path, packed_shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(finished), "--flip"]) == 0
    kept = (run_folder.MODEL, run_folder.METRICS, run_folder.PREDICTIONS)
    before = [(finished / name).read_bytes() for name in kept]
    resume = ["train", str(packed_shapes), "--out", str(finished), "--resume", "--json"]
    capsys.readouterr()
    assert main(resume) == 0
    captured = capsys.readouterr()
    assert f"{finished}: was finished already; nothing was trained\n" in captured.err
    steps = json.loads(captured.out)["steps"]
    assert [(finished / name).read_bytes() for name in kept] == before
    (finished / run_folder.MODEL).unlink()
    assert main(resume) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == steps
    ours, theirs = load_model_weights(finished)[0], load_safetensors(before[0])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_batch_of_more_than_all_images_is_told_before_it_is_trained_on(
    packed_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", str(packed_shapes), "--out", str(tmp_path / "run"), "--recipe", "smoke"]
    short = ["--set", "train.epochs=1", "--set", "schedule.peak_epoch=0.25"]
    assert main([*train, *short, "--set", "train.batch_size=84"]) == 0
    told = (
        "train.batch_size (=84): there are only 42 training images, so an epoch is one step in "
        "which each is seen 2.0 times on average. Lower train.batch_size.\n"
    )
    captured = capsys.readouterr()
    assert captured.err.startswith(told)
    assert captured.err.count("train.batch_size") == 2
    assert "--recipe: none" not in captured.err


def test_a_processor_without_a_named_recipe_is_told_which_is_taken(
    packed_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = (*QUICK[2:], "--set", "model.name=compact10", "--set", "schedule.peak_epoch=0.5")
    out = tmp_path / "run"
    assert main(["train", str(packed_shapes), "--out", str(out), "--device", "cpu", *quick]) == 0
    told = (
        "--recipe: none is named, so baseline is taken, a recipe for GPUs. For a processor take "
        "--recipe cpu; `tinysight recipes` lists all.\n"
    )
    assert capsys.readouterr().err.startswith(told)
    resume = ["train", str(packed_shapes), "--out", str(out), "--resume", "--device", "cpu"]
    assert main(resume) == 0
    assert "--recipe" not in capsys.readouterr().err


def test_evaluate_says_it_in_words(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished)]) == 0
    printed = capsys.readouterr().out
    assert "18 test images" in printed
    assert "calibration error" in printed
    has_sixth = len(run_folder.read_run(finished)["classes"]) > 5
    assert ("in the first five" in printed) == has_sixth


def test_one_epoch_and_nearly_all_are_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = {"test_accuracy": 0.99996, "train_accuracy": 1.0}
    run = tmp_path / "a\x1b[2J\nb"
    result = RunResult(True, epochs=1, steps=9, new_steps=9, last=last, seconds=7.0, run=run)
    train._print_result(result, as_json=False)
    assert capsys.readouterr().out == (
        f"{tmp_path}/a [2J b: 1 epoch in 7 s, test accuracy over 99.99 %, "
        f"training accuracy 100.00 %\n"
    )
    metrics = SimpleNamespace(
        images=1,
        classes=range(6),
        accuracy=1.0,
        top5=0.99996,
        loss=0.5,
        calibration_error=0.12345,
        with_flip=None,
    )
    monkeypatch.setattr(train, "_evaluate", lambda *_, **__: metrics)
    assert main(["evaluate", str(run)]) == 0
    assert capsys.readouterr().out == (
        f"1 test image\n"
        f"  accuracy           100.00 %\n"
        f"  in the first five over 99.99 %\n"
        f"  loss               0.5000\n"
        f"  calibration error   12.35 %\n"
        f"predictions.parquet and metrics.json are in {tmp_path}/a [2J b\n"
    )


def test_a_store_that_moved_can_be_named(
    finished: Path, packed_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    packed_shapes.rename(moved)
    try:
        assert main(["evaluate", str(finished)]) == 1
        assert (
            f"tinysight: {finished}: its store must still be where it was, none is seen at "
            f"{packed_shapes}. Name the place where it is now with --store.\n"
        ) in capsys.readouterr().err
        assert main(["evaluate", str(finished), "--store", str(moved)]) == 0
    finally:
        moved.rename(packed_shapes)


@pytest.mark.parametrize("command", ["evaluate", "explain", "export"])
def test_a_store_in_a_place_that_cannot_be_looked_at_is_named(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    run, store = tmp_path / "run", tmp_path / ("a" * 300)
    shutil.copytree(finished, run)
    about = run_folder.read_run(run)
    whole_files.write_json(run / run_folder.RUN, about | {"store": str(store)})
    words = [command, str(run)]
    assert main(words + (["--out", str(tmp_path / "x.onnx")] if command == "export" else [])) == 1
    assert (
        f"tinysight: {run}: its store must still be where it was, none is seen at {store}. "
        f"Name the place where it is now with --store.\n"
    ) in capsys.readouterr().err


def test_a_tuning_run_prints_no_test_accuracy(
    packed_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["train", str(packed_shapes), "--out", str(run), "--tuning-fraction", "0.2", "--json"]
    assert main([*words, *QUICK]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["test_accuracy"] is None
    assert result["tuning_accuracy"] is not None
    assert not (run / run_folder.PREDICTIONS).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "STORE", "--out", "RUN", "--recipe", "smoke", "--set", "train.epochs=0"],
         "train.epochs: must be greater than or equal to 1, got 0."),
        (["train", "STORE", "--out", "RUN", "--recipe", "smok"], "did you mean smoke?"),
        (["train", "STORE", "--out", "RUN", "--resume"],
         "a run that is resumed must have been begun"),
        (["train", "NONE", "--out", "RUN"], "tinysight: "),
        (["evaluate", "NONE"], "run.json: must be a readable file"),
        (["train", "STORE", "--out", "FINISHED"], "a new run must start in an empty folder"),
        (["lr-find", "STORE", "--out", "RUN", "--min-lr", "1e20", "--max-lr", "1e30"],
         "or start lower with --min-lr"),
        (["lr-find", "STORE", "--out", "RUN", "--steps", "5"],
         "--steps (=5) must be at least 10"),
        (["lr-find", "STORE", "--out", "FILE"],
         "run.json: must be a folder that can be written to, but it is a file."),
        (["train", "STORE", "--out", "FILE", "--recipe", "smoke"],
         "run.json: must be a folder that can be written to, but it is a file."),
    ],
)  # fmt: skip
def test_a_fault_is_one_message_and_exit_code_1(
    words: list[str],
    message: str,
    packed_shapes: Path,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "STORE": str(packed_shapes),
        "RUN": str(tmp_path / "run"),
        "FINISHED": str(finished),
        "FILE": str(finished / run_folder.RUN),
        "NONE": str(tmp_path / "none"),
    }
    recipe = ["--recipe", "baseline", "--set", "model.name=compact", "--set", "train.batch_size=8"]
    extra = recipe if words[0] == "lr-find" else []
    assert main([places.get(word, word) for word in words] + extra) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tinysight: ")
    assert message in captured.err
    assert not list((tmp_path / "run").glob("*"))


def test_lr_find_writes_curve_and_numbers(
    packed_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lr"
    words = ["lr-find", str(packed_shapes), "--out", str(out), "--recipe", "smoke", "--steps", "20"]
    assert main([*words, "--set", "train.batch_size=8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "lr_range.json").read_text())
    assert {"suggestion_steepest", "suggestion_valley", "points"} <= result.keys()
    assert (out / "lr_range.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("weak_below", "not_clear_within", "weakness"),
    [(1e9, -1e9, "noise"), (-1e9, 1e9, "guessing"), (-1e9, -1e9, "")],
)
def test_lr_find_says_when_its_suggestions_are_worth_nothing(
    packed_shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    weak_below: float,
    not_clear_within: float,
    weakness: str,
) -> None:
    monkeypatch.setattr("tinysight.classify.lr_finder.WEAK_BELOW", weak_below)
    monkeypatch.setattr("tinysight.classify.lr_finder.NOT_CLEAR_WITHIN", not_clear_within)
    out = tmp_path / "lr"
    words = ["lr-find", str(packed_shapes), "--out", str(out), "--recipe", "smoke", "--steps", "12"]
    words += ["--set", "train.batch_size=8", "--min-lr", "1e-4", "--max-lr", "0.1"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    result = json.loads((out / "lr_range.json").read_text())
    assert f"half way down at                {result['suggestion_valley']:.2g}\n" in printed
    assert result["weakness"] == weakness
    # The first of twelve is left out, as where the verdict is made.
    lowest = min(point["smoothed_loss"] for point in result["points"][1:])
    reasons = {
        "noise": f"fall by more than its noise could, but it fell by {result['fall']:.2g}. ",
        "guessing": f"fall clearly below that of guessing, {result['guessing_loss']:.3f}, but its "
        f"lowest is {lowest:.3f}. ",
    }
    for reason, text in reasons.items():
        message = (
            f"Both are weak: the loss must {text}Take more --steps, other learning rates "
            f"(--min-lr, --max-lr) or larger batches (--set train.batch_size=16).\n"
        )
        assert (message in printed) is (reason == weakness)
    assert ("Both are weak" in printed) is bool(weakness)


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert "reference-48-as-run " in listed
    assert main(["recipes", "smoke"]) == 0
    assert "[train]" in capsys.readouterr().out
    assert main(["recipes", "smokes"]) == 1
    assert "did you mean smoke?" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_can_go_on(
    number: signal.Signals, packed_shapes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "a run"
    words = ("train", packed_shapes, "--out", run, *QUICK, "--set", "train.epochs=400")
    words = (*words, "--device", "cpu")
    with subprocess.Popen(tinysight(*words), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1/400"):
                break
        process.send_signal(number)
        asked_at = time.monotonic()
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert time.monotonic() - asked_at < 30  # 5 s on an idle machine; tests share theirs
    assert f"{number.name}: saving the state" in rest
    assert f"tinysight train {packed_shapes} --out '{run}' --resume --device cpu" in rest
    assert len(run_folder.checkpoint_files(run)) >= 1
    words = ("train", packed_shapes, "--out", run, "--resume")
    with subprocess.Popen(tinysight(*words), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("going on from step ")
        process.kill()


@pytest.mark.parametrize(
    ("processes", "words"),
    [
        (Processes(), "Go on with:\n  tinysight train STORE --out RUN --resume\n"),
        (
            Processes(count=2),
            "Go on with:\n"
            "  torchrun --nproc-per-node=2 -m tinysight train STORE --out RUN --resume\n",
        ),
        (
            Processes(count=16, are_on_one_machine=False),
            "Go on with torchrun on every machine, its options as before, and:\n"
            "  -m tinysight train STORE --out RUN --resume\n",
        ),
    ],
)
def test_stopped_run_says_how_all_its_processes_go_on(
    processes: Processes,
    words: str,
    packed_shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    stopped = RunResult(False, epochs=0, steps=5, new_steps=5, last={}, seconds=1.0, run=run)
    monkeypatch.setattr("tinysight.classify.run.train_run", lambda *_, **__: stopped)
    monkeypatch.setattr(
        "tinysight.classify.processes.joined_processes", lambda _: nullcontext(processes)
    )
    assert main(["train", str(packed_shapes), "--out", str(run)]) == 130
    said = capsys.readouterr().err.replace(str(packed_shapes), "STORE").replace(str(run), "RUN")
    assert said.endswith(f"Stopped after step 5; the state is saved. {words}")


def test_two_processes_equal_one_with_the_same_global_batch(
    packed_shapes: Path, tmp_path: Path
) -> None:
    """Batch norm sees half a batch in both: as a process's part, or as an accumulated part."""
    changes = ("train.ema_decay=0", "train.precision=fp32")
    settings = (*QUICK, *(word for change in changes for word in ("--set", change)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    two = tmp_path / "two"
    subprocess.run(
        [*launcher, "-m", "tinysight", "train", packed_shapes, "--out", two, *settings],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    torch.set_num_threads(1)  # as each of the two has; a sum in two threads rounds differently
    one = tmp_path / "one"
    words = ["train", str(packed_shapes), "--out", str(one), *settings]
    assert main([*words, "--set", "train.accumulate=2"]) == 0

    losses = [
        [row["loss"] for row in whole_files.read_records(run / run_folder.STEPS)]
        for run in (one, two)
    ]
    assert len(losses[0]) == NUM_STEPS
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    weights, others = (load_file(run / run_folder.MODEL) for run in (one, two))
    for name, tensor in weights.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(tensor, others[name], atol=1e-5), name
    rows = [whole_files.read_records(run / run_folder.HISTORY)[-1] for run in (one, two)]
    assert rows[0]["train_accuracy"] == pytest.approx(rows[1]["train_accuracy"], abs=1e-6)


@pytest.mark.parametrize(
    ("command", "work"), [("train", "run.train_run"), ("lr-find", "lr_finder.lr_range_test")]
)
@pytest.mark.parametrize(
    ("has_units", "change"), [(False, "bf16"), (False, "auto"), (True, "bf16")]
)
def test_bf16_by_name_on_a_processor_that_is_slow_in_it_is_said_before_the_work(
    packed_shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    work: str,
    has_units: bool,
    change: str,
) -> None:
    def work_begins(*_: object, **__: object) -> None:
        raise RunError("the work begins")

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_units})
    monkeypatch.setattr(f"tinysight.classify.{work}", work_begins)
    words = [command, str(packed_shapes), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--recipe", "cpu", "--set", f"train.precision={change}"]) == 1
    message = (
        "train.precision (=bf16): the cpu has no units for bf16 that torch uses and can be many "
        "times slower in it than in fp32. Leave the setting out to let the device decide; a run "
        "that is resumed keeps its own.\n"
    )
    said = capsys.readouterr().err
    assert (message in said) == (change == "bf16" and not has_units)
    assert said.endswith("tinysight: the work begins\n")
