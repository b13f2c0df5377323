"""Traces of control steps: what is in the file, how it nests, and that its clocks agree."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from agents import small_agent
from conftest import FUSED_MISSING, fused_is_built
from processes import python, variables
from small_models import frame
from torch.profiler import record_function

from planet.acting.seen import Array
from planet.acting.timeline import WHOLE, Span, Timeline
from planet.profiling.trace import ACT, CLOCK, Range, TracedStep, join, write_trace

CPU = torch.device("cpu")
FRAMES = [np.full((2, 2, 3), value, np.uint8) for value in range(3)]
CLOCKS_DIFFER = 50.0  # microseconds


class TracedAgent:
    """Acts in stages, with a range of the profiler in every one of them."""

    weights = SimpleNamespace(device=CPU)

    def __init__(self) -> None:
        self.timeline: Timeline | None = None
        self.seen: list[int] = []

    def act(self, frame: Array) -> None:
        self.seen.append(int(frame[0, 0, 0]))
        timeline = self.timeline
        assert timeline is not None
        timeline.begin(CPU)
        with timeline.stage("filter"), record_function("in filter"):
            torch.ones(3).sum()
            with timeline.stage("encoder"), record_function("in encoder"):
                torch.ones(3).sum()
        with timeline.stage("plan"), record_function("in plan"):
            for iteration in range(2):
                for name in ("rollouts", "selection", "refit"):
                    with timeline.stage(name, iteration), record_function(f"in {name}"):
                        torch.ones(3).sum()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    error = write_trace(path, TracedAgent(), FRAMES, 4)
    document: dict[str, Any] = json.loads(path.read_bytes())
    assert document["planet"] == {"steps": 4, "alignment_error_us": error}
    return document


def complete(document: dict[str, Any], category: str | None = None) -> list[dict[str, Any]]:
    found = [e for e in document["traceEvents"] if e["ph"] == "X"]
    return [e for e in found if category is None or e["cat"] == category]


def tracks(document: dict[str, Any]) -> dict[str, str]:
    """Names of threads by those of their processes, of what this project adds."""
    named = {
        (e["name"], e["pid"], e["tid"]): e["args"].get("name")
        for e in document["traceEvents"]
        if e["ph"] == "M"
    }
    used = {(e["pid"], e["tid"]) for e in complete(document, "planet")}
    return {named["thread_name", p, t]: named["process_name", p, 0] for p, t in used}


def parents(events: Sequence[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Names of the events of a track and of what each lies in, as a viewer stacks them.

    Viewers count whole nanoseconds, and cut what is less.
    """
    times = [(int(e["ts"] * 1e3), int(e["dur"] * 1e3), e["name"]) for e in events]
    stack: list[tuple[int, str]] = []
    found = []
    for begin, length, name in sorted(times, key=lambda t: (t[0], -t[1])):
        while stack and stack[-1][0] <= begin:
            stack.pop()
        end = begin + length
        assert not stack or end <= stack[-1][0], f"{name} ends after {stack[-1][1]}, which it is in"
        found.append((name, stack[-1][1] if stack else None))
        stack.append((end, name))
    return found


def test_stages_nest_in_their_step(written: dict[str, Any]) -> None:
    ours = complete(written, "planet")
    assert len({(e["pid"], e["tid"]) for e in ours}) == 1
    found = parents(ours)
    assert found == [(name, None if name == ACT else WHOLE.get(name, ACT)) for name, _ in found]
    assert [name for name, _ in found] == 4 * [
        "act", "filter", "encoder", "plan", *2 * ["rollouts", "selection", "refit"]
    ]  # fmt: skip


def test_tracks_have_names(written: dict[str, Any]) -> None:
    assert tracks(written) == {"steps and their stages": "planet: control steps"}
    pids = {e["pid"] for e in complete(written) if e["cat"] != "planet"}
    assert pids.isdisjoint({e["pid"] for e in complete(written, "planet")})


