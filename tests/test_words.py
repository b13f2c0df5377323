"""Words: one per thing, one meaning each (docs/architecture.md, Naming and Prose)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("planet", "benchmarks", "docs", "_build_backend", ".ci", "tests")

# A word in names that planet/ defines, what it means, and the only places that may define it.
MEANINGS = {
    "advance": (
        "a progress bar goes on",
        "training/progress training/stages training/trainer cli/progress",
    ),
    "simulate": ("the physics goes on", "envs"),
    "transition": ("the model's step", "protocols models ops weights config"),
    "rollout": ("the model's imagination alone", "models ops planning weights"),
    "chunk": (
        "what replay draws",
        "protocols config replay models training systems ops/filter experiments/open_loop",
    ),
    "episode": (
        "interaction with an environment",
        "protocols config envs replay acting training systems experiments profiling cli",
    ),
}
# Names never hold these; there is another word.
OTHERWISE = {
    "std": "stddev",
    "sigma": "stddev",
    "obs": "observation",
    "deter": "belief",
    "stoch": "state",
    "trajectory": "episode, rollout or plan",
    "trajectories": "episodes, rollouts or plans",
    "timestep": "step",
    "num": "the plural alone",
    "cfg": "config",
    "params": "parameters",
    "utils": "what it is for",
    "helpers": "what they are for",
    "common": "what they have in common",
    "misc": "what it is",
}
OPENINGS = ("What", "Those", "Of", "The same", "Who", "Which", "Where", "When", "How")


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def defined(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names that a file gives: functions, classes, arguments, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@pytest.mark.parametrize("word", MEANINGS)
def test_a_word_has_one_meaning(word: str) -> None:
    meaning, places = MEANINGS[word]
    homes = tuple(f"planet/{place}{end}" for place in places.split() for end in ("/", ".py"))
    wrong = [
        f"{file}:{line}: {name}"
        for file, tree in sources("planet")
        for line, name in defined(tree)
        if word in words(name) and not file.startswith(homes)
    ]
    assert wrong == [], f"{word} means: {meaning}"


def test_a_thing_has_one_word() -> None:
    wrong = [
        f"{file}:{line}: {name}, say {OTHERWISE[word]}"
        for file, tree in sources("planet", "benchmarks")
        for line, name in defined(tree)
        for word in words(name) & OTHERWISE.keys()
    ]
    assert wrong == []


def test_files_and_folders_are_named_for_what_they_hold() -> None:
    names = ["planet", "csrc", "bindings", "benchmarks", "emulator", "docs", "tests"]
    wrong = [
        path.relative_to(ROOT).as_posix()
        for name in names
        for path in (ROOT / name).rglob("*")
        if words(path.stem) & OTHERWISE.keys()
    ]
    assert wrong == []


def test_docstrings_do_not_open_with_a_pronoun_or_a_question() -> None:
    wrong = [
        f"{file}:{getattr(node, 'lineno', 1)}: {doc.splitlines()[0]}"
        for file, tree in sources(*FOLDERS)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and (doc := ast.get_docstring(node))
        and doc.startswith(tuple(f"{opening} " for opening in OPENINGS))
    ]
    assert wrong == []
