"""Records when the stages of a control step begin and end, for profiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from planet.acting.cuda_graph import Graph

STAGES = (
    "filter", "images", "encoder", "belief", "posterior",
    "plan", "rollouts", "selection", "refit",
    "explore",
)  # fmt: skip
"""Stages in the order of `planet::Stage` (csrc/timeline.h)."""

WHOLE = {
    **dict.fromkeys(("images", "encoder", "belief", "posterior"), "filter"),
    **dict.fromkeys(("rollouts", "selection", "refit"), "plan"),
}
"""Stage that another one is a part of."""


@dataclass(frozen=True)
class Span:
    """Holds one run of a stage.

    Attributes:
      stage: one of `STAGES`.
      begin: nanoseconds of `time.perf_counter_ns`.
      end: likewise.
      cpu: nanoseconds of CPU time that all threads of the process used meanwhile; 0 of work on a
        CUDA device.
      iteration: of a plan; -1 outside of one.
    """

    stage: str
    begin: int
    end: int
    cpu: int
    iteration: int = -1


class Timeline:
    """Collects the spans of a control step.

    On a CPU they are times of the host, where the work is done when a call returns. On a CUDA
    device they are times of the device: of events around what a stage enqueues, or of the nodes
    that these become in a captured graph. NVTX ranges show the stages to a profiler there.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._device: torch.device | None = None  # where events are recorded
        self._zero: tuple[torch.cuda.Event, int] | None = None  # with the host's time of it
        self._marks: list[_Mark] = []  # of the newest step, not read yet
        self._table: Tensor | None = None  # likewise

    def __reduce__(self) -> tuple[type[Timeline], tuple[()]]:
        """Copies and pickles empty: events belong to one timeline."""
        return Timeline, ()

    @property
    def spans(self) -> list[Span]:
        """Spans of the newest step, in the order in which they ended; waits for the device."""
        marks, self._marks = self._marks, []
        self._spans += map(self._span, marks)
        table, self._table = self._table, None
        if table is not None:
            self._spans += (
                Span(STAGES[stage], begin, end, cpu, iteration)
                for stage, iteration, begin, end, cpu in table.tolist()
            )
        return self._spans

    def begin(self, device: torch.device) -> None:
        """Starts a step on `device` and forgets the one before.

        Waits for what a CUDA device still has to do, so that the step is timed from its start.
        """
        self._spans, self._marks, self._table = [], [], None
        self._device = device if device.type == "cuda" else None
        if self._device is not None:
            stream = torch.cuda.current_stream(device)
            stream.synchronize()
            zero = _event()
            zero.record(stream)
            self._zero = zero, time.perf_counter_ns()

    def stage(self, name: str, iteration: int = -1) -> AbstractContextManager[None]:
        """Records a span of `name`, one of `STAGES`, around a block."""
        if self._device is None:
            return self._on_host(name, iteration)
        return self._on_device(self._device, name, iteration)

    def graph(self, name: str, make: Callable[[], Graph]) -> Graph:
        """Makes a graph of a step that has begun; its replays record the stages in it.

        Args:
          name: of the NVTX range around every launch.
          make: captures the graph.
        """
        if self._device is None:
            return make()
        before, self._marks = self._marks, []  # a step may have several graphs
        graph = make()
        marks, self._marks = [mark for mark in self._marks if mark.captured], before
        return _TimedGraph(self, name, graph, marks)

    def replayed(self, marks: list[_Mark]) -> None:
        """Takes the marks that the replay of a graph records anew."""
        self._marks += marks

    def record(self, table: Tensor) -> None:
        """Copies the spans of a compiled step; whoever asks for them makes them of it.

        Args:
          table: int64 [N, 5], rows of stage, iteration, begin, end and cpu (csrc/timeline.h).
        """
        self._table = table.clone()

    @contextmanager
    def _on_host(self, name: str, iteration: int) -> Iterator[None]:
        cpu, begin = time.process_time_ns(), time.perf_counter_ns()
        yield
        end = time.perf_counter_ns()
        self._spans.append(Span(name, begin, end, time.process_time_ns() - cpu, iteration))

    @contextmanager
    def _on_device(self, device: torch.device, name: str, iteration: int) -> Iterator[None]:
        captured = torch.cuda.is_current_stream_capturing()
        begin, end = _event(external=captured), _event(external=captured)
        stream = torch.cuda.current_stream(device)
        with _nvtx_range(name):
            begin.record(stream)
            yield
            end.record(stream)
        self._marks.append(_Mark(name, iteration, begin, end, captured))

    def _span(self, mark: _Mark) -> Span:
        assert self._zero is not None
        zero, host = self._zero
        mark.end.synchronize()
        begin, end = (
            host + round(1e6 * zero.elapsed_time(event)) for event in (mark.begin, mark.end)
        )
        return Span(mark.stage, begin, end, 0, mark.iteration)


def stage(timeline: Timeline | None, name: str) -> AbstractContextManager[None]:
    """Returns `timeline.stage(name)`, or what does nothing without a timeline."""
    return nullcontext() if timeline is None else timeline.stage(name)


def timed_graph(timeline: Timeline | None, name: str, make: Callable[[], Graph]) -> Graph:
    """Returns `timeline.graph(name, make)`, or the graph alone without a timeline."""
    return make() if timeline is None else timeline.graph(name, make)


@dataclass(frozen=True)
class _Mark:
    """Holds the events around a stage.

    Attributes:
      captured: they are nodes of a graph, and every replay records them anew.
    """

    stage: str
    iteration: int
    begin: torch.cuda.Event
    end: torch.cuda.Event
    captured: bool


@dataclass(frozen=True)
class _TimedGraph:
    """Replays a graph for a timeline."""

    timeline: Timeline
    name: str
    graph: Graph
    marks: list[_Mark]

    def replay(self) -> None:
        with _nvtx_range(self.name):
            self.graph.replay()
        self.timeline.replayed(self.marks)

    def wait(self) -> None:
        self.graph.wait()


def _event(external: bool = False) -> torch.cuda.Event:
    """Makes an event that is timed; an external one becomes a node of the graph that captures it.

    Others that are captured only order streams, and cannot be timed.
    """
    event = torch.cuda.Event(enable_timing=True, external=external)  # type: ignore[no-untyped-call]
    return event


@contextmanager
def _nvtx_range(name: str) -> Iterator[None]:
    torch.cuda.nvtx.range_push(name)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]
