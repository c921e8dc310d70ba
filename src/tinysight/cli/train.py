"""``tinysight train`` and ``tinysight evaluate``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.cli.output import print_faults, print_json, print_lines
from tinysight.cli.recipe_notes import DEFAULT_RECIPE, notes_on_recipe
from tinysight.numerals import counted, percent

if TYPE_CHECKING:
    from tinysight.classify.processes import Processes
    from tinysight.classify.run import RunResult
    from tinysight.classify.settings import Recipe
    from tinysight.classify.stopping import StopRequest


def add_parser(commands: Any) -> None:
    """Add both commands to the parser."""
    train = commands.add_parser("train", help="train a classifier on a store")
    train.add_argument("store", type=Path, metavar="STORE", help="folder that `data pack` wrote")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder to write")
    train.add_argument(
        "--recipe", metavar="R", help=f"shipped name or TOML file (default: {DEFAULT_RECIPE})"
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, such as train.epochs=3; may be repeated",
    )
    train.add_argument(
        "--tuning-fraction",
        type=float,
        metavar="F",
        help="hold this share of the training part back to choose by; the test part stays unseen",
    )
    train.add_argument("--resume", action="store_true", help="go on where RUN was stopped")
    _add_device(train)
    train.add_argument("--json", action="store_true", help="print one JSON object")
    train.set_defaults(run=run_train)

    evaluate = commands.add_parser(
        "evaluate", help="predict every test image of a run and add the predictions up"
    )
    evaluate.add_argument("run_folder", type=Path, metavar="RUN", help="folder `train` wrote")
    evaluate.add_argument(
        "--store", type=Path, help="the run's store, if it was moved (default: where it was)"
    )
    evaluate.add_argument(
        "--flip",
        action="store_true",
        help="look at every mirror image as well; what both looks give is reported apart",
    )
    _add_device(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(run=run_evaluate)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute"
    )


def run_train(arguments: argparse.Namespace) -> int:
    """Train, write the run folder and its curves, and print how it ended."""
    from tinysight.classify.placement import choose_device
    from tinysight.classify.processes import joined_processes, started_processes
    from tinysight.classify.run import train_run
    from tinysight.classify.stopping import StopRequest
    from tinysight.classify.store import load_store
    from tinysight.cli.memory import prepare_memory
    from tinysight.cli.precision import say_if_slow
    from tinysight.cli.training_progress import TrainingProgress
    from tinysight.run_folder import METRICS

    prepare_memory()
    recipe = _recipe_of(arguments)
    store = load_store(arguments.store)
    device = choose_device(arguments.device, started_processes())
    with joined_processes("nccl" if device.type == "cuda" else "gloo") as processes:
        if processes.is_first:
            say_if_slow(recipe.train, device)
        stop = StopRequest()
        is_chosen = arguments.recipe is not None or arguments.resume
        notes = notes_on_recipe(recipe.train, store, device, is_chosen=is_chosen)
        progress = TrainingProgress(recipe.train.epochs, notes)
        shown = progress if processes.is_first else nullcontext()
        with _signals_make(stop, is_told=processes.is_first), shown:
            result = train_run(
                store,
                recipe,
                arguments.out,
                device=device,
                processes=processes,
                resume=arguments.resume,
                stop=stop,
                listener=progress,
                recipe_name=arguments.recipe or DEFAULT_RECIPE,
            )
    if not processes.is_first:
        return 0
    if not result.is_finished:
        _say_how_to_go_on(arguments, result.steps, processes)
        return 130
    if result.new_steps == 0:
        print_faults([f"{arguments.out}: was finished already; nothing was trained"])
    _draw_curves(arguments.out)
    is_evaluated = result.new_steps == 0 and (arguments.out / METRICS).exists()
    if recipe.train.tuning_fraction == 0 and not is_evaluated:
        _evaluate(arguments.out, arguments.store, arguments.device)
    _print_result(result, as_json=arguments.json)
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Predict the test images of a run and print what they add up to."""
    from tinysight.run_folder import read_history

    run: Path = arguments.run_folder
    metrics = _evaluate(run, arguments.store, arguments.device, flip=arguments.flip)
    history = read_history(run)
    last = history[-1] if history else {}
    result = {
        "epochs": len(history),
        "steps": last.get("steps"),
        "train_accuracy": last.get("train_accuracy"),
        "test_accuracy": metrics.accuracy,
        "test_top5": metrics.top5,
        "test_loss": metrics.loss,
        "calibration_error": metrics.calibration_error,
        "images": metrics.images,
        "images_per_s": last.get("images_per_s"),
        "seconds": last.get("seconds"),
        "run": str(run),
    }
    flip = metrics.with_flip
    if flip:
        result |= {
            "flip_test_accuracy": flip.accuracy,
            "flip_test_top5": flip.top5,
            "flip_test_loss": flip.loss,
        }
    if arguments.json:
        print_json(result)
    else:
        shows_five = len(metrics.classes) > 5  # of fewer classes the right one is always among five
        lines = [counted(metrics.images, "test image")]
        lines += [f"  accuracy          {percent(metrics.accuracy, 2):>9}"]
        lines += [f"  in the first five {percent(metrics.top5, 2):>9}"] if shows_five else []
        lines += [f"  loss              {metrics.loss:7.4f}"]
        lines += [f"  calibration error {percent(metrics.calibration_error, 2):>9}"]
        if flip:
            lines += ["with the mirror images' help, logits averaged"]
            lines += [f"  accuracy          {percent(flip.accuracy, 2):>9}"]
            lines += [f"  in the first five {percent(flip.top5, 2):>9}"] if shows_five else []
            lines += [f"  loss              {flip.loss:7.4f}"]
        print_lines([*lines, f"predictions.parquet and metrics.json are in {run}"])
    return 0


