"""``tinysight lr-find``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinysight.cli.output import print_faults, print_json, print_lines
from tinysight.cli.recipe_notes import DEFAULT_RECIPE, notes_on_recipe

RESULT = "lr_range.json"
CURVE = "lr_range.png"


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "lr-find", help="learning-rate range test: how far can the learning rate go up?"
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder that `data pack` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--recipe", metavar="R", help=f"shipped name or TOML file (default: {DEFAULT_RECIPE})"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting"
    )
    parser.add_argument(
        "--min-lr", type=float, default=1e-6, help="first learning rate (default: 1e-6)"
    )
    parser.add_argument(
        "--max-lr", type=float, default=10.0, help="last learning rate (default: 10)"
    )
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps (default: 100)")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_lr_find)


def run_lr_find(arguments: argparse.Namespace) -> int:
    """Run the test, write curve and numbers, and print the suggestions."""
    import numpy as np

    from tinysight.classify.compiling import working_compiler
    from tinysight.classify.device_memory import enough_memory
    from tinysight.classify.lr_finder import lowest_index, lr_range_test
    from tinysight.classify.placement import choose_device
    from tinysight.classify.store import load_store
    from tinysight.classify.training_images import training_data
    from tinysight.cli.precision import say_if_slow
    from tinysight.cli.progress import progress_bar
    from tinysight.config import load_recipe
    from tinysight.report.charts import lr_range_chart, save_png
    from tinysight.whole_files import make_folder, write_json

    recipe = load_recipe(arguments.recipe or DEFAULT_RECIPE, arguments.set)
    store = load_store(arguments.store)
    make_folder(arguments.out)
    device = choose_device(arguments.device)
    say_if_slow(recipe.train, device)
    is_chosen = arguments.recipe is not None
    print_faults(notes_on_recipe(recipe.train, store, device, is_chosen=is_chosen))
    bar = progress_bar("learning rates", unit="steps")
    with enough_memory(recipe.train, device), working_compiler(), bar as report:
        found = lr_range_test(
            training_data(store, recipe, device),
            recipe,
            len(store.wnids),
            device=device,
            min_lr=arguments.min_lr,
            max_lr=arguments.max_lr,
            num_steps=arguments.steps,
            on_step=report,
        )
    result = asdict(found)
    write_json(arguments.out / RESULT, result)
    chart = lr_range_chart(
        result["points"],
        suggestion_steepest=found.suggestion_steepest,
        suggestion_valley=found.suggestion_valley,
        weakness=found.weakness,
    )
    save_png(chart, arguments.out / CURVE)
    if arguments.json:
        print_json(result)
        return 0
    print(f"steepest slope at learning rate {found.suggestion_steepest:.2g}")
    print(f"half way down at                {found.suggestion_valley:.2g}")
    if found.weakness:
        losses = [point.smoothed_loss for point in found.points]
        lowest = losses[lowest_index(np.array(losses))]
        reasons = {
            "noise": f"fall by more than its noise could, but it fell by {found.fall:.2g}",
            "guessing": f"fall clearly below that of guessing, {found.guessing_loss:.3f}, but its "
            f"lowest is {lowest:.3f}",
        }
        print(
            f"Both are weak: the loss must {reasons[found.weakness]}. Take more --steps, "
            f"other learning rates (--min-lr, --max-lr) or larger batches "
            f"(--set train.batch_size={2 * recipe.train.batch_size})."
        )
    if not found.diverged:
        print(f"The loss did not diverge up to {arguments.max_lr:g}: --max-lr can go higher.")
    print_lines([f"{CURVE} and {RESULT} are in {arguments.out}"])
    return 0
