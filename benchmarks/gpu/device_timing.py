"""Times calls on a GPU side by side: CUDA events, interleaved rounds, rotating inputs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

SIDE = 8192  # of the square matrices whose product is the ceiling


class Timed(Protocol):
    """A call with inputs that change from round to round."""

    def prepare(self, index: int) -> None:
        """Enqueues copies of input set `index` to where the call reads them; is not timed."""

    def run(self) -> Any:
        """Enqueues the call."""


@dataclass(frozen=True)
class DeviceSamples:
    """Milliseconds of every call, one per round."""

    milliseconds: Mapping[str, list[float]]

    def summary(self, name: str) -> dict[str, float]:
        """Median, tenth and ninetieth percentile of a call."""
        ordered = sorted(self.milliseconds[name])
        last = len(ordered) - 1
        return {
            "median_ms": statistics.median(ordered),
            "p10_ms": ordered[round(0.1 * last)],
            "p90_ms": ordered[round(0.9 * last)],
            "rounds": len(ordered),
        }

    def ratio(self, slow: str, fast: str) -> float:
        """Says how many times as long `slow` takes as `fast`: the median over the rounds."""
        pairs = zip(self.milliseconds[slow], self.milliseconds[fast], strict=True)
        return statistics.median(a / b for a, b in pairs)


class _Events:
    """Time between two points of the current stream; on the CPU, of the host's clock."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[Any] = []

    def mark(self) -> None:
        if not self._cuda:
            self._marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append(event)

    def milliseconds(self) -> float:
        before, after = self._marks
        return before.elapsed_time(after) if self._cuda else 1e3 * (after - before)


def synchronise(device: torch.device) -> None:
    """Waits for the work on a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleave(
    calls: Mapping[str, Timed],
    device: torch.device,
    seconds: float,
    sets: int,
    least: int = 5,
    most: int = 1000,
    warm_up: int = 3,
) -> DeviceSamples:
    """Runs every call once a round on the round's input set, every other round in reverse.

    Args:
      calls: by name.
      device: where they run.
      seconds: for all rounds together.
      sets: number of input sets to rotate through.
      least: rounds at least.
      most: rounds at most.
      warm_up: rounds that are not counted.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end, number = time.perf_counter() + seconds, 0
    while number < warm_up + least or (time.perf_counter() < end and number < warm_up + most):
        names = list(calls) if number % 2 == 0 else list(reversed(calls))
        spans = {name: _Events(device) for name in names}
        for name in names:
            calls[name].prepare(number % sets)
            spans[name].mark()
            calls[name].run()
            spans[name].mark()
        synchronise(device)
        if number >= warm_up:
            for name, span in spans.items():
                samples[name].append(span.milliseconds())
        number += 1
    return DeviceSamples(samples)


def product_rates(device: torch.device, side: int = SIDE, repeats: int = 10) -> dict[str, float]:
    """10^12 operations per second of square products of random numbers, by their precision."""
    rates = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("tf32", torch.float32)):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        times = []
        for number in range(repeats + 3):
            span = _Events(device)
            span.mark()
            torch.mm(a, b, out=out)
            span.mark()
            synchronise(device)
            if number >= 3:
                times.append(span.milliseconds())
        rates[name] = 2e-9 * side**3 / statistics.median(times)
        torch.set_float32_matmul_precision(before)
    return rates
