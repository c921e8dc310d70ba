"""What a person pays for before anything happens, measured in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SLOW = ("numpy", "pyarrow", "altair", "vl_convert", "rich", "PIL", "pydantic")

# An absent torch turns an import of it into an error whose traceback names the culprit.
RUN = """
import json, sys
sys.modules["torch"] = None
{statement}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def modules_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(statement=statement)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_works_without_torch_and_loads_nothing_slow() -> None:
    statement = """
from tinysight.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0, end.code
"""
    loaded = modules_after(statement)
    assert "tinysight" in loaded
    assert not loaded & set(SLOW)


def test_help_of_every_command_works_without_torch_and_loads_nothing_slow() -> None:
    statement = """
import argparse
from tinysight.cli import build_parser, main
def commands_of(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield [name]
                yield from ([name, *words] for words in commands_of(below))
commands = list(commands_of(build_parser()))
assert {"data", "train", "lr-find"} <= {words[0] for words in commands}, commands
assert ["data", "show"] in commands, commands
for words in commands:
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert end.code == 0, (words, end.code)
"""
    assert not modules_after(statement) & set(SLOW)


def test_import_of_the_package_loads_nothing_slow() -> None:
    assert not modules_after("import tinysight") & set(SLOW)


def test_parts_that_need_no_torch_are_usable_without_it() -> None:
    loaded = modules_after(
        "import tinysight.samples, tinysight.config, tinysight.run_folder, tinysight.whole_files, "
        "tinysight.report.charts, tinysight.report.pictures, tinysight.classify.download, "
        "tinysight.classify.pack, tinysight.classify.settings, tinysight.classify.sources.opening"
    )
    assert "numpy" in loaded


def test_data_is_drawn_packed_and_shown_without_torch(tmp_path: Path) -> None:
    statement = f"""
from pathlib import Path
from tinysight.cli import main
from tinysight.samples import draw_samples
folder = Path({str(tmp_path)!r})
draw_samples(folder / "shapes", classes=["ring", "star"], train_per_class=4, val_per_class=1)
store = str(folder / "store")
assert main(["data", "pack", str(folder / "shapes"), "--out", store, "--workers", "1"]) == 0
assert main(["data", "show", store, "--out", str(folder / "store.png")]) == 0
"""
    modules_after(statement)
    assert (tmp_path / "store.png").is_file()


def test_charts_load_altair_only_when_one_is_drawn() -> None:
    assert not modules_after("import tinysight.report.charts") & {"altair", "vl_convert"}
