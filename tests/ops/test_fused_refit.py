"""`fused.refit` and `fused.cem_plan`: ranking rules and agreement with the reference."""

from __future__ import annotations

import math

import pytest
import torch
from ops.fused_support import ISAS, isa, needs_extension
from ops.tolerances import PLAN_ABSOLUTE, REFIT_RELATIVE, RETURNS, close, gap
from random_weights import PRESET_SIZES, TINY, Sizes, make_problem
from torch import Tensor

from planet.noise import STREAM_ACTIONS, Noise, normals, row_seeds
from planet.ops import fused, reference
from planet.ops.results import Refit

NAN, INF = float("nan"), float("inf")
DEVICES = [
    pytest.param("cpu", marks=needs_extension),
    pytest.param(
        "cuda",
        marks=[
            needs_extension,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def random_refit(
    horizon: int, batch: int, candidates: int, size: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.rand(horizon, batch, candidates, size, generator=generator) * 2 - 1
    return actions, torch.randn(batch, candidates, generator=generator)


def on(device: str, actions: Tensor, returns: Tensor, **settings: object) -> Refit:
    """`fused.refit` on a device, its result on the CPU."""
    got = fused.refit(actions.to(device), returns.to(device), **settings)  # type: ignore[arg-type]
    return Refit(got.mean.cpu(), got.stddev.cpu(), got.elites.cpu(), got.best.cpu())


def check(got: Refit, expected: Refit) -> None:
    assert torch.equal(got.elites, expected.elites)
    assert torch.equal(got.best.nan_to_num(7e7), expected.best.nan_to_num(7e7))
    assert close(got.mean, expected.mean, 1e-9, REFIT_RELATIVE)
    assert close(got.stddev, expected.stddev, 1e-9, REFIT_RELATIVE)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("spread", ["population", "mean_absolute"])
@pytest.mark.parametrize(
    ("horizon", "batch", "candidates", "size", "topk"),
    [
        (1, 1, 2, 1, 2),
        (12, 1, 1000, 6, 100),
        (3, 5, 64, 65, 7),
        (2, 3, 255, 1, 255),
        (2, 2, 257, 130, 2),
        (1, 1, 5000, 2, 2048),
    ],
)
def test_refit_equals_the_reference(
    device: str, spread: str, horizon: int, batch: int, candidates: int, size: int, topk: int
) -> None:
    actions, returns = random_refit(horizon, batch, candidates, size)
    settings = {"topk": topk, "spread": spread, "epsilon": 1e-4}
    check(on(device, actions, returns, **settings), reference.refit(actions, returns, **settings))


@pytest.mark.parametrize("device", DEVICES)
def test_refit_of_one_elite_is_that_candidate(device: str) -> None:
    actions, returns = random_refit(2, 2, 1, 3)
    got = on(device, actions, returns, topk=1, epsilon=0.25)
    assert torch.equal(got.mean, actions[:, :, 0])
    assert (got.stddev == 0.5).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("returns", "elites"),
    [
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 2]),
        ([0.0, 2.0, 1.0, 2.0], [1, 3, 2]),
        ([NAN, 0.0, NAN, -1.0], [1, 3, 0]),
        ([NAN, NAN, NAN, NAN], [0, 1, 2]),
        ([-0.0, 0.0, -0.0, 1.0], [3, 0, 1]),
        ([-INF, NAN, INF, 0.0], [2, 3, 0]),
        ([-1e-45, 1e-45, 0.0, -1.0], [1, 2, 0]),
        ([-NAN, -INF, -3.4e38, 3.4e38], [3, 2, 1]),
    ],
)
def test_refit_ranks_nan_last_and_ties_by_lower_index(
    device: str, returns: list[float], elites: list[int]
) -> None:
    actions, _ = random_refit(2, 1, 4, 2)
    values = torch.tensor([returns])
    got = on(device, actions, values, topk=3)
    assert got.elites.tolist() == [elites]
    check(got, reference.refit(actions, values, topk=3))


@pytest.mark.parametrize("device", DEVICES)
def test_refit_breaks_many_ties_by_lower_index(device: str) -> None:
    actions, _ = random_refit(1, 2, 3000, 1)
    returns = torch.randint(0, 4, (2, 3000), generator=torch.Generator().manual_seed(1)).float()
    returns[0, ::3] = NAN
    for topk in (1, 256, 700, 1999, 3000):
        check(on(device, actions, returns, topk=topk), reference.refit(actions, returns, topk=topk))


@needs_extension
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
    returns = reference.rollout_returns(
        problem.weights, problem.latent, torch.stack(draws).clamp(-1, 1), Noise(seed)
    )
    return gap(returns, topk) > 4 * RETURNS[1.0]


@needs_extension
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


@needs_extension
def test_bounds_hold_per_action_and_per_problem() -> None:
    problem = make_problem(TINY, batch=2)
    mean, stddev = problem.distribution(4)
    low = torch.tensor([[-0.1, -2.0], [0.2, -0.5]])
    high = torch.tensor([[0.1, 2.0], [0.4, 0.5]])
    got = fused.cem_plan(
        problem.weights, problem.latent, mean, stddev * 3,
        seed=1, candidates=50, topk=5, iterations=2, low=low, high=high,
    )  # fmt: skip
    assert (got.mean >= low).all()
    assert (got.mean <= high).all()


@needs_extension
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


@needs_extension
def test_budget_stops_after_an_iteration_that_fits() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    mean, stddev = problem.distribution(12)
    settings = {"seed": 1, "candidates": 200, "topk": 20}
    short = fused.cem_plan(
        problem.weights, problem.latent, mean, stddev, iterations=5000, budget_ms=1e-3, **settings
    )
    one = fused.cem_plan(problem.weights, problem.latent, mean, stddev, iterations=1, **settings)
    assert short.iterations == 1
    assert torch.equal(short.mean, one.mean)
    enough = fused.cem_plan(
        problem.weights, problem.latent, mean, stddev, iterations=3, budget_ms=1e9, **settings
    )
    assert enough.iterations == 3


@needs_extension
def test_planning_improves_the_return() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    mean, stddev = problem.distribution(12)
    settings = {"seed": 1, "candidates": 200, "topk": 20, "state_noise": False}
    best = [
        fused.cem_plan(
            problem.weights, problem.latent, mean, stddev, iterations=count, **settings
        ).best_return.item()
        for count in (1, 10)
    ]
    assert best[1] > best[0]
    assert math.isfinite(best[1])
