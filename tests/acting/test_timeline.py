"""Timelines: spans of the host, of a CUDA device's events, and of events that a graph captured."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
from acting.captures import DEVICES
from acting.device_clock import CUDA, MS, ClockGraph, DeviceClock

from planet.acting.cuda_graph import capture
from planet.acting.timeline import STAGES, WHOLE, Span, Timeline, stage, timed_graph


def durations(timeline: Timeline) -> list[tuple[str, int, float]]:
    """Stage, iteration and milliseconds of every span."""
    return [(s.stage, s.iteration, (s.end - s.begin) / MS) for s in timeline.spans]


def test_parts_come_behind_their_whole() -> None:
    for part, whole in WHOLE.items():
        assert STAGES.index(whole) < STAGES.index(part)


def test_spans_of_the_host_nest_and_end_in_order() -> None:
    timeline = Timeline()
    timeline.begin(torch.device("cpu"))
    before = time.perf_counter_ns()
    with stage(timeline, "plan"), timeline.stage("refit", 3):
        pass
    refit, plan = timeline.spans
    assert (refit.stage, refit.iteration, plan.stage, plan.iteration) == ("refit", 3, "plan", -1)
    assert before <= plan.begin <= refit.begin <= refit.end <= plan.end <= time.perf_counter_ns()
    assert 0 <= refit.cpu <= plan.cpu


def test_a_step_forgets_the_one_before() -> None:
    timeline = Timeline()
    for name in ("filter", "plan"):
        timeline.begin(torch.device("cpu"))
        with stage(timeline, name):
            pass
        assert [span.stage for span in timeline.spans] == [name]


def test_without_a_timeline_nothing_is_recorded() -> None:
    with stage(None, "plan"):
        pass
    graph = capture(lambda: None, torch.device("cpu"))
    assert timed_graph(None, "act", lambda: graph) is graph


def test_spans_that_others_recorded_join_in() -> None:
    timeline = Timeline()
    timeline.begin(torch.device("cpu"))
    timeline.spans.append(Span("images", 1, 2, 0))
    assert [span.stage for span in timeline.spans] == ["images"]


def pickled(timeline: Timeline) -> Timeline:
    again: Timeline = pickle.loads(pickle.dumps(timeline))
    return again


@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
def test_a_copy_is_empty(again: Callable[[Timeline], Timeline], clock: DeviceClock) -> None:
    timeline = Timeline()
    timeline.begin(CUDA)
    step(timeline, clock, 1.0)
    assert again(timeline).spans == []
    assert len(timeline.spans) == 4


# --- On a CUDA device -----------------------------------------------------------------------------


def step(timeline: Timeline | None, clock: DeviceClock, slower: float) -> None:
    """A step whose stages take 2, 3 and 4 ms, times `slower`, with 1 ms between them."""
    with stage(timeline, "filter"), stage(timeline, "belief"):
        clock.work(2.0 * slower)
    clock.work(1.0)
    with stage(timeline, "plan"):
        clock.work(3.0 * slower)
    with stage(timeline, "explore"):
        clock.work(4.0 * slower)


def test_an_eager_step_has_times_of_the_device(clock: DeviceClock) -> None:
    timeline = Timeline()
    for slower in (1.0, 10.0):
        timeline.begin(CUDA)
        zero = time.perf_counter_ns()
        step(timeline, clock, slower)
        assert durations(timeline) == [
            ("belief", -1, 2 * slower), ("filter", -1, 2 * slower), ("plan", -1, 3 * slower),
            ("explore", -1, 4 * slower),
        ]  # fmt: skip
        belief, whole, plan, explore = timeline.spans
        assert (belief.begin, plan.begin) == (whole.begin, whole.end + MS)
        assert explore.begin == plan.end
        assert belief.begin <= zero, "the device's times are those of the host's clock"
        assert {span.cpu for span in timeline.spans} == {0}
    assert len(timeline.spans) == 4, "reading twice changes nothing"


def test_the_step_waits_for_what_came_before_it(clock: DeviceClock) -> None:
    Timeline().begin(CUDA)
    assert clock.log == ["wait"]


def test_stages_are_nvtx_ranges(clock: DeviceClock) -> None:
    timeline = Timeline()
    timeline.begin(CUDA)
    clock.log.clear()
    step(timeline, clock, 1.0)
    assert clock.log == ["<filter", "<belief", ">", ">", "<plan", ">", "<explore", ">"]


def test_a_range_ends_where_the_stage_fails(clock: DeviceClock) -> None:
    timeline = Timeline()
    timeline.begin(CUDA)
    clock.log.clear()
    with pytest.raises(RuntimeError), stage(timeline, "plan"):
        raise RuntimeError
    assert clock.log == ["<plan", ">"]
    assert timeline.spans == []


def test_replays_of_a_graph_record_its_stages_anew(clock: DeviceClock) -> None:
    timeline, slower = Timeline(), [1.0]

    def body() -> None:
        with stage(timeline, "plan"):
            clock.enqueue(lambda: clock.advance(slower[0]))

    timeline.begin(CUDA)
    graph = timed_graph(timeline, "act", partial(ClockGraph, clock, body))
    for slower[0] in (1.0, 5.0, 2.0):
        clock.log.clear()
        graph.replay()
        graph.wait()
        assert clock.log == ["<act", ">"], "the launch is one range"
        assert durations(timeline) == [("plan", -1, slower[0])]
        timeline.begin(CUDA)


def test_each_graph_of_a_step_has_stages_of_its_own(clock: DeviceClock) -> None:
    timeline = Timeline()

    def body(name: str, ms: float) -> None:
        with stage(timeline, name):
            clock.work(ms)

    timeline.begin(CUDA)
    graphs = [
        timed_graph(timeline, name, partial(ClockGraph, clock, partial(body, name, ms)))
        for name, ms in (("filter", 1.0), ("plan", 2.0))
    ]
    for graph in graphs:
        graph.replay()
    assert durations(timeline) == [("filter", -1, 1.0), ("plan", -1, 2.0)]


def test_a_graph_that_is_made_after_the_replay_of_another_keeps_its_stages_apart(
    clock: DeviceClock,
) -> None:
    timeline = Timeline()

    def body(name: str) -> None:
        with stage(timeline, name):
            clock.work(1.0)

    timeline.begin(CUDA)
    graphs = []
    for name in ("filter", "plan"):
        graphs.append(timed_graph(timeline, name, partial(ClockGraph, clock, partial(body, name))))
        graphs[-1].replay()
    for _ in range(2):
        assert [span.stage for span in timeline.spans] == ["filter", "plan"]
        timeline.begin(CUDA)
        for graph in graphs:
            graph.replay()


def test_a_graph_on_the_cpu_records_as_it_is_called() -> None:
    timeline, cpu = Timeline(), torch.device("cpu")

    def body() -> None:
        with stage(timeline, "plan"):
            pass

    timeline.begin(cpu)
    graph = timed_graph(timeline, "act", lambda: capture(body, cpu))
    assert timeline.spans == []
    for _ in range(2):
        timeline.begin(cpu)
        graph.replay()
        assert [span.stage for span in timeline.spans] == ["plan"]


@pytest.mark.parametrize("device", DEVICES[1:])
def test_a_gpu_times_stages_in_a_graph_as_without_one(device: str) -> None:
    timeline, cuda = Timeline(), torch.device(device)
    x = torch.randn(2048, 2048, device=device)

    def body() -> None:
        for name in ("filter", "plan"):
            with stage(timeline, name):
                torch.mm(x, x)

    timeline.begin(cuda)
    body()
    eager = timeline.spans
    timeline.begin(cuda)
    graph = timed_graph(timeline, "act", lambda: capture(body, cuda))
    for _ in range(2):
        timeline.begin(cuda)
        began = time.perf_counter_ns()
        graph.replay()
        graph.wait()
        spans = timeline.spans
        assert [span.stage for span in spans] == [span.stage for span in eager]
        assert began - MS < spans[0].begin < spans[0].end <= spans[1].begin < spans[1].end
        assert spans[1].end < time.perf_counter_ns() + MS
