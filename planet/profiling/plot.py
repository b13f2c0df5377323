"""Draws control steps: how long each took, how that is distributed, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.errors.short_repr import short_repr
from planet.profiling.plot_stages import draw_legend, draw_stages, number
from planet.profiling.result import Comparison, Profile
from planet.storage.atomic import atomic_write

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of planners; Okabe and Ito's, which people with any colour vision tell apart."""

_INK, _FAINT = "#1c2733", "#7a8794"
_DEADLINE: dict[str, Any] = {"color": _INK, "linewidth": 1.2, "linestyle": (0, (6, 2, 1, 2))}
_SPIKE = 2.0  # times the median
_WIDTH, _DPI = 9.0, 150
_HEIGHTS = (0.35, 2.5, 0.85, 0.85, 0.85)  # title, steps, a histogram, a bar, what stands around


@dataclass(frozen=True)
class _Row:
    """Holds what the picture shows of a planner."""

    name: str
    profile: Profile
    color: str
    times: npt.NDArray[np.float64]

    __repr__ = short_repr


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
    """Draws the latency over time, a histogram and a bar of its stages for every planner.

    Args:
      comparison: what was measured.
      path: picture to write; see `picture_format`.
      title: over the picture.

    Raises:
      ImportError: matplotlib is missing.
      ValueError: the ending stands for no format.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    figure = draw_latency(comparison, title)
    with atomic_write(path) as file:
        figure.savefig(file, format=picture_format(path))


def draw_latency(comparison: Comparison, title: str) -> Any:
    """Returns the figure that `plot_latency` writes."""
    from matplotlib.figure import Figure

    rows = _rows(comparison.profiles)
    rate, count = comparison.first.rate_hz, len(rows)
    heading, steps, histogram, bar, around = _HEIGHTS
    heights = [steps, histogram * count + around, bar * count + around]
    size = (_WIDTH, heading + sum(heights))
    figure: Any = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=11, color=_INK)
    over_time, distribution, stages = figure.subfigures(3, 1, height_ratios=heights)
    deadline = None if rate is None else 1e3 / rate
    _draw_steps(over_time, rows, deadline)
    _draw_histograms(distribution, rows, deadline)
    scale = draw_stages(_axes(stages, count), [(row.name, row.profile) for row in rows])
    _heading(stages, f"Where a step's time goes: medians of its stages in ms{scale}")
    draw_legend(stages, [row.profile for row in rows])
    return figure


def _rows(profiles: Mapping[str, Profile]) -> list[_Row]:
    colors = [_COLORS[i % len(_COLORS)] for i in range(len(profiles))]
    return [
        _Row(_full_name(name, profile), profile, color, np.asarray(profile.act.milliseconds))
        for color, (name, profile) in zip(colors, profiles.items(), strict=True)
    ]


def _full_name(name: str, profile: Profile) -> str:
    """Joins what computes with the rest of a planner's name."""
    compute = profile.compute
    facts = [str(compute[fact]) for fact in ("backend", "precision") if fact in compute]
    own = (part for part in name.split("+") if part and part not in facts)
    return "+".join([*facts, *own]) or "policy"


def _axes(figure: Any, count: int) -> Sequence[Any]:
    axes: Sequence[Any] = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    return axes


def _heading(figure: Any, text: str) -> None:
    figure.suptitle(text, x=0.004, ha="left", fontsize=10, fontweight="bold", color=_INK)


