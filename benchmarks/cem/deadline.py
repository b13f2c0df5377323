"""Measures how plans keep a budget: wall time of `plan(budget_ms=...)` minus the budget.

    python benchmarks/cem/deadline.py --json benchmarks/results/deadline.json

Plans at the sizes of the paper and of the small preset, in fp32 and in int8, on 1 and 2 threads,
alone and beside a process that keeps the last core busy. Negative overshoot is budget left over,
since another iteration would not fit. The first iteration always runs, so budgets shorter than one
iteration are overshot by definition and stand in a table of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from planet import CEMPlanner, Imagination, LatentState, build_info
from planet.config.presets import PRESETS
from planet.diagnostics.machine import machine_facts
from planet.planning import make_planner
from planet.storage.atomic import atomic_write
from planet.weights.random import random_weights

BUSY = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
while True: pass
"""


@contextmanager
def busy_core(busy: bool) -> Iterator[None]:
    """Keeps the last core busy with a process that ends with the block."""
    if not busy:
        yield
        return
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(core)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        yield
    finally:
        process.kill()
        process.wait()


def milliseconds(
    planner: CEMPlanner, imagination: Imagination, seed: int, budget: float | None = None
) -> tuple[float, int]:
    """Wall time of one plan as the caller sees it, and its iterations."""
    began = time.perf_counter()
    plan = planner.plan(imagination, seed, budget_ms=budget)
    return 1e3 * (time.perf_counter() - began), plan.iterations


def measure(
    planner: CEMPlanner, imagination: Imagination, budgets: list[float], plans: int
) -> list[dict[str, Any]]:
    """One row per budget; the budgets, and plans of a single iteration, take turns."""
    one, endless = replace(planner, iterations=1), replace(planner, iterations=1 << 16)
    times: list[list[tuple[float, int]]] = [[] for _ in budgets]
    single: list[float] = []
    for seed in range(-3, plans):  # the first few warm up
        first = milliseconds(one, imagination, abs(seed))
        later = [milliseconds(endless, imagination, abs(seed), budget) for budget in budgets]
        if seed >= 0:
            single.append(first[0])
            for row, pair in zip(times, later, strict=True):
                row.append(pair)
    return [
        summary(budget, row, float(np.median(single)))
        for budget, row in zip(budgets, times, strict=True)
    ]


def summary(budget: float, times: list[tuple[float, int]], single: float) -> dict[str, Any]:
    """Percentiles of the overshoot in milliseconds, and what stands for the rest of the budget."""
    over = np.array([wall - budget for wall, _ in times])
    iterations = [count for _, count in times]
    return {
        "budget_ms": budget,
        "plans": len(times),
        "one_iteration_ms": single,
        "iterations_median": float(np.median(iterations)),
        "overshoot_p50_ms": float(np.percentile(over, 50)),
        "overshoot_p99_ms": float(np.percentile(over, 99)),
        "overshoot_max_ms": float(over.max()),
        "overshot": float(np.mean(over > 0)),
        "below_one_iteration": bool(min(iterations) == max(iterations) == 1 and single > budget),
    }


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every combination, as rows."""
    precisions = ["fp32", "int8"] if build_info().get("int8") else ["fp32"]
    rows = []
    for preset in arguments.presets:
        config = PRESETS[preset]("cheetah-run")
        weights, planner = random_weights(config.model, 6), make_planner(config.planner)
        assert isinstance(planner, CEMPlanner)
        start = LatentState(torch.zeros(1, weights.belief_size), torch.zeros(1, weights.state_size))
        for precision in precisions:
            imagination = Imagination(weights, start, precision=precision)
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                for busy in (False, True):
                    case = {"preset": preset, "precision": precision, "threads": threads}
                    case |= {"busy_core": busy, "load_before": os.getloadavg()[0]}
                    with busy_core(busy):
                        found = measure(planner, imagination, arguments.budgets, arguments.plans)
                    rows += [case | row for row in found]
                    print(table(rows[-len(found) :], header=len(rows) == len(found)), flush=True)
    return rows


COLUMNS = (
    ("preset", "preset", "{}"),
    ("precision", "precision", "{}"),
    ("threads", "threads", "{}"),
    ("busy core", "busy_core", "{}"),
    ("budget", "budget_ms", "{:g}"),
    ("1 iteration", "one_iteration_ms", "{:.1f}"),
    ("iterations", "iterations_median", "{:g}"),
    ("p50", "overshoot_p50_ms", "{:+.2f}"),
    ("p99", "overshoot_p99_ms", "{:+.2f}"),
    ("max", "overshoot_max_ms", "{:+.2f}"),
    ("overshot", "overshot", "{:.0%}"),
)


def table(rows: list[dict[str, Any]], header: bool = True) -> str:
    """Lines of text, milliseconds."""
    titles = [title for title, _, _ in COLUMNS]
    cells = [[form.format(row[name]) for _, name, form in COLUMNS] for row in rows]
    widths = [max(len(title), 9) for title in titles]
    lines = [titles, *cells] if header else cells
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plans", type=int, default=200, help="per budget and case")
    parser.add_argument("--budgets", type=float, nargs="+", default=[20.0, 50.0, 100.0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--presets", nargs="+", default=["paper", "small"], choices=list(PRESETS))
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints two tables, writes JSON."""
    options = parse(arguments)
    facts = {"machine": machine_facts(), "build": build_info()}
    rows = run(options)
    kept = [row for row in rows if not row["below_one_iteration"]]
    short = [row for row in rows if row["below_one_iteration"]]
    print("\novershoot in ms (wall time minus budget; negative: left over)")
    print(table(kept))
    if short:
        print("\nbudgets shorter than one iteration, which always runs")
        print(table(short))
    if options.json is not None:
        content = {**facts, "load_after": os.getloadavg()[0], "rows": rows}
        with atomic_write(options.json) as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
