"""Stands in for a CUDA device's clock: events, streams, graphs and NVTX ranges that are noted."""

from __future__ import annotations

from collections.abc import Callable

import torch

CUDA = torch.device("cuda", 0)
MS = 1_000_000  # nanoseconds


class DeviceClock:
    """Is a device that does what is enqueued at once, and whose clock only `work` moves.

    Attributes:
      ms: what the clock shows.
      log: NVTX ranges and synchronisations.
      nodes: event records that were captured; None: nothing is being captured.
    """

    def __init__(self) -> None:
        self.ms = 100.0
        self.log: list[str] = []
        self.nodes: list[Callable[[], None]] | None = None

    def work(self, ms: float) -> None:
        """Enqueues work that takes `ms`."""
        self.enqueue(lambda: self.advance(ms))

    def enqueue(self, node: Callable[[], None]) -> None:
        if self.nodes is None:
            node()
        else:
            self.nodes.append(node)

    def advance(self, ms: float) -> None:
        self.ms += ms

    def current_stream(self, device: torch.device | None = None) -> DeviceClock:
        return self

    def synchronize(self) -> None:
        self.log.append("wait")


class ClockEvent:
    """Is an event of the clock; it refuses what a CUDA event refuses."""

    clock: DeviceClock

    def __init__(self, enable_timing: bool = False, external: bool = False) -> None:
        assert enable_timing
        self.external, self.time = external, 0.0

    def record(self, stream: DeviceClock) -> None:
        assert stream is self.clock
        captured = self.clock.nodes is not None
        assert self.external == captured, "only a captured event that is external can be timed"
        self.clock.enqueue(self.happen)

    def happen(self) -> None:
        self.time = self.clock.ms

    def synchronize(self) -> None:
        assert self.time, "was never recorded"

    def elapsed_time(self, end: ClockEvent) -> float:
        return end.time - self.time


class ClockGraph:
    """Runs a body to warm up, captures it, and replays what was enqueued."""

    def __init__(self, clock: DeviceClock, body: Callable[[], None]) -> None:
        body()
        body()
        clock.nodes = []
        body()
        self.nodes, clock.nodes = clock.nodes, None

    def replay(self) -> None:
        for node in self.nodes:
            node()

    def wait(self) -> None:
        pass
