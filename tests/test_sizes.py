"""Sizes: files of fewer than 350 lines, functions with fewer than 50 lines of body."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "planet",
    "csrc",
    "bindings",
    "emulator",
    "tests",
    "benchmarks",
    "docs",
    "_build_backend",
)
NATIVE = {".h", ".cpp", ".inc", ".cu", ".cuh"}
LONGEST_FILE, LONGEST_FUNCTION = 350, 50

# What is longer, and how long it may be: to be made shorter, never longer.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS = {
    "csrc/cuda/select.cuh:for_each_elite": 51,
}


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", *NATIVE}:
                yield path


def file_sizes() -> dict[str, int]:
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources()
    }


def function_sizes() -> dict[str, int]:
    """Lines of body: in Python after the docstring, in C++ and CUDA within the braces."""
    sizes: dict[str, int] = {}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        found = in_python(text) if path.suffix == ".py" else in_braces(text)
        for name, size in found:
            key = f"{path.relative_to(ROOT).as_posix()}:{name}"
            sizes[key] = max(size, sizes.get(key, 0))
    return sizes


def in_python(text: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


# How what is in braces and no function begins, and how the line before a declaration ends.
OTHER_BRACES = re.compile(
    r"(namespace|extern|struct|class|union|enum|if|for|while|switch|else|do|return|case|auto"
    r"|const auto)\b|[^(]*[=}]"
)
BEFORE = re.compile(r"^\s*$|[;{}:]$|^\s*(#|//|template)")


def in_braces(text: str) -> Iterator[tuple[str, int]]:
    """Functions as clang-format writes them: they end with a brace below their first character."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if not line.endswith("{"):
            continue
        first = i
        while first and not BEFORE.search(lines[first - 1]):
            first -= 1
        declaration = "".join(lines[first : i + 1]).strip()
        named = re.search(r"([\w:~]+|operator\S+)\s*\(", declaration)
        if not named or OTHER_BRACES.match(declaration):
            continue
        closing = lines[first][: len(lines[first]) - len(lines[first].lstrip())] + "}"
        end = next((j for j in range(i + 1, len(lines)) if lines[j].startswith(closing)), i)
        yield named[1], end - i - 1


def check(sizes: dict[str, int], limit: int, exceptions: dict[str, int]) -> None:
    over = {name: size for name, size in sizes.items() if size >= limit}
    new = {name: size for name, size in over.items() if size > exceptions.get(name, 0)}
    assert new == {}, f"longer than {limit} lines or than allowed"
    done = sorted(exceptions.keys() - over.keys())
    assert done == [], "no exception is needed any more"


def test_files_are_short() -> None:
    check(file_sizes(), LONGEST_FILE, LONG_FILES)


def test_functions_are_short() -> None:
    check(function_sizes(), LONGEST_FUNCTION, LONG_FUNCTIONS)


LONG = {
    "python": 'def long():\n    """Does much."""\n{}',
    "function": "template <int N>\nvoid long(int a,\n          int b) {{\n{}}}\n",
    "method": "struct S {{\n  int long() const {{\n{}  }}\n}};\n",
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_function_is_seen(kind: str) -> None:
    find = in_python if kind == "python" else in_braces
    assert [*find(LONG[kind].format("    f();\n" * 60))] == [("long", 60)]
