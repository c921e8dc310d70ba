"""Anchors read back from files: our JSON and CSV, yolov5 yaml, darknet cfg, plain numbers."""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import FITS, Fit
from tinysight.boxes.leveled_anchors import stated_input
from tinysight.boxes.presets import PRESETS, find_preset, sizes_times_ratios
from tinysight.boxes.quality import checked_anchors
from tinysight.boxes.strides import STRIDES_PX
from tinysight.errors import DataError
from tinysight.numerals import counted

_MOST_BYTES = 2**20  # a file of anchors has some hundred bytes; a whole model yaml some thousand
_LARGEST_PX = 1e9  # a whole number in JSON can be too long for a float
_LONGEST_NUMBER = 40  # characters
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class AnchorFile:
    """Anchors as a file gives them; what it does not say is None."""

    levels_wh_px: tuple[NDArray[np.float64], ...]
    """One array (a, 2) for each level, or a single one where the file has no levels."""

    strides_px: tuple[int, ...] | None = None
    input_size_wh: tuple[int, int] | None = None
    fit: Fit | None = None
    is_structured: bool = False
    """Whether they are sizes times ratios for each level, be it a single one."""

    @property
    def anchors_wh_px(self) -> NDArray[np.float64]:
        """All anchors, (k, 2), ascending area."""
        anchors = np.concatenate(self.levels_wh_px)
        return anchors[np.argsort(anchors.prod(axis=1), kind="stable")]

    @property
    def has_levels(self) -> bool:
        """Whether the anchors are on levels, be their strides known or not."""
        return self.strides_px is not None or self.is_structured or len(self.levels_wh_px) > 1

    @property
    def level_strides_px(self) -> tuple[int, ...] | None:
        """The stride of each level: as stated, or 8, 16, 32 of three levels; else not known."""
        if self.strides_px is None and len(self.levels_wh_px) == len(STRIDES_PX):
            return STRIDES_PX
        return self.strides_px


def load_anchors(path: Path, k: int | None = None) -> AnchorFile:
    """Read anchors from a file of any of these forms, known by its content.

    * JSON: what ``boxes export --to json`` writes; what ``boxes anchors --json`` prints, without
      ``k`` its structured anchors, where it has some; or a plain list ``[[width, height], …]`` as
      mmdetection's optimizer writes it
    * CSV with a row ``stride_px,width_px,height_px`` or ``width,height``, and where ``boxes
      export`` wrote it the input; also with semicolons or tabs, and then with decimal commas
    * the ``anchors:`` of a yolov5 or yolov7 yaml
    * the ``anchors =`` and ``mask =`` of a darknet cfg with [yolo] layers
    * numbers separated by commas and spaces: width, height, width, height, …

    Of a yaml or cfg the comment that ``boxes export`` writes says for which input it is.

    Args:
        path: The file.
        k: Which set to take where the file has several; of a file with one set its number of
            anchors, or None.

    Raises:
        DataError: The file cannot be read, has none of these forms or not ``k`` anchors, or a side
            is not above 0.
    """
    text = _read_text(path)
    try:
        if text.lstrip()[:1] in ("{", "["):
            found = _from_json(path, text, k)
            if found is not None:
                return _checked(found, k)
        if re.search(r"^[ \t]*\[yolo\]", text, re.MULTILINE):
            return _checked(_from_darknet(path, text), k)
        if re.search(r"^anchors[ \t]*:", text, re.MULTILINE):
            return _checked(_from_yaml(path, text), k)
        if header := re.match(r"\s*\"?[A-Za-z_]+\"?\s*([,;\t])", text):
            return _checked(_from_csv(path, text, separator=header[1]), k)
        return _checked(_from_numbers(path, text), k)
    except DataError as fault:
        if str(fault).startswith(str(path)):
            raise
        raise DataError(f"{path}: {fault}") from fault