def _draw_steps(figure: Any, rows: Sequence[_Row], deadline: float | None) -> None:
    """Draws the steps one after another, with rings around spikes."""
    _heading(figure, f"Every step in ms; rings: over {_SPIKE:g} times the median")
    axes = figure.subplots()
    for row in rows:
        steps = np.arange(len(row.times))
        axes.plot(
            steps, row.times, color=row.color, linewidth=0.8, marker=".", markersize=2.5,
            label=row.name,
        )  # fmt: skip
        spikes = steps[row.times > _SPIKE * np.median(row.times)]
        axes.plot(
            spikes, row.times[spikes], linestyle="", marker="o", markersize=7, color=row.color,
            markerfacecolor="none", markeredgewidth=1.0,
        )  # fmt: skip
    low, high = _range(rows, deadline)
    room = 1.08 * (high / low) ** 0.05  # for the number above the slowest step
    _scale(axes.yaxis, *((low, high * room) if high > 20.0 * low else (0.0, high * room)))
    axes.set_xlim(-0.5, max(len(row.times) for row in rows) - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step", fontsize=9)
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if deadline is not None:
        axes.axhline(deadline, **_DEADLINE)
        axes.text(
            1.005, deadline, f"deadline\n{number(deadline)} ms", color=_INK, fontsize=8,
            va="center", transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    if len(rows) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=4, fontsize=9, frameon=False,
            handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    _label_worst(axes, rows)


def _label_worst(axes: Any, rows: Sequence[_Row]) -> None:
    """Writes the time of the slowest step above it, if it is a spike."""
    row = max(rows, key=lambda row: float(row.times.max()))
    step = int(row.times.argmax())
    if row.times[step] > _SPIKE * np.median(row.times):
        place = step / len(row.times)
        axes.annotate(
            f"{number(row.times[step])} ms", (step, row.times[step]), (0, 5.5), fontsize=8,
            textcoords="offset points", va="bottom", color=_INK,
            ha="left" if place < 0.05 else "right" if place > 0.95 else "center",
        )  # fmt: skip


def _draw_histograms(figure: Any, rows: Sequence[_Row], deadline: float | None) -> None:
    """Draws how the steps are distributed, over one logarithmic axis."""
    low, high = _range(rows, deadline)
    _heading(figure, "How long steps take")
    axes = _axes(figure, len(rows))
    for own, row in zip(axes, rows, strict=True):
        counts, _, _ = own.hist(row.times, bins=np.geomspace(low, high, 150), color=row.color)
        ground = -0.12 * counts.max()
        own.plot(row.times, np.full(len(row.times), ground), "|", color=row.color, markersize=5)
        own.set_ylim(2 * ground, None)
        p50, p99 = np.median(row.times), row.profile.act.percentiles[99]
        own.axvline(p50, color=_INK, linewidth=1.2)
        text = f"p50 {number(p50)} ms"
        if p99 is not None:
            own.axvline(p99.value, color=_FAINT, linewidth=1.4, linestyle="--")
            text += f", p99 {number(p99.value)} ms"
        if deadline is not None:
            own.axvline(deadline, **_DEADLINE)
            text += f", missed {row.profile.missed:.1%}"
        own.set_title(row.name, loc="left", fontsize=9, color=row.color, fontweight="bold")
        own.set_title(text, loc="right", fontsize=9, color=_INK)
        own.spines[["top", "right", "left"]].set_visible(False)
        own.set_yticks([])
    _scale(axes[-1].xaxis, low, high)
    text = "ms per step, each a tick below; line: p50, dashed: p99, dash-dotted: deadline"
    axes[-1].set_xlabel(text, fontsize=9)


def _range(rows: Sequence[_Row], deadline: float | None) -> tuple[float, float]:
    """Returns the range of a logarithmic axis that holds every step and the deadline."""
    values = np.concatenate([row.times for row in rows])
    marks = [] if deadline is None else [deadline]
    low, high = min(values.min(), *marks, np.inf), max(values.max(), *marks, 0.0)
    margin = 1.05 * (high / low) ** 0.05
    return low / margin, high * margin


def _scale(axis: Any, low: float, high: float) -> None:
    """Makes an axis logarithmic, with plain numbers; or linear if it begins with 0."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    set_limits = getattr(axis.axes, f"set_{axis.axis_name}lim")
    if low:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        ticks = _ticks(low, high)
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
        axis.set_minor_locator(NullLocator())
    axis.set_tick_params(labelsize=8)
    set_limits(low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Returns round numbers: equally far apart, or powers of ten and where these are few more."""
    from matplotlib.ticker import MaxNLocator

    if high < 5.0 * low:
        ticks = [float(tick) for tick in MaxNLocator(7).tick_values(low, high)]
    else:
        wide = high / low
        steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if wide < 20 else (1, 2, 5) if wide < 1e3 else (1,)
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
    return [tick for tick in ticks if low <= tick <= high]
