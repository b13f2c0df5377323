"""Averages the metrics of the updates since the last line of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Means:
    """Sums metrics; they stay on the learner's device until `read`, so that nobody waits for it.

    Attributes:
      sums: of the metrics that were read, by name, as float64 in the order of the updates.
      count: updates that were read.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        self._unread: list[Mapping[str, Tensor]] = []

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Takes the metrics of an update, 0-d tensors."""
        self._unread.append(metrics)

    def read(self) -> None:
        """Brings what is unread to the host, all at once, and adds it to the sums."""
        if not self._unread:
            return
        rows = [torch.stack([value.double() for value in m.values()]) for m in self._unread]
        for metrics, row in zip(self._unread, torch.stack(rows).tolist(), strict=True):
            for name, value in zip(metrics, row, strict=True):
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += len(rows)
        self._unread = []

    def take(self) -> dict[str, float]:
        """Returns the means by name, and begins anew."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def shown_values(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Returns what a progress bar shows of metrics, where looking waits for no device."""
    shown = {"loss": metrics.get("total"), "kl": metrics.get("kl")}
    return {
        label: float(value)
        for label, value in shown.items()
        if isinstance(value, float) or (value is not None and value.device.type == "cpu")
    }
