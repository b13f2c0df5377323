"""Writes what happens in control steps as a trace that Perfetto and chrome://tracing open.

PyTorch's profiler notes operators, and on a GPU kernels and copies; the agent's timeline notes the
stages of a step. Both read clocks of their own, so ranges that both have seen tell how far these
are apart:

    host:      entering           entered                       (time.perf_counter_ns)
    profiler:              begin                                (of the range, in its file)

`begin - entered <= distance <= begin - entering`, and so for where a range ends. The distance is
the middle of what all ranges allow; half of what they leave open is how wrong it may be.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from planet.acting.agent import Agent
from planet.acting.frames import Frames
from planet.acting.timeline import Span, Timeline
from planet.errors.scalars import check_int
from planet.protocols import Observation
from planet.storage.atomic import atomic_write

ACT, CLOCK = "act", "planet clock"
"""Ranges around a step, and around nothing: to learn from how far the clocks are apart."""

_CLOCKS = 16
_QUIET = "6"  # what KINETO_LOG_LEVEL has to be, or two lines of every profile go to stderr
_HOST_TRACK, _DEVICE_TRACK = 1, 2

Event = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """Holds when the host entered and left a range of the profiler, in nanoseconds.

    Attributes:
      entering: before the call that begins the range.
      entered: after it.
      leaving: before the call that ends it.
      left: after it.
    """

    entering: int
    entered: int
    leaving: int
    left: int


@dataclass(frozen=True)
class TracedStep:
    """Holds a control step.

    Attributes:
      range: around `Agent.act`.
      cpu: nanoseconds of CPU time that all threads of the process used.
      spans: of the step's timeline.
    """

    range: Range
    cpu: int
    spans: Sequence[Span]


def write_trace(
    path: Path, agent: Agent, frames: Sequence[Observation | Frames], steps: int
) -> float:
    """Traces control steps of an agent that was reset; one before them is not in the trace.

    The profiler takes time at every operator, so the steps are slower than those of a profile.

    Args:
      path: file to write.
      agent: acts, and goes on from there; its timeline stays its own.
      frames: one per step, as `agent.act` takes it, from the first one again where there
        are fewer than steps.
      steps: how many are traced.

    Returns:
      Microseconds by which stages may be off against the profiler's operators.

    Raises:
      ValueError: `steps` is less than 1, or there are no frames.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    check_int("steps", steps, 1)
    if not frames:
        raise ValueError("frames: expected at least one, got none")
    before, agent.timeline = agent.timeline, Timeline()
    device = agent.weights.device
    try:
        document, clocks, traced = _record(agent, agent.timeline, frames, steps, device)
    finally:
        agent.timeline = before
    error = join(document, clocks, traced, device)
    with atomic_write(path) as file:
        file.write(json.dumps(document).encode())
    return error


def join(
    document: dict[str, Any], clocks: Sequence[Range], steps: Sequence[TracedStep],
    device: torch.device,
) -> float:  # fmt: skip
    """Adds tracks of the steps to a profiler's document.

    Args:
      document: of `torch.profiler`, with the ranges `CLOCK`, which are taken out, and `ACT`.
      clocks: of the ranges `CLOCK`, in their order.
      steps: of the ranges `ACT`, in their order.
      device: that computes the stages.

    Returns:
      Microseconds by which the steps may be off.
    """
    events, ranges = document["traceEvents"], [*clocks, *(step.range for step in steps)]
    first = min(int(event["ts"]) for event in events if "ts" in event)
    for event in events:  # whose large numbers have no room for nanoseconds
        if "ts" in event:
            event["ts"] = round(event["ts"] - first, 3)
    document["baseTimeNanoseconds"] = document.get("baseTimeNanoseconds", 0) + 1000 * first
    seen = [*_named(events, CLOCK), *_named(events, ACT)]
    distance, error = _distance(seen, ranges)
    events[:] = [event for event in events if event.get("name") != CLOCK]
    pid = 1 + max(event["pid"] for event in events if isinstance(event.get("pid"), int))
    events += _tracks(pid, steps, distance, device.type == "cuda")
    document["planet"] = {"steps": len(steps), "alignment_error_us": error / 1e3}
    return error / 1e3


