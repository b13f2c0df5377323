"""Measures the figures that the planner is judged by, at the paper's size."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from baselines.torch_cem import BASELINES, COMPILED
from cem.cases import PRECISIONS, TORCH, Problem, Size, instruction_set, prepare
from cem.ceilings import ceilings, peak
from cem.peak_memory import in_own_process
from cem.sampling import Call, Samples, interleave

from planet import build_info
from planet.ops import fused

SGEMM = 2048  # square matrices of the products that the rate is compared with
LEAST = 30  # rounds whose minima are quoted
HEATS = 5  # rounds that choose PyTorch's forms for them
NEAR = 1.2  # times the fastest of its precision: a form that may turn out the fastest
Report = Callable[[str], None]


def torch_forms(compiled: bool) -> tuple[str, ...]:
    """Names all of PyTorch's planners, or those without a compiler."""
    return tuple(name for name, (form, _) in TORCH.items() if compiled or form not in COMPILED)


def side_by_side(
    size: Size,
    threads: int,
    variants: tuple[str, ...],
    seconds: float,
    warm_up: int = 1,
    least: int = 3,
    beside: dict[str, Call] | None = None,
) -> tuple[dict[str, Any], Samples]:
    """Times of whole plans, interleaved; `fastest` names PyTorch's fastest form by precision.

    Args:
      size: of the problem.
      threads: of torch and so of the planner.
      variants: see `Problem.variant`.
      seconds: of sampling.
      warm_up: rounds that are not counted.
      least: rounds at least.
      beside: other calls, timed in the same rounds.
    """
    torch.set_num_threads(threads)
    ready, missing = prepare(Problem(size), variants)
    calls = {name: variant.plan for name, variant in ready.items()}
    before = os.getloadavg()[0]
    samples = interleave(calls | (beside or {}), seconds, least, warm_up=warm_up)
    fastest = fastest_forms(samples)
    out: dict[str, Any] = {
        "threads": threads,
        "rounds": samples.rounds,
        "load": [before, os.getloadavg()[0]],
        "errors": {name: variant.error for name, variant in ready.items()},
        "elite_overlaps": {name: variant.overlap for name, variant in ready.items()},
        "first_seconds": {name: variant.first_seconds for name, variant in ready.items()},
        "missing": missing,
        "fastest": fastest,
        "times": {name: samples.summary(name) for name in samples.wall},
    }
    named = {f"torch {precision}": name for precision, name in fastest.items()}
    others = {name: name for name in (*PRECISIONS, "reference", "torchrl")}
    for fast in (name for name in PRECISIONS if name in calls):
        for slow, name in (named | others).items():
            if name in calls and name != fast:
                out[f"{slow} / {fast}"] = samples.ratio(name, fast)
    return out, samples


def fastest_forms(samples: Samples) -> dict[str, str]:
    """PyTorch's fastest form of each precision that was timed."""
    timed = {
        precision: [
            name for name, (_, of) in TORCH.items() if of == precision and name in samples.wall
        ]
        for precision in BASELINES
    }
    return {precision: samples.fastest(names) for precision, names in timed.items() if names}


def finalists(samples: Samples, fastest: dict[str, str]) -> tuple[str, ...]:
    """PyTorch's forms that came near the fastest of their precision."""
    least = {name: min(samples.wall[name]) for name in TORCH if name in samples.wall}
    return tuple(name for name in least if least[name] <= NEAR * least[fastest[TORCH[name][1]]])


def paper(
    size: Size, threads: int, seconds: float, forms: tuple[str, ...], measured: dict[str, Any]
) -> dict[str, Any]:
    """One thread count's column of the table.

    Args:
      size: the paper's.
      threads: of the column.
      seconds: of sampling.
      forms: PyTorch's, whose heats choose who is timed beside the planner.
      measured: the processor's ceilings for so many threads.
    """
    heats, samples = side_by_side(size, threads, forms, 0, least=HEATS)
    chosen = finalists(samples, heats["fastest"])
    a, b = torch.randn(SGEMM, SGEMM), torch.randn(SGEMM, SGEMM)
    c = torch.empty(SGEMM, SGEMM)
    beside = {"sgemm": lambda: torch.mm(a, b, out=c), "refit": refit_call(size)}
    out, samples = side_by_side(size, threads, (*PRECISIONS, *chosen), seconds, 2, LEAST, beside)
    out["heats"] = heats
    for name in out["errors"]:
        precision = TORCH[name][1] if name in TORCH else name
        rates = [2e-9 * size.multiply_adds / t for t in samples.wall[name]]
        out[f"{name} GOP/s"] = {"median": statistics.median(rates), "max": max(rates)}
        if most := peak(measured, precision):
            share = {"median": statistics.median(rates) / most, "max": max(rates) / most}
            out[f"{name} share of peak"] = share
    scale = size.multiply_adds / SGEMM**3  # as much work as so many products
    sgemm = [2e-9 * SGEMM**3 / t for t in samples.wall["sgemm"]]
    out["sgemm GOP/s"] = {"median": statistics.median(sgemm), "max": max(sgemm)}
    rates = samples.ratio("sgemm", "fp32")
    out["fp32 / sgemm rate"] = {name: scale * value for name, value in rates.items()}
    refit = samples.ratio("refit", "fp32")
    out["refit share"] = {name: size.iterations * value for name, value in refit.items()}
    return out


