"""Times one gradient step on a CPU: the plain step, the compiled ones, their parts, the arithmetic.

    python benchmarks/learning/step.py                           # small, one thread
    python benchmarks/learning/step.py --preset paper            # few samples
    python benchmarks/learning/step.py --samples 0 --memory --loss-curve 300

All variants (`VARIANTS`: settings of `train`) take turns in one process, from the same parameters
and on the same chunks of the toy task, by the process's CPU time and by the clock. Printed are
medians, tenth percentiles and minima, ratios with 95 % of a bootstrap over the rounds, errors of
terms and gradients against the reference on the same draws, the parts of a step, each alone, and
the share of the processor's float32 peak, which the same run measures. `--loss-curve` trains side
by side; `--memory` asks for the largest resident size, each variant in its own process. `--out`
writes all samples as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances
from gpu.runner import write_json
from learning.replay_memory import resident_megabytes
from learning.step_cases import (
    REFERENCE,
    VARIANTS,
    Call,
    Case,
    Step,
    errors,
    operations,
    pieces,
    preset_case,
)

from planet.config.presets import PRESETS
from planet.training.freed_memory import keep_freed_memory

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
STATISTICS = {"median": np.median, "p10": lambda x, axis: np.percentile(x, 10, axis)}
CHUNKS, WARM_UP, BOOTSTRAPS = 8, 3, 2000
PEAK_SIZE, PEAK_REPEATS = 1024, 10
CURVE_WINDOW = 100  # last steps of the loss curve, whose mean is compared
CURVE_CHUNKS = 64
SAMPLES, PIECES, UPDATES = {"small": 60}, {"small": 30}, {"small": 30}  # of other presets FEW
FEW = 2
Samples = dict[str, dict[str, list[float]]]


def available(
    case: Case, names: Iterable[str] = VARIANTS
) -> tuple[dict[str, Step], dict[str, str]]:
    """The variants that can be had here, and why the others cannot."""
    steps, missing = {}, {}
    for name in names:
        try:
            steps[name] = Step(case, name)
        except (ValueError, ImportError) as refusal:
            missing[name] = str(refusal).splitlines()[0]
    return steps, missing


def by_turns(calls: dict[str, Call], samples: int) -> Samples:
    """Milliseconds of every call by both clocks, one per round; every other round in reverse."""
    warm_up = min(WARM_UP, samples)
    found: Samples = {name: {clock: [] for clock in CLOCKS} for name in calls}
    for number in range(-warm_up, samples):
        for name in list(calls) if number % 2 == 0 else list(reversed(calls)):
            began = {clock: read() for clock, read in CLOCKS.items()}
            calls[name]()
            for clock, read in CLOCKS.items():
                if number >= 0:
                    found[name][clock].append(1e3 * (read() - began[clock]))
    return found


def summary(times: list[float]) -> dict[str, float]:
    """Median, tenth percentile and minimum."""
    return {"median": float(np.median(times)), "p10": float(np.percentile(times, 10)),
            "min": min(times)}  # fmt: skip


def ratio(slow: list[float], fast: list[float], statistic: str) -> dict[str, float]:
    """Divides, with 95 % of the ratios of rounds drawn anew."""
    compute = STATISTICS[statistic]
    pairs = np.array([slow, fast])
    drawn = np.random.default_rng(0).integers(0, len(slow), (BOOTSTRAPS, len(slow)))
    above, below = (compute(times[drawn], axis=1) for times in pairs)
    low, high = np.percentile(above / below, [2.5, 97.5])
    value = compute(pairs[0], axis=0) / compute(pairs[1], axis=0)
    return {"ratio": float(value), "low": float(low), "high": float(high)}


def compare(times: Samples) -> dict[str, Any]:
    """Ratios of the reference to every other variant."""
    return {
        name: {
            f"{clock} {statistic}": ratio(times[REFERENCE][clock], times[name][clock], statistic)
            for clock in CLOCKS
            for statistic in STATISTICS
        }
        for name in times
        if name != REFERENCE
    }


def peak() -> dict[str, float]:
    """Billions of operations per second of a float32 product, torch's and oneDNN's."""
    a, b = torch.randn(PEAK_SIZE, PEAK_SIZE), torch.randn(PEAK_SIZE, PEAK_SIZE)
    calls = {"torch.mm": lambda: torch.mm(a, b)}
    if torch.backends.mkldnn.is_available():
        linear = torch.ops.mkldnn._linear_pointwise
        calls["oneDNN"] = lambda: linear(a, b, None, "none", [], "")
    times = by_turns(calls, PEAK_REPEATS)
    return {name: 2e-6 * PEAK_SIZE**3 / min(each["wall"]) for name, each in times.items()}


def parts(steps: dict[str, Step], case: Case, samples: int) -> dict[str, Any]:
    """CPU times of the pieces of every variant, and their operations.

    A round makes all pieces, one after the other, so that caches are as cold as in a step.
    """
    calls = {name: pieces(step, case.chunks[0]) for name, step in steps.items()}
    flat = {f"{name}: {piece}": call for name in calls for piece, call in calls[name].items()}
    times = by_turns(flat, samples)
    return {
        piece: {
            "giga_operations": 1e-9 * operations(call),
            "ms": {name: times[f"{name}: {piece}"] for name in calls},
        }
        for piece, call in calls[REFERENCE].items()
    }


def loss_curve(case: Case, names: list[str], count: int) -> dict[str, Any]:
    """Mean loss of the last steps of training side by side, on the same chunks."""
    steps, missing = available(case, names)
    totals: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(count):
        for name, step in steps.items():
            totals[name].append(step()["total"].item())
    means = {name: float(np.mean(each[-CURVE_WINDOW:])) for name, each in totals.items()}
    differences = {name: mean / means[REFERENCE] - 1 for name, mean in means.items()}
    return {"steps": count, "mean": means, "difference": differences, "totals": totals,
            "missing": missing}  # fmt: skip


def peak_memory(preset: str, name: str, updates: int) -> dict[str, float]:
    """Resident megabytes of this process before some updates, and at most."""
    step = Step(preset_case(preset, 2), name)
    before = resident_megabytes("VmRSS")
    for _ in range(updates):
        step()
    return {"before_mb": before, "peak_mb": resident_megabytes("VmHWM"), "updates": updates}


def memory(preset: str, names: list[str], updates: int, threads: int) -> dict[str, Any]:
    """The largest resident size of every variant, each in a process of its own."""
    found: dict[str, Any] = {}
    for name in names:
        command = [sys.executable, __file__, "--preset", preset, "--memory-of", name]
        command += ["--updates", str(updates), "--threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        last = (done.stderr if done.returncode else done.stdout).strip().splitlines()[-1:]
        found[name] = {"missing": last} if done.returncode else json.loads(last[0])
    return found


def measure(case: Case, names: list[str], samples: int, piece_samples: int) -> dict[str, Any]:
    """Steps, errors, parts and the arithmetic."""
    steps, missing = available(case, names)
    times = by_turns(dict(steps), samples)
    found: dict[str, Any] = {"missing": missing, "samples": times, "ratios": compare(times)}
    found["times"] = {
        name: {clock: summary(each[clock]) for clock in CLOCKS} for name, each in times.items()
    }
    plain = steps[REFERENCE]
    found["errors"] = {
        name: errors(step, plain, case.chunks[0])
        for name, step in steps.items()
        if step is not plain
    }
    if piece_samples:
        found["parts"] = parts(steps, case, piece_samples)
    count = 1e-9 * operations(lambda: plain.gradients(case.chunks[0]))
    rates = peak()
    found["arithmetic"] = {
        "giga_operations": count,
        "peak": rates,
        "rate": {
            name: 1e3 * count / each["cpu"]["median"] for name, each in found["times"].items()
        },
    }
    return found


def show(found: dict[str, Any]) -> None:
    """Prints the tables."""
    heads = [f"{clock} {name}" for clock in CLOCKS for name in ("median", "p10", "min")]
    print(f"{'ms':12}" + "".join(f"{head:>12}" for head in heads))
    for name, clocks in found["times"].items():
        cells = [value for clock in clocks.values() for value in clock.values()]
        print(f"{name:12}" + "".join(f"{value:12.2f}" for value in cells))
    for name, why in found["missing"].items():
        print(f"{name:12} not measured: {why}")
    for name, ratios in found["ratios"].items():
        told = [f"{k} {r['ratio']:.2f} ({r['low']:.2f}-{r['high']:.2f})" for k, r in ratios.items()]
        print(f"{REFERENCE} / {name}: " + ", ".join(told))
    for name, error in found["errors"].items():
        print(
            f"{name}: relative errors: terms {error['terms']:.1e}, whole gradient "
            f"{error['whole_gradient']:.1e}, worst {error['gradients']:.1e} ({error['worst']})"
        )
    show_parts(found)
    arithmetic = found["arithmetic"]
    told = [f"{name} {rate:.0f}" for name, rate in arithmetic["peak"].items()]
    print(f"{arithmetic['giga_operations']:.2f} GFLOP a step; peak GF/s: {', '.join(told)}")
    for name, rate in arithmetic["rate"].items():
        share = 100 * rate / max(arithmetic["peak"].values())
        print(f"{name}: {rate:.1f} GF/s, {share:.0f} % of the peak")


def show_parts(found: dict[str, Any]) -> None:
    """Prints the parts of a step, and what whole steps take beyond them."""
    rows = found.get("parts", {})
    if not rows:
        return
    names = list(found["times"])
    print(f"{'CPU ms':22}{'GFLOP':>8}" + "".join(f"{name:>12}" for name in names))
    rest = {name: found["times"][name]["cpu"]["median"] for name in names}
    for piece, part in rows.items():
        medians = {name: float(np.median(part["ms"][name]["cpu"])) for name in names}
        rest = {name: rest[name] - medians[name] for name in names}
        cells = "".join(f"{value:12.2f}" for value in medians.values())
        print(f"{piece:22}{part['giga_operations']:8.3f}{cells}")
    print(f"{'rest of the step':30}" + "".join(f"{value:12.2f}" for value in rest.values()))


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--samples", type=int, help="of whole steps; 0: none")
    parser.add_argument("--pieces", type=int, help="samples of every part; 0: none")
    parser.add_argument("--loss-curve", type=int, default=0, metavar="STEPS")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--updates", type=int, help="of --memory")
    parser.add_argument("--memory-of", choices=tuple(VARIANTS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON of all samples")
    options = parser.parse_args()
    for name, usual in (("samples", SAMPLES), ("pieces", PIECES), ("updates", UPDATES)):
        if getattr(options, name) is None:
            setattr(options, name, usual.get(options.preset, FEW))
    if REFERENCE not in options.variants:
        options.variants.insert(0, REFERENCE)
    return options


def main() -> None:
    """Command line."""
    options = parse()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as a run does
    if options.memory_of:
        print(json.dumps(peak_memory(options.preset, options.memory_of, options.updates)))
        return
    result = {**circumstances(), "preset": options.preset, "threads": options.threads}
    if options.samples:
        case = preset_case(options.preset, CHUNKS)
        result |= measure(case, options.variants, options.samples, options.pieces)
        show(result)
    if options.loss_curve:
        case = preset_case(options.preset, CURVE_CHUNKS)
        curve = loss_curve(case, options.variants, options.loss_curve)
        result["loss_curve"] = curve
        for name, mean in curve["mean"].items():
            print(f"loss of the last {CURVE_WINDOW} of {options.loss_curve} steps, {name}: "
                  f"{mean:.4f}, {100 * curve['difference'][name]:+.3f} %")  # fmt: skip
    if options.memory:
        result["memory"] = memory(
            options.preset, options.variants, options.updates, options.threads
        )
        for name, figures in result["memory"].items():
            print(f"memory, {name}: {figures}")
    result["load_after"] = os.getloadavg()
    machine, after = result["machine"], result["load_after"][0]
    print(
        f"{machine['processor']}, torch {machine['torch']}, {options.threads} thread(s), "
        f"load {machine['load_before'][0]:.2f} before, {after:.2f} after"
    )
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
