"""Times whole plans on a GPU: the compiled planner's CUDA graphs against PyTorch's best forms.

    python benchmarks/cem/on_gpu.py                               # minutes
    python benchmarks/cem/on_gpu.py --problems 1 --compile only   # torch.compile alone
    python benchmarks/cem/on_gpu.py --device cpu --quick          # does the command work?

Every variant is checked before it is timed (`device_plans.py`); one that is wrong is not timed, and
the exit status is 1. All variants of a batch size take turns in one process and read the same
rotating inputs. The persistent ones join when the others' figures are written, since a kernel that
fails takes the process's device along. Rates count useful operations only: two per weight, step,
candidate and iteration.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from cem.cases import Size, UnavailableError
from cem.device_plans import SETS, Bench, Case, WrongError
from circumstances import circumstances, gpu_state, result_path
from gpu.device_timing import interleave, product_rates
from gpu.runner import write_json

PROBLEMS = (1, 64, 8, 256)  # the most telling first
MANY = (
    64  # problems from which a plan of PyTorch's takes tenths of a second: fewer forms and rounds
)
OURS = ("fp32", "fp16", "bf16")
PERSISTENT = ("fp16 persistent", "bf16 persistent")
TORCHS = ("torch graph tf32", "torch graph fp16", "torch graph fp32", "torch eager fp32")
COMPILED = ("torch compile tf32", "torch compile fp16")
TINY = Size(3, 2, 40, 4, 2, 10, 4, 12, (8, 8))
Report = Callable[[str], None]


class Measurement:
    """Measures the variants of one size, group by group.

    Attributes:
      found: all figures so far.
    """

    def __init__(self, size: Size, device: torch.device, report: Report) -> None:
        self._bench, self._report = Bench(size, device), report
        self._cases: dict[str, Case] = {}
        self.found: dict[str, Any] = {"size": size.to_dict(), "errors": {}, "missing": {},
                                      "wrong": [], "first_seconds": {}}  # fmt: skip

    def add(self, names: tuple[str, ...]) -> int:
        """Checks variants and makes them ready; returns how many are."""
        ready = 0
        for name in names:
            began = time.perf_counter()
            try:
                make = self._bench.torchs if name.startswith("torch") else self._bench.ours
                self._cases[name], self.found["errors"][name] = make(name)
                self.found["first_seconds"][name] = time.perf_counter() - began
                ready += 1
            except UnavailableError as refusal:
                self.found["missing"][name] = str(refusal).splitlines()[0]
            except (WrongError, RuntimeError) as error:  # also out of memory, no compiler, ...
                self.found["missing"][name] = str(error).splitlines()[0]
                if not name.startswith("torch") and not isinstance(error, torch.OutOfMemoryError):
                    self.found["wrong"].append(name)
            what = self.found["missing"].get(name, "checked")
            self._report(f"B={self._bench.size.batch}, {name}: {what}")
        return ready

    def time(self, seconds: float) -> None:
        """Times all variants that are ready, by turns."""
        out, cases, device = self.found, self._cases, self._bench.device
        out["state_before"] = gpu_state()
        fewer = {"least": 3, "warm_up": 1} if self._bench.size.batch >= MANY else {}
        samples = interleave(cases, device, seconds, SETS, **fewer)
        out["state_after"] = gpu_state()
        out["times"] = {name: samples.summary(name) for name in cases}
        products = product_rates(device, *(() if device.type == "cuda" else (128, 2)))
        out["product_tflops"] = products
        out["tflops"] = {
            name: 2e-9 * self._bench.size.multiply_adds / times["median_ms"]
            for name, times in out["times"].items()
        }
        out["share_of_bf16_product"] = {k: v / products["bf16"] for k, v in out["tflops"].items()}
        ours = [name for name in cases if not name.startswith("torch")]
        out["ratios"] = {
            f"{slow} / {fast}": samples.ratio(slow, fast)
            for slow in cases if slow.startswith("torch") for fast in ours
        }  # fmt: skip


def groups(batch: int, compiled: str, persistent: bool) -> list[tuple[str, ...]]:
    """The variants to measure, in groups of which a later one may fail.

    Args:
      batch: number of problems.
      compiled: "no", "yes" or "only", of torch.compile.
      persistent: whether the persistent kernels are asked.
    """
    torchs = TORCHS[:2] if batch >= MANY or compiled == "only" else TORCHS
    ours = OURS[1:2] if compiled == "only" else OURS
    return [(*ours, *torchs), *([PERSISTENT] if persistent else []),
            *([COMPILED] if compiled != "no" else [])]  # fmt: skip


def measure(
    size: Size, device: torch.device, named: list[tuple[str, ...]], seconds: float,
    report: Report, write: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:  # fmt: skip
    """Times groups of variants of one size; `write` is told of the figures after each group."""
    measurement = Measurement(size, device, report)
    for names in named:
        ready = measurement.add(names)
        write(measurement.found)
        if ready:
            measurement.time(seconds / len(named))
            write(measurement.found)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    for line in lines({str(size.batch): measurement.found}):
        report(line)
    return measurement.found


def lines(results: dict[str, Any]) -> list[str]:
    """The table as text."""
    head = ("problems", "variant", "median", "p10", "p90 ms", "TFLOP/s", "of bf16")
    out = ["{:>8}  {:20}{:>9}{:>9}{:>9}{:>9}{:>9}".format(*head)]
    for batch, result in results.items():
        for name, times in result.get("times", {}).items():
            share = result["share_of_bf16_product"][name]
            out.append(
                f"{batch:>8}  {name:20}{times['median_ms']:9.3f}{times['p10_ms']:9.3f}"
                f"{times['p90_ms']:9.3f}{result['tflops'][name]:9.1f}{share:9.1%}"
            )
        out += [
            f"{batch:>8}  {name:20}not measured: {why}" for name, why in result["missing"].items()
        ]
    return out


def short_lines(results: dict[str, Any]) -> list[str]:
    """Milliseconds of all variants, one line for each size."""
    return [
        f"B={batch} ms: "
        + ", ".join(f"{name} {times['median_ms']:.3g}" for name, times in found["times"].items())
        for batch, found in results.items() if "times" in found
    ]  # fmt: skip


def untimed(results: dict[str, Any], compiled: str) -> list[str]:
    """Sizes of which no figure is what was asked for: our plans, or those of `--compile only`."""
    asked = set(COMPILED if compiled == "only" else (*OURS, *PERSISTENT))
    return [
        f"B={batch}: none of {', '.join(sorted(asked))} was timed"
        for batch, found in results.items() if not asked & found.get("times", {}).keys()
    ]  # fmt: skip


def best(results: dict[str, Any]) -> str:
    """The compiled planner's fastest variant at every size."""
    texts = []
    for batch, found in results.items():
        ours = {k: v["median_ms"] for k, v in found.get("times", {}).items() if "torch" not in k}
        if ours:
            name = min(ours, key=lambda name: ours[name])
            texts.append(f"B={batch} {name} {ours[name]:.3g} ms")
    return ", ".join(texts) or "nothing of ours was timed"


