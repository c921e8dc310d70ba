"""The names and formats of the files in a run folder, and how they are written and read.

Every file is in an open format and is replaced as a whole: a reader sees the old file or the new
one, never half of either, also after a crash. The one exception is ``steps.jsonl``, which grows
by one block an epoch; a torn last line is ignored and cut off on resume.

    run.json            what was trained on what: store, split digest, classes, normalisation
    recipe.toml         every setting of the run
    environment.json    versions, hardware, command
    history.jsonl       one line an epoch
    steps.jsonl         one line an optimizer step: step, loss, lr, momentum
    checkpoints/        the last two states, to resume from
    model.safetensors   the trained weights
    predictions.parquet one row a test image
    metrics.json        what they add up to
    curves.png          loss, accuracy and learning rate
    events/             TensorBoard event files, where it is installed

``tinysight explain`` adds what follows; :mod:`tinysight.run_tables` has the columns.

    explanation.json      what was mistaken for what, how far the maps can be trusted, counts
    maps.parquet          class activation maps, one row a test image
    gallery.parquet       the test images that a page shows, with what the network says of them
    pictures.parquet      their pixels
    label_issues.parquet  test images whose label is probably wrong, worst first
    duplicates.parquet    pairs of images that show the same
    misclassified.png     the most confident mistakes
    gradcam.png           where the network looked in them

``tinysight report`` writes ``report.html``, and ``comparison.html`` for several runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from tinysight.errors import RunError
from tinysight.overwriting import require_other_file
from tinysight.required_keys import (
    EPOCH,
    FACTS,
    FINDINGS,
    RESULTS,
    SETTINGS,
    STEP,
    require_keys,
)
from tinysight.whole_files import (
    UNFINISHED,
    Record,
    cannot_read,
    numbered_records,
    read_json,
    write_text,
)
from tinysight.writable_folders import why_not_writable

FORMAT_VERSION = 1

RUN = "run.json"
RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
HISTORY = "history.jsonl"
STEPS = "steps.jsonl"
CHECKPOINTS = "checkpoints"
MODEL = "model.safetensors"
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
CURVES = "curves.png"
EVENTS = "events"

EXPLANATION = "explanation.json"
MAPS = "maps.parquet"
GALLERY = "gallery.parquet"
PICTURES = "pictures.parquet"
LABEL_ISSUES = "label_issues.parquet"
DUPLICATES = "duplicates.parquet"
MISTAKES_SHEET = "misclassified.png"
MAPS_SHEET = "gradcam.png"
REPORT = "report.html"
COMPARISON = "comparison.html"

_FILES = {
    *(RUN, RECIPE, ENVIRONMENT, HISTORY, STEPS, MODEL, PREDICTIONS, METRICS, CURVES),
    *(EXPLANATION, MAPS, GALLERY, PICTURES, LABEL_ISSUES, DUPLICATES),
    *(MISTAKES_SHEET, MAPS_SHEET, REPORT, COMPARISON),
}

_CHECKPOINT = re.compile(r"step-\d{8,}\.pt")


def require_writable(
    run: Path, *, advice: str = "Change its permissions, or copy the run and name the copy."
) -> None:
    """Refuse a run folder that nothing can be written into, before anything is computed.

    Args:
        run: The folder.
        advice: What to do about it; a sentence.

    Raises:
        RunError: It is one.
    """
    if reason := why_not_writable(run):
        raise RunError(f"{run}: must be a folder that can be written to, but {reason}. {advice}")


def require_outside_run(run: Path, out: Path) -> None:
    """Refuse to write something else over a file of a run.

    Raises:
        RunError: ``out`` has the name of a file that this package writes into ``run``, or is in the
            folder of its checkpoints.
    """
    checkpoint = run / CHECKPOINTS / os.path.basename(os.path.realpath(out))
    own = [*(run / name for name in sorted(_FILES)), checkpoint]
    require_other_file(out, own, what="the files of the run itself")


def digest_of_weights(run: Path) -> str:
    """Return the SHA-256 digest of the trained weights of a run, as 64 hexadecimal digits.

    Raises:
        RunError: They cannot be read.
    """
    try:
        with open(run / MODEL, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(cannot_read(run / MODEL, error)) from error


def read_run(run: Path) -> Record:
    """Read what a run was trained on.

    Raises:
        RunError: Not a run folder, or one of another format version, or a fact is missing.
    """
    about = read_json(run / RUN)
    version = about.get("format_version")
    if version != FORMAT_VERSION:
        raise RunError(
            f"{run / RUN}: format_version must be {FORMAT_VERSION}, got {version!r}. "
            f"Use the version of tinysight that wrote this run."
        )
    advice = (
        "Copy the file anew from where the run was trained, or use the version of tinysight that "
        "wrote it."
    )
    require_keys(run / RUN, about, FACTS, "say what the run was trained on", advice)
    return about


def is_explained(run: Path) -> bool:
    """Return whether ``tinysight explain`` has finished in a run folder: it writes this last."""
    return (run / EXPLANATION).is_file()


def read_explanation(run: Path) -> Record:
    """Read what ``tinysight explain`` found.

    Raises:
        RunError: The run was not explained, or by another version, or a finding is missing.
    """
    path = run / EXPLANATION
    again = f"Write it with: tinysight explain {quote(str(run))}"
    if not path.is_file():
        raise RunError(f"{path}: must be a readable file, but there is none. {again}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: must be JSON, but {error}. {again}") from error
    version = found.get("format_version") if isinstance(found, dict) else None
    if version != FORMAT_VERSION:
        raise RunError(f"{path}: format_version must be {FORMAT_VERSION}, got {version!r}. {again}")
    explanation: Record = found
    require_keys(path, explanation, FINDINGS, "hold what was found in the run", again)
    return explanation


def read_metrics(run: Path) -> Record | None:
    """Read what the predictions of the test images add up to, or None where none were made.

    Raises:
        RunError: The file is damaged, or a result is missing.
    """
    path = run / METRICS
    if not path.exists():
        return None
    again = f"Write it with: tinysight evaluate {quote(str(run))}"
    found = read_json(path, advice=again)
    require_keys(path, found, RESULTS, "hold the results on the test images", again)
    return found


def read_history(run: Path) -> list[Record]:
    """Read what is known of each epoch, in order; of a run without any, nothing.

    Raises:
        RunError: The file is damaged, or a line lacks what every epoch has.
    """
    return _read_lines(run / HISTORY, EPOCH, "say how its epoch went")


def read_steps(run: Path) -> list[Record]:
    """Read what is known of each optimizer step, in order; of a run without any, nothing.

    Raises:
        RunError: The file is damaged, or a line lacks what every step has.
    """
    return _read_lines(run / STEPS, STEP, "say how its step went")


def _read_lines(path: Path, keys: Sequence[str], what: str) -> list[Record]:
    advice = "Copy the file anew from where the run was trained, or train the run again."
    records = []
    for number, record in numbered_records(path):
        require_keys(path, record, keys, what, advice, line=number)
        records.append(record)
    return records


def write_recipe(run: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Write every setting of a run as TOML: tables of numbers, texts and booleans."""
    write_text(run / RECIPE, _recipe_text(settings))


