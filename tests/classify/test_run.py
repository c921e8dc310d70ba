import dataclasses
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.classify.conftest import make_recipe, make_store
from tinysight import run_folder, whole_files
from tinysight.classify import run as run_module
from tinysight.classify import training
from tinysight.classify.checkpoint import load_checkpoint
from tinysight.classify.diagnosis import diagnose_run
from tinysight.classify.evaluate import Score
from tinysight.classify.models import build_model
from tinysight.classify.placement import choose_device
from tinysight.classify.predictions import evaluate_run
from tinysight.classify.processes import Processes
from tinysight.classify.run import RunResult, train_run
from tinysight.classify.run_settings import as_trained, read_settings
from tinysight.classify.settings import Recipe
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store
from tinysight.classify.training_images import training_data
from tinysight.classify.training_records import EpochRecord, StepRecord
from tinysight.classify.training_state import TrainingState
from tinysight.config import override_recipe
from tinysight.errors import RecipeError, RunError, TrainingError

CPU = torch.device("cpu")


class Listener:
    """Keeps what it hears; asks for a stop after some step."""

    def __init__(self, stop: StopRequest | None = None, after_step: int | None = None) -> None:
        self.stop = stop
        self.after_step = after_step
        self.starts: list[tuple[int, int]] = []
        self.steps: list[StepRecord] = []
        self.epochs: list[EpochRecord] = []
        self.passed_over: list[str] = []

    def on_passed_over(self, fault: RunError) -> None:
        self.passed_over.append(str(fault))

    def on_start(self, first_step: int, num_steps: int) -> None:
        self.starts.append((first_step, num_steps))

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)
        if self.stop and record.step == self.after_step:
            self.stop.make()

    def on_epoch(self, record: EpochRecord, row: dict[str, Any]) -> None:
        self.epochs.append(record)


def shown_accuracies(run: Path) -> dict[int, list[float]]:
    """The test accuracies that TensorBoard shows of a run, by step."""
    events = EventAccumulator(str(run / run_folder.EVENTS))
    events.Reload()
    shown: dict[int, list[float]] = {}
    for event in events.Scalars("test_accuracy"):
        shown.setdefault(event.step, []).append(event.value)
    return shown


class StopAtLook(StopRequest):
    """A request that is made at the n-th time that somebody looks at it."""

    def __init__(self, looks: int) -> None:
        self._looks_left = looks

    @property
    def is_made(self) -> bool:  # type: ignore[override]
        self._looks_left -= 1
        return self._looks_left < 0


def run(
    store: Store,
    recipe: Recipe,
    path: Path,
    *,
    resume: bool = False,
    stop: StopRequest | None = None,
    listener: Listener | None = None,
) -> RunResult:
    return train_run(
        store,
        recipe,
        path,
        device=CPU,
        processes=Processes(),
        resume=resume,
        stop=stop or StopRequest(),
        listener=listener or Listener(),
    )


def read_without_times(path: Path) -> list[dict[str, Any]]:
    rows = whole_files.read_records(path / run_folder.HISTORY)
    for row in rows:
        del row["seconds"], row["images_per_s"]
    return rows


def assert_same_run(one: Path, other: Path) -> None:
    weights, others = load_file(one / run_folder.MODEL), load_file(other / run_folder.MODEL)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    assert (one / run_folder.MODEL).read_bytes() == (other / run_folder.MODEL).read_bytes()
    last = load_checkpoint(run_folder.checkpoint_files(one)[0])
    other_last = load_checkpoint(run_folder.checkpoint_files(other)[0])
    for part in ("model", "average"):
        for name, tensor in last[part].items():
            assert torch.equal(tensor, other_last[part][name]), (part, name)
    assert read_without_times(one) == read_without_times(other)
    steps = whole_files.read_records(one / run_folder.STEPS)
    assert steps == whole_files.read_records(other / run_folder.STEPS)


