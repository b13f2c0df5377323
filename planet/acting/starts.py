"""Checks which rows of a batch start, and with which seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from planet.errors.scalars import whole_number
from planet.noise import check_seed, row_seeds


def check_rows(rows: Sequence[int], batch_size: int) -> list[int]:
    """Returns the rows to restart as ints.

    Raises:
      TypeError, ValueError: they are no sequence of ints, or no rows of the batch, or one is named
        twice.
    """
    if not isinstance(rows, (Sequence, np.ndarray)):
        raise TypeError(f"rows: expected a sequence of ints, got {type(rows).__name__}")
    rows = [whole_number("rows", row) for row in rows]
    bad = [row for row in rows if not 0 <= row < batch_size]
    if bad:
        raise ValueError(f"rows: expected values in [0, {batch_size}), got {bad}")
    if len(set(rows)) < len(rows):
        raise ValueError(f"rows: expected each row once, got {rows}")
    return rows


def check_starts(seeds: Sequence[int] | Tensor | int, rows: int | None) -> list[int]:
    """Returns a seed per episode that starts.

    Args:
      seeds: one per row, or an int that they are derived from.
      rows: how many rows start; None: as many as there are seeds.

    Raises:
      TypeError, ValueError: something is no seed, or there are too few or too many.
    """
    if isinstance(seeds, (Tensor, np.ndarray)):
        seeds = seeds.tolist()
    if not isinstance(seeds, Sequence):
        starts: list[int] = row_seeds(seeds, 1 if rows is None else rows).tolist()
        return starts
    starts = [check_seed(seed) for seed in seeds]
    if rows is None and not starts:
        raise ValueError("seeds: expected at least one, got none")
    if rows is not None and len(starts) != rows:
        raise ValueError(f"seeds: expected one for each of {rows} rows, got {len(starts)}")
    return starts