def main() -> int:
    """Command line; exit status 1 where a plan of ours is wrong, or what was asked is not timed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--problems", nargs="+", type=int, default=PROBLEMS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of sampling a size")
    parser.add_argument("--compile", choices=("no", "yes", "only"), default="no")
    parser.add_argument("--no-persistent", action="store_true", help="or PLANET_NO_PERSISTENT")
    parser.add_argument("--quick", action="store_true", help="a tiny size, to test the command")
    parser.add_argument("--output", type=Path, help="else a file in benchmarks/results")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"--device cuda: torch {torch.__version__} sees no CUDA device")
    output = options.output or result_path("cem", device)
    size = TINY if options.quick else Size.of_preset("paper")
    seconds = min(options.seconds, 0.02) if options.quick else options.seconds
    persistent = not (options.no_persistent or os.environ.get("PLANET_NO_PERSISTENT"))
    results: dict[str, Any] = {**circumstances(), "problems": {}}
    wrong: list[str] = []
    for batch in options.problems:

        def write(found: dict[str, Any], batch: int = batch) -> None:
            results["problems"][str(batch)] = found
            write_json(output, results)

        variants = groups(batch, options.compile, persistent)
        case = replace(size, batch=batch)
        found = measure(
            case, device, variants, seconds, lambda text: print(text, flush=True), write
        )
        wrong += [f"B={batch} {name}: {found['missing'][name]}" for name in found["wrong"]]
    if device.type == "cuda" or options.compile != "only":  # that is for GPUs
        wrong += untimed(results["problems"], options.compile)
    shown = [*short_lines(results["problems"]), f"written to {output}"]
    shown += [f"FAILED: {text}" for text in wrong]
    print(*shown, best(results["problems"]) + f", {len(wrong)} wrong", sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
