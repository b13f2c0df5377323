"""Says which settings a planner has for so many rollouts per control step.

Every scored sequence counts, elites that are kept and scored again as well; no planner scores more
than it may. All have the horizon of the paper, H = 12.
"""

from __future__ import annotations

from typing import Any

from planet.planning import PLANNERS as KINDS
from planet.planning import GradientPlanner, SamplingPlanner

PLANNERS = ("icem", "cem", "mppi", "shooting")
DECAY = 1.25
Settings = dict[str, Any]


def settings(planner: str, rollouts: int) -> Settings:
    """Returns the settings of a planner that scores at most so many sequences per control step.

    CEM and MPPI have three iterations of equal size, as iCEM has; a quarter of the candidates are
    elites. iCEM has its defaults, which are for 120, with elites in proportion to the rollouts and
    then as many candidates as fit. Shooting scores all at once.
    """
    if planner == "shooting":
        return {"candidates": rollouts}
    if planner in ("cem", "mppi"):
        candidates = rollouts // 3
        return {"iterations": 3, "candidates": candidates, "topk": candidates // 4}
    topk, keep = max(2, rollouts // 12), max(1, rollouts // 40)
    candidates = next(
        j for j in range(rollouts, 0, -1) if _decayed(j) + 3 * keep <= rollouts
    )  # fmt: skip
    return {"iterations": 3, "candidates": candidates, "topk": topk, "keep": keep, "decay": DECAY}


def _decayed(candidates: int) -> int:
    return sum(int(candidates * DECAY**-i) for i in range(3))


PLAIN = {
    "iterations": 3, "candidates": 40, "topk": 10, "initial_stddev": 1.0, "colour": 0.0, "keep": 0,
    "decay": 1.0, "momentum": 0.0, "output": "mean", "shift": "none",
}  # fmt: skip
"""iCEM's loop with the settings that make it the CEM of 120 rollouts."""

SWITCHES: dict[str, Settings] = {
    "CEM": {},
    "+ warm start": {"shift": "repeat"},
    "+ kept elites, fewer candidates each iteration": {"keep": 3, "candidates": 46, "decay": DECAY},
    "+ coloured noise": {"colour": 0.25},
    "+ momentum": {"momentum": 0.1},
    "+ half the first stddev": {"initial_stddev": 0.5},
    "+ best action = iCEM": {"output": "best"},
}
"""From CEM to iCEM, each on top of those before."""


def switched() -> dict[str, tuple[str, Settings]]:
    """Returns planner and settings on the way from CEM to iCEM, by name of the last switch.

    The ends are the study's own planners, so that their episodes are played once.
    """
    arms: dict[str, tuple[str, Settings]] = {}
    now: Settings = dict(PLAIN)
    for name, switch in SWITCHES.items():
        now = now | switch
        arms[name] = "icem", now
    first, *_, last = arms
    return arms | {first: ("cem", settings("cem", 120)), last: ("icem", settings("icem", 120))}


def make(planner: str, settings: Settings) -> SamplingPlanner | GradientPlanner:
    """Makes the planner of the settings."""
    return KINDS[planner](**settings)
