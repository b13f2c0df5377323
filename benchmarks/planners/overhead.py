"""Times what a plan does beside its rollouts: drawing, mixing, keeping, ranking, refitting.

    python benchmarks/planners/overhead.py            # the paper's size on one thread: two minutes
    python benchmarks/planners/overhead.py --quick    # tiny, to test the command

Plans take turns, in one process, with the rollouts of as many action sequences that are given, with
the same noise. The clock is that of the process, which stands still while others run. What a plan
takes longer is the loop's overhead. Its share of the rollouts is to be at most 5 %, by the ratio of
the minima of many rounds; below 0 % where actions are drawn in less time than they are read. Every
planner has the paper's J = 1000, I = 10 and K = 100. Writes JSON.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from cem.cases import PRECISIONS, Problem, Size
from cem.sampling import Call, Samples, interleave
from circumstances import circumstances, result_path
from gpu.runner import write_json

from planet.noise import Noise
from planet.ops import fused
from planet.planning import CEMPlanner, ICEMPlanner, Imagination, MPPIPlanner, SamplingPlanner
from planet.training.threads import cpu_threads

BAR = 0.05
QUICK = Size(3, 2, 40, 4, 2, 10, 4, 12, (8, 8))


def planners(size: Size) -> dict[str, SamplingPlanner]:
    """Planners with the candidates and iterations of a size; iCEM keeps three tenths of its elites.

    Nothing decays, so that every one has as many rollouts, but for those that are scored again.
    """
    sizes: dict[str, Any] = {
        "horizon": size.horizon, "candidates": size.candidates, "iterations": size.iterations,
        "topk": size.topk,
    }  # fmt: skip
    return {
        "cem": CEMPlanner(**sizes),
        "icem": ICEMPlanner(**sizes, keep=max(1, 3 * size.topk // 10), decay=1.0),
        "mppi": MPPIPlanner(**sizes),
    }


def rollouts(planner: SamplingPlanner, imagination: Imagination) -> Call:
    """Scores as many sequences as a plan does, with the same noise, and does nothing else."""
    generator = torch.Generator().manual_seed(2)
    settings = planner.settings
    batch, size = imagination.low.shape
    shapes = [(settings.horizon, batch, j + settings.keep, size) for j in settings.counts]
    actions = [torch.rand(shape, generator=generator) * 2 - 1 for shape in shapes]

    def score() -> None:
        for i, of_iteration in enumerate(actions):
            imagination.returns(of_iteration, Noise(0, i))

    return score


def compare(size: Size, precision: str, seconds: float) -> Samples:
    """Times each planner's plan and rollouts in turn."""
    problem, calls = Problem(size), {}
    imagination = Imagination(problem.weights, problem.latent, precision=precision)
    for name, planner in planners(size).items():
        calls[name] = lambda planner=planner: planner.plan(imagination, 0)
        calls[f"{name} rollouts"] = rollouts(planner, imagination)
    return interleave(calls, seconds, clock=time.process_time)


def summary(samples: Samples) -> dict[str, Any]:
    """Milliseconds and shares by planner."""
    out = {}
    for name in (name for name in samples.wall if f"{name} rollouts" in samples.wall):
        ratio = samples.ratio(name, f"{name} rollouts")
        out[name] = {
            "plan": samples.summary(name),
            "rollouts": samples.summary(f"{name} rollouts"),
            "overhead_of_minima": ratio["ratio_of_minima"] - 1.0,
            "median_overhead": ratio["median_of_paired_ratios"] - 1.0,
        }
    return out


def lines(results: dict[str, Any]) -> list[str]:
    """The table as text."""
    out = [f"{'':12}{'plan ms':>10}{'rollouts ms':>13}{'overhead':>10}{'median':>9}{'n':>5}"]
    for precision, found in results.items():
        for name, row in found["planners"].items():
            plan, scored = row["plan"]["min_ms"], row["rollouts"]["min_ms"]
            shares = f"{row['overhead_of_minima']:>10.2%}{row['median_overhead']:>9.2%}"
            out.append(
                f"{name} {precision:7}{plan:>10.1f}{scored:>13.1f}{shares}{found['rounds']:>5}"
            )
    return out


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 1 when a share is above the bar at the paper's size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="for all precisions together")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, help="default: all served")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test the command")
    parser.add_argument("--output", type=Path, default=result_path("planner_overhead", "cpu"))
    options = parser.parse_args(arguments)
    served = [name for name in PRECISIONS if name in fused.served_precisions("cpu")]
    chosen = options.precisions or served
    size = QUICK if options.quick else Size.of_preset("paper")
    facts = circumstances()
    results: dict[str, Any] = {}
    with cpu_threads(1):
        for precision in chosen:
            seconds = 0.02 if options.quick else options.seconds / len(chosen)
            samples = compare(size, precision, seconds)
            results[precision] = {"planners": summary(samples), "rounds": samples.rounds}
    print("\n".join(lines(results)))
    whole = {**facts, "size": size.to_dict(), "threads": 1, "bar": BAR, "precisions": results}
    write_json(options.output, {**whole, "load_after": os.getloadavg()})
    print(f"written to {options.output}")
    shares = [
        row["overhead_of_minima"]
        for found in results.values()
        for row in found["planners"].values()
    ]
    return int(not options.quick and max(shares) > BAR)


if __name__ == "__main__":
    raise SystemExit(main())
