"""Times the compiled planner against PyTorch's, and against what the machine can do.

    python benchmarks/cem/bench.py                  # the table, then all the sizes: about 10 minutes
    python benchmarks/cem/bench.py --table          # the table alone
    python benchmarks/cem/bench.py --sweep          # the sizes alone
    python benchmarks/cem/bench.py --quick          # tiny sizes in seconds: does the command work?

Everything that is compared runs in this process in turn, so that a busy machine slows all alike:
quote minima of 30 rounds and more with their medians and the load, or ratios, of minima or as
medians of neighbouring runs. All of PyTorch's forms run some rounds; those near the fastest of
their precision are then timed beside the planner. Before it is timed, every variant is checked
against float64: relative L2 error of returns, overlap of elites. Memory is measured in processes of
its own (`peak_memory.py`). Writes JSON; `plot.py` draws it.

What was tried and lost. Figures are times relative to what was kept, on one thread of a Zen 4 core;
of a whole plan at the paper's size unless another thing is named.

PyTorch baseline (`baselines/torch_cem.py`, `baselines/torch_step.py`)
  all the candidates of 4,000 at once, not in pieces of 1,000   1.20   activations leave the caches
  pieces of 250 / 500 / 2,000                                   1.01 / 1.00 / 1.00
  plain addmm instead of weights in oneDNN's layout ("eager")   1.06
  weights in MKL's packed layout                                1.06   of the products
  softplus of a column slice instead of a contiguous copy       1.05   scalar code, 12 times as slow
  tanh instead of 2 sigmoid(2x) - 1                             1.04   four times as slow
  gates of [x, h] in one product                                1.05   the copies cost more
  belief, state and action side by side in one buffer           1.01   oneDNN copies slices
  belief copied into place instead of lerp(out=)                1.004
  products written into column slices                           1.14   of the products
  candidates in columns instead of rows                         1.05   of the products
  TorchScript of the step                                       1.07   nothing to fuse between products
  torch.compile of a rollout instead of a step                  1.13   and 12 to 27 s to compile, not 4 to 7
  torch.compile with max-autotune                               1.8    its choice, made on a busy machine
  bf16 on a Zen 5 core, against a compiled step:
    the same with max-autotune                                  1.05   it chooses oneDNN's products, too
    belief and gates in float32, compiled                       1.02

Compiled planner (`csrc/cpu`), float32 | int8, processor time of a panel
  tiles of 6 features x 4 vectors instead of 5 x 4           1.02 | 1.02
  8 x 3, 7 x 3                                               1.01 | 1.01
  10 x 2                                                     1.005 | 0.985  starves on cores that share load ports
  12 x 2                                                     1.03 | 1.01
  4 x 4                                                      0.995 | 1.00   pads 30 and 50 features more
  Cephes exponentials and vdivps instead of vreduce, vscalef
    and a Newton step from vrcp14                            1.01 | 1.03
  normals scattered by scalars instead of shuffled           1.001 | 1.02
  quantising what only float32 reads, and ELU's shift chosen
    at run time (measured together)                          1.00 | 1.02
  tanh as a sigmoid, one clamp less                          1.00 | 0.995   loses relative accuracy near 0
  fixed range of the belief instead of one at each step      -    | 0.99    loses models with small beliefs
  inline assembly instead of the intrinsic for vpdpbusd      -    | 1.00    GCC 12 keeps all accumulators
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from cem import sweep, table
from cem.cases import PRECISIONS, TORCH, Size
from cem.ceilings import KERNELS
from circumstances import circumstances, result_path
from gpu.runner import write_json

STARTED = time.perf_counter()


def report(text: str) -> None:
    """Progress, with the minutes and the load."""
    minutes = (time.perf_counter() - STARTED) / 60
    print(
        f"[{minutes:5.1f} min, load {os.getloadavg()[0]:.1f}] {text}", file=sys.stderr, flush=True
    )


def quick_sizes() -> dict[str, Size]:
    """So small that all of it takes seconds."""
    tiny = Size(3, 2, 40, 4, 2, 10, 4, 12, (8, 8))
    return {"paper": tiny, "small": replace(tiny, activation="elu")}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only the table")
    parser.add_argument("--sweep", action="store_true", help="only the sizes")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test the command")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=40.0, help="of the table's main rows")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--forms", nargs="+", choices=list(TORCH), metavar="FORM",
        help=f"of PyTorch's planners, default all: {', '.join(map(repr, TORCH))}",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=result_path("cem", "cpu"))
    options = parser.parse_args()
    seconds = min(options.seconds, 0.02) if options.quick else options.seconds
    forms = tuple(options.forms or table.torch_forms(not options.no_compile))
    both = options.table == options.sweep
    results: dict[str, Any] = {}
    if options.output.exists() and not both:  # the other part stays
        results = json.loads(options.output.read_text())
    facts = circumstances()
    print("\n".join(machine(facts["machine"])))
    if both or options.table:
        names = ("paper", "small")
        sizes = quick_sizes() if options.quick else {k: Size.of_preset(k) for k in names}
        figures = table.measure(options.threads, seconds, report, sizes, forms)
        results["table"] = {**facts, **figures, "load_after": os.getloadavg()}
        print("\n".join(lines(results["table"])))
    if both or options.sweep:
        paper = list(results.get("table", {}).get("paper", {}).values())
        fastest = tuple(paper[-1]["fastest"].values()) if paper else ("packed", "packed bf16")
        rows = sweep.measure(options.threads, seconds / 12, report, fastest, options.quick)
        results["sweep"] = {**facts, "points": rows, "load_after": os.getloadavg()}
    write_json(options.output, results)
    print(f"written to {options.output}")


def machine(facts: dict[str, Any]) -> list[str]:
    """The facts that decide the figures: processor, instruction sets, load."""
    build = facts["build"]
    of = ", ".join(f"{name} by {build[name]}" for name in PRECISIONS if build.get(name))
    return [
        f"{facts['processor']}, {facts['cores']} cores, torch {facts['torch']}, load "
        + " ".join(f"{value:.2f}" for value in facts["load_before"]),
        f"instruction set {build.get('isa')}: {of}",
        *(f"refused: {name}: {why}" for name, why in build.get("refused", {}).items()),
    ]


def ratios(counts: list[str], table: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name of a ratio, part of the table, and key."""
    found = [
        ("paper", f"{slow} / {fast}")
        for fast in PRECISIONS
        for slow in (*(f"torch {precision}" for precision in PRECISIONS), *PRECISIONS)
    ]
    found += [("others", f"{slow} / fp32") for slow in ("torchrl", "reference")]
    found += [("small", f"{slow} / {fast}") for fast in PRECISIONS
              for slow in ("torch fp32", f"torch {fast}", "fp32") if slow != fast]  # fmt: skip
    found = list(dict.fromkeys(found))
    return [(f"{part}: {key}", part, key) for part, key in found if key in table[part][counts[0]]]