def read_recipe(run: Path) -> Record:
    """Read the settings of a run.

    Raises:
        RunError: The file is missing or is not TOML in UTF-8, or a setting that every run has is
            missing.
    """
    path = run / RECIPE
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(cannot_read(path, error)) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise RunError(f"{path}: must be TOML, but {error}. Train the run again.") from error
    advice = "Copy the file anew from where the run was trained, or train the run again."
    require_keys(path, recipe, SETTINGS, "hold every setting of the run", advice)
    return recipe


def files_in_the_way(run: Path, settings: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the files for which a new run cannot begin in a folder, in order.

    ``run.json`` is the last file that a new run writes before it trains. Without it, the two files
    that are written first are those of a run that was killed before it began, if the recipe is the
    same to the byte; any other recipe is somebody's own. Hidden files are in nobody's way.

    Args:
        run: The folder, which need not exist.
        settings: Every setting of the new run.

    Raises:
        RunError: The folder cannot be looked into.
    """
    text = _recipe_text(settings).encode()
    try:
        names = {path.name for path in run.iterdir()} if os.path.isdir(run) else set()
        has_recipe = RECIPE in names and (run / RECIPE).is_file()
        if RUN not in names and has_recipe and (run / RECIPE).read_bytes() == text:
            names -= {RECIPE, ENVIRONMENT}
    except OSError as error:
        raise RunError(
            f"{run}: must be a folder that can be looked into, but {error.strerror}. "
            f"Choose another --out."
        ) from error
    return tuple(sorted(name for name in names if not name.startswith(".")))


def remove_unfinished_files(run: Path) -> None:
    """Remove the temporary files that a killed process left behind, and no others."""
    for path in [*run.glob(f".*{UNFINISHED}"), *(run / CHECKPOINTS).glob(f".*{UNFINISHED}")]:
        name = path.name[1:].removesuffix(UNFINISHED).rpartition(".")[0]
        is_ours = name in _FILES if path.parent == run else _CHECKPOINT.fullmatch(name)
        if is_ours and path.is_file():
            path.unlink()


def checkpoint_files(run: Path) -> Sequence[Path]:
    """Return the checkpoints of a run, the newest first."""
    return sorted((run / CHECKPOINTS).glob("step-*.pt"), reverse=True)


def checkpoint_file(run: Path, step: int) -> Path:
    """Return where the state after ``step`` optimizer steps is kept."""
    return run / CHECKPOINTS / f"step-{step:08d}.pt"


def _recipe_text(settings: Mapping[str, Mapping[str, Any]]) -> str:
    tables = []
    for table, values in settings.items():
        # JSON and TOML write these scalars alike.
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        tables.append("\n".join([f"[{table}]", *lines]))
    return "\n\n".join(tables) + "\n"
