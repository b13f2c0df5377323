"""Averages the metrics of the updates since the last line of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Means:
    """Sums metrics; they stay on the learner's device until `read`, so that nobody waits for it.

    Args:
      watch: shown the means that `take` returns.

    Attributes:
      sums: of the metrics that were read, by name, as float64 in the order of the updates.
      count: updates that were read.
    """

    def __init__(self, watch: Callable[[Mapping[str, float]], None] | None = None) -> None:
        self._watch = watch
        self.sums: dict[str, float] = {}
        self.count = 0
        self._unread: list[Mapping[str, Tensor]] = []
        self.begin()

    def begin(self) -> None:
        """Says that updates begin, which are timed from now on."""
        self._began, self._timed = time.perf_counter(), 0

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Takes the metrics of an update, 0-d tensors."""
        self._timed += 1
        self._unread.append({name: value.detach() for name, value in metrics.items()})

    def read(self) -> None:
        """Brings what is unread to the host, all at once, and adds it to the sums."""
        if not self._unread:
            return
        values = [value for metrics in self._unread for value in metrics.values()]
        found = [0.0] * len(values)
        for kind in {(value.device, value.dtype) for value in values}:  # a copy to the host each
            places = [i for i, value in enumerate(values) if (value.device, value.dtype) == kind]
            for i, number in zip(
                places, torch.stack([values[i] for i in places]).tolist(), strict=True
            ):
                found[i] = number
        numbers, sums = iter(found), dict(self.sums)
        for metrics in self._unread:
            for name in metrics:
                sums[name] = sums.get(name, 0.0) + next(numbers)
        count = self.count + len(self._unread)
        self.sums, self.count, self._unread = sums, count, []  # at once, for interrupts

    def take(self) -> dict[str, float]:
        """Returns the means by name, seconds per update among them, and begins anew."""
        means = {name: total / self.count for name, total in self.sums.items()}
        means["seconds_per_update"] = (time.perf_counter() - self._began) / self._timed
        self.sums, self.count = {}, 0
        self.begin()
        if self._watch:
            self._watch(means)
        return means


def shown_values(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Returns what a progress bar shows of metrics, where looking waits for no device."""
    shown = {"loss": metrics.get("total"), "kl": metrics.get("kl")}
    return {
        label: float(value)
        for label, value in shown.items()
        if isinstance(value, float) or (value is not None and value.device.type == "cpu")
    }


def seem_finite(metrics: Mapping[str, Tensor]) -> bool:
    """Whether all metrics are finite that can be looked at without waiting for a device."""
    return all(value.isfinite() for value in metrics.values() if value.device.type == "cpu")
