import ast
import inspect
import re
from pathlib import Path

import tinysight


def test_every_public_name_is_there_and_described() -> None:
    assert len(tinysight.__all__) >= 15
    assert tinysight.__all__ == sorted(tinysight.__all__)
    for name in tinysight.__all__:
        assert inspect.getdoc(getattr(tinysight, name)), name


def test_the_list_is_what_the_module_offers() -> None:
    assert dir(tinysight) == sorted([*tinysight.__all__, "__version__"])
    tree = ast.parse(Path(tinysight.__file__).read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinysight.")
        for alias in node.names
    }
    assert imported == set(tinysight.__all__)


def test_a_path_may_be_a_text_everywhere() -> None:
    for name in tinysight.__all__:
        function = getattr(tinysight, name)
        if not inspect.isfunction(function):
            continue
        for parameter in inspect.signature(function).parameters.values():
            if re.search(r"\bPath\b", str(parameter.annotation)):
                assert "str" in parameter.annotation, f"{name}: {parameter.name}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(tinysight, "trian")
