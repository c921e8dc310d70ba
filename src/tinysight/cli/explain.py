"""``tinysight explain``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from tinysight.cli.number_arguments import whole_number
from tinysight.cli.output import print_json, print_lines
from tinysight.numerals import counted, percent

if TYPE_CHECKING:
    from tinysight.classify.explain import ExplainResult

# The words of classify.cam, repeated so that --help needs no torch.
METHODS = ("grad-cam", "grad-cam++", "hires-cam", "layer-cam")
_MOST_PRINTED_PAIRS = 5
_UNITS = {"trust in heat maps": "methods"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "explain",
        help="what a run got wrong, where it looked, which labels are probably wrong",
        description="Compute a heat map for every test image of a run, look for its telling "
        "mistakes, probably wrong labels and duplicates, and write all into the run folder, for "
        "`tinysight report`.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder `train` wrote")
    parser.add_argument(
        "--store", type=Path, help="the run's store, if it was moved (default: where it was)"
    )
    parser.add_argument(
        "--method", default="grad-cam", choices=METHODS, help="heat map (default grad-cam)"
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="layer to look at (default: the last one before pooling)"
    )
    parser.add_argument(
        "--limit",
        type=whole_number(),
        metavar="N",
        help="heat maps for N test images only, spread evenly",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_explain)


def run_explain(arguments: argparse.Namespace) -> int:
    """Explain the run, draw its mistakes, and print what was found."""
    from tinysight import cli
    from tinysight.classify.explain import explain_run
    from tinysight.classify.placement import choose_device
    from tinysight.cli.run_store import load_run_store
    from tinysight.report.mistake_sheets import save_mistake_sheets

    run: Path = arguments.run_folder
    store = load_run_store(run, arguments.store)
    with _progress_bars() as report:
        result = explain_run(
            run,
            store,
            method=arguments.method,
            layer=arguments.layer,
            limit=arguments.limit,
            device=choose_device(arguments.device),
            on_progress=report,
        )
    files = (*result.files, *save_mistake_sheets(run))
    if arguments.json:
        print_json(_as_json(result, files))
    else:
        print_lines(_lines(result, files))
    return cli.OK


@contextmanager
def _progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows how far the work is, with a bar for each part of it."""
    from tinysight.cli.progress import Report, progress_bar

    bars: dict[str, Report] = {}
    with ExitStack() as open_bars:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                open_bars.close()
                bars[what] = open_bars.enter_context(progress_bar(what, _UNITS.get(what, "images")))
            bars[what](done, total)

        yield report


def _as_json(result: ExplainResult, files: tuple[Path, ...]) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(result) | {"run": str(result.run), "files": [str(file) for file in files]}


def _lines(result: ExplainResult, files: tuple[Path, ...]) -> Iterator[str]:
    from tinysight.run_facts import short_class_names
    from tinysight.run_folder import LABEL_ISSUES, read_run

    of_images = counted(result.of_images, "test image")
    names = short_class_names(read_run(result.run)["classes"])
    yield (
        f"accuracy    {percent(result.accuracy, 2)}: {counted(result.mistakes, 'mistake')} in "
        f"{of_images}"
    )
    yield f"heat maps   {result.images:,} of {of_images}, {result.method} at layer {result.layer}"
    trust = result.faithfulness
    on = counted(trust[0].images, "image")
    yield f"trust       on {on}  deletion (low is good)  insertion (high)"
    baseline = ("random order", trust[0].random_deletion, trust[0].random_insertion)
    for name, deletion, insertion in (
        *((one.method, one.deletion, one.insertion) for one in trust),
        baseline,
    ):
        yield f"            {name:<12}   {deletion:>8.3f} {insertion:>24.3f}"
    lead = "confused    "
    for pair in result.confused_pairs[:_MOST_PRINTED_PAIRS]:
        yield (
            f"{lead}{names[pair.target]} taken for {names[pair.predicted]}: {pair.images:,} "
            f"({percent(pair.share, 0)} of the class)"
        )
        lead = " " * len(lead)
    yield (
        f"labels      {result.label_issues:,} of {of_images} may be labelled "
        f"wrong; many are hard images with a right label"
    )
    yield f"            the most suspicious come first in {LABEL_ISSUES}"
    counts = result.duplicates
    yield (
        f"duplicates  {counted(counts['identical'], 'pair')} of equal files and "
        f"{counted(counts['near'], 'pair')} of pictures that show the same: "
        f"{counts['across_split']:,} across the split, {counts['two_labels']:,} with two labels"
    )
    yield f"files       {', '.join(file.name for file in files)} in {result.run}"
    yield f"page        write it with: tinysight report {quote(str(result.run))}"
