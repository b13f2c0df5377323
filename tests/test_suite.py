"""The tests themselves: no luck, no clock."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis.core
import numpy as np
import torch

FOLDER = Path(__file__).parent
LEAST_GUARD = 300  # seconds; a time-out ends what hangs, it does not judge how fast the machine is

# What may look at a clock, wait for a time or end early, by file and function, and why.
ALLOWED = {
    ("ops/cuda/test_determinism.py", "_sleep"): "keeps a GPU busy, on its own clock",
    ("storage/test_atomic.py", "sleep"): "the moment of a kill is any",
    ("cli/test_output.py", "sleep"): "between two looks; a step that hangs",
    ("durability/toy_run.py", "alarm"): "a guard",
    ("durability/toy_run.py", "sleep"): "the moment of a kill is any",
    ("durability/toy_run.py", "perf_counter"): "so that kills fall within the run",
    ("durability/__main__.py", "perf_counter"): "says how long it took",
    ("ops/test_signals.py", "sleep"): "until a signal comes",
    ("ops/planning.py", "setitimer"): "takes back the alarm",
    ("ops/test_signals.py", "setitimer"): "signals come during a plan that takes far longer",
}  # fmt: skip
CLOCKS = {"sleep", "_sleep", "perf_counter", "monotonic", "process_time", "setitimer", "alarm"}
NEED_A_SEED = {"default_rng", "Random", "RandomState", "SystemRandom", "urandom", "token_bytes"}


def sources() -> Iterator[tuple[str, ast.AST]]:
    """All files, and the programs in them that other processes run."""
    for path in sorted(FOLDER.rglob("*.py")):
        name = path.relative_to(FOLDER).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield name, tree
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and "\n" in node.value
            ):
                try:
                    yield name, ast.parse(node.value)
                except (SyntaxError, ValueError):
                    continue  # prose, C++, or a piece of a program


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """File, name of the function and call."""
    return [
        (name, getattr(node.func, "attr", getattr(node.func, "id", "")), node)
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def test_no_test_reads_a_clock_or_waits_for_a_time() -> None:
    found = {(file, function) for file, function, _ in calls() if function in CLOCKS}
    assert found == set(ALLOWED)


def test_time_outs_are_guards_alone() -> None:
    for file, function, call in calls():
        given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
        given += call.args if function in ("wait", "join", "Timer") else []
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
                assert value.value >= LEAST_GUARD, (file, function, value.value)


def test_random_inputs_have_seeds() -> None:
    for file, function, call in calls():
        seeded = function not in NEED_A_SEED or call.args or call.keywords
        assert seeded or file == "conftest.py", (file, function)
        assert function != "settings" or not call.keywords, (file, "conftest.py has --examples")


def test_global_generators_begin_equal_in_every_test() -> None:
    drawn = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    expected = random.Random(0).random(), np.random.RandomState(0).rand()  # noqa: NPY002
    assert drawn == (*expected, torch.rand((), generator=torch.Generator().manual_seed(0)).item())


def test_hypothesis_has_the_seed_that_is_shown(seed: int) -> None:
    assert hypothesis.core.global_force_seed == seed