def test_a_run_learns_and_writes_everything_down(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    listener = Listener()
    result = run(store, recipe, tmp_path / "run", listener=listener)
    folder = tmp_path / "run"

    assert result.is_finished
    assert result.epochs == 3
    assert result.steps == 15  # 36 training images in batches of 8, three times
    assert result.last["ema_test_accuracy"] == 1.0  # colours are easy
    assert listener.starts == [(0, 15)]
    assert [record.step for record in listener.steps] == list(range(1, 16))

    history = whole_files.read_records(folder / run_folder.HISTORY)
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert [row["steps"] for row in history] == [5, 10, 15]
    assert history[-1] == result.last
    steps = whole_files.read_records(folder / run_folder.STEPS)
    assert [row["step"] for row in steps] == list(range(15))
    assert max(row["lr"] for row in steps) == 0.05
    mean_loss = np.mean([row["loss"] for row in steps[10:]])
    assert history[-1]["train_loss"] == pytest.approx(float(mean_loss))

    about = run_folder.read_run(folder)
    assert about["split_digest"] == store.split_digest
    assert [row["name"] for row in about["classes"]] == ["red", "green", "blue"]
    assert about["mean"] == store.mean.tolist()
    assert Recipe.model_validate(run_folder.read_recipe(folder)) == recipe
    environment = whole_files.read_json(folder / run_folder.ENVIRONMENT)
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["device"] == "cpu"


def test_tensorboard_reads_the_same_numbers(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    result = run(store, recipe, tmp_path / "run")
    shown = shown_accuracies(tmp_path / "run")
    assert list(shown) == [5, 10, 15]
    assert shown[15] == [pytest.approx(result.last["test_accuracy"])]


def test_a_file_in_the_place_of_the_event_files_is_told(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    stop = StopRequest()
    run(store, recipe, tmp_path, stop=stop, listener=Listener(stop, after_step=1))
    shutil.rmtree(tmp_path / run_folder.EVENTS)
    (tmp_path / run_folder.EVENTS).write_text("")
    with pytest.raises(RunError, match=r"events: must be a folder .*, but it is a file\. Choose"):
        run(store, recipe, tmp_path, resume=True)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "a")
    run(store, recipe, tmp_path / "b")
    assert_same_run(tmp_path / "a", tmp_path / "b")
    run(store, make_recipe(train={"seed": 1}), tmp_path / "c")
    one, other = (load_file(tmp_path / name / run_folder.MODEL) for name in "ac")
    assert not torch.equal(one["fc.weight"], other["fc.weight"])


def test_training_leaves_the_global_generators_alone(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run(store, recipe, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("after_step", "precision"),
    [(1, "fp32"), (5, "fp32"), (8, "fp32"), (15, "fp32"), (7, "bf16")],
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    store: Store, tmp_path: Path, after_step: int, precision: str
) -> None:
    recipe = make_recipe(
        train={"precision": precision, "accumulate": 2},
        augment={"mix_probability": 0.5, "noise_probability": 0.5},
    )
    run(store, recipe, tmp_path / "whole")
    stop = StopRequest()
    listener = Listener(stop, after_step)
    stopped = run(store, recipe, tmp_path / "parts", stop=stop, listener=listener)
    assert not stopped.is_finished
    assert stopped.steps == after_step
    listener = Listener()
    assert run(store, recipe, tmp_path / "parts", resume=True, listener=listener).is_finished
    assert listener.starts == [(after_step, 15)]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("looks", [3, 30, 61, 150, 333])
def test_a_step_given_up_half_way_leaves_no_trace(
    store: Store, recipe: Recipe, tmp_path: Path, looks: int
) -> None:
    run(store, recipe, tmp_path / "whole")
    stopped = run(store, recipe, tmp_path / "parts", stop=StopAtLook(looks))
    assert not stopped.is_finished
    assert run(store, recipe, tmp_path / "parts", resume=True).is_finished
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_can_be_stopped_again_and_again(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run(store, recipe, tmp_path / "whole")
    times = 0
    while not run(
        store, recipe, tmp_path / "parts", resume=times > 0, stop=StopAtLook(100)
    ).is_finished:
        times += 1
        assert times < 100
    assert times > 3
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_torn_checkpoint_falls_back_on_the_one_before(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "whole")
    for after_step in (4, 9):
        stop = StopRequest()
        listener = Listener(stop, after_step)
        run(store, recipe, tmp_path / "parts", resume=after_step > 4, stop=stop, listener=listener)
    newest = run_folder.checkpoint_files(tmp_path / "parts")[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    listener = Listener()
    run(store, recipe, tmp_path / "parts", resume=True, listener=listener)
    assert listener.starts == [(4, 15)]
    (said,) = listener.passed_over
    assert said.startswith(f"{newest}: must be a whole checkpoint of tinysight, but ")
    assert said.endswith("Copy it anew from where the run was, or delete it.")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    # The epoch that was done again is shown once, as it came out then.
    history = whole_files.read_records(tmp_path / "parts" / run_folder.HISTORY)
    assert shown_accuracies(tmp_path / "parts") == {
        row["steps"]: [pytest.approx(row["test_accuracy"])] for row in history
    }


def test_when_every_checkpoint_is_torn_the_run_says_so(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "run")
    for path in run_folder.checkpoint_files(tmp_path / "run"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="must be a whole checkpoint of tinysight"):
        run(store, recipe, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("precision", "another"), [("bf16", ", train.precision = fp32"), ("fp32", "")]
)
def test_a_loss_that_is_not_finite_stops_with_step_and_advice(
    store: Store, tmp_path: Path, precision: str, another: str
) -> None:
    recipe = make_recipe(
        schedule={"kind": "constant", "max_lr": 1e30, "peak_epoch": 0.0},
        train={"precision": precision},
    )
    with pytest.raises(TrainingError) as caught:
        run(store, recipe, tmp_path / "run")
    assert re.match(
        r"step [1-4] \(epoch 0\): the training loss must be finite, got (nan|inf) at learning "
        rf"rate 1e\+30\. Try a third of schedule\.max_lr \(=1e\+30\){another} or more warm-up",
        str(caught.value),
    )
    assert not (tmp_path / "run" / run_folder.MODEL).exists()


@pytest.mark.parametrize(
    ("ema_decay", "what"), [(0.0, "test loss"), (0.9, "test loss of the averaged weights")]
)
def test_a_test_loss_that_is_not_finite_stops_with_epoch_and_advice(
    store: Store, tmp_path: Path, ema_decay: float, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only step of the epoch has a finite loss, and leaves weights that are far too large."""
    recipe = make_recipe(
        schedule={"kind": "constant", "max_lr": 1e30, "peak_epoch": 0.0},
        train={"batch_size": 36, "ema_decay": ema_decay},
    )
    if ema_decay:
        fake = iter([Score(loss=1.0, accuracy=0.5, top5=1.0)])
        real = training.score_held_out
        monkeypatch.setattr(training, "score_held_out", lambda *all: next(fake, None) or real(*all))
    with pytest.raises(
        TrainingError,
        match=rf"^epoch 0: the {what} must be finite, got (nan|inf) after a last step at learning "
        r"rate 1e\+30\. Try a third of schedule\.max_lr \(=1e\+30\)",
    ):
        run(store, recipe, tmp_path / "run")
    assert not whole_files.read_records(tmp_path / "run" / run_folder.HISTORY)


def test_an_evaluation_that_takes_long_is_followed_by_a_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(train={"checkpoint_every_s": 300.0, "evaluate_every": 2, "epochs": 4})
    late_s = 0.0
    real_clock, real_score = time.monotonic, training.score_held_out

    def slow_score(*arguments: Any) -> Score:
        nonlocal late_s
        late_s += 200.0
        return real_score(*arguments)

    monkeypatch.setattr(training.time, "monotonic", lambda: real_clock() + late_s)
    monkeypatch.setattr(training, "score_held_out", slow_score)
    saved: list[tuple[int, int]] = []
    data = training_data(store, recipe, CPU)
    model = build_model(recipe.model, len(store.wnids), seed=0)
    training.train(
        TrainingState(model, recipe, len(data.train_rows), CPU),
        data,
        recipe,
        device=CPU,
        processes=Processes(),
        stop=StopRequest(),
        save=lambda state: saved.append((state.step, state.recorded_epochs)),
        on_step=lambda record: None,
        on_epoch=lambda record: None,
    )
    # Two scores of 200 s after the second epoch of five steps; the run ends with a checkpoint.
    assert saved == [(10, 2), (20, 4)]


def test_test_images_grow_with_those_that_are_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "store", size_px=64)
    recipe = make_recipe(
        schedule={"first_image_px": 32, "image_px_step": 16, "full_size_epoch": 2},
    )
    seen_px: list[int] = []
    model = build_model(recipe.model, len(store.wnids), seed=0)

    def build_watched(*_: Any, **__: Any) -> torch.nn.Module:
        model.register_forward_pre_hook(
            lambda module, inputs: None if module.training else seen_px.append(inputs[0].shape[2])
        )
        return model

    monkeypatch.setattr(run_module, "build_model", build_watched)
    run(store, recipe, tmp_path / "run")
    rows = whole_files.read_records(tmp_path / "run" / run_folder.HISTORY)
    assert [row["image_px"] for row in rows] == [32, 48, 64]
    assert [row["test_image_px"] for row in rows] == [32, 48, 64]
    assert sorted(set(seen_px)) == [32, 48, 64]


def test_a_batch_that_no_machine_could_hold_is_a_fault(store: Store, tmp_path: Path) -> None:
    recipe = make_recipe(train={"batch_size": 10**14})
    with pytest.raises(
        TrainingError,
        match=r"^train\.batch_size \(=100000000000000\): this machine must have room for a batch, "
        r"but has not\. Start again in another folder with a smaller one\.$",
    ):
        run(store, recipe, tmp_path / "run")


def test_a_new_run_does_not_write_over_another(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(
        RunError,
        match=r"run: a new run must start in an empty folder, but notes\.txt is in it\. Choose "
        r"another --out\.$",
    ):
        run(store, recipe, tmp_path / "run")
    (tmp_path / "run" / run_folder.RUN).touch()
    with pytest.raises(RunError, match=r"Choose another --out, or go on with --resume\.$"):
        run(store, recipe, tmp_path / "run")


def test_a_new_run_keeps_the_files_of_others(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "run" / run_folder.RECIPE
    whole_files.make_folder(path.parent)
    path.write_text("[train]\nepochs = 3\n")
    with pytest.raises(RunError, match=r"in an empty folder, but recipe\.toml is in it\."):
        run(store, recipe, path.parent)
    assert path.read_text() == "[train]\nepochs = 3\n"
    path.unlink()
    (path.parent / ".gitignore").write_text("*.pt\n")
    run(store, make_recipe(train={"epochs": 1}), path.parent)
    assert (path.parent / ".gitignore").read_text() == "*.pt\n"
    run(store, make_recipe(train={"epochs": 1}), path.parent, resume=True)
    assert (path.parent / ".gitignore").read_text() == "*.pt\n"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"model": {"stem": "7x7"}}, r"model\.stem must be left out for model\.name = compact"),
        (
            {"augment": {"dropout_probability": 0.5, "dropout_max_px": 33}},
            r"augment\.dropout_max_px \(=33\) must be at most the side of the images \(=32 px\)",
        ),
        (
            {"schedule": {"first_image_px": 48, "full_size_epoch": 1}},
            r"schedule\.first_image_px \(=48\) must be at most the side of the images \(=32 px\)",
        ),
        (
            {"schedule": {"last_image_px": 48}},
            r"schedule\.last_image_px \(=48\) must be at most the side of the images \(=32 px\)",
        ),
        (
            {"train": {"tuning_fraction": 0.01}},
            r"train\.tuning_fraction \(=0\.01\) must hold back and leave at least 1 training "
            r"image of every class, but the smallest class has 12\. Choose a fraction nearer to "
            r"one half, or 0 for no tuning part\.$",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_leaves_the_folder_for_the_next_try(
    store: Store, tmp_path: Path, tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run(store, make_recipe(**tables), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*"))


def test_a_tuning_part_that_cannot_be_held_back_leaves_no_folder(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"train\.tuning_fraction \(=0\.001\) must hold back"):
        run(store, make_recipe(train={"tuning_fraction": 0.001}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("count", "settings", "message"),
    [
        (
            3,
            {"batch_size": 8},
            r"train\.batch_size \(=8\) must be a positive multiple of 2 x the number of processes "
            r"\(=3\)\. Change the batch size or the number of processes\.$",
        ),
        (
            4,
            {"batch_size": 24, "accumulate": 4},
            r"train\.batch_size \(=24\) must be a multiple of the number of processes \(=4\) x "
            r"train\.accumulate \(=4\), so that all parts are equal\. Change one of the three\.$",
        ),
    ],
)
def test_a_batch_that_does_not_fit_the_processes_is_refused_by_each_before_it_begins(
    store: Store, tmp_path: Path, count: int, settings: dict[str, Any], message: str
) -> None:
    for rank in range(count):
        with pytest.raises(RecipeError, match=message):
            train_run(
                store,
                make_recipe(train=settings),
                tmp_path / "run",
                device=CPU,
                processes=Processes(rank=rank, count=count),
            )
    assert not (tmp_path / "run").exists()


def test_a_run_that_has_no_folder_says_so(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match=r"run: must be a folder .*, but it is a file\."):
        run(store, recipe, tmp_path / "run")


def test_resuming_needs_a_run(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"run: a run that is resumed must have been begun, but no run\.json is seen in it\. "
        r"Leave out --resume to begin it, or name the folder of the run\.$",
    ):
        run(store, recipe, tmp_path / "run", resume=True)


def test_a_resumed_run_keeps_its_recipe(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run(store, recipe, tmp_path / "run")
    with pytest.raises(
        RunError,
        match=r"must keep its recipe, but model\.name was 'compact10' and is now 'resnet18'; "
        r"train\.epochs was 3 and is now 4\. Leave out --recipe and --set",
    ):
        run(
            store,
            make_recipe(train={"epochs": 4}, model={"name": "resnet18"}),
            tmp_path / "run",
            resume=True,
        )


def test_a_run_from_before_a_setting_existed_can_go_on(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "whole")
    stop = StopRequest()
    run(store, recipe, tmp_path / "run", stop=stop, listener=Listener(stop, 4))
    before = recipe.model_dump()
    del before["augment"]["alternate_flips"], before["optimizer"]
    run_folder.write_recipe(tmp_path / "run", before)
    assert run(store, recipe, tmp_path / "run", resume=True).is_finished
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_settings_without_effect_do_not_close_a_run_that_has_them(
    store: Store, tmp_path: Path
) -> None:
    recipe = make_recipe(augment={"alternate_flips": True})
    run(store, recipe, tmp_path / "run")
    before = recipe.model_dump()
    before["augment"]["flip_probability"] = 0.1
    before["schedule"]["first_image_px"] = 16
    run_folder.write_recipe(tmp_path / "run", before)
    assert read_settings(tmp_path / "run") == recipe
    evaluate_run(tmp_path / "run", store, device=CPU)
    assert run(store, recipe, tmp_path / "run", resume=True).is_finished
    # As the command line takes up a run, with or without further settings.
    values = as_trained(run_folder.read_recipe(tmp_path / "run"))
    assert override_recipe(values, (), where="recipe.toml") == recipe


def test_a_run_with_a_setting_of_another_version_is_named(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, make_recipe(train={"epochs": 1}), tmp_path / "run")
    after = recipe.model_dump() | {"swa": {"decay": 0.5}}
    after["train"] |= {"momentum": 0.5, "epochs": 0}
    run_folder.write_recipe(tmp_path / "run", after)
    message = (
        r"run/recipe\.toml: must hold settings of this version of tinysight, but train\.epochs: "
        r"Input should be greater than or equal to 1; train\.momentum is unknown; swa is unknown\. "
        r"Use the version that run\.json names, or undo what was changed in the file\.$"
    )
    with pytest.raises(RunError, match=message):
        run(store, recipe, tmp_path / "run", resume=True)
    with pytest.raises(RunError, match=message):
        evaluate_run(tmp_path / "run", store, device=CPU)
    with pytest.raises(RunError, match=message):
        diagnose_run(tmp_path / "run")


def test_a_checkpoint_of_another_network_is_refused(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "run")
    other = make_recipe(model={"name": "resnet18", "stem": "7x7"})
    run_folder.write_recipe(tmp_path / "run", other.model_dump())
    with pytest.raises(RunError, match=r"step-00000015\.pt: .* Use the recipe that the weights"):
        run(store, other, tmp_path / "run", resume=True)


def test_a_history_with_a_hole_is_not_gone_on_with(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    folder, stop = tmp_path / "run", StopRequest()
    run(store, recipe, folder, stop=stop, listener=Listener(stop, after_step=12))
    history = folder / run_folder.HISTORY
    history.write_text("".join(history.read_text().splitlines(keepends=True)[1:]))
    text = (
        f"{history}: must have a line for each of the 2 epochs that the newest checkpoint has "
        f"behind it, but has 1. Copy the file anew from where the run was, or choose another --out "
        f"and train again."
    )
    with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        run(store, recipe, folder, resume=True)


def test_a_resumed_run_keeps_its_store(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run(store, recipe, tmp_path / "run")
    other = make_store(tmp_path / "other", seed=1)
    with pytest.raises(
        RunError, match=r"other: the split must be the one that .*run was trained on"
    ):
        run(other, recipe, tmp_path / "run", resume=True)


def test_a_resumed_run_knows_where_its_store_is_now(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "run")
    before = run_folder.read_run(tmp_path / "run")
    moved = tmp_path / "moved"
    run(dataclasses.replace(store, path=moved), recipe, tmp_path / "run", resume=True)
    assert run_folder.read_run(tmp_path / "run") == {**before, "store": str(moved.resolve())}


def test_a_tuning_part_keeps_the_test_part_unseen(store: Store, tmp_path: Path) -> None:
    recipe = make_recipe(train={"tuning_fraction": 0.25})
    result = run(store, recipe, tmp_path / "run")
    assert result.last["tuning_accuracy"] == 1.0
    assert not [key for key in result.last if "test" in key]
    about = run_folder.read_run(tmp_path / "run")
    assert (about["train_images"], about["tuning_images"]) == (36, 9)
    assert about["class_test_images"] == [4, 4, 4]
    assert result.steps == 12  # 27 of the 36 training images in batches of 8, three times


def test_a_class_of_one_training_image_leaves_none_to_tune_by(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    first_class = np.flatnonzero(store.targets == 0)
    is_train = store.is_train.copy()
    is_train[first_class[1:]] = False
    store = dataclasses.replace(store, is_train=is_train)
    with pytest.raises(
        RecipeError,
        match=r"train\.tuning_fraction \(=0\.25\) must hold back and leave at least 1 training "
        rf"image of every class, but class '{store.class_names[0]}' has 1 in all\. Add images to "
        r"it or leave the class out, or choose 0 for no tuning part\.$",
    ):
        run(store, make_recipe(train={"tuning_fraction": 0.25}), tmp_path / "run")


def test_evaluation_can_be_rarer_but_the_last_epoch_is_evaluated(
    store: Store, tmp_path: Path
) -> None:
    run(store, make_recipe(train={"evaluate_every": 2}), tmp_path / "run")
    history = whole_files.read_records(tmp_path / "run" / run_folder.HISTORY)
    assert ["test_accuracy" in row for row in history] == [False, True, True]


def test_accumulated_parts_have_nearly_the_loss_of_the_whole_batch(
    store: Store, tmp_path: Path
) -> None:
    """Batch norm sees the parts, so the losses differ a little."""
    run(store, make_recipe(train={"accumulate": 1}), tmp_path / "one")
    run(store, make_recipe(train={"accumulate": 2}), tmp_path / "two")
    one, two = (
        whole_files.read_records(tmp_path / name / run_folder.STEPS) for name in ("one", "two")
    )
    assert one[0]["loss"] != two[0]["loss"]
    assert one[0]["loss"] == pytest.approx(two[0]["loss"], rel=0.3)


def test_the_metadata_of_the_weights_says_what_a_reader_needs(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    run(store, recipe, tmp_path / "run")
    with open(tmp_path / "run" / run_folder.MODEL, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(length))["__metadata__"]
    assert json.loads(metadata["weights"]) == "ema"
    assert json.loads(metadata["mean"]) == store.mean.tolist()
    assert json.loads(metadata["classes"])[2]["name"] == "blue"


def test_a_device_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(RunError, match=r"--device: cuda must be present on this machine"):
        choose_device("cuda")
    assert choose_device("cpu") == CPU


def test_an_accelerator_with_too_little_memory_is_told(
    store: Store, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."
        )

    of_process = recipe.train.batch_size // recipe.train.accumulate
    for name in ("training_data", "train"):
        with monkeypatch.context() as patch:
            patch.setattr(run_module, name, refuse)
            text = (
                f"cpu: its memory must hold all images, the network and what it computes for "
                f"{of_process} of them at once, but is too small: torch tried to allocate 2.00 "
                f"GiB. End other programs that use it, or start again in another folder with "
                f"train.accumulate=2, which takes a batch in smaller parts."
            )
            with pytest.raises(TrainingError, match=re.escape(text)):
                train_run(store, recipe, tmp_path / name, device=CPU)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_path_that_is_not_utf8_is_refused(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / os.fsdecode(b"run\xe9")
    with pytest.raises(RunError, match=r"and that of its store, must be text in UTF-8, and this"):
        train_run(store, recipe, run, device=CPU)
    assert not os.path.exists(run)
    moved = tmp_path / os.fsdecode(b"store\xe9")
    with pytest.raises(RunError, match=r"must be text in UTF-8, and this one is not\. Rename the"):
        train_run(dataclasses.replace(store, path=moved), recipe, tmp_path / "run", device=CPU)
    assert not os.path.exists(tmp_path / "run")
