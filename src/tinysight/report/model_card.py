"""A model card: what a trained network is, what it was trained on, how good it is, and for whom.

Markdown, from the run folder alone. Texts that come from data, such as class names, are escaped,
and paths of the machine that trained are left out.

Source:
    Mitchell et al. 2019, Model Cards for Model Reporting (arXiv:1810.03993).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from tinysight import run_folder, whole_files
from tinysight.errors import RunError
from tinysight.numerals import counted, duration, percent
from tinysight.report.chance import accuracy_interval
from tinysight.run_facts import read_training_parts, without_folders
from tinysight.writable_names import writable

_NUM_NAMED_CLASSES = 10
_ARCHITECTURES = {
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "compact": "compact ResNet",
    "compact10": "compact ResNet of 10 layers",
    "compact12": "compact ResNet of 12 layers",
    "compact14": "compact ResNet of 14 layers",
    "compact20": "compact ResNet of 20 layers",
}
# What Markdown and its common additions act on inside a line: emphasis, code, links, tables,
# mentions, and the marks by which a bare address is made a link.
_ACTIVE = re.compile(r"([\\`*_\[\]|~@]|(?<=:)/|(?<=www)\.)")

Record = Mapping[str, Any]


def render_model_card(run: str | Path, *, findings: Sequence[str] = ()) -> str:
    """Return the model card of a trained run as Markdown.

    Args:
        run: A run folder with trained weights. Without ``metrics.json`` the card says how to get
            the figures that are missing.
        findings: Sentences about the run that belong among its limits, plain text.

    Raises:
        RunError: Not a run folder, or it has no trained weights.
    """
    run = Path(run)
    about = run_folder.read_run(run)
    recipe = run_folder.read_recipe(run)
    environment = whole_files.read_json(run / run_folder.ENVIRONMENT)
    history = run_folder.read_history(run)
    weights = run / run_folder.MODEL
    if not weights.exists():
        raise RunError(
            f"{weights}: must exist for a model card, but the run has no trained weights yet. "
            f"Finish it with `tinysight train … --out {quote(str(run))} --resume`."
        )
    metrics = run_folder.read_metrics(run)
    lines = [
        f"# Model card: {escape_markdown(run.resolve().name)}",
        "",
        _summary(about, recipe, metrics),
        "",
        "## Data",
        "",
        *_table(_data_rows(about, recipe)),
        "",
        "## Training",
        "",
        *_table(_training_rows(about, environment, history)),
        "",
        "Every setting of the recipe:",
        "",
        *_fenced(run / run_folder.RECIPE),
        "",
        "## Metrics",
        "",
        *_metrics_lines(metrics, history, recipe),
        "",
        "## Weights",
        "",
        *_table(_weights_rows(run, about)),
        "",
        "## Intended use",
        "",
        *_intended_use(about),
        "",
        "## Limits",
        "",
        *_limits(about, metrics, recipe, findings),
    ]
    return writable("\n".join(lines)) + "\n"


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line, without HTML or links in it."""
    return _ACTIVE.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _summary(about: Record, recipe: Record, metrics: Record | None) -> str:
    size_px, num_classes = about["size_px"], len(about["classes"])
    network = _ARCHITECTURES.get(recipe["model"]["name"], recipe["model"]["name"])
    text = (
        f"A {network} that sorts images of {size_px}x{size_px} pixels into "
        f"{counted(num_classes, 'class', 'classes')}, trained from scratch with tinysight "
        f"{about['tinysight']}."
    )
    if metrics is not None:
        text += (
            f" It recognises **{percent(metrics['accuracy'])}** of {metrics['images']:,} test "
            f"images that it was not trained on."
        )
    return text


def _data_rows(about: Record, recipe: Record) -> Iterator[tuple[str, str]]:
    yield "store", escape_markdown(without_folders(about["store"]))
    yield "classes", f"{len(about['classes']):,}"
    used = read_training_parts(about, recipe)
    yield "training images", f"{used.learned_from:,}"
    if used.held_back:
        yield "held back for choosing", f"{used.held_back:,}"
    yield "test images", f"{about['test_images']:,}"
    yield "split", f"{escape_markdown(about['split'])}, seed {about['split_seed']}"
    yield "split digest", f"`{about['split_digest']}`"
    yield "size", f"{about['size_px']}x{about['size_px']} pixels, RGB"


def _training_rows(
    about: Record, environment: Record, history: Sequence[Record]
) -> Iterator[tuple[str, str]]:
    if about.get("recipe_name"):
        yield "recipe", escape_markdown(without_folders(about["recipe_name"]))
    yield "started", escape_markdown(environment["started_at"])
    if history:
        last = history[-1]
        yield "epochs", f"{last['epoch'] + 1:,}"
        yield "optimizer steps", f"{last['steps']:,}"
        speed = f"{last['images_per_s']:,.0f} images/s in the last epoch"
        yield "training time", f"{duration(last['seconds'])} ({speed})"
    device = str(environment["device"])
    processor = f"{environment['processor']}, {environment['cores']} cores"
    hardware = processor if device == "cpu" else f"{device}; {processor}"
    if environment.get("processes", 1) > 1:
        hardware += f"; {environment['processes']} processes"
    yield "hardware", escape_markdown(hardware)
    packages = environment["packages"].items()
    versions = ", ".join(f"{name} {version}" for name, version in packages)
    yield "software", escape_markdown(f"Python {environment['python']}, {versions}")