def test_events_say_which_step_and_iteration_they_are_of(written: dict[str, Any]) -> None:
    ours = complete(written, "planet")
    assert [e["args"]["step"] for e in ours if e["name"] == ACT] == [0, 1, 2, 3]
    refits = [(e["args"]["step"], e["args"]["iteration"]) for e in ours if e["name"] == "refit"]
    assert refits == [(step, iteration) for step in range(4) for iteration in range(2)]
    assert all(e["args"]["cpu_ms"] >= 0.0 for e in ours)
    assert not any("iteration" in e["args"] for e in ours if e["name"] in ("act", "filter"))


def test_operators_are_traced_and_ranges_of_the_clocks_are_not(written: dict[str, Any]) -> None:
    names = {e["name"] for e in complete(written)}
    assert "aten::sum" in names
    assert CLOCK not in names


def test_the_profilers_clock_and_the_hosts_agree(written: dict[str, Any]) -> None:
    """A range of the profiler lies in its stage, however long the system paused in between."""
    order = lambda e: e["ts"]  # noqa: E731
    ours = sorted(complete(written, "planet"), key=order)
    for name in ("filter", "encoder", "plan", "rollouts", "selection", "refit"):
        spans = [e for e in ours if e["name"] == name]
        ranges = [e for e in complete(written, "user_annotation") if e["name"] == f"in {name}"]
        for span, seen in zip(spans, sorted(ranges, key=order), strict=True):
            assert span["ts"] - CLOCKS_DIFFER <= seen["ts"]
            assert seen["ts"] + seen["dur"] <= span["ts"] + span["dur"] + CLOCKS_DIFFER


def test_frames_are_taken_by_turns_and_the_timeline_is_given_back(tmp_path: Path) -> None:
    agent, own = TracedAgent(), Timeline()
    agent.timeline = own
    write_trace(tmp_path / "trace.json", agent, FRAMES, 4)
    assert agent.seen == [2, 0, 1, 2, 0]  # the first one is not in the trace
    assert agent.timeline is own


