"""Who may import whom, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinysight

ROOT = Path(tinysight.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

MOST_LINES = 500
NAMELESS = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}

# A layer, and what it must never import, directly or inside a function.
FORBIDDEN = {
    "report": ("torch", "tinysight.classify", "tinysight.cli"),
    "classify": ("tinysight.report", "tinysight.cli", "tinysight.boxes"),
    "boxes": ("torch", "tinysight.classify", "tinysight.report", "tinysight.cli"),
    "recipes": ("torch", "tinysight.classify", "tinysight.report", "tinysight.cli"),
}
# The parts of classify that must work where torch is not installed.
WITHOUT_TORCH = (
    "classify/__init__.py",
    "classify/decode.py",
    "classify/diagnosis",
    "classify/download.py",
    "classify/explanation_tables.py",
    "classify/label_errors.py",
    "classify/manifest.py",
    "classify/mistakes.py",
    "classify/near_duplicates.py",
    "classify/pack.py",
    "classify/pixel_rows.py",
    "classify/randomness.py",
    "classify/run_settings.py",
    "classify/settings.py",
    "classify/sources",
    "classify/split.py",
    "classify/store.py",
)
# Alternatives that bring torchvision, or another build of torch, or are no longer maintained.
NEVER = ("torchvision", "timm", "albumentations", "torchinfo", "pytorch_grad_cam")
# Readers that can run code out of the file they read: never, or only with this argument.
UNSAFE_CALLS = {
    "pickle.load": None,
    "pickle.loads": None,
    "torch.load": "weights_only=True",
    "np.load": "allow_pickle=False",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path, *, only_on_import: bool = False) -> Iterator[str]:
    """Every module that a file imports, in full; ``from a import b`` gives ``a`` and ``a.b``."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in _statements(tree) if only_on_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: not functions, not what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from _statements(other)
            continue
        yield child
        yield from _statements(child)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def broken_by(path: Path, packages: tuple[str, ...], *, only_on_import: bool = False) -> list[str]:
    found = imports_of(path, only_on_import=only_on_import)
    return [module for module in found if any(is_within(module, name) for name in packages)]


def test_the_walk_finds_the_package() -> None:
    names = {name_of(path) for path in MODULES}
    assert len(names) >= 30
    assert {"cli/__init__.py", "report/charts.py", "classify/store.py", "samples.py"} <= names
    for name in WITHOUT_TORCH:
        assert (ROOT / name).exists(), name


def test_imports_are_read_from_every_kind_of_statement(tmp_path: Path) -> None:
    source = """
import a.b
from c import d
if TYPE_CHECKING:
    import e
def f():
    import g
class H:
    import i
"""
    path = tmp_path / "x.py"
    path.write_text(source)
    assert set(imports_of(path)) == {"a.b", "c", "c.d", "e", "g", "i"}
    assert set(imports_of(path, only_on_import=True)) == {"a.b", "c", "c.d", "i"}
    assert broken_by(path, ("c", "g")) == ["c", "c.d", "g"]
    assert broken_by(path, ("a.bc", "d")) == []


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layer_imports_nothing_above_or_beside_it(layer: str) -> None:
    modules = [path for path in MODULES if name_of(path).startswith(f"{layer}/")]
    assert modules or layer == "boxes"  # the boxes half is not built yet
    faults = {name_of(path): broken_by(path, FORBIDDEN[layer]) for path in modules}
    assert not {name: found for name, found in faults.items() if found}


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    others = [path for path in MODULES if not name_of(path).startswith(("cli/", "__main__"))]
    assert len(others) >= 20
    assert not [name_of(path) for path in others if broken_by(path, ("tinysight.cli",))]


def test_torch_is_imported_only_below_classify() -> None:
    outside = [path for path in MODULES if not name_of(path).startswith(("classify/", "cli/"))]
    assert len(outside) >= 8
    assert not [name_of(path) for path in outside if broken_by(path, ("torch",))]


def test_command_line_imports_torch_and_its_users_only_inside_functions() -> None:
    heavy = ("torch", "tinysight.classify", "tinysight.report", "numpy", "pyarrow", "PIL")
    modules = [path for path in MODULES if name_of(path).startswith("cli/")]
    assert len(modules) >= 6
    assert not {
        name_of(path): found
        for path in modules
        if (found := broken_by(path, heavy, only_on_import=True))
    }


def test_data_half_of_classify_needs_no_torch() -> None:
    modules = [path for path in MODULES if name_of(path).startswith(WITHOUT_TORCH)]
    assert len(modules) >= 12
    faults = {name_of(path): broken_by(path, ("torch", "safetensors")) for path in modules}
    assert not {name: found for name, found in faults.items() if found}


def test_packages_that_were_ruled_out_are_not_imported() -> None:
    assert not [name_of(path) for path in MODULES if broken_by(path, NEVER)]


def unsafe_calls_in(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if call in UNSAFE_CALLS:
            arguments = [f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords]
            if UNSAFE_CALLS[call] not in arguments:
                found.append(f"line {node.lineno}: {call}")
    return found


def test_no_file_of_a_stranger_can_run_code() -> None:
    faults = {name_of(path): unsafe_calls_in(path) for path in MODULES}
    assert not {name: found for name, found in faults.items() if found}


def test_unsafe_calls_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("torch.load(p)\nnp.load(p, allow_pickle=False)\npickle.loads(b'')\n")
    assert unsafe_calls_in(path) == ["line 1: torch.load", "line 3: pickle.loads"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_short_and_named_after_what_it_holds(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{lines} lines: it is two modules"
    assert not NAMELESS & set(path.with_suffix("").parts[-2:])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_public_function_bears_the_name_of_its_module(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert path.stem not in functions
