"""Writes profiles as text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from planet.acting.timeline import WHOLE
from planet.profiling.disturbances import disturbances
from planet.profiling.latency import PERCENTILES, Stage
from planet.profiling.quantiles import Estimate, values_needed
from planet.profiling.result import SHARED, Comparison, Profile
from planet.profiling.stages import ORDER

Facts = dict[str, Any]

WIDTH = 80
_LABEL, _CELL = 14, 22  # columns: of a row's name, of a planner
_BESIDE = (WIDTH - _LABEL) // _CELL  # planners side by side
_ROUNDS = 9  # iterations side by side
_WORK = "rollouts", "samples"  # of a plan, shown where planners differ


def table(comparison: Comparison) -> str:
    """Writes facts, times and what spoiled them."""
    profiles = comparison.profiles
    names = list(profiles)
    lines = [*_facts(comparison), "", *_legend(comparison)]
    for start in range(0, len(names), _BESIDE):
        lines += ["", *_headline(comparison, names[start : start + _BESIDE])]
    if len(names) == 1:
        lines += [*_stages(comparison.first), *_rounds(comparison.first)]
    elif len(comparison.first.stages) > 1:
        for start in range(0, len(names), _BESIDE):
            lines += ["", *_medians(comparison, names[start : start + _BESIDE])]
    if found := disturbances(comparison):
        lines.append("")
        lines += [line for text in found for line in wrapped("warning", text)]
    return "\n".join(line.rstrip() for line in lines)


def number(value: float) -> str:
    """Writes a number with four digits that matter."""
    digits = 3 - sum(abs(value) >= limit for limit in (10, 100, 1000))
    return f"{value:.{digits}f}"


def told(found: Estimate | None, unit: str = "") -> str:
    """Writes an estimate and its interval."""
    if found is None:
        return "-"
    return f"{number(found.value)}{unit} ({number(found.low)}-{number(found.high)})"


def wrapped(title: str, text: str) -> list[str]:
    """Writes a title and, beside it, a text in as many lines as it takes."""
    lines = textwrap.wrap(text, WIDTH - 10, break_on_hyphens=False)
    return [f"{'' if i else title:10}{line}" for i, line in enumerate(lines)]


def _headline(comparison: Comparison, names: Sequence[str]) -> list[str]:
    """Writes `act` of some policies side by side."""
    profiles = [comparison.profiles[name] for name in names]
    rows: dict[str, list[str]] = {}
    if len(comparison.profiles) > 1:
        rows["act"] = [_fitting(name, _CELL - 2) for name in names]
    for size in _WORK:
        if len({profile.plan.get(size) for profile in comparison.profiles.values()}) > 1:
            rows[size] = [f"{profile.plan.get(size, '-'):,}" for profile in profiles]
    for p in PERCENTILES:
        needed = values_needed(p / 100)
        rows[f"p{p}"] = [
            told(found) if (found := profile.act.percentiles[p]) else f"needs {needed} steps"
            for profile in profiles
        ]
    rows["max"] = [number(max(profile.act.milliseconds)) for profile in profiles]
    rows["CPU p50"] = [told(profile.act.cpu) for profile in profiles]
    if comparison.first.rate_hz is not None:
        rows["missed"] = [_missed(profile) for profile in profiles]
    if comparison.first.lateness:
        rows["late start"] = [
            f"{number(median(p.lateness))}, max {number(max(p.lateness))}" for p in profiles
        ]
    if len(comparison.profiles) > 1:
        first = comparison.first.act
        rows["faster"] = [
            "-" if profile.act is first else told(profile.act.speedup(first), "x")
            for profile in profiles
        ]
    return _rows(rows.items())


def _missed(profile: Profile) -> str:
    share = profile.missed or 0.0
    return f"{round(share * profile.steps)} ({share:.1%})"


def _medians(comparison: Comparison, names: Sequence[str]) -> list[str]:
    """Writes the median of every stage of some policies side by side, and how much faster it is."""
    rows = [("p50 by stage", [_fitting(name, _CELL - 2) for name in names])]
    stages = [{stage.name: stage for stage in p.stages} for p in comparison.profiles.values()]
    shown = [stages[list(comparison.profiles).index(name)] for name in names]
    for name in ORDER[1:]:
        found = [own[name] for own in stages if name in own]
        if found and name in SHARED:
            rows.append((name, [_median(found[0], None)]))
        elif found:
            base = stages[0].get(name)
            cells = [_median(own[name], base) if name in own else "-" for own in shown]
            rows.append((_indented(name), cells))
    return _rows(rows)


def _median(stage: Stage, first: Stage | None) -> str:
    middle = stage.percentiles[50]
    faster = None if first is None or stage is first else stage.speedup(first)
    text = "-" if middle is None else number(middle.value)
    return text if faster is None else f"{text:8}{faster.value:.2f}x"


def _stages(profile: Profile) -> list[str]:
    """Writes what is in `act`, and beside it, a line each."""
    if len(profile.stages) == 1:
        return []
    titles = [*(f"p{p}" for p in PERCENTILES), "max", "CPU p50", "share"]
    lines = ["", f"{'stage':{_LABEL}}" + "".join(f"{title:>10}" for title in titles)]
    whole = sum(profile.act.milliseconds)
    for stage in profile.stages[1:]:
        found = [*stage.percentiles.values()]
        cells = ["-" if one is None else number(one.value) for one in found]
        cells.append(number(max(stage.milliseconds)))
        cells.append("-" if stage.cpu is None else number(stage.cpu.value))
        inside = stage.name not in SHARED
        cells.append(f"{sum(stage.milliseconds) / whole:.0%}" if inside else "")
        lines.append(f"{_indented(stage.name):{_LABEL}}" + "".join(f"{c:>10}" for c in cells))
    return lines


def _rounds(profile: Profile) -> list[str]:
    """Writes the median of every iteration's stages."""
    lines = []
    for start in range(0, len(profile.rounds), _ROUNDS):
        rounds = profile.rounds[start : start + _ROUNDS]
        numbers = "".join(f"{start + i + 1:7}" for i in range(len(rounds)))
        lines += ["", f"{'p50, iteration':{_LABEL + 2}}{numbers}"]
        for row in zip(*rounds, strict=True):
            cells = (
                "-" if (middle := stage.percentiles[50]) is None else number(middle.value)
                for stage in row
            )
            lines.append(f"{row[0].name:{_LABEL + 2}}" + "".join(f"{cell:>7}" for cell in cells))
    return lines


