"""Tests the compiled core's ranks of returns, and its plans on every instruction set."""

from __future__ import annotations

import pytest
import torch
from ops.fused_support import ISAS, isa, needs_extension
from ops.tolerances import PLAN_ABSOLUTE, RETURNS, close, gap
from random_weights import PRESET_SIZES, TINY, Sizes, make_problem

from planet.noise import STREAM_ACTIONS, Noise, normals, row_seeds
from planet.ops import fused, reference

pytestmark = needs_extension

NAN, INF = float("nan"), float("inf")


def test_rank_keys_sort_like_returns() -> None:
    values = [INF, 3.4e38, 1.0, 1e-45, 0.0, -0.0, -1e-45, -1.0, -3.4e38, -INF, NAN, -NAN]
    keys = [fused._C.rank_key(value, index) for index, value in enumerate(values)]
    assert keys == sorted(keys)
    assert [key & 0xFFFFFFFF for key in keys] == list(range(len(values)))
    assert fused._C.rank_key(0.0, 7) == fused._C.rank_key(-0.0, 7)
    assert all(fused._C.rank_key(NAN, 0) > fused._C.rank_key(-INF, 2**32 - 1) for _ in "x")
    pairs = torch.randn(500, generator=torch.Generator().manual_seed(0)).tolist()
    for a, b in zip(pairs, pairs[1:], strict=False):
        assert (fused._C.rank_key(a, 1) < fused._C.rank_key(b, 0)) == (a > b)


def first_gap(sizes: Sizes, seed: int, candidates: int, topk: int) -> bool:
    """Whether the first iteration's elites are decided by more than the tolerance."""
    problem = make_problem(sizes, batch=2, seed=seed)
    draws = [
        normals(row_seeds(seed, 2), candidates, sizes.action, stream=STREAM_ACTIONS, time=t)
        for t in range(5)
    ]
    returns = problem.returns(reference, torch.stack(draws).clamp(-1, 1), Noise(seed))
    return gap(returns, topk) > 4 * RETURNS[1.0]


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("spread", ["population", "mean_absolute"])
@pytest.mark.parametrize("sizes", [TINY, PRESET_SIZES["small"]], ids=["tiny", "small"])
def test_one_iteration_equals_the_reference(name: str, spread: str, sizes: Sizes) -> None:
    seeds = [seed for seed in range(12) if first_gap(sizes, seed, 60, 8)][:4]
    assert len(seeds) == 4
    for seed in seeds:
        problem = make_problem(sizes, batch=2, seed=seed)
        mean, stddev = problem.distribution(5)
        settings = {"seed": seed, "candidates": 60, "topk": 8, "iterations": 1, "spread": spread}
        expected = reference.cem_plan(problem.weights, problem.latent, mean, stddev, **settings)
        with isa(name):
            got = fused.cem_plan(problem.weights, problem.latent, mean, stddev, **settings)
        assert close(got.mean, expected.mean, PLAN_ABSOLUTE)
        assert close(got.stddev, expected.stddev, PLAN_ABSOLUTE)
        assert close(got.best_return, expected.best_return, 1e-5, 1e-5)
        assert torch.equal(got.action, got.mean[0])
        assert got.iterations == 1


def test_nan_in_the_distribution_reaches_the_result() -> None:
    problem = make_problem(TINY, batch=1)
    mean, stddev = problem.distribution(2)
    mean[0, 0, 0] = NAN
    got = fused.cem_plan(
        problem.weights, problem.latent, mean, stddev, seed=1, candidates=20, topk=5, iterations=1
    )
    assert got.best_return.isnan().all()
    assert got.mean[0, 0, 0].isnan()
    assert not got.mean[1].isnan().any()
