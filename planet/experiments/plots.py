"""Draws the learning curve of a run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planet.storage.atomic import atomic_write
from planet.training.metrics import read_metrics

_RANDOM, _PLANNED, _EVALUATED = "#9aa5b1", "#2f6fb3", "#d9541e"


def plot_learning_curve(directory: Path | str, path: Path, title: str) -> None:
    """Draws the returns of a run against environment steps and against gradient steps, as a PNG.

    A line of the metrics that lacks a number has no point there.

    Raises:
      OSError: there are no metrics, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    lines = [defaultdict(lambda: math.nan, line) for line in read_metrics(directory)]
    collected = [line for line in lines if "collect/return" in line]
    evaluated = [line for line in lines if "evaluate/return" in line]
    random = [line for line in collected if not line["collect/planned"]]
    planned = [line for line in collected if line["collect/planned"]]
    names = ("collect/return", "evaluate/return")
    returns = [line.get(name, 0.0) for line in collected + evaluated for name in names]
    figure = Figure(figsize=(9.0, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, counter, label in (
        (left, "environment_steps", "environment steps"),
        (right, "updates", "gradient steps"),
    ):
        _scatter(axes, random, counter, "random actions", _RANDOM)
        _scatter(axes, planned, counter, "planner, with exploration noise", _PLANNED)
        _errorbars(axes, evaluated, counter)
        axes.set_xlabel(label)
        axes.set_ylim(bottom=0 if min(returns, default=0.0) >= 0 else None)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("return of an episode")
    figure.suptitle(title, fontsize=11)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")


def _scatter(axes: Any, points: Sequence[dict[str, float]], x: str, name: str, colour: str) -> None:
    if points:
        xs, ys = ([point[key] for point in points] for key in (x, "collect/return"))
        axes.plot(xs, ys, "o", color=colour, markersize=4, alpha=0.8, label=name, clip_on=False)


def _errorbars(axes: Any, points: Sequence[dict[str, float]], x: str) -> None:
    if points:
        keys = (x, "evaluate/return", "evaluate/standard_error")
        xs, means, errors = ([point[key] for point in points] for key in keys)
        axes.errorbar(
            xs, means, yerr=errors, fmt="-o", color=_EVALUATED, linewidth=1.8, markersize=5,
            capsize=3, label="evaluation without noise (mean, standard error)",
        )  # fmt: skip
