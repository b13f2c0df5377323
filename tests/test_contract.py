"""The stubs of docs/contract.md are the code's signatures."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import planet
from planet import ops

PAGE = Path(__file__).parents[1] / "docs" / "contract.md"
STUBS = ast.parse("\n".join(re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.S)))
FUNCTIONS = [
    (node.name, function)
    for node in STUBS.body
    for function in (node.body if isinstance(node, ast.ClassDef) else [node])
    if isinstance(function, ast.FunctionDef)
]


def written(function: ast.FunctionDef) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of every argument but self."""
    scope: dict[str, Any] = {}
    exec(compile(ast.Module([function], []), str(PAGE), "exec"), scope)
    return parameters(scope[function.name])


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    signature = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in signature if p.name != "self"]


@pytest.mark.parametrize(("owner", "stub"), FUNCTIONS, ids=[f"{o}.{f.name}" for o, f in FUNCTIONS])
def test_a_stub_is_the_signature(owner: str, stub: ast.FunctionDef) -> None:
    homes = [ops.backend(name) for name in ops.BACKENDS] if owner == stub.name else [planet]
    for home in homes:
        found = getattr(home, owner)
        if owner != stub.name:
            found = getattr(found, stub.name)
        assert parameters(found) == written(stub)


def test_a_stub_s_attributes_are_the_class_s() -> None:
    for stub in STUBS.body:
        if names := [node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)]:
            assert names == list(getattr(planet, stub.name).__dataclass_fields__), stub.name