def _metrics_lines(
    metrics: Record | None, history: Sequence[Record], recipe: Record
) -> Iterator[str]:
    if metrics is None:
        held_back = [row for row in history if row.get("tuning_accuracy") is not None]
        if held_back:
            last = held_back[-1]
            accuracy = last.get("ema_tuning_accuracy", last["tuning_accuracy"])
            yield f"Accuracy on the images held back for choosing: {percent(accuracy)}."
            yield ""
        yield "The test images were not predicted yet: run `tinysight evaluate` on the run folder."
        return
    yield from _table(_score_rows(metrics, history, recipe), ("figure", "value"))
    yield ""
    yield (
        "In brackets is the interval that covers the share of all images of the kind in 95 % of "
        "the draws of as many test images (Wilson's)."
    )
    known = [entry for entry in metrics["classes"] if entry["accuracy"] is not None]
    ranked = sorted(known, key=lambda entry: (entry["accuracy"], entry["index"]))
    count = min(_NUM_NAMED_CLASSES, len(ranked))
    yield ""
    yield (
        f"The {count} classes that are recognised least often:"
        if count > 1
        else "The only class with test images:"
    )
    yield ""
    yield from _class_table(ranked[:count])
    if len(ranked) >= 2 * count:
        yield ""
        yield f"And the {count} that are recognised most often:"
        yield ""
        yield from _class_table(ranked[: -count - 1 : -1])


def _score_rows(
    metrics: Record, history: Sequence[Record], recipe: Record
) -> Iterator[tuple[str, str]]:
    yield "test accuracy", _with_interval(metrics["accuracy"], metrics["images"])
    if len(metrics["classes"]) > 5:
        yield "right class among the first five", _with_interval(metrics["top5"], metrics["images"])
    yield "test loss (cross entropy)", f"{metrics['loss']:.3f}"
    yield "expected calibration error", f"{100 * metrics['calibration_error']:.1f} points"
    weights = {"ema": "averaged over the steps (EMA)", "raw": "of the last step"}
    yield "weights", weights.get(metrics["weights"]) or escape_markdown(str(metrics["weights"]))
    if history:
        mixed = ", partly mixed" if recipe["augment"].get("mix_probability", 0.0) > 0 else ""
        yield (
            f"training accuracy (augmented images{mixed}, while learned from)",
            percent(history[-1]["train_accuracy"]),
        )


def _class_table(classes: Sequence[Record]) -> Iterator[str]:
    rows = [
        (
            escape_markdown(entry["name"]),
            f"{percent(entry['accuracy'])} of {entry['images']:,}",
            f"{percent(entry['precision'])} of {entry['guesses']:,}"
            if entry["guesses"]
            else "none",
        )
        for entry in classes
    ]
    return _table(rows, ("class", "recognised", "right among its guesses"))


def _weights_rows(run: Path, about: Record) -> Iterator[tuple[str, str]]:
    weights = run / run_folder.MODEL
    yield "file", f"{weights.name}, {weights.stat().st_size / 1e6:,.1f} MB"
    yield "SHA-256", f"`{run_folder.digest_of_weights(run)}`"
    for name in ("mean", "std"):
        values = ", ".join(f"{value:.6f}" for value in about[name])
        yield f"{name} of the channels in [0, 1]", values


def _intended_use(about: Record) -> Iterator[str]:
    size_px = about["size_px"]
    yield (
        "- Learning and teaching: how a classifier of small images trains, what it confuses, and "
        "where it looks. Comparing training methods on the same split (see the digest)."
    )
    yield (
        f"- Images of {size_px}x{size_px} pixels that show one of the classes, prepared as the "
        f"training images were: the shorter side scaled to {size_px} pixels (bilinear, "
        f"antialiased), the centre cut out, RGB."
    )
    yield "- Not for decisions about people, nor for anything where a wrong answer does harm."


def _limits(
    about: Record, metrics: Record | None, recipe: Record, findings: Sequence[str]
) -> Iterator[str]:
    num_classes = len(about["classes"])
    yield (
        f"- It knows {counted(num_classes, 'class', 'classes')} and nothing else: an image of "
        f"something else is put into {'it' if num_classes == 1 else 'one of them'}, "
        f"{'always' if num_classes == 1 else 'sometimes'} with a high probability."
    )
    if metrics is not None:
        wrong = round((1 - metrics["accuracy"]) * metrics["images"])
        yield f"- {wrong:,} of {metrics['images']:,} test images are put into a wrong class."
    yield (
        "- The figures hold for images from the same source as the training images. For "
        "photographs of another kind expect less."
    )
    yield (
        "- One run with one seed "
        f"({recipe['train']['seed']}): another seed changes the accuracy as well, by how much was "
        "not measured here."
    )
    yield (
        "- Labels of the training and test images are taken as they are; wrong ones count against "
        "the network."
    )
    yield "- What the training images may be used for also limits what the weights may be used for."
    for finding in findings:
        yield f"- {escape_markdown(finding)}"


def _with_interval(share: float, images: int) -> str:
    low, high = accuracy_interval(share, images)
    return f"{percent(share)} ({percent(low)} to {percent(high)})"


def _table(
    rows: Sequence[tuple[str, ...]] | Iterator[tuple[str, ...]],
    heading: tuple[str, ...] = ("", ""),
) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"|{'---|' * len(heading)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _fenced(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8").strip()
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}toml", text, fence]
