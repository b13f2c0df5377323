"""Draws histograms of the control step's latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from planet.profiling.result import Comparison, Profile
from planet.storage.atomic import atomic_write

_BARS, _MEDIAN, _TAIL, _DEADLINE = "#2f6fb3", "#1c2733", "#7a8794", "#d9541e"


def picture_format(path: Path) -> str:
    """Returns the format that the ending of a picture's name stands for, PNG without one.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: the ending stands for no format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    ending = path.suffix[1:].lower() or "png"
    if ending not in formats:
        raise ValueError(f"plot: expected a name that ends in .{', .'.join(formats)}, got {path}")
    return ending


def plot_latency(comparison: Comparison, path: Path, title: str) -> None:
    """Draws a histogram for every planner over one logarithmic axis of milliseconds.

    Args:
      comparison: what was measured.
      path: picture to write; see `picture_format`.
      title: over the picture.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: the ending stands for no format.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    from matplotlib.figure import Figure

    profiles = comparison.profiles
    times = [np.asarray(profile.act.milliseconds) for profile in profiles.values()]
    rate = comparison.first.rate_hz
    marks = [] if rate is None else [1e3 / rate]
    low = min(*(float(t.min()) for t in times), *marks, np.inf) / 1.2
    high = max(*(float(t.max()) for t in times), *marks, 0.0) * 1.2
    edges = np.geomspace(low, high, 120)
    figure = Figure(figsize=(9.0, 1.2 + 1.5 * len(times)), dpi=150, layout="constrained")
    rows = figure.subplots(len(times), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name, profile, values in zip(rows, profiles, profiles.values(), times, strict=True):
        _histogram(axes, values, edges)
        _label(axes, name, profile)
        if rate is not None:
            axes.axvline(1e3 / rate, color=_DEADLINE, linewidth=1.4)
    if rate is not None:
        rows[0].text(
            1e3 / rate, 1.0, f"  deadline {1e3 / rate:g} ms ({rate:g} Hz)  ", color=_DEADLINE,
            fontsize=8, va="top", ha="left" if (1e3 / rate) ** 2 < low * high else "right",
            transform=rows[0].get_xaxis_transform(),
        )  # fmt: skip
    _scale(rows[-1], low, high)
    rows[-1].set_xlabel(f"ms per control step, {len(times[0])} steps; lines: p50 and p99")
    figure.suptitle(title, fontsize=11)
    with atomic_write(path) as file:
        figure.savefig(file, format=picture_format(path))


def _histogram(axes: Any, values: Any, edges: Any) -> None:
    axes.hist(values, bins=edges, color=_BARS)
    p50, p99 = np.percentile(values, (50, 99))
    axes.axvline(p50, color=_MEDIAN, linewidth=1.2)
    axes.axvline(p99, color=_TAIL, linewidth=1.2, linestyle="--")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_yticks([])


def _label(axes: Any, name: str, profile: Profile) -> None:
    p50, p99 = np.percentile(profile.act.milliseconds, (50, 99))
    text = f"p50 {p50:.3g} ms\njitter {p99 - p50:.3g} ms"
    if profile.missed is not None:
        text += f"\nmissed {profile.missed / profile.steps:.1%}"
    axes.text(1.01, 0.5, text, transform=axes.transAxes, fontsize=8, va="center")
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)


def _scale(axes: Any, low: float, high: float) -> None:
    """Marks 1, 2, 5, 10, ... within the range, in plain numbers."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
