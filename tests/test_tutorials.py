"""The tutorials say what the commands print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinysight.cli import main

DOCS = Path(__file__).parent.parent / "docs"
LEFT_OUT = "…"

# A bound depends on how far the proof came in its time.
_BOUND = re.compile(r"\d\.\d{4}  within [\d.]+ %.*")


def blocks_of(path: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each code block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)


def lines_not_printed(shown: str, printed: str) -> Iterator[str]:
    """Yield the lines of a tutorial that are not in the output of its command, in this order."""
    rest = iter([_BOUND.sub("BOUND", line).rstrip() for line in printed.splitlines()])
    for line in shown.splitlines():
        wanted = _BOUND.sub("BOUND", line).rstrip()
        start, _, _ = wanted.partition(f" {LEFT_OUT}")
        if wanted in ("", LEFT_OUT):
            continue
        is_cut = start != wanted
        if not any(seen.startswith(start) if is_cut else seen == wanted for seen in rest):
            yield line
            return


@pytest.mark.timeout(300)  # half a minute on two free cores
def test_tutorial_on_boxes_shows_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for language, text in blocks_of(DOCS / "tutorial-boxes.md"):
        if language == "python":
            exec(text, {})
        elif language == "yaml":
            assert (tmp_path / "anchors.yaml").read_text(encoding="utf-8") == text
        else:
            command, _, shown = text.partition("\n")
            words = shlex.split(command)
            assert words[:3:2] == ["$", "boxes"], command
            words, into = (words[:-2], words[-1]) if words[-2] == ">" else (words, None)
            capsys.readouterr()
            code = main(words[2:])
            printed = capsys.readouterr().out
            has_findings = re.search(r"^findings +\d", shown, re.M) is not None
            assert code == int(has_findings), command
            if into is not None:
                Path(into).write_text(printed, encoding="utf-8")
            assert list(lines_not_printed(shown, printed)) == [], command
            commands += 1
    assert commands == 10