def _record(
    agent: Agent,
    timeline: Timeline,
    frames: Sequence[Observation | Frames],
    steps: int,
    device: torch.device,
) -> tuple[dict[str, Any], list[Range], list[TracedStep]]:
    """Runs the steps; returns the profiler's document and what the host saw."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    agent.act(frames[-1])  # captures a graph, chooses kernels
    with _quiet(), profile(activities=activities) as profiler:
        clocks = [_ranged(CLOCK, lambda: None) for _ in range(_CLOCKS)]
        traced = []
        for step in range(steps):
            frame, cpu = frames[step % len(frames)], time.process_time_ns()
            around = _ranged(ACT, lambda frame=frame: agent.act(frame))  # type: ignore[misc]
            traced.append(TracedStep(around, time.process_time_ns() - cpu, [*timeline.spans]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        document: dict[str, Any] = json.loads(file.read_bytes())
    return document, clocks, traced


def _ranged(name: str, call: Callable[[], object]) -> Range:
    """Calls within a range of the profiler."""
    entering = time.perf_counter_ns()
    with record_function(name):
        entered = time.perf_counter_ns()
        call()
        leaving = time.perf_counter_ns()
    return Range(entering, entered, leaving, time.perf_counter_ns())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the profiler's log off stderr, unless the environment asks for it."""
    before = os.environ.get("KINETO_LOG_LEVEL")
    os.environ.setdefault("KINETO_LOG_LEVEL", _QUIET)
    try:
        yield
    finally:
        if before is None:
            del os.environ["KINETO_LOG_LEVEL"]


def _named(events: Sequence[Event], name: str) -> list[Event]:
    """Returns the host's ranges of a name in the order of their time."""
    kind = "user_annotation"
    found = [e for e in events if e.get("name") == name and e.get("cat") == kind]
    return sorted(found, key=lambda event: event["ts"])


def _distance(events: Sequence[Event], ranges: Sequence[Range]) -> tuple[int, float]:
    """Returns nanoseconds to add to the host's time, and by how many this may be wrong."""
    least, most = [], []
    for event, seen in zip(events, ranges, strict=True):
        begin, end = 1e3 * event["ts"], 1e3 * (event["ts"] + event["dur"])
        least += [begin - seen.entered, end - seen.left]
        most += [begin - seen.entering, end - seen.leaving]
    low, high = max(least), min(most)
    return round((low + high) / 2), abs(high - low) / 2


def _tracks(
    pid: int, steps: Sequence[TracedStep], distance: int, on_device: bool
) -> Iterator[Event]:
    """Makes a track of the steps with their stages; a device's stages have one of their own."""
    yield _name("process_name", pid, 0, "planet: control steps")
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": 0}}
    yield _name("thread_name", pid, _HOST_TRACK, "steps" if on_device else "steps and their stages")
    if on_device:
        yield _name("thread_name", pid, _DEVICE_TRACK, "stages, times of the device")
    for number, step in enumerate(steps):
        times = step.range.entered + distance, step.range.leaving + distance
        arguments = {"step": number, "cpu_ms": step.cpu / 1e6}
        yield _complete(ACT, pid, _HOST_TRACK, times, arguments)
        for span in step.spans:
            arguments = {"step": number}
            if span.iteration >= 0:
                arguments["iteration"] = span.iteration
            if not on_device:
                arguments["cpu_ms"] = span.cpu / 1e6
            times = span.begin + distance, span.end + distance
            track = _DEVICE_TRACK if on_device else _HOST_TRACK
            yield _complete(span.stage, pid, track, times, arguments)


def _name(kind: str, pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _complete(
    name: str, pid: int, tid: int, times: tuple[int, int], arguments: dict[str, Any]
) -> Event:
    begin, end = times
    return {
        "ph": "X", "cat": "planet", "name": name, "pid": pid, "tid": tid,
        "ts": begin / 1e3, "dur": (end - begin) / 1e3, "args": arguments,
    }  # fmt: skip
