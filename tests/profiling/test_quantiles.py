"""Quantiles with intervals that assume no distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planet.profiling.quantiles import Estimate, paired_ratio, quantile, ratio, values_needed


def below(n: int, p: float, k: int) -> float:
    """Probability that at most k of n values are below the quantile p, by definition."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize("p", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [6, 7, 40, 72, 100, 367, 368, 500, 1000])
def test_ends_are_the_closest_order_statistics_with_tails_of_at_most_a_fortieth(
    p: float, n: int
) -> None:
    found = quantile([float(i) for i in range(1, n + 1)], p)  # a value is its own rank
    if p**n > 0.025:
        assert found is None
        return
    assert found is not None
    low, high = round(found.low), round(found.high)
    assert below(n, p, low - 1) <= 0.025 < below(n, p, low)
    assert 1 - below(n, p, high - 1) <= 0.025 + 1e-12 and 1 - below(n, p, high - 2) > 0.025
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("p", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_fewer_values_than_needed_have_no_interval(p: float, needed: int) -> None:
    assert values_needed(p) == needed
    values = list(np.random.default_rng(0).exponential(size=needed))
    assert quantile(values, p) is not None
    assert quantile(values[1:], p) is None


def test_intervals_cover_the_true_quantile_whatever_the_distribution() -> None:
    generator = np.random.default_rng(0)
    for p, n in ((0.5, 40), (0.95, 100), (0.99, 400)):
        covered = 0
        for _ in range(1000):
            found = quantile(list(generator.pareto(1.0, n)), p)
            assert found is not None
            covered += found.low <= 1 / (1 - p) - 1 <= found.high
        assert covered >= 940  # 950 or more are expected


def test_paired_ratio_is_that_of_the_pairs() -> None:
    load = np.random.default_rng(0).pareto(1.0, 40) + 1.0
    found = paired_ratio(list(6.0 * load), list(2.0 * load))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))
    assert paired_ratio([1.0] * 5, [1.0] * 5) is None


def test_ratio_joins_the_distances_as_squares_of_logarithms() -> None:
    found = ratio(Estimate(8.0, 4.0, 16.0), Estimate(2.0, 2.0, 2.0))
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 2.0, 8.0))
    found = ratio(Estimate(2.0, 2.0, 2.0), Estimate(8.0, 4.0, 32.0))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.0625, 0.5))
    both = ratio(Estimate(1.0, math.exp(-3), math.exp(6)), Estimate(1.0, math.exp(-8), math.exp(4)))
    assert (math.log(both.low), math.log(both.high)) == pytest.approx((-5.0, 10.0))


def test_ratios_of_equal_distributions_are_rarely_told_apart() -> None:
    generator = np.random.default_rng(0)
    for p, n in ((0.5, 60), (0.99, 600)):
        apart = 0
        for _ in range(500):
            one, other = (quantile(list(generator.lognormal(0, 0.3, n)), p) for _ in range(2))
            assert one is not None and other is not None
            found = ratio(one, other)
            apart += not found.low <= 1.0 <= found.high
        assert apart <= 35  # 25 are expected at most