def find_anchors(name: str, k: int | None = None) -> AnchorFile:
    """Return published anchors by the name of their preset, or those of a file.

    Args:
        name: A name of ``presets.PRESETS``, or a path.
        k: As of :func:`load_anchors`.

    Raises:
        DataError: There is neither such a preset nor such a file, the file has no anchors or not
            ``k`` of them, or ``k`` is given with a preset.
    """
    # Unlike Path.exists this takes a name that no file can have, such as a long list of anchors.
    if name not in PRESETS and os.path.exists(name):
        return load_anchors(Path(name), k)
    preset = find_preset(name)
    if k is not None:
        raise DataError(
            f"--k must name one of several sets in a file, got {k} for {name}, a preset of "
            f"{len(preset.anchors_wh_px)} anchors. Leave --k out."
        )
    return AnchorFile(preset.levels_wh_px, preset.strides_px, preset.input_size_wh, preset.fit)


def _checked(found: AnchorFile, k: int | None) -> AnchorFile:
    anchors = checked_anchors(np.concatenate(found.levels_wh_px))
    if k is not None and len(anchors) != k:
        raise DataError(
            f"--k must name one of several sets in a file, got {k}, but it has one set, of "
            f"{counted(len(anchors), 'anchor')}. Leave --k out."
        )
    return found


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(
            f"{path}: must be a readable file of anchors, but {error.strerror}. "
            f"Name a file or a preset."
        ) from error
    if len(data) > _MOST_BYTES:
        raise DataError(
            f"{path}: a file of anchors must be at most {_MOST_BYTES // 2**20} MiB, "
            f"this is larger. Is it a file of boxes?"
        )
    text = data.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_json(path: Path, text: str, k: int | None) -> AnchorFile | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("["):  # a darknet cfg also begins with a bracket
            return None
        raise DataError(f"{path}: must be JSON, but {error}. Export the anchors again.") from error
    if isinstance(value, list):
        return AnchorFile((_pairs(path, value),))
    size = _input_size(path, value.get("input_size_wh"))
    fit = _fit(path, value.get("fit"))
    if k is None and value.get("structured") is not None:
        levels = _structured_levels(path, value["structured"])
        return AnchorFile(levels, None, size, fit, is_structured=True)
    if "sets" in value:
        chosen = _chosen_set(path, value["sets"], k)
        return AnchorFile((_pairs(path, chosen.get("anchors_wh_px")),), None, size, fit)
    if "levels" in value and isinstance(value["levels"], list) and value["levels"]:
        levels = tuple(
            _pairs(path, _entry(path, level, "anchors_wh_px"), may_be_empty=True)
            for level in value["levels"]
        )
        strides = tuple(
            _stride(path, _entry(path, level, "stride_px")) for level in value["levels"]
        )
        return AnchorFile(levels, strides, size, fit)
    return AnchorFile((_pairs(path, _entry(path, value, "anchors_wh_px")),), None, size, fit)


def _structured_levels(path: Path, value: Any) -> tuple[NDArray[np.float64], ...]:
    sizes, ratios = (_entry(path, value, key) for key in ("sizes_px", "ratios"))
    are_rows = isinstance(sizes, list) and all(isinstance(row, list) and row for row in sizes)
    rows = [*sizes, ratios] if are_rows and sizes and isinstance(ratios, list) and ratios else [[0]]
    if not all(_is_number(number) and number > 0 for row in rows for number in row):
        raise DataError(
            f"{path}: structured anchors must have sizes_px, a list of numbers > 0 for each level, "
            f"and ratios > 0; got {_shown(sizes)} and {_shown(ratios)}. Export the anchors again."
        )
    return tuple(sizes_times_ratios(row, ratios) for row in sizes)


def _chosen_set(path: Path, sets: Any, k: int | None) -> dict[str, Any]:
    entries = [entry for entry in sets if isinstance(entry, dict)] if isinstance(sets, list) else []
    fitting = [entry for entry in entries if k is None or entry.get("k") == k]
    if len(fitting) != 1:
        sizes = ", ".join(str(entry.get("k")) for entry in entries) or "none"
        raise DataError(
            f"{path}: must hold one set of anchors{'' if k is None else f' with k = {k}'}, got "
            f"{len(fitting)} of the sets k = {sizes}. Choose one with --k."
        )
    return fitting[0]