def refit_call(size: Size) -> Call:
    """One refit at a plan's sizes; a plan does as many as it has iterations."""
    actions = torch.rand(size.horizon, size.batch, size.candidates, size.action)
    returns = torch.randn(size.batch, size.candidates)
    return lambda: fused.refit(actions, returns, topk=size.topk)


def instruction_sets(size: Size, threads: int, seconds: float) -> dict[str, Any]:
    """Plans with each instruction set that this processor runs, forced, beside the baseline."""
    torch.set_num_threads(threads)
    calls: dict[str, Call] = {}
    missing: dict[str, str] = {}
    for name in build_info()["isas"]:
        with instruction_set(name):
            own = [p for p, kernels in fused._C.precisions().items() if kernels == name]
            ready, absent = prepare(Problem(size), tuple(own))
        missing |= {f"{name} {key}": why for key, why in absent.items()}
        calls |= {f"{name} {key}": _forced(name, v.plan) for key, v in ready.items()}
    calls["eager"] = Problem(size).variant("eager").plan
    samples = interleave(calls, seconds)
    rates = {k: 2e-6 * size.multiply_adds / samples.summary(k)["median_ms"] for k in calls}
    return {
        "threads": threads,
        "size": size.to_dict(),
        "rounds": samples.rounds,
        "missing": missing,
        "rows": {
            name: {
                **samples.summary(name),
                "giga_operations_per_second": rates[name],
                "times_as_fast_as_eager": samples.ratio("eager", name)["median_of_paired_ratios"],
            }
            for name in calls
        },
    }


def _forced(name: str, call: Call) -> Call:
    def forced() -> Any:
        with instruction_set(name):
            return call()

    return forced


def peak_memory(size: Size, threads: int, variants: tuple[str, ...], report: Report) -> dict:
    """Extra megabytes of a plan (`peak_memory.py`), by number of problems and variant."""
    out: dict[str, Any] = {"threads": threads, "problems": {}}
    for batch in (1,) if size.candidates < 100 else (1, 8):
        case = replace(size, batch=batch, iterations=2)
        rows = {}
        for variant in variants:
            rows[variant] = in_own_process(variant, threads, case)
            report(f"extra peak memory, B={batch}, {variant}: {rows[variant]}")
        out["problems"][str(batch)] = rows
    return out


def measure(
    threads: list[int],
    seconds: float,
    report: Report,
    sizes: dict[str, Size],
    forms: tuple[str, ...],
) -> dict[str, Any]:
    """The whole table.

    Args:
      threads: counts to measure.
      seconds: of sampling at the paper's size, for each count, or LEAST rounds where those take
        longer; the other rows take less.
      report: told of progress.
      sizes: "paper" and "small".
      forms: PyTorch's, see `torch_forms`.
    """
    size, small = sizes["paper"], sizes["small"]
    few, plain = seconds / 5, tuple(form for form in forms if TORCH[form][0] not in COMPILED)
    table: dict[str, Any] = {"size": size.to_dict(), "small_size": small.to_dict()}
    parts = ("ceilings", "paper", "others", "small", "instruction_sets")
    table |= {part: {} for part in parts}
    for count in threads:
        key = str(count)
        report(f"{count} thread(s): ceilings, the paper's size")
        measured = table["ceilings"][key] = ceilings(count, min(0.5, seconds / 20))
        table["paper"][key] = paper(size, count, seconds, forms, measured)
        report(f"{count} thread(s): TorchRL, the reference, a small model, instruction sets")
        others = ("fp32", "torchrl", "reference")
        table["others"][key] = side_by_side(size, count, others, few)[0]
        every = (*PRECISIONS, *plain)
        table["small"][key] = side_by_side(small, count, every, few, 3, LEAST)[0]
        fewer = replace(size, iterations=min(2, size.iterations))
        table["instruction_sets"][key] = instruction_sets(fewer, count, few)
    fastest = table["paper"][str(threads[-1])]["fastest"].values()
    variants = (*PRECISIONS, *fastest, "torchrl")
    table["peak_memory"] = peak_memory(size, threads[-1], variants, report)
    return table
