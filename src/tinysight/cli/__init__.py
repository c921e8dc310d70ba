"""The command line: one module a command group, each parsing, calling the library and printing.

A command module has ``add_parser(commands)``; it imports what it runs inside ``run_…`` functions,
so that ``tinysight --help`` stays quick and works without torch.

Exit codes: ``OK`` done, ``FAULT`` a fault the user can mend or, of ``boxes check`` and ``predict``,
one in what was given, ``USAGE`` wrong words on the command line (argparse's own), ``STOPPED`` by
Ctrl-C, whatever the command; a training run can then be resumed.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from tinysight import __version__
from tinysight.cli import (
    boxes,
    data,
    demo,
    explain,
    export,
    lr_find,
    predict,
    recipes,
    report,
    summary,
    train,
)
from tinysight.cli.output import discard_further, print_faults
from tinysight.errors import TinysightError

OK = 0
FAULT = 1
USAGE = 2
STOPPED = 130

_EXTRA_OF_MODULE = {
    "torch": "train",
    "safetensors": "train",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The words after ``tinysight``; those of the process when not given.
    """
    for stream in (sys.stdout, sys.stderr):
        # A name or a bar that the terminal cannot show must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    code: int = OK
    try:
        code = arguments.run(arguments)
        print(end="", flush=True)
    except TinysightError as fault:
        print_faults(f"tinysight: {fault}".split("\n"))
        return FAULT
    except KeyboardInterrupt:
        print("\ntinysight: stopped by Ctrl-C.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        discard_further(sys.stdout)
        return code
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF_MODULE.get(error.name or "")
        if extra is None:
            raise
        print(
            f"tinysight: this command needs the package {error.name}, which is not installed. "
            f"Install it with: pip install 'tinysight[{extra}]'",
            file=sys.stderr,
        )
        return FAULT
    return code


def entry_point() -> None:
    """Run the command of this process and exit with its code."""
    sys.exit(main())


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="tinysight",
        description="Train a classifier on small images and see what it got wrong and why; "
        "check box annotations and choose anchors.",
    )
    parser.add_argument("--version", action="version", version=f"tinysight {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        demo,
        data,
        summary,
        recipes,
        lr_find,
        train,
        explain,
        report,
        predict,
        export,
        boxes,
    ):
        module.add_parser(commands)
    return parser