def _from_darknet(path: Path, text: str) -> AnchorFile:
    layers = re.split(r"^[ \t]*\[yolo\]", text, flags=re.MULTILINE)[1:]
    levels = []
    for layer in layers:
        own = re.split(r"^[ \t]*\[", layer, flags=re.MULTILINE)[0]
        anchors = re.search(r"^[ \t]*anchors[ \t]*=(.*)$", own, re.MULTILINE)
        mask = re.search(r"^[ \t]*mask[ \t]*=(.*)$", own, re.MULTILINE)
        if anchors is None or mask is None:
            raise DataError(
                f"{path}: each [yolo] layer must have `mask =` and `anchors =`, one has not. "
                f"Is the file whole?"
            )
        pairs = _paired(path, anchors[1])
        rows = [int(row) for row in re.findall(r"\d{1,6}", mask[1])]
        if not rows or max(rows) >= len(pairs):
            raise DataError(
                f"{path}: a mask must name anchors 0 to {len(pairs) - 1}, got "
                f"{mask[1].strip() or 'nothing'}. Mend the mask."
            )
        levels.append(pairs[rows])
    size = [
        re.search(rf"^[ \t]*{side}[ \t]*=[ \t]*(\d{{1,6}})", text, re.MULTILINE)
        for side in ("width", "height")
    ]
    known = (int(size[0][1]), int(size[1][1])) if size[0] and size[1] else None
    levels.sort(key=lambda level: float(level.prod(axis=1).mean()))
    stated_size, stated_fit = stated_input(text)
    fit: Fit | None = None
    if re.search(r"^[ \t]*letter_box[ \t]*=[ \t]*0*[1-9]", text, re.MULTILINE):
        fit = "letterbox"
    elif not re.search(r"^[ \t]*\[net(work)?\]", text, re.MULTILINE):
        fit = stated_fit  # a part of a cfg, as `boxes export` writes it
    # darknet stretches images unless it is told otherwise.
    return AnchorFile(tuple(levels), None, known or stated_size, fit or "stretch")


def _from_yaml(path: Path, text: str) -> AnchorFile:
    block = re.search(r"^anchors[ \t]*:(.*(?:\n(?:[ \t].*|-.*|#.*|[ \t]*$))*)", text, re.MULTILINE)
    listed = block[1] if block else ""
    lines = re.findall(
        r"^[ \t]*-[ \t]*\[([^\]\n]*)\](?:[ \t]*#.*?/(\d{1,6}))?", listed, re.MULTILINE
    )
    if listed.lstrip().startswith("["):  # all levels in one pair of brackets
        flow = re.sub(r"#.*", "", listed).strip()
        lines = [(line, "") for line in re.findall(r"\[([^\[\]]*)\]", flow[1:])]
    if not lines:
        raise DataError(
            f"{path}: anchors must be a list of lists of numbers, one a level, as in "
            f"`- [10,13, 16,30, 33,23]`; found none. A number there means automatic anchors."
        )
    strides = tuple(int(stride) for _, stride in lines if stride)
    return AnchorFile(
        tuple(_paired(path, line) for line, _ in lines),
        strides if len(strides) == len(lines) else None,
        *stated_input(text),
    )


def _from_csv(path: Path, text: str, *, separator: str) -> AnchorFile:
    rows = list(csv.DictReader(text.splitlines(), delimiter=separator))
    names = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    width, height = (names.get(f"{side}_px", names.get(side)) for side in ("width", "height"))
    if width is None or height is None:
        raise DataError(
            f"{path}: the first row must name the columns width_px and height_px, got "
            f"{', '.join(names) or 'none'}. Mend the first row."
        )
    try:
        sides = ([row[width], row[height]] for row in rows)
        pairs = np.array([[_number(side, separator) for side in pair] for pair in sides])
        strides = [int(row[names["stride_px"]]) for row in rows] if "stride_px" in names else None
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: every row must hold numbers, but {error}. Mend the row."
        ) from error
    size, fit = _input_of_rows(path, rows, names)
    if strides is None:
        return AnchorFile((pairs,), None, size, fit)
    levels = sorted(set(strides))
    owner = np.asarray(strides)
    of_levels = tuple(pairs[owner == stride] for stride in levels)
    return AnchorFile(of_levels, tuple(levels), size, fit)


