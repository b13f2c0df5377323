"""Times against one size at a time, around the paper's: candidates, problems, horizon, actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from baselines.torch_cem import COMPILED, PIECE
from cem.cases import PRECISIONS, TORCH, Size
from cem.table import side_by_side

CANDIDATES = (64, 100, 250, 1000, 4000, 10_000)
PROBLEMS = (1, 8, 64)
HORIZONS = (6, 12, 24)
ACTIONS = (1, 6, 21, 38)
HEADS = ((200, 200), (300, 300, 300))  # the paper's and the official code's
MOST_ROLLOUTS = 10_000  # of a plan, to keep it short: fewer iterations where there are more


def points(quick: bool = False) -> Iterator[tuple[str, Any, Size]]:
    """Axis, value and size of every point; the paper's size comes up on each axis."""
    base = Size.of_preset("paper")
    if quick:
        base = replace(base, belief=20, hidden=20, reward=(20, 20)).with_candidates(100)
    for value in (64, 250) if quick else CANDIDATES:
        yield "candidates", value, base.with_candidates(value)
    for value in PROBLEMS[: 2 if quick else None]:
        yield "problems", value, replace(base, batch=value)
    for value in HORIZONS:
        yield "horizon", value, replace(base, horizon=value)
    for value in ACTIONS:
        yield "action", value, replace(base, action=value)
    for head in HEADS:
        yield "reward head", list(head), replace(base, reward=head)


def uncompiled(name: str) -> str:
    """The form, or packed weights of its precision instead of a compiled one."""
    form, precision = TORCH[name]
    packed = {of: name for name, (form, of) in TORCH.items() if form == "packed"}
    return packed[precision] if form in COMPILED else name


def measure(
    threads: list[int],
    seconds: float,
    report: Callable[[str], None],
    fastest: tuple[str, ...],
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Times of one CEM iteration at every point.

    Args:
      threads: counts; the axes other than candidates are measured with the last one only.
      seconds: of sampling at a point, or three rounds where those take longer.
      report: told of progress.
      fastest: forms of the PyTorch planner, by precision; a compiled one only where it needs no
        new compilation, and else the one of packed weights.
      quick: a few small points, to test the command.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[tuple[Size, int], dict[str, Any]] = {}
    for count in threads:
        for axis, value, size in points(quick):
            if axis != "candidates" and count != threads[-1]:
                continue
            rollouts = size.batch * size.candidates
            iterations = max(1, min(size.iterations, MOST_ROLLOUTS // rollouts))
            size = replace(size, iterations=iterations)
            if (size, count) not in seen:
                same = axis in ("candidates", "problems") and not rollouts % PIECE
                variants = (*PRECISIONS, *(name if same else uncompiled(name) for name in fastest))
                seen[size, count] = side_by_side(size, count, variants, seconds)[0]
            run = seen[size, count]
            per_iteration = {k: v["median_ms"] / iterations for k, v in run["times"].items()}
            rows.append(
                {
                    "axis": axis,
                    "value": value,
                    "size": size.to_dict(),
                    "ms_per_iteration": per_iteration,
                    **run,
                }
            )
            shown = ", ".join(f"{name} {ms:.2f}" for name, ms in per_iteration.items())
            report(f"{count} thread(s), {axis} {value}: ms per iteration: {shown}")
    return rows
