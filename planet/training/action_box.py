"""Describes the box that an environment's actions lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from planet.config import PlannerConfig

Bounds = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ActionBox:
    """Bounds every action, in float32, within the environment's own box.

    Attributes:
      low: smallest actions [A].
      high: largest actions [A].
    """

    low: Bounds
    high: Bounds

    @staticmethod
    def unit(size: int) -> ActionBox:
        """Returns [-1, 1] in every one of `size` dimensions."""
        return ActionBox(-np.ones(size, np.float32), np.ones(size, np.float32))

    @property
    def size(self) -> int:
        """A, the number of dimensions."""
        return len(self.low)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ActionBox)
            and np.array_equal(self.low, other.low)
            and np.array_equal(self.high, other.high)
        )

    def __str__(self) -> str:
        bounds = np.stack([self.low, self.high], 1)
        if (bounds == bounds[0]).all():
            bounds = bounds[:1]
        shown = [f"[{_shown(low)}, {_shown(high)}]" for low, high in bounds[:6]]
        return " x ".join(shown + ["..."] * (len(bounds) > 6)) + f" in {self.size}-d"

    def share(
        self, config: PlannerConfig, device: torch.device | str = "cpu"
    ) -> tuple[float | torch.Tensor, float | torch.Tensor]:
        """Returns bounds of planned actions: the share of the box that the settings allow.

        Args:
          config: its `low` and `high` are shares of the box: -1 and 1 are its own bounds.
          device: where bounds that differ between dimensions are put, as tensors [A].

        Raises:
          ValueError: `low` or `high` of the settings is outside [-1, 1].
        """
        for name, share in (("low", config.low), ("high", config.high)):
            if not -1.0 <= share <= 1.0:
                raise ValueError(
                    f"planner.{name}: expected -1 to 1, a share of the environment's box of "
                    f"actions {self}, got {share}"
                )
        return self._bound(config.low, device), self._bound(config.high, device)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, as a checkpoint keeps them."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ActionBox:
        """Inverts `to_dict`."""
        return ActionBox(*(np.array(values[name], np.float32) for name in ("low", "high")))

    def _bound(self, share: float, device: torch.device | str) -> float | torch.Tensor:
        """Returns the number of a cube; else a tensor [A]."""
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        values = np.clip((low + high) / 2 + share * (high - low) / 2, low, high)
        if (values == values[0]).all():
            return float(values[0])
        return torch.from_numpy(values.astype(np.float32)).to(device)


def _shown(bound: np.floating[Any]) -> str:
    """Writes as few digits as tell it from its neighbours."""
    short = f"{bound:g}"
    return short if type(bound)(short) == bound else str(bound)
