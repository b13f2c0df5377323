"""Times against one size at a time, around the paper's: candidates, problems, horizon, actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from baselines.torch_cem import PIECE
from cem.cases import Size
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


def measure(
    threads: list[int],
    seconds: float,
    report: Callable[[str], None],
    baseline: str,
    compiled: bool,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Times of one CEM iteration at every point.

    Args:
      threads: counts; the axes other than candidates are measured with the last one only.
      seconds: of sampling at a point, or three rounds where those take longer.
      report: told of progress.
      baseline: form of the PyTorch planner.
      compiled: whether to time the compiled form too, where it needs no new compilation.
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
                variants = ["fp32", "int8", baseline]
                if compiled and axis in ("candidates", "problems") and not rollouts % PIECE:
                    variants.append("compile")
                seen[size, count] = side_by_side(size, count, tuple(variants), seconds)[0]
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
