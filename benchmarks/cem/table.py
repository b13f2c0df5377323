"""Measures the figures that the planner is judged by, at the paper's size."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from baselines.torch_cem import BASELINES
from cem.cases import Problem, Size, instruction_set, prepare
from cem.ceilings import ceilings
from cem.peak_memory import in_own_process
from cem.sampling import Call, Samples, interleave

from planet import build_info
from planet.ops import fused

SGEMM = 2048  # square matrices of the products that the rate is compared with
Report = Callable[[str], None]


def side_by_side(
    size: Size,
    threads: int,
    variants: tuple[str, ...],
    seconds: float,
    warm_up: int = 1,
    beside: dict[str, Call] | None = None,
) -> tuple[dict[str, Any], Samples]:
    """Times of whole plans, interleaved; `baseline` is the fastest of the plain PyTorch forms.

    Args:
      size: of the problem.
      threads: of torch and so of the planner.
      variants: see `Problem.variant`.
      seconds: of sampling.
      warm_up: rounds that are not counted.
      beside: other calls, timed in the same rounds.
    """
    torch.set_num_threads(threads)
    ready, missing = prepare(Problem(size), variants)
    calls = {name: variant.plan for name, variant in ready.items()}
    samples = interleave(calls | (beside or {}), seconds, warm_up=warm_up)
    out: dict[str, Any] = {
        "threads": threads,
        "rounds": samples.rounds,
        "errors": {name: variant.error for name, variant in ready.items()},
        "first_seconds": {name: variant.first_seconds for name, variant in ready.items()},
        "missing": missing,
        "times": {name: samples.summary(name) for name in samples.wall},
    }
    forms = [form for form in BASELINES if form in calls]
    if forms:
        out["baseline"] = samples.fastest(forms)
    public = [form for form in ("eager", "jit") if form in calls]
    named = {
        "baseline": out.get("baseline"),
        "eager or jit": samples.fastest(public) if public else None,
    }
    for fast in ("fp32", "int8"):
        for slow in ("baseline", "eager or jit", "compile", "fp32", "reference", "torchrl"):
            name = named.get(slow, slow)
            if name in calls and fast in calls and name != fast:
                out[f"{slow} / {fast}"] = samples.ratio(name, fast)
        if fast in calls:
            rates = [2e-9 * size.multiply_adds / t for t in samples.wall[fast]]
            out[f"{fast} GOP/s"] = {"median": statistics.median(rates), "max": max(rates)}
    return out, samples


def paper(size: Size, threads: int, seconds: float, variants: tuple[str, ...]) -> dict[str, Any]:
    """One thread count's column of the table."""
    a, b = torch.randn(SGEMM, SGEMM), torch.randn(SGEMM, SGEMM)
    c = torch.empty(SGEMM, SGEMM)
    beside = {"sgemm": lambda: torch.mm(a, b, out=c), "refit": refit_call(size)}
    out, samples = side_by_side(size, threads, variants, seconds, 2, beside)
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
        precision = "int8" if name.endswith("vnni") else "fp32"  # its fp32 is avx512's
        with instruction_set(name):
            ready, absent = prepare(Problem(size), (precision,))
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
    threads: list[int], seconds: float, report: Report, sizes: dict[str, Size], compiled: bool
) -> dict[str, Any]:
    """The whole table.

    Args:
      threads: counts to measure.
      seconds: of sampling at the paper's size, for each count; the other rows take less.
      report: told of progress.
      sizes: "paper" and "small".
      compiled: whether to compile.
    """
    size, small = sizes["paper"], sizes["small"]
    few, compiler = seconds / 5, ("compile",) if compiled else ()
    every = ("fp32", "int8", *BASELINES)
    table: dict[str, Any] = {"size": size.to_dict(), "small_size": small.to_dict()}
    parts = ("ceilings", "paper", "others", "small", "instruction_sets")
    table |= {part: {} for part in parts}
    for count in threads:
        key = str(count)
        report(f"{count} thread(s): ceilings, the paper's size")
        table["ceilings"][key] = ceilings(count, min(0.5, seconds / 20))
        table["paper"][key] = paper(size, count, seconds, every + compiler)
        report(f"{count} thread(s): TorchRL, the reference, a small model, instruction sets")
        others = ("fp32", "torchrl", "reference")
        table["others"][key] = side_by_side(size, count, others, few)[0]
        table["small"][key] = side_by_side(small, count, every, few, warm_up=3)[0]
        fewer = replace(size, iterations=min(2, size.iterations))
        table["instruction_sets"][key] = instruction_sets(fewer, count, few)
    baseline = table["paper"][str(threads[-1])]["baseline"]
    variants = ("fp32", "int8", baseline, *compiler, "torchrl")
    table["peak_memory"] = peak_memory(size, threads[-1], variants, report)
    return table