def _facts(comparison: Comparison) -> list[str]:
    first, conditions = comparison.first, comparison.conditions
    machine = dict(first.machine)
    if conditions is not None and conditions.before.load is not None:
        machine["load"] = f"{conditions.before.load:.1f} before {conditions.after.load:.1f} after"
    facts: dict[str, Mapping[str, Any]] = {"run": first.run or {}}
    profiles = comparison.profiles
    facts["plan"], plans = _alike({name: profile.plan for name, profile in profiles.items()})
    facts["compute"], compute = _alike({name: _computed(p) for name, p in profiles.items()})
    facts |= {name: plans[name] | compute[name] for name in profiles}
    facts["machine"] = machine
    facts["planet"] = {k: v for k, v in comparison.source.items() if k != "command" and v}
    lines = []
    for title, values in facts.items():
        if not values:
            continue
        text = ", ".join(f"{_words(name)} {_shown(value)}" for name, value in values.items())
        beside = len(title) < 10
        lines += wrapped(title, text) if beside else [title, *wrapped("", text)]
    return lines


def _alike(facts: Mapping[str, Facts]) -> tuple[Facts, dict[str, Facts]]:
    """Returns the facts that are alike whatever the name, and the others by name."""
    shared = set.intersection(*(set(map(str, own.items())) for own in facts.values()))
    first = next(iter(facts.values()))
    return {k: v for k, v in first.items() if str((k, v)) in shared}, {
        name: {k: v for k, v in own.items() if str((k, v)) not in shared}
        for name, own in facts.items()
    }


def _computed(profile: Profile) -> dict[str, Any]:
    """Returns what computes, and how many iterations a budget left."""
    done = profile.iterations
    if not done or min(done) >= profile.plan.get("iterations", 0):
        return profile.compute
    return {
        **profile.compute,
        "iterations": f"{min(done)} to {max(done)}, median {median(done):g}",
    }


def _legend(comparison: Comparison) -> list[str]:
    first = comparison.first
    text = (
        f"act: one control step from frame to action. Milliseconds of {first.steps} steps after "
        f"{first.warmup} for warm-up, in parentheses 95 % confidence intervals."
    )
    if first.rate_hz is not None:
        period = f"{1e3 / first.rate_hz:g} ms ({first.rate_hz:g} Hz)"
        start = "every step starts with a period" if first.lateness else "steps follow at once"
        text += f" missed: steps not done within {period}; {start}."
    if first.lateness:
        text += " After a miss the next step starts with the next period."
    if len(comparison.profiles) > 1:
        name = next(iter(comparison.profiles))
        text += f" faster: than {name}, median of the ratios step by step."
    return textwrap.wrap(text, WIDTH)


def _rows(rows: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    return [
        f"{name:{_LABEL}}" + "".join(f"{cell:{_CELL}}" for cell in cells) for name, cells in rows
    ]


def _indented(stage: str) -> str:
    return f"  {stage}" if stage in WHOLE else stage


def _fitting(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 3] + "..."


def _words(name: str) -> str:
    """Writes a name for people: "belief_size" is "belief"."""
    return name.removesuffix("_size").replace("_", " ")


def _shown(value: object) -> str:
    """Writes a value for people: [200, 200] is "200 200"."""
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