def _input_of_rows(
    path: Path, rows: list[dict[str, str]], names: dict[str, str]
) -> tuple[tuple[int, int] | None, Fit | None]:
    """Return the input that all rows of a table name; empty fields name none."""
    columns = ("input_width_px", "input_height_px", "fit")
    found = {tuple(row[names[name]] if name in names else "" for name in columns) for row in rows}
    if len(found) > 1:
        raise DataError(
            f"{path}: all anchors must be for one input, got {len(found)} in the columns "
            f"{', '.join(name for name in columns if name in names)}. Make them one."
        )
    ((width, height, fit),) = found
    are_sides = all(re.fullmatch(r"0*[1-9]\d{0,5}", side or "") for side in (width, height))
    return (int(width), int(height)) if are_sides else None, _fit(path, fit or None)


def _number(text: str | None, separator: str) -> float:
    """Read a number of a spreadsheet; where no comma parts the fields, it may be a decimal one."""
    if not text:
        raise ValueError("a value is missing")
    try:
        return float(text if separator == "," else text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{text!r} is none") from None


def _from_numbers(path: Path, text: str) -> AnchorFile:
    if not all(_is_number_word(word) for word in _words(text)):
        raise DataError(
            f"{path}: must hold anchors as JSON, CSV, yolov5 yaml, darknet cfg or plain numbers; "
            f"this is none of them. Export the anchors with `tinysight boxes export --to json`."
        )
    return AnchorFile((_paired(path, text),))


def _paired(path: Path, text: str) -> NDArray[np.float64]:
    words = _words(text)
    wrong = next((word for word in words if not _is_number_word(word)), None)
    if wrong is not None or not words or len(words) % 2:
        found = f"{len(words)} numbers" if wrong is None else repr(wrong[:60])
        raise DataError(
            f"{path}: anchors must be pairs of width and height, got {found}. Mend the line."
        )
    return np.array([float(word) for word in words]).reshape(-1, 2)


def _is_number_word(word: str) -> bool:
    return len(word) <= _LONGEST_NUMBER and re.fullmatch(_NUMBER, word) is not None


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,;]+", text) if word]


def _pairs(path: Path, value: Any, *, may_be_empty: bool = False) -> NDArray[np.float64]:
    is_pairs = isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(_is_number(side) for side in pair)
        for pair in value
    )
    if not is_pairs or not (value or may_be_empty):
        raise DataError(
            f"{path}: anchors must be a list of [width, height], got {_shown(value)}. "
            f"Export the anchors again."
        )
    return np.array(value, dtype=np.float64).reshape(-1, 2)


def _entry(path: Path, value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise DataError(
            f"{path}: must have the key {key!r}, got {_shown(value)}. Export the anchors "
            f"with `tinysight boxes export --to json`."
        )
    return value[key]


def _stride(path: Path, value: Any) -> int:
    if not _is_number(value) or value < 1 or value != int(value):
        raise DataError(
            f"{path}: stride_px must be a whole number from 1 up, got {_shown(value)}. "
            f"Export the anchors again."
        )
    return int(value)


def _input_size(path: Path, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(_is_number(v) and v >= 1 for v in value)
    ):
        raise DataError(
            f"{path}: input_size_wh must be [width, height] in pixels, got {_shown(value)}. "
            f"Export the anchors again."
        )
    return int(value[0]), int(value[1])


def _fit(path: Path, value: Any) -> Fit | None:
    found = next((fit for fit in FITS if fit == value), None)
    if found is None and value is not None:
        raise DataError(
            f"{path}: fit must be one of {', '.join(FITS)}, got {value!r}. "
            f"Export the anchors again."
        )
    return found


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _LARGEST_PX


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(str, list(value)[:5])) or 'none'}"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