@pytest.mark.parametrize("level", [None, "6"])
def test_the_environment_stays(
    level: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level is None:
        monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
    else:
        monkeypatch.setenv("KINETO_LOG_LEVEL", level)
    write_trace(tmp_path / "trace.json", TracedAgent(), FRAMES, 1)
    assert os.environ.get("KINETO_LOG_LEVEL") == level


def test_the_profiler_says_nothing(tmp_path: Path) -> None:
    """In a process of its own: the log's level is read at the first profile of a process."""
    code = f"""
from pathlib import Path
from agents import small_agent
from processes import python, variables
from small_models import frame
from planet.profiling.trace import write_trace
agent = small_agent()
agent.reset()
write_trace(Path({str(tmp_path / "trace.json")!r}), agent, [frame(0)], 1)
"""
    environment = variables()
    environment.pop("KINETO_LOG_LEVEL", None)
    done = python("-c", code, env=environment)
    assert (done.stdout, done.stderr) == ("", "")


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    with pytest.raises(ValueError, match="steps: expected a value >= 1, got 0"):
        write_trace(path, TracedAgent(), FRAMES, 0)
    with pytest.raises(ValueError, match="observations: expected at least one, got none"):
        write_trace(path, TracedAgent(), [], 1)
    assert not path.exists()


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    class Failing(TracedAgent):
        def act(self, frame: Array) -> None:
            if len(self.seen) == 2:
                raise RuntimeError("lost")
            super().act(frame)

    path, agent = tmp_path / "trace.json", Failing()
    path.write_text("old")
    with pytest.raises(RuntimeError, match="lost"):
        write_trace(path, agent, FRAMES, 4)
    assert path.read_text() == "old"
    assert agent.timeline is None


@pytest.mark.parametrize("capture", [False, True], ids=["eager", "captured"])
@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_agents_of_every_kind_are_traced(backend: str, capture: bool, tmp_path: Path) -> None:
    if backend == "fused" and not fused_is_built():
        pytest.skip(FUSED_MISSING)
    agent, path = small_agent(capture, backend=backend), tmp_path / "trace.json"
    agent.reset()
    write_trace(path, agent, [frame(0), frame(1)], 2)
    found = parents(complete(json.loads(path.read_bytes()), "planet"))
    assert {("act", None), ("filter", "act"), ("plan", "act")} <= set(found)
    assert all(whole == WHOLE.get(name, ACT) for name, whole in found if name != ACT)
    assert sum(name == "plan" for name, _ in found) == 2


# --- Clocks that are known ------------------------------------------------------------------------

FAR = 4_981_528_102_710_000  # nanoseconds between the clocks
PROFILED = [{"name": "aten::mm", "ph": "X", "cat": "cpu_op", "pid": 7, "tid": 7, "dur": 1.0}]


def noted(name: str, seen: Range, begin: int, end: int) -> dict[str, Any]:
    """Event of the profiler for a range, `begin` and `end` ns after the host began and ended it."""
    ts, stop = FAR + seen.entering + begin, FAR + seen.leaving + end
    where = {"pid": 7, "tid": 7, "ts": ts / 1e3, "dur": (stop - ts) / 1e3}
    return {"name": name, "ph": "X", "cat": "user_annotation", **where}


def ranges(*calls: int) -> list[Range]:
    """Ranges one after another whose calls to the profiler take so many nanoseconds."""
    return [
        Range(start, start + call, start + call + 500_000, start + 2 * call + 500_000)
        for start, call in zip(range(0, 10**9, 10_000_000), calls, strict=False)
    ]


def document(clocks: list[Range], steps: list[TracedStep]) -> dict[str, Any]:
    events = [noted(CLOCK, seen, 2_000, 2_000) for seen in clocks]
    events += [noted(ACT, step.range, 2_000, 2_000) for step in steps]
    first = min(e["ts"] for e in events)
    return {"traceEvents": [*events, *({**e, "ts": first} for e in PROFILED)]}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_narrowest_range_tells_how_far_the_clocks_are_apart(device: str) -> None:
    *clocks, act = ranges(600_000, 9_000, 5_000, 40_000, 300_000)
    spans = [
        Span("rollouts", act.entered + 2_000, act.entered + 2_001, 0, 3),
        Span("plan", act.entered + 1_000, act.leaving - 1_000, 0),
    ]
    trace = document(clocks, [TracedStep(act, 7_000_000, spans)])
    # What 5 microseconds leave open: the profiler's range begins 2 after their begin.
    assert join(trace, clocks, [TracedStep(act, 7_000_000, spans)], torch.device(device)) == 2.5
    ours = {e["name"]: e for e in complete(trace, "planet")}
    zero = trace["baseTimeNanoseconds"] - FAR + 500  # by which the middle is off
    begins = {name: round(1e3 * e["ts"]) + zero for name, e in ours.items()}
    # The profiler's numbers lack the last digit.
    assert begins["act"] == pytest.approx(act.entered, abs=2)
    assert begins["plan"] == pytest.approx(act.entered + 1_000, abs=2)
    assert ours["act"]["args"] == {"step": 0, "cpu_ms": 7.0}
    assert ours["rollouts"]["args"]["iteration"] == 3
    assert len(tracks(trace)) == (1 if device == "cpu" else 2)
    assert ("cpu_ms" in ours["plan"]["args"]) == (device == "cpu")


def test_clocks_that_drift_are_told() -> None:
    clocks = ranges(5_000, 5_000)
    steps = [TracedStep(ranges(1, 1, 5_000)[2], 0, [])]
    trace = document(clocks, steps)
    late = next(e for e in trace["traceEvents"] if e["name"] == ACT)
    late["ts"] += 1_000.0
    assert join(trace, clocks, steps, CPU) == pytest.approx(500.0 - 2.5, abs=2e-3)
