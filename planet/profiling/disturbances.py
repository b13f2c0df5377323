"""Tells from recorded facts what spoiled the figures of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from planet.profiling.conditions import Conditions
from planet.profiling.latency import Stage
from planet.profiling.quantiles import quantile, ratio
from planet.profiling.result import Comparison, Profile

_SHARE = 0.05  # of wall time, or of the speed, that may be lost silently
_WAITING = 0.01  # of the measurement, that threads may wait for a core silently
_CORES = 0.1  # that others may use silently
_TICKS = 0.05  # seconds; a machine counts CPU time in steps of 0.01 s
_STEPS = 0.1  # share of steps that the system may interrupt silently
_PAUSE = 5.0  # times the median


def disturbances(comparison: Comparison) -> list[str]:
    """Returns a sentence for everything that spoiled the figures, none for sound ones."""
    found: list[str | None] = []
    conditions = comparison.conditions
    if conditions is not None:
        threads = max(p.compute.get("threads", 1) for p in comparison.profiles.values())
        found += [busy(conditions, threads), stolen(conditions), throttled(conditions)]
        found.append(governed(conditions))
    profiles = list(comparison.profiles.values())
    found += [waited(profiles), preempted(profiles, conditions)]
    for name, profile in comparison.profiles.items():
        own = (drifted(profile.act), paused(profile.act))
        found += [f"{name}: {text}" if name and text else text for text in own]
    return [text for text in found if text]


def busy(conditions: Conditions, threads: int) -> str | None:
    """Tells that more threads wanted a core than there are.

    The CPU time of others meanwhile says so; where the system does not tell it, the load before and
    after, a mean of a minute that also holds what this process did before.
    """
    before, after = conditions.before.load, conditions.after.load
    if (others := _others(conditions)) is not None:
        if others <= _CORES or others + threads <= conditions.processors + _CORES:
            return None
        return (
            f"others used the machine: {others:.1f} of its {conditions.processors} cores, of "
            f"which this wanted {threads}"
        )
    if before is None or after is None or max(before + threads, after) <= conditions.cores + 0.5:
        return None
    return (
        f"others used the machine: load {before:.1f} before, {after:.1f} after, on "
        f"{conditions.cores} cores, of which this took {threads}"
    )


def _others(conditions: Conditions) -> float | None:
    """Returns how many cores other processes used, at least; None where the system tells less."""
    before, after = conditions.before, conditions.after
    if before.busy is None or before.own is None or after.busy is None or after.own is None:
        return None
    used = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, used - _TICKS) / (after.seconds - before.seconds)


def stolen(conditions: Conditions) -> str | None:
    """Tells that a hypervisor gave cores to other machines."""
    before, after = conditions.before.stolen, conditions.after.stolen
    if before is None or after is None:
        return None
    seconds = conditions.after.seconds - conditions.before.seconds
    share = (after - before) / (seconds * conditions.processors)
    return f"the hypervisor took {share:.1%} of the CPU time for others" if share > 0.01 else None


def throttled(conditions: Conditions) -> str | None:
    """Tells that a container's quota of CPU time ran out."""
    before, after = conditions.before.throttled, conditions.after.throttled
    if before is None or after is None or after <= before:
        return None
    seconds = conditions.after.seconds - conditions.before.seconds
    return (
        f"the container's quota of CPU time ran out: it stood still for {after - before:.2f} s "
        f"of {seconds:.1f} s"
    )


def governed(conditions: Conditions) -> str | None:
    """Tells that the cores' frequency follows the load."""
    if set(conditions.governors) <= {"performance"}:
        return None
    return (
        f"the clock is not constant: frequency governor {', '.join(conditions.governors)}; "
        "`python -m pyperf system tune` sets performance"
    )


def drifted(act: Stage) -> str | None:
    """Tells that the last third of the steps is slower or faster than the first one."""
    third = len(act.milliseconds) // 3
    first, last = quantile(act.milliseconds[:third], 0.5), quantile(act.milliseconds[-third:], 0.5)
    if third == 0 or first is None or last is None:
        return None
    change = ratio(last, first)
    if change.low <= 1.0 <= change.high or abs(change.value - 1.0) <= _SHARE:
        return None
    return (
        f"the speed drifted: p50 {_ms(first.value)} in the first third of the steps, "
        f"{_ms(last.value)} in the last"
    )


def paused(act: Stage) -> str | None:
    """Tells that single steps took many times the median, and how much of it they computed."""
    usual = median(act.milliseconds)
    long = [i for i, wall in enumerate(act.milliseconds) if wall > _PAUSE * usual]
    if not long:
        return None
    worst = max(long, key=lambda i: act.milliseconds[i])
    wall, cpu = act.milliseconds[worst], act.cpu_milliseconds[worst]
    return (
        f"{len(long)} of {len(act.milliseconds)} steps took more than {_PAUSE:g} times the median: "
        f"step {worst + 1} took {_ms(wall)}, {_ms(cpu)} of it CPU time"
    )


def waited(profiles: Sequence[Profile]) -> str | None:
    """Tells that the process had no core: its CPU time is less than the wall's.

    With several threads the CPU time may exceed the wall's, so that this is the least that was
    lost. A GPU is waited for without CPU time, so that nothing can be told.
    """
    on_cpu = [p.act for p in profiles if p.compute.get("device", "cpu") == "cpu"]
    walls = [wall for act in on_cpu for wall in act.milliseconds]
    cpus = [cpu for act in on_cpu for cpu in act.cpu_milliseconds]
    lost = [max(0.0, wall - cpu) for wall, cpu in zip(walls, cpus, strict=True)]
    if not walls or sum(lost) <= _SHARE * sum(walls):
        return None
    return (
        f"the process had no core for {sum(lost) / sum(walls):.0%} of the time in act (wall - "
        f"CPU), in one step for {_ms(max(lost))}"
    )


def preempted(profiles: Sequence[Profile], conditions: Conditions | None = None) -> str | None:
    """Tells that threads of the process often lost their core, by how long they waited for one.

    Threads that share a core may use as much CPU time as the wall's, so that only their waiting
    tells it. Where the system does not say how long they waited, the steps in which one lost its
    core are counted.
    """
    counts = [count for profile in profiles for count in profile.preemptions]
    steps = sum(count > 0 for count in counts)
    text = (
        f"the system took a core away {sum(counts)} times, in {steps} of {len(counts)} steps "
        "(involuntary context switches)"
    )
    before, after = (None, None) if conditions is None else (conditions.before, conditions.after)
    if before is None or after is None or before.queued is None or after.queued is None:
        return text if steps > _STEPS * len(counts) else None
    seconds, waited = after.seconds - before.seconds, after.queued - before.queued
    if waited <= _WAITING * seconds:
        return None
    return f"{text}; threads waited {waited:.2f} s for one, of {seconds:.1f} s"


def _ms(value: float) -> str:
    """Writes milliseconds with three digits or more, and never as a power of ten."""
    return f"{value:.0f} ms" if value >= 100.0 else f"{value:.3g} ms"
