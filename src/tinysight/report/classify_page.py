"""The page of one trained classifier."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tinysight.numerals import counted, duration, percent
from tinysight.report.class_sections import (
    build_calibration_section,
    build_classes_section,
    build_confusions_section,
)
from tinysight.report.duplicates_section import build_duplicates_section
from tinysight.report.gallery_section import build_mistakes_section
from tinysight.report.label_issues_section import build_label_issues_section
from tinysight.report.page import (
    Block,
    Callout,
    Columns,
    Command,
    Facts,
    Fold,
    Page,
    Section,
    Severity,
    Stat,
    Text,
)
from tinysight.report.picture_shelf import PictureShelf
from tinysight.report.run_results import RunResults
from tinysight.report.training_charts import measured_accuracy, measured_part
from tinysight.report.training_section import build_training_section
from tinysight.run_facts import read_guessing, read_training_parts, without_folders
from tinysight.whole_files import Record

_COMMANDS_THAT_TRAIN = ("train", "demo")


class Observation(Protocol):
    """What is to be said about a run, see ``tinysight.classify.diagnosis``."""

    @property
    def severity(self) -> Severity:
        """How much it matters."""

    @property
    def sentence(self) -> str:
        """What was found, with its figures."""

    @property
    def advice(self) -> str:
        """What to try; may be empty."""


def build_run_page(results: RunResults, observations: Sequence[Observation]) -> Page:
    """Build the page of a run.

    Args:
        results: What its folder says.
        observations: The diagnosis, the most important first.
    """
    shelf = PictureShelf(results.explanation.pictures if results.explanation else {})
    sections = tuple(_sections(results, observations, shelf))
    headline, lead = _headline(results)
    return Page(
        title=f"{results.name} · tinysight",
        kicker=_kicker(results),
        headline=headline,
        lead=lead,
        stats=tuple(_stats(results)),
        sections=sections,
        pictures=shelf.files,
    )


def _sections(
    results: RunResults, observations: Sequence[Observation], shelf: PictureShelf
) -> Iterator[Section]:
    yield _diagnosis_section(observations)
    yield build_training_section(results.history, results.steps, results.recipe)
    if results.metrics is None:
        yield Section("classes", "What it recognises", (_next_command(results),))
    else:
        yield build_confusions_section(results)
        yield build_classes_section(results)
        yield build_calibration_section(results.metrics)
    if results.explanation is not None:
        yield build_mistakes_section(results, shelf)
        yield build_label_issues_section(results, shelf)
        yield build_duplicates_section(results, shelf)
    yield build_about_section(results)


def _next_command(results: RunResults) -> Command:
    if results.has_weights:
        return Command(
            "The predictions of this run were not written yet. One command, with the folder of "
            "this run for RUN, predicts every test image:",
            "tinysight evaluate RUN",
        )
    return Command(
        "This run is not finished. One command, with its store for STORE and its folder for RUN, "
        "goes on with it:",
        "tinysight train STORE --out RUN --resume",
    )


def _kicker(results: RunResults) -> str:
    about, model = results.about, results.recipe["model"]["name"]
    used = read_training_parts(about, results.recipe)
    return (
        f"{results.name}: {model}, trained from scratch on "
        f"{counted(used.learned_from, 'image')} of "
        f"{counted(len(about['classes']), 'class', 'classes')}"
    )


def _headline(results: RunResults) -> tuple[str, str]:
    """Return the figure that matters, and what it means in a sentence."""
    num_classes = len(results.about["classes"])
    guessing = read_guessing(results.about)
    metrics, history = results.metrics, results.history
    if metrics is not None:
        right = round(metrics["accuracy"] * metrics["images"])
        return (
            f"{percent(metrics['accuracy'])} of the test images recognised",
            f"Shown {counted(metrics['images'], 'image')} that it was not trained on, the network "
            f"names the right one of {counted(num_classes, 'class', 'classes')} for {right:,}. "
            f"{guessing.way.capitalize()} would get {percent(guessing.accuracy)}.",
        )
    if history:
        part = measured_part(history)
        accuracy = measured_accuracy(history[-1], part)
        was_tested = any(measured_accuracy(row, "test") is not None for row in history)
        lacking = "Predictions of the test images were not written yet."
        if not was_tested:
            lacking = "The test part was not evaluated yet."
        if accuracy is not None:
            epochs = results.recipe["train"]["epochs"]
            is_finished = history[-1]["epoch"] + 1 >= epochs
            of_all = "" if is_finished else f" of {epochs:,}"
            return (
                f"{percent(accuracy)} of the {part} images recognised"
                f"{'' if is_finished else ' so far'}",
                f"After {_epochs(history)}{of_all}. {lacking}",
            )
        return (
            f"{percent(history[-1]['train_accuracy'])} of the training images recognised",
            f"After {_epochs(history)}. {lacking}",
        )
    return "This run has not finished an epoch", "There is nothing to show of it yet."


def _epochs(history: Sequence[Record]) -> str:
    return counted(history[-1]["epoch"] + 1, "epoch")


def _stats(results: RunResults) -> Iterator[Stat]:
    metrics, history = results.metrics, results.history
    if metrics is not None:
        if len(results.about["classes"]) > 5:
            yield Stat(percent(metrics["top5"]), "among the first five guesses")
        yield Stat(f"{metrics['loss']:.2f}", "test loss")
        yield Stat(percent(metrics["calibration_error"]), "calibration error")
    if history:
        last = history[-1]
        yield Stat(percent(last["train_accuracy"]), "training accuracy", "augmented images")
        yield Stat(duration(last["seconds"]), "training time", _epochs(history))
        yield Stat(f"{last['images_per_s']:,.0f}/s", "images trained on", "last epoch")


def _diagnosis_section(observations: Sequence[Observation]) -> Section:
    callouts: tuple[Block, ...] = tuple(
        Callout(observation.severity, observation.sentence, observation.advice)
        for observation in observations
    ) or (Text("Nothing stands out.", is_quiet=True),)
    return Section("diagnosis", "What stands out", callouts)


def build_about_section(results: RunResults) -> Section:
    """Build the section on recipe, data, environment and network."""
    environment, recipe = results.environment, results.recipe
    settings = tuple(
        Facts(table, tuple((key, show_setting(value)) for key, value in keys.items()))
        for table, keys in recipe.items()
        if isinstance(keys, Mapping)
    )
    packages = environment.get("packages", {})
    versions = tuple((name, str(version)) for name, version in packages.items())
    blocks: list[Block] = [
        Columns((Facts("Data", _data_facts(results)), Facts("Run", _run_facts(results)))),
        Fold("Every setting of the recipe", (Columns(settings),)),
    ]
    if versions:
        blocks.append(Fold("Versions of packages", (Facts("", versions),)))
    return Section("about", "How it was made", tuple(blocks))


def _data_facts(results: RunResults) -> tuple[tuple[str, str], ...]:
    about = results.about
    used = read_training_parts(about, results.recipe)
    mean, std = (" ".join(f"{value:.4f}" for value in about[key]) for key in ("mean", "std"))
    return (
        ("Store", without_folders(about["store"])),
        ("Training images", f"{used.learned_from:,}"),
        *((("Held back for choosing", f"{used.held_back:,}"),) if used.held_back else ()),
        ("Test images", f"{about['test_images']:,}"),
        ("Classes", f"{len(about['classes']):,}"),
        ("Image side", f"{about['size_px']} px"),
        ("Split", f"{about['split']}, seed {about['split_seed']}"),
        ("Split digest", about["split_digest"][:16]),
        ("Mean (red, green, blue)", mean),
        ("Standard deviation", std),
    )


def _run_facts(results: RunResults) -> tuple[tuple[str, str], ...]:
    environment = results.environment
    facts = [
        ("Recipe", without_folders(results.about["recipe_name"])),
        _command(environment),
        ("Started", environment.get("started_at", "").replace("T", " ").replace("Z", " UTC")),
        ("Weights", _weights(results)),
        ("Device", show_setting(environment.get("device", ""))),
        ("Processor", environment.get("processor", "")),
        ("Cores", show_setting(environment.get("cores", ""))),
        ("Python", environment.get("python", "")),
        ("System", environment.get("platform", "")),
    ]
    return tuple((name, value) for name, value in facts if value)


def _command(environment: Record) -> tuple[str, str]:
    """Return the command that began the run, ready to be typed, and what it is called."""
    typed = [str(word) for word in environment.get("command", ())]
    # Words of another program that trained through the library are no command of this one.
    if not typed or typed[0] not in _COMMANDS_THAT_TRAIN:
        return "Command", ""
    # Where files lay on the machine that trained is nobody's business, and no use elsewhere.
    words = [without_folders(word) for word in typed]
    name = "Command" if words == typed else "Command, folders left out"
    return name, shlex.join(["tinysight", *words])


def _weights(results: RunResults) -> str:
    if results.metrics is None:
        return ""
    return {"raw": "after the last step", "ema": "averaged over training"}.get(
        results.metrics.get("weights", ""), str(results.metrics.get("weights", ""))
    )


def show_setting(value: Any) -> str:
    """Return a value of a recipe as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