def lines(table: dict[str, Any]) -> list[str]:
    """The table as text, one column per number of threads."""
    counts = list(table["paper"])
    out = [f"{'threads':58}" + "".join(f"{count:>14}" for count in counts)]

    def row(name: str, part: str, *keys: str, form: str = "{:.1f} ms") -> None:
        cells: list[str] = []
        for count in counts:
            value: Any = table[part][count]
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            cells.append("-" if value is None else form.format(value))
        out.append(f"{name:58}" + "".join(f"{cell:>14}" for cell in cells))

    for precision in PRECISIONS:
        row(f"torch {precision}: the fastest form", "paper", "fastest", precision, form="{}")
    for name, part, key in ratios(counts, table):
        row(f"{name}, of minima", part, key, "ratio_of_minima", form="{:.2f}x")
        row(f"{name}, median", part, key, "median_of_paired_ratios", form="{:.2f}x")
    row("fp32 rate over MKL sgemm", "paper", "fp32 / sgemm rate", "ratio_of_minima", form="{:.2f}")
    share = ("refit share", "median_of_paired_ratios")
    row("share of refit in an fp32 plan", "paper", *share, form="{:.3%}")
    row("rounds", "paper", "rounds", form="{}")
    first = table["paper"][counts[0]]
    for name in first["times"]:
        row(f"{name}, least", "paper", "times", name, "min_ms")
        row(f"{name}, median", "paper", "times", name, "median_ms")
    for name in first["heats"]["times"]:
        row(f"heats: {name}, least", "paper", "heats", "times", name, "min_ms")
    for name in first["errors"]:
        row(f"{name}: relative L2 error", "paper", "errors", name, form="{:.1e}")
        row(f"{name}: overlap of elites", "paper", "elite_overlaps", name, form="{:.2f}")
    for name in (name for name, seconds in first["heats"]["first_seconds"].items() if seconds > 1):
        seconds = ("heats", "first_seconds", name)
        row(f"{name}: compiled in (not counted)", "paper", *seconds, form="{:.1f} s")
    for name in ("torchrl", "reference"):
        row(f"{name}, median", "others", "times", name, "median_ms")
    for name in (*first["errors"], "sgemm"):
        row(f"{name} rate", "paper", f"{name} GOP/s", "max", form="{:.0f} GOP/s")
        row(f"{name} share of peak", "paper", f"{name} share of peak", "max", form="{:.0%}")
    for name in (name for names in KERNELS.values() for name in names):
        row(f"ceiling, {name}", "ceilings", "giga_operations_per_second", name, form="{:.0f} GOP/s")
    for name in sorted(set(table["instruction_sets"][counts[0]]["rows"]) - {"eager"}):
        keys = ("rows", name, "times_as_fast_as_eager")
        row(f"{name} against eager PyTorch", "instruction_sets", *keys, form="{:.2f}x")
    return [*out, *beside_columns(table)]


def beside_columns(table: dict[str, Any]) -> list[str]:
    """Says what the table has no columns for: memory, and why something was not measured."""
    memory, first = table["peak_memory"], next(iter(table["paper"].values()))
    out = ["", f"extra peak memory of a plan, {memory['threads']} threads"]
    for problems, rows in memory["problems"].items():
        shown = [f"{k} {v['extra_mb']:.2f} MB" for k, v in rows.items() if "extra_mb" in v]
        out.append(f"  {problems} problem(s): " + ", ".join(shown))
    for part in (first, first["heats"], next(iter(table["others"].values()))):
        out += [f"not measured: {name}: {why}" for name, why in part["missing"].items()]
    return out


if __name__ == "__main__":
    main()
