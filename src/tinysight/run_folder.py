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

import errno
import hashlib
import json
import math
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import IO, Any

from tinysight.errors import RunError
from tinysight.overwriting import require_other_file
from tinysight.required_keys import FACTS, FINDINGS, RESULTS, SETTINGS, require_keys
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

# What a process that was killed leaves behind is told by its name from the files of others.
_UNFINISHED = ".unfinished"
_FILES = {
    *(RUN, RECIPE, ENVIRONMENT, HISTORY, STEPS, MODEL, PREDICTIONS, METRICS, CURVES),
    *(EXPLANATION, MAPS, GALLERY, PICTURES, LABEL_ISSUES, DUPLICATES),
    *(MISTAKES_SHEET, MAPS_SHEET, REPORT, COMPARISON),
}

_CHECKPOINT = re.compile(r"step-\d{8,}\.pt")

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Record = dict[str, Any]


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a reader, or a machine that loses power, sees all of it or none.

    Args:
        path: The file to write or replace; its folder exists.
        write: Writes the content to an open binary file.

    Raises:
        RunError: The disk is full or the file cannot be written; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        try:
            with open(temporary, "xb") as file:  # with the permissions that the umask leaves
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch says only that it could not finish its file; why, is in the error before.
        reason = _system_error(error)
        if reason is None:
            raise
        raise RunError(_cannot_write(path, reason, "Nothing was left half-written; ")) from error


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        RunError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(_cannot_write(path, error)) from error


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
        raise RunError(_cannot_read(run / MODEL, error)) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text, see :func:`replace_file`."""
    replace_file(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file by one indented JSON object, see :func:`replace_file`.

    A number that is not finite, which JSON cannot say, becomes null.
    """
    value = finite_or_null(value)
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def finite_or_null(value: Any) -> Any:
    """Return a value with every number in it that is not finite replaced by None."""
    if isinstance(value, Mapping):
        return {key: finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, *, advice: str = "Train the run again.") -> Record:
    """Read one JSON object.

    Args:
        path: The file.
        advice: What to do about a damaged one; a sentence.

    Raises:
        RunError: The file is missing or is not one JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(_cannot_read(path, error)) from error
    except ValueError as error:
        raise RunError(f"{path}: must be JSON, but {error}. {advice}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: must be one JSON object, got {type(value).__name__}. {advice}")
    return value


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


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace a file by one JSON object a line."""
    write_text(path, _lines(records))


def append_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add JSON lines at the end of a file in one write.

    Raises:
        RunError: The disk is full or the file cannot be written.
    """
    try:
        with open(path, "ab") as file:
            file.write(_lines(records).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunError(_cannot_write(path, error)) from error


def read_records(path: Path) -> list[Record]:
    """Read JSON lines; an absent file holds none, a torn last line is left out.

    Raises:
        RunError: The file cannot be read, or a line is no JSON object, other than a last one that
            is torn.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunError(_cannot_read(path, error)) from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise RunError(
                f"{path}: line {number} must be JSON, but {error}. Train the run again."
            ) from error
        if not isinstance(record, dict):
            raise RunError(
                f"{path}: line {number} must be one JSON object, got {type(record).__name__}. "
                f"Train the run again."
            )
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
        raise RunError(_cannot_read(path, error)) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise RunError(f"{path}: must be TOML, but {error}. Train the run again.") from error
    advice = "Copy the file anew from where the run was trained, or train the run again."
    require_keys(path, recipe, SETTINGS, "hold every setting of the run", advice)
    return recipe


def keep_records(path: Path, is_kept: Callable[[Record], bool]) -> list[Record]:
    """Drop the lines that a resumed run will write again, and return the others."""
    kept = [record for record in read_records(path) if is_kept(record)]
    write_records(path, kept)
    return kept


def make_folder(path: Path) -> None:
    """Make sure that there is a folder to write into, with all folders above it.

    Raises:
        RunError: It cannot be made, or nothing can be written into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = why_not_writable(path)
    except OSError as error:
        # Unlike Path.is_file this takes a name that no file can have, or that cannot be looked at.
        reason = "it is a file" if os.path.isfile(path) else str(error.strerror)
    if reason:
        raise RunError(
            f"{path}: must be a folder that can be written to, but {reason}. Choose another --out."
        )


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
    for path in [*run.glob(f".*{_UNFINISHED}"), *(run / CHECKPOINTS).glob(f".*{_UNFINISHED}")]:
        name = path.name[1:].removesuffix(_UNFINISHED).rpartition(".")[0]
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


def _lines(records: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _sync_folder(folder: Path) -> None:
    # The new name itself must survive a power cut; Windows cannot open a folder, and need not.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the system that is, or led to, an error."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _cannot_read(path: Path, error: OSError) -> str:
    return (
        f"{path}: must be a readable file, but {error.strerror}. "
        f"Name a run folder that `tinysight train` wrote."
    )


def _cannot_write(path: Path, error: OSError, state: str = "") -> str:
    if error.errno in _NO_ROOM:
        advice = f"{state}make room and run the command again, a training run with --resume."
        return (
            f"{path}: the disk must have room for the file, but it is full ({error.strerror}). "
            f"{advice[0].upper()}{advice[1:]}"
        )
    return f"{path}: must be writable, but {error.strerror}. Choose another folder."
