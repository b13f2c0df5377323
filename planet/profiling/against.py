"""Compares profiles with earlier ones that a file holds.

Steps of both count as independent samples; see `planet.profiling.quantiles.ratio`. The intervals
know nothing of what differs between processes, such as where memory lies: two profiles of the same
program may differ by a few percent more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planet.profiling.latency import Stage
from planet.profiling.quantiles import Estimate, ratio
from planet.profiling.result import Comparison, Profile
from planet.profiling.session import Session


@dataclass(frozen=True)
class Change:
    """Holds how a percentile of a stage changed.

    Attributes:
      stage: name of the stage.
      percentile: 50 or 99.
      before: milliseconds.
      now: milliseconds.
      ratio: of now to before.
    """

    stage: str
    percentile: int
    before: Estimate
    now: Estimate
    ratio: Estimate

    @property
    def verdict(self) -> str:
        """Says "faster", "slower", or "undecided" where the interval holds 1."""
        if self.ratio.high < 1.0:
            return "faster"
        return "slower" if self.ratio.low > 1.0 else "undecided"


def check_comparable(before: Comparison, session: Session) -> None:
    """Refuses, before anything is timed, what makes a ratio meaningless.

    Other sizes, another task and other planners are other work. Another machine, other threads or
    another precision may be what is to be compared: `differences` names them.

    Raises:
      ValueError: naming what differs.
    """
    if list(before.profiles) != list(session.facts):
        expected, got = (", ".join(map(repr, names)) for names in (before.profiles, session.facts))
        raise ValueError(f"against: expected the file's planners [{expected}], got [{got}]")
    task, now = (None if run is None else run["task"] for run in (before.first.run, session.run))
    different = _different({"task": task}, {"task": now})
    for name, (plan, _) in session.facts.items():
        different += _different(before.profiles[name].plan, plan)
    if different:
        raise ValueError(
            f"against: expected the file's sizes, got others: {'; '.join(dict.fromkeys(different))}"
        )


def differences(before: Comparison, now: Comparison) -> list[str]:
    """Names what else the ratios depend on: machine, what computes, and the pace."""
    found = _different(before.first.machine, now.first.machine)
    found += _different(_pace(before.first), _pace(now.first))
    for name, profile in now.profiles.items():
        found += _different(before.profiles[name].compute, profile.compute)
    return list(dict.fromkeys(found))


def changes(before: Profile, now: Profile) -> list[Change]:
    """Compares p50 and p99 of act, and p50 of the stages that both have.

    What took no time, or too few steps for an interval, is left out.
    """
    earlier = {stage.name: stage for stage in before.stages}
    pairs = [(earlier[s.name], s) for s in now.stages if s.name in earlier]
    wanted = [(50, *pairs[0]), (99, *pairs[0]), *((50, *pair) for pair in pairs[1:])]
    return [found for each in wanted if (found := _change(*each)) is not None]


def _change(percentile: int, before: Stage, now: Stage) -> Change | None:
    one, other = (stage.percentiles[percentile] for stage in (before, now))
    if one is None or other is None or min(one.low, other.low) <= 0.0:
        return None
    return Change(now.name, percentile, one, other, ratio(other, one))


def _pace(profile: Profile) -> dict[str, Any]:
    return {"rate_hz": profile.rate_hz, "paced": bool(profile.lateness)}


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*before, *now])
    pairs = [(name, before.get(name), now.get(name)) for name in names]
    return [f"{name} {one}, now {other}" for name, one, other in pairs if one != other]