def _recipe_of(arguments: argparse.Namespace) -> Recipe:
    from tinysight import run_folder
    from tinysight.classify.run_settings import as_trained, require_begun
    from tinysight.config import load_recipe, override_recipe

    overrides = list(arguments.set)
    if arguments.tuning_fraction is not None:
        overrides.append(f"train.tuning_fraction={arguments.tuning_fraction!r}")
    if arguments.resume:
        require_begun(arguments.out)
    if arguments.resume and arguments.recipe is None:
        path = arguments.out / run_folder.RECIPE
        values = as_trained(run_folder.read_recipe(arguments.out))
        return override_recipe(values, overrides, where=str(path))
    return load_recipe(arguments.recipe or DEFAULT_RECIPE, overrides)


@contextmanager
def _signals_make(stop: StopRequest, *, is_told: bool) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a request; a second one ends the process at once."""

    def handle(number: int, _: object) -> None:
        if stop.is_made:
            raise KeyboardInterrupt
        name = signal.Signals(number).name
        if is_told:
            print(f"\n{name}: saving the state, a few seconds…", file=sys.stderr)
        stop.make()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_how_to_go_on(arguments: argparse.Namespace, step: int, processes: Processes) -> None:
    program, where = ["tinysight"], ""
    if not processes.are_on_one_machine:
        program, where = (
            ["-m", "tinysight"],
            " torchrun on every machine, its options as before, and",
        )
    elif processes.count > 1:
        program = ["torchrun", f"--nproc-per-node={processes.count}", "-m", "tinysight"]
    words = [*program, "train", str(arguments.store), "--out", str(arguments.out), "--resume"]
    if arguments.device != "auto":
        words += ["--device", arguments.device]
    print(
        f"Stopped after step {step}; the state is saved. Go on with{where}:\n  {shlex.join(words)}",
        file=sys.stderr,
    )


def _draw_curves(run: Path) -> None:
    from tinysight.report.charts import save_png, training_chart
    from tinysight.run_folder import CURVES, read_history

    save_png(training_chart(read_history(run)), run / CURVES)


def _evaluate(run: Path, store_path: Path | None, device_name: str, *, flip: bool = False) -> Any:
    from tinysight.classify.placement import choose_device
    from tinysight.classify.predictions import evaluate_run
    from tinysight.cli.progress import progress_bar
    from tinysight.cli.run_store import load_run_store

    store = load_run_store(run, store_path)
    with progress_bar("test images") as report:
        device = choose_device(device_name)
        return evaluate_run(run, store, device=device, flip=flip, on_progress=report)


def _print_result(result: RunResult, *, as_json: bool) -> None:
    last = result.last
    kind = "ema_" if "ema_test_accuracy" in last or "ema_tuning_accuracy" in last else ""
    if as_json:
        print_json(
            {
                "epochs": result.epochs,
                "steps": result.steps,
                "train_accuracy": last["train_accuracy"],
                "test_accuracy": last.get(f"{kind}test_accuracy"),
                "test_top5": last.get(f"{kind}test_top5"),
                "test_loss": last.get(f"{kind}test_loss"),
                "tuning_accuracy": last.get(f"{kind}tuning_accuracy"),
                "images_per_s": last["images_per_s"],
                "seconds": round(result.seconds, 3),
                "run": str(result.run),
            }
        )
        return
    part = "test" if f"{kind}test_accuracy" in last else "tuning"
    print_lines(
        [
            f"{result.run}: {counted(result.epochs, 'epoch')} in {result.seconds:,.0f} s, "
            f"{part} accuracy {percent(last[f'{kind}{part}_accuracy'], 2)}"
            f"{' (averaged weights)' if kind else ''}, "
            f"training accuracy {percent(last['train_accuracy'], 2)}"
        ]
    )
