"""Draws the figures of `bench.py` for the README.

    python benchmarks/cem/plot.py [--input benchmarks/results/cem.json] [--output docs/cem.png]

Four panels: time of a CEM iteration against candidates and against problems; least time of a plan
against threads, and how many times as fast it is as PyTorch in the same precision; the roofline.
Its intensity is the operations per byte of weights that a panel of candidates reads, since weights
are what streams through the caches: the kernels read every weight once a step for 64 candidates (32
on AMX tiles), PyTorch's products once for all the candidates of a piece.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

FOLDER = Path(__file__).parents[1]
PANEL = 64  # candidates that share one read of the weights in the fused kernels
PIECE = 1000  # and in the PyTorch planner (baselines/torch_cem.py)
STYLES = {
    "fp32": ("planet, fp32", "#1b6ca8", "o"),
    "bf16": ("planet, bf16", "#2a9d5c", "D"),
    "int8": ("planet, int8", "#d1495b", "s"),
    "torch fp32": ("fastest PyTorch, fp32", "#6b6b6b", "^"),
    "torch bf16": ("fastest PyTorch, bf16", "#b08b2e", "v"),
    "torch int8": ("fastest PyTorch, int8", "#a07cb0", "P"),
}
BYTES = {"fp32": 4, "int8": 1, "bf16": 2}
PRECISIONS = {
    "fp32": {"fma_avx512": "AVX-512 FMA", "fma_neon": "NEON FMA", "fma_avx2": "AVX2 FMA"},
    "int8": {"int8_avx512vnni": "VNNI int8"},
    "bf16": {"bf16_amx": "AMX bf16", "bf16_avx512bf16": "AVX-512 bf16"},
}
"""Of each the first that was measured is drawn."""


def named(run: dict[str, Any], variant: str) -> str:
    """A variant's name in the results: PyTorch's fastest has the name of its form."""
    owner, _, precision = variant.partition(" ")
    return run["fastest"].get(precision, "") if owner == "torch" else variant


def times(points: list[dict[str, Any]], axis: str, threads: int, variant: str) -> list[tuple]:
    """Pairs of value and milliseconds per iteration."""
    return [
        (point["value"], point["ms_per_iteration"][named(point, variant)])
        for point in points
        if point["axis"] == axis
        and point["threads"] == threads
        and named(point, variant) in point["ms_per_iteration"]
    ]


def draw_sizes(axes: Axes, points: list[dict[str, Any]], axis: str, counts: list[int]) -> None:
    """Lines over one axis of the sweep; the largest number of threads solid, the others dashed."""
    for variant, (label, colour, marker) in STYLES.items():
        for count in counts:
            pairs = times(points, axis, count, variant)
            if not pairs:
                continue
            most = count == max(counts)
            axes.plot(
                *zip(*pairs, strict=True),
                color=colour,
                marker=marker,
                markersize=4.5 if most else 3,
                linewidth=1.8 if most else 0.9,
                linestyle="-" if most else "--",
                label=label if most else None,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    values = sorted({point["value"] for point in points if point["axis"] == axis})
    axes.set_xticks(values, [f"{value:,}" for value in values], fontsize=8)
    axes.minorticks_off()
    axes.set_ylabel("ms per CEM iteration")
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.7)


def draw_threads(axes: Axes, table: dict[str, Any]) -> None:
    """Bars of a whole plan at the paper's size, with how many times as fast as PyTorch's."""
    counts = list(table["paper"])
    present = [v for v in STYLES if named(table["paper"][counts[0]], v) in first_times(table)]
    width = 0.8 / len(present)
    for i, variant in enumerate(present):
        label, colour, _ = STYLES[variant]
        for x, count in enumerate(counts):
            run = table["paper"][count]
            height = run["times"][named(run, variant)]["min_ms"]
            place = x + (i - (len(present) - 1) / 2) * width
            axes.bar(place, height, width * 0.92, color=colour)
            ratio = run.get(f"torch {variant} / {variant}", {}).get("ratio_of_minima")
            text = f"{height:.0f}" + (f"\n{ratio:.2f}x" if ratio else "")
            axes.text(place, height, text, ha="center", va="bottom", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(counts)), [f"{c} thread{'s' * (c != '1')}" for c in counts])
    axes.set_ylabel("ms per plan (10 iterations)")
    axes.margins(y=0.2)
    axes.grid(True, axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)


def first_times(table: dict[str, Any]) -> dict[str, Any]:
    """Takes those of the first number of threads."""
    return next(iter(table["paper"].values()))["times"]


def draw_roofline(axes: Axes, table: dict[str, Any], count: str) -> None:
    """Rates at the paper's size under the ceilings of registers and caches."""
    ceilings = table["ceilings"][count]
    span = (0.15, 8000.0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*span)
    operations = ceilings.get("giga_operations_per_second", {})
    for kernels in PRECISIONS.values():
        name = next((kernel for kernel in kernels if kernel in operations), None)
        if name:
            axes.hlines(operations[name], *span, color="#333333", linewidth=1.2)
            text = f"{kernels[name]}: {operations[name]:.0f}"
            place = span[0] * 1.1, operations[name] * 1.03
            axes.text(*place, text, fontsize=8, ha="left", va="bottom")
    top = max(operations.values(), default=1000)
    run, work = table["paper"][count], 2e-6 * table["size"]["multiply_adds"]
    names = {variant: named(run, variant) for variant in STYLES}
    rates = {v: work / run["times"][k]["min_ms"] for v, k in names.items() if k in run["times"]}
    least = min(40, *(0.7 * rate for rate in rates.values()))
    axes.set_ylim(least, top * 1.9)
    for name, label in {"weights": "caches", "memory": "main memory"}.items():
        bandwidth = ceilings.get("gigabytes_per_second", {}).get(name)
        if bandwidth:
            ends = [span[0], top / bandwidth]
            axes.plot(ends, [bandwidth * x for x in ends], color="#999999", linewidth=1)
            place = max(span[0], least / bandwidth) * 1.12
            (x0, y0), (x1, y1) = axes.transData.transform(
                [(place, bandwidth * place), (ends[1], top)]
            )
            axes.annotate(
                f"{label}: {bandwidth:.0f} GB/s", (place, bandwidth * place), fontsize=7.5,
                color="#777777", rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)),
                rotation_mode="anchor", xytext=(-3, 4), textcoords="offset points",
            )  # fmt: skip
    for variant, rate in rates.items():
        _, colour, marker = STYLES[variant]
        owner, _, precision = variant.rpartition(" ")
        tiles = precision == "bf16" and "bf16_amx" in operations
        intensity = 2 * (PIECE if owner else PANEL // (2 if tiles else 1)) / BYTES[precision]
        axes.plot(intensity, rate, marker, color=colour, markersize=7)
        axes.annotate(
            f"{rate:.0f}", (intensity, rate), fontsize=8, color=colour, va="center",
            xytext=(8, 0), textcoords="offset points",
        )  # fmt: skip
    axes.set_xlabel("operations per byte of weights read")
    axes.set_ylabel(f"10$^9$ operations/s, {count} thread{'s' * (count != '1')}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw(results: dict[str, Any], output: Path) -> None:
    """Writes the picture."""
    table, sweep = results["table"], results["sweep"]
    counts = sorted({point["threads"] for point in sweep["points"]})
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 7.2))
    (candidates, problems), (threads, roofline) = axes
    draw_sizes(candidates, sweep["points"], "candidates", counts)
    candidates.set_title("Candidates J", fontsize=10, loc="left")
    candidates.legend(frameon=False, fontsize=8.5, loc="upper left")
    if len(counts) > 1:
        note = f"solid: {max(counts)} threads, dashed: {min(counts)}"
        candidates.text(0.98, 0.03, note, transform=candidates.transAxes, ha="right", fontsize=8)
    draw_sizes(problems, sweep["points"], "problems", [max(counts)])
    problems.set_title("Problems B of 1,000 candidates each", fontsize=10, loc="left")
    draw_threads(threads, table)
    threads.set_title("Threads", fontsize=10, loc="left")
    draw_roofline(roofline, table, list(table["paper"])[-1])
    roofline.set_title("Roofline", fontsize=10, loc="left")
    figure.suptitle(
        "CEM planning at the paper's size "
        "(H 12, I 10, J 1,000, K 100, A 6, belief 200, state 30, hidden 200), "
        + table["machine"]["processor"],
        fontsize=9.5,
    )
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, default=FOLDER / "results" / "cem.json")
    parser.add_argument("--output", type=Path, default=FOLDER.parent / "docs" / "cem.png")
    options = parser.parse_args()
    draw(json.loads(options.input.read_text()), options.output)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
