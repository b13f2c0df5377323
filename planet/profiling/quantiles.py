"""Estimates quantiles of latencies with intervals that assume nothing about their distribution.

Every interval has at least 95 % confidence where the values are independent. Steps that follow one
another are nearly so on a quiet machine; what makes them otherwise is told by
`planet.profiling.disturbances`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_TAIL = 0.025  # probability on either side of an interval


@dataclass(frozen=True)
class Estimate:
    """Holds an estimate and the interval that the true value lies in.

    Attributes:
      value: the estimate.
      low: end of the interval.
      high: other end of it.
    """

    value: float
    low: float
    high: float


def quantile(values: Sequence[float], p: float) -> Estimate | None:
    """Estimates the quantile p, 0 < p < 1; None where the values are too few for an interval.

    The interval's ends are order statistics: how many of n values lie below the true quantile is
    binomial, whatever their distribution, so that each end is on the wrong side with at most 2.5 %
    (H. A. David and H. N. Nagaraja, "Order Statistics", 3rd edition, section 7.1).
    """
    if len(values) < values_needed(p):
        return None
    ordered = np.sort(np.asarray(values, np.float64))
    below = np.cumsum(_binomial(len(ordered), p))  # probability that at most k values are below
    first = int(np.searchsorted(below, _TAIL, side="right"))
    last = int(np.searchsorted(below, 1.0 - _TAIL))
    value = float(np.quantile(ordered, p))
    return Estimate(value, float(ordered[first - 1]), float(ordered[last]))


def values_needed(p: float) -> int:
    """Returns how many values an interval of the quantile p takes: 6, 72, 368 for p50, p95, p99."""
    return math.ceil(math.log(_TAIL) / math.log(max(p, 1.0 - p)))


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> Estimate | None:
    """Estimates the median of the ratios over[i] / under[i]; None where they are too few.

    What hits both values of a pair alike, such as the machine's load, cancels.
    """
    return quantile([a / b for a, b in zip(over, under, strict=True)], 0.5)


def ratio(over: Estimate, under: Estimate) -> Estimate:
    """Estimates the ratio of two quantiles of independent samples, all of them positive.

    Joins the intervals of both in logarithms: the distances of their ends add as squares do, the
    method of variance estimates recovery (G. Y. Zou and A. Donner, Statistics in Medicine 27,
    2008). It takes no distribution and no random numbers; its 95 % are approximate.
    """
    value = math.log(over.value / under.value)
    down = math.hypot(math.log(over.value / over.low), math.log(under.high / under.value))
    up = math.hypot(math.log(over.high / over.value), math.log(under.value / under.low))
    return Estimate(math.exp(value), math.exp(value - down), math.exp(value + up))


def _binomial(n: int, p: float) -> npt.NDArray[np.float64]:
    """Returns the probabilities of 0 to n successes."""
    k = np.arange(1, n + 1)
    steps = np.log((n - k + 1) / k) + math.log(p / (1.0 - p))
    probabilities: npt.NDArray[np.float64] = np.exp(
        n * math.log1p(-p) + np.concatenate([[0.0], np.cumsum(steps)])
    )
    return probabilities
