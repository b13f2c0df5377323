"""Draws a bar of the stages of a control step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from planet.acting.timeline import WHOLE
from planet.profiling.result import SHARED, Profile

COLORS = {
    "filter": "#41b6c4",
    "images": "#c6dbef", "encoder": "#6baed6", "belief": "#2171b5", "posterior": "#08306b",
    "plan": "#f39c12",
    "rollouts": "#fdd49e", "selection": "#fc8d3c", "refit": "#a63603",
    "explore": "#238b45", "around": "#9aa5b0", "act": "#9aa5b0",
}  # fmt: skip
"""Blue the filter, orange the plan; those of one hue differ in how dark they are."""

_INK = "#1c2733"
_ROOM = 0.062  # share of the axis that a number takes
_LETTER = 0.0125  # and a letter
_SAME_SCALE = 6.0  # ratio of the longest bar to the shortest, up to which they have one scale


def number(ms: float) -> str:
    """Writes milliseconds with three digits that count, and never as a power of ten."""
    return f"{ms:.0f}" if ms >= 1e3 else f"{ms:.3g}" if ms >= 1e-3 else f"{ms:.6f}"


def draw_stages(axes: Sequence[Any], profiles: Sequence[tuple[str, Profile]]) -> str:
    """Draws a bar for every profile by its name, with the milliseconds of every stage.

    Bars have one scale unless the shortest would be too short to read; then each has its own.

    Returns:
      What the heading has to say of the scale.
    """
    parts = [step_parts(profile) for _, profile in profiles]
    sums = [sum(stages.values()) for stages in parts]
    longest = max(sums)
    one_scale = longest <= _SAME_SCALE * min(sums)
    for own, (name, profile), stages, whole in zip(axes, profiles, parts, sums, strict=True):
        scale = longest if one_scale else whole
        small = _draw_bar(own, {stage: ms / scale for stage, ms in stages.items()}, stages)
        own.set_title(name, loc="left", fontsize=9, color=_INK)
        act = float(np.median(profile.act.milliseconds))
        own.set_title(f"step {number(act)} ms", loc="right", fontsize=9, color=_INK)
        own.set_xlim(0.0, 1.0)
        own.set_ylim(-0.5, 0.5)
        own.set_yticks([])
        own.tick_params(bottom=False, labelbottom=False)
        own.spines[:].set_visible(False)
        numbers = " · ".join(f"{stage} {stages[stage]:.2g}" for stage in small)
        own.set_xlabel(numbers, loc="left", fontsize=8, color=_INK)
    return "" if one_scale else "; every bar has its own scale"


def draw_legend(figure: Any, profiles: Iterable[Profile]) -> None:
    """Draws the colours of all stages below the bars."""
    from matplotlib.patches import Patch

    found = {stage for profile in profiles for stage in step_parts(profile)}
    patches = [Patch(color=color, label=name) for name, color in COLORS.items() if name in found]
    figure.legend(
        handles=patches, loc="outside lower left", ncols=len(patches), fontsize=8, frameon=False,
        handlelength=1.0, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


def step_parts(profile: Profile) -> dict[str, float]:
    """Returns the median milliseconds of the stages that have no parts, in a step's order."""
    medians = {stage.name: float(np.median(stage.milliseconds)) for stage in profile.stages}
    wholes = {WHOLE[name] for name in medians if name in WHOLE}
    beside = {*SHARED, *wholes}
    parts = {name: ms for name, ms in medians.items() if name not in beside and name != "act"}
    return parts or {"act": medians["act"]}


def _draw_bar(axes: Any, shares: Mapping[str, float], stages: Mapping[str, float]) -> list[str]:
    """Draws the bar; returns the stages whose numbers it has no room for."""
    left, small = 0.0, []
    for name, share in shares.items():
        axes.barh(
            0.0, share, 0.9, left, color=COLORS[name], edgecolor="white", linewidth=0.6,
        )  # fmt: skip
        if share < _ROOM:
            small.append(name)
        else:
            text = f"{name} {number(stages[name])}"
            text = text if share > _LETTER * len(text) else number(stages[name])
            axes.text(
                left + share / 2, 0.0, text, ha="center", va="center", fontsize=8,
                color=_ink_on(COLORS[name]),
            )  # fmt: skip
        left += share
    return small


def _ink_on(color: str) -> str:
    """Returns the colour of letters that can be read on `color`."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return _INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
