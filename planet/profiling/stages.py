"""Divides a control step into its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planet.acting.timeline import STAGES, WHOLE, Span
from planet.profiling.latency import Stage

Times = tuple[float, float]  # milliseconds of the wall's clock, and of CPU time
NONE: Times = (0.0, 0.0)

ORDER = ("act", *STAGES, "around", "render", "environment")
"""Stages of a profile in the order of a step, the whole of it first."""


def by_stage(act: Times, spans: Sequence[Span]) -> dict[str, Times]:
    """Sums up a step's spans by stage, between the whole step and what is around the stages.

    Args:
      act: of the whole step.
      spans: of the step's timeline; none where there is none.
    """
    times = dict.fromkeys((stage for stage in STAGES if any(s.stage == stage for s in spans)), NONE)
    for span in spans:
        times[span.stage] = _sum(times[span.stage], _times(span))
    if not spans:
        return {"act": act}
    around = act
    for stage, (wall, cpu) in times.items():
        if stage not in WHOLE:
            around = _sum(around, (-wall, -cpu))
    return {"act": act, **times, "around": (max(around[0], 0.0), max(around[1], 0.0))}


def by_iteration(spans: Sequence[Span]) -> list[dict[str, Times]]:
    """Returns the times of every iteration of a step's plan, by stage."""
    rounds: list[dict[str, Times]] = [
        {} for _ in range(1 + max((span.iteration for span in spans), default=-1))
    ]
    for span in spans:
        if span.iteration >= 0:
            own = rounds[span.iteration]
            own[span.stage] = _sum(own.get(span.stage, NONE), _times(span))
    return rounds


def stages_of(rows: Sequence[Mapping[str, Times]]) -> tuple[Stage, ...]:
    """Turns times of steps by stage into stages; where a step lacks one, it took no time."""
    found = {name for row in rows for name in row}
    names = [name for name in ORDER if name in found]
    return tuple(
        Stage(name, *zip(*(row.get(name, NONE) for row in rows), strict=True)) for name in names
    )


def _times(span: Span) -> Times:
    return (span.end - span.begin) / 1e6, span.cpu / 1e6


def _sum(a: Times, b: Times) -> Times:
    return a[0] + b[0], a[1] + b[1]
