"""Times the compiled planner against PyTorch's, and against what the machine can do.

    python benchmarks/cem/bench.py                  # the table, then all the sizes: about 10 minutes
    python benchmarks/cem/bench.py --table          # the table alone
    python benchmarks/cem/bench.py --sweep          # the sizes alone
    python benchmarks/cem/bench.py --quick          # tiny sizes in seconds: does the command work?

Everything that is compared runs in this process in turn, so that a busy machine slows all alike:
quote the ratios, which are medians of the ratios of neighbouring runs. Before it is timed, every
variant is checked to give the reference's returns. Memory is measured in processes of its own
(`peak_memory.py`). Writes JSON; `plot.py` draws it.

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
from cem.cases import Size
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
    parser.add_argument("--output", type=Path, default=result_path("cem", "cpu"))
    options = parser.parse_args()
    seconds = min(options.seconds, 0.02) if options.quick else options.seconds
    compiled = not options.no_compile
    both = options.table == options.sweep
    results: dict[str, Any] = {}
    if options.output.exists() and not both:  # the other part stays
        results = json.loads(options.output.read_text())
    facts = circumstances()
    if both or options.table:
        names = ("paper", "small")
        sizes = quick_sizes() if options.quick else {k: Size.of_preset(k) for k in names}
        figures = table.measure(options.threads, seconds, report, sizes, compiled)
        results["table"] = {**facts, **figures, "load_after": os.getloadavg()}
        print("\n".join(lines(results["table"])))
    if both or options.sweep:
        measured = list(results.get("table", {}).get("paper", {}).values())
        baseline = measured[-1]["baseline"] if measured else "packed"
        rows = sweep.measure(
            options.threads, seconds / 12, report, baseline, compiled, options.quick
        )
        results["sweep"] = {**facts, "points": rows, "load_after": os.getloadavg()}
    write_json(options.output, results)
    print(f"written to {options.output}")


ROWS = (
    ("fp32 against the baseline", "paper", "baseline / fp32"),
    ("fp32 against the faster of eager and TorchScript", "paper", "eager or jit / fp32"),
    ("fp32 against torch.compile with freezing", "paper", "compile / fp32"),
    ("fp32 rate over MKL sgemm 2048", "paper", "fp32 / sgemm rate"),
    ("int8 against the baseline", "paper", "baseline / int8"),
    ("int8 against the faster of eager and TorchScript", "paper", "eager or jit / int8"),
    ("int8 against torch.compile with freezing", "paper", "compile / int8"),
    ("fp32 against TorchRL's CEMPlanner", "others", "torchrl / fp32"),
    ("fp32 against the reference", "others", "reference / fp32"),
    ("small preset: fp32 against the baseline", "small", "baseline / fp32"),
    ("small preset: int8 against the baseline", "small", "baseline / int8"),
)
"""Name of a ratio, and where it stands in the table."""


def lines(table: dict[str, Any]) -> list[str]:
    """The table as text, one column per number of threads."""
    counts = list(table["paper"])
    out = [f"{'threads':58}" + "".join(f"{count:>14}" for count in counts)]

    def row(name: str, part: str, *keys: str, form: str = "{:.1f} ms") -> None:
        cells = []
        for count in counts:
            value: Any = table[part][count]
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            cells.append("-" if value is None else form.format(value))
        out.append(f"{name:58}" + "".join(f"{cell:>14}" for cell in cells))

    row("baseline: fastest plain PyTorch", "paper", "baseline", form="{}")
    for name, part, key in ROWS:
        row(name, part, key, "median_of_paired_ratios", form="{:.2f}x")
    share = ("refit share", "median_of_paired_ratios")
    row("share of refit in an fp32 plan", "paper", *share, form="{:.3%}")
    first = table["paper"][counts[0]]["times"]
    for name in [name for name in first if name not in ("sgemm", "refit")]:
        row(f"{name}, median", "paper", "times", name, "median_ms")
        row(f"{name}, p95", "paper", "times", name, "p95_ms")
    seconds = ("first_seconds", "compile")
    row("compile, seconds to compile (not counted)", "paper", *seconds, form="{:.1f} s")
    for name in ("torchrl", "reference"):
        row(f"{name}, median", "others", "times", name, "median_ms")
    for name in ("fp32", "int8", "sgemm"):
        row(f"{name} rate", "paper", f"{name} GOP/s", "median", form="{:.0f} GOP/s")
    for name in (name for names in KERNELS.values() for name in names):
        row(f"ceiling, {name}", "ceilings", "giga_operations_per_second", name, form="{:.0f} GOP/s")
    for name in sorted(set(table["instruction_sets"][counts[0]]["rows"]) - {"eager"}):
        keys = ("rows", name, "times_as_fast_as_eager")
        row(f"{name} against eager PyTorch", "instruction_sets", *keys, form="{:.2f}x")
    out += ["", f"extra peak memory of a plan, {table['peak_memory']['threads']} threads"]
    for problems, rows in table["peak_memory"]["problems"].items():
        shown = [f"{k} {v['extra_mb']:.2f} MB" for k, v in rows.items() if "extra_mb" in v]
        out.append(f"  {problems} problem(s): " + ", ".join(shown))
    for part in ("paper", "others"):
        for name, why in table[part][counts[0]]["missing"].items():
            out.append(f"not measured: {name}: {why}")
    return out


if __name__ == "__main__":
    main()
