"""Plans on the device: iteration by iteration, in one call, and against float64."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from ops.cuda.support import Device, plan, rollout
from ops.oracle import drawn, exact_plan, exact_returns
from ops.tolerances import FP32_CLASS, HALF_REGRET, PLAN_ABSOLUTE, close, gap, same_plan
from random_weights import PRESET_SIZES, TINY, Problem, Sizes, make_problem
from torch import Tensor

from planet.noise import STREAM_ACTIONS, STREAM_STATE, Noise, row_seeds
from planet.ops import fused, reference
from planet.ops.checks import VARIANTS

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
SETTINGS = {"candidates": 45, "topk": 7, "iterations": 2}
GAP = {"fp32": 1e-4, "fp16": 3e-3, "bf16": 3e-2}
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS)
# What the persistent kernel serves.
FITTING = Sizes(belief=64, state=16, action=2, hidden=64, reward=(64, 64))


def problem_of(variant: str, batch: int = 2, seed: int = 3) -> Problem:
    return make_problem(TINY if variant == "portable" else FITTING, batch, seed=seed)


def served(device: Device, variant: str, precision: str) -> bool:
    """Whether this device runs the variant (asked of a plan itself)."""
    problem = problem_of(variant)
    try:
        plan(device, problem, *problem.distribution(1), seed=0, candidates=8, topk=2,
             iterations=1, precision=precision, variant=variant)  # fmt: skip
    except ValueError as error:
        assert str(error).startswith("variant: "), error
        return False
    return True


def skip_unless_served(device: Device, variant: str, precision: str) -> None:
    if variant != "portable" and not served(device, variant, precision):
        pytest.skip(f"{variant} does not serve this")


@PRECISIONS
@EVERY_VARIANT
def test_an_iteration_is_drawing_scoring_and_refit(
    device: Device, variant: str, precision: str
) -> None:
    skip_unless_served(device, variant, precision)
    low, high = torch.tensor([-0.5, -2.0]), torch.tensor([[0.25, 2.0], [1.5, 0.5]])
    # The K best are the same ones only if the next is farther than this precision's error.
    for seed in range(100):
        problem, seeds = problem_of(variant, seed=seed), row_seeds(seed, 2)
        mean, stddev = problem.distribution(3)
        draws = drawn(seeds, 3, 45, 2, STREAM_ACTIONS, 4).float()
        actions = (mean[:, :, None] + stddev[:, :, None] * draws).clamp(low, high[None, :, None])
        noise = drawn(seeds, 3, 45, problem.weights.state_size, STREAM_STATE, 4)
        exact = exact_returns(problem.weights, problem.latent, actions, noise, discount=0.9)
        if gap(exact, 2) > GAP[precision]:
            break
    got = plan(
        device, problem, mean, stddev, seed=seeds, candidates=45, topk=2, iterations=1,
        first_iteration=4, low=low, high=high, precision=precision, variant=variant, discount=0.9,
    )  # fmt: skip
    expected = reference.refit(actions, exact.float(), topk=2)
    assert close(got.mean, expected.mean, PLAN_ABSOLUTE)
    assert close(got.stddev, expected.stddev, PLAN_ABSOLUTE)
    assert close(got.best_return, expected.best, GAP[precision])
    assert got.action.equal(got.mean[0])
    returns = rollout(
        device, problem, actions, Noise(device.to(seeds), 4), precision=precision, discount=0.9
    )
    assert close(got.best_return, returns.amax(dim=1), GAP[precision])


@PRECISIONS
@EVERY_VARIANT
def test_two_iterations_are_one_and_one_more(device: Device, variant: str, precision: str) -> None:
    skip_unless_served(device, variant, precision)
    problem = problem_of(variant)
    once = SETTINGS | {"iterations": 1, "seed": 1, "precision": precision, "variant": variant}
    both = plan(device, problem, *problem.distribution(2), **once | {"iterations": 2})
    first = plan(device, problem, *problem.distribution(2), **once)
    second = plan(device, problem, first.mean, first.stddev, **once, first_iteration=1)
    assert same_plan(both, replace(second, iterations=2))
    assert not same_plan(both, replace(first, iterations=2))
    assert both.iterations == 2


@PRECISIONS
@EVERY_VARIANT
def test_a_problem_alone_is_the_row_of_a_batch(
    device: Device, variant: str, precision: str
) -> None:
    skip_unless_served(device, variant, precision)
    problem, seeds = problem_of(variant, 3), row_seeds(2, 3)
    how = SETTINGS | {"precision": precision, "variant": variant}
    whole = plan(device, problem, *problem.distribution(2), seed=2, **how)
    row = problem.rows(slice(1, 2))
    alone = plan(device, row, *row.distribution(2), seed=seeds[1:2], **how)
    assert alone.mean.equal(whole.mean[:, 1:2])
    assert alone.best_return.equal(whole.best_return[1:2])


def test_settings_have_their_effect(device: Device) -> None:
    problem = make_problem(TINY, 1)
    usual = plan(device, problem, *problem.distribution(2), seed=1, **SETTINGS)
    for change in (
        {"state_noise": False}, {"spread": "mean_absolute"}, {"epsilon": 0.1}, {"discount": 0.5},
        {"low": -0.1}, {"topk": 9}, {"candidates": 60},
    ):  # fmt: skip
        got = plan(device, problem, *problem.distribution(2), seed=1, **SETTINGS | change)
        assert not same_plan(got, usual), change


def test_nan_returns_are_never_chosen(device: Device) -> None:
    problem = make_problem(TINY, 1, candidates=45)
    start = problem.latent.state.clone()
    start[0, ::3] = torch.nan
    spoiled = replace(problem, latent=replace(problem.latent, state=start))
    got = plan(device, spoiled, *problem.distribution(2), seed=1, **SETTINGS)
    assert got.mean.isfinite().all()
    assert got.best_return.isfinite().all()
    start[:] = torch.nan
    got = plan(device, spoiled, *problem.distribution(2), seed=1, **SETTINGS)
    assert got.best_return.isnan().all()
    assert got.mean.isfinite().all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_fp32_plans_are_those_of_float64(device: Device, variant: str, seed: int) -> None:
    skip_unless_served(device, variant, "fp32")
    small = device.emulated
    sizes = TINY if small else PRESET_SIZES["paper"]
    horizon, candidates, topk = (3, 60, 9) if small else (12, 1000, 100)
    tried = 0
    for each in range(seed, seed + (4 if small else 20)):
        problem, seeds = make_problem(sizes, 1, seed=each), row_seeds(each, 1)
        mean, stddev = problem.distribution(horizon)
        # One iteration from the same distribution: top-K is discontinuous.
        draws = drawn(seeds, horizon, candidates, sizes.action, STREAM_ACTIONS, 0)
        exact = exact_returns(problem.weights, problem.latent, draws.clamp(-1, 1), None)
        if gap(exact, topk) < 2 * FP32_CLASS[1.0]:
            continue
        tried += 1
        got = plan(
            device, problem, mean, stddev, seed=seeds, candidates=candidates, topk=topk,
            iterations=1, state_noise=False, variant=variant,
        )  # fmt: skip
        elites = exact.argsort(dim=-1, descending=True)[0, :topk]
        expected = draws.clamp(-1, 1)[:, :, elites].mean(dim=2)
        assert close(got.mean, expected, 1e-4)
    assert tried


def plan_loss(problem: Problem, value: Tensor, best: Tensor, horizon: int) -> float:
    """Returns a plan's loss against the best one, over that return or what is there to be won.

    A return may be almost 0; the stddev of random plans' returns is the scale of a problem.
    """
    actions = problem.actions(horizon, 100)
    random = exact_returns(problem.weights, problem.latent, actions, None)
    return ((best - value) / best.abs().clamp(min=random.std().item())).max().item()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_plans_are_as_good_as_float64_s(
    device: Device, precision: str, seed: int
) -> None:
    # Judged by the float64 model: what the plans' means return without noise.
    small = device.emulated
    sizes = TINY if small else PRESET_SIZES["paper"]
    horizon, candidates, topk, iterations = (3, 60, 9, 2) if small else (12, 1000, 100, 10)
    regrets = []
    models = int(os.environ.get("PLANET_TEST_MODELS", "100"))  # fewer where minutes are dear
    first, count = (0, 3) if small else (seed, models)
    for each in range(first, first + count):
        problem, seeds = make_problem(sizes, 1, seed=each), row_seeds(each, 1)
        got = plan(
            device, problem, *problem.distribution(horizon), seed=seeds, candidates=candidates,
            topk=topk, iterations=iterations, precision=precision,
        )  # fmt: skip
        best = exact_plan(problem.weights, problem.latent, seeds, horizon, candidates, topk,
                          iterations)  # fmt: skip
        value, limit = (
            exact_returns(problem.weights, problem.latent, mean[:, :, None].double(), None)
            for mean in (got.mean, best)
        )
        regrets.append(plan_loss(problem, value, limit, horizon))
    worst = sorted(regrets)[-5:]
    assert sum(regrets) / len(regrets) <= HALF_REGRET[precision], worst
    assert small or sum(x > HALF_REGRET[precision] for x in regrets) <= 3, worst


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_persistent_plans_know_how_many_clusters_run_at_once(
    device: Device, precision: str
) -> None:
    skip_unless_served(device, "persistent", precision)
    weights = device.move(problem_of("persistent")).weights
    clusters = fused.persistent_clusters(weights, precision=precision, topk=7)
    assert clusters == 33 if device.emulated else clusters > 0


def test_clusters_of_refused_plans_are_not_counted(device: Device) -> None:
    weights = device.move(problem_of("persistent")).weights
    with pytest.raises(ValueError, match="variant: 'persistent' does not .* fp16 or bf16 only; "):
        fused.persistent_clusters(weights, precision="fp32", topk=7)
    with pytest.raises(RuntimeError, match=r"topk: expected a value in \[1, "):
        fused.persistent_clusters(weights, precision="fp16", topk=0)


def test_a_cpu_has_no_clusters() -> None:
    if fused._C is None:
        pytest.skip("the compiled core is not built")
    with pytest.raises(ValueError, match="variant: 'persistent' has no kernels on cpu; use 'port"):
        fused.persistent_clusters(problem_of("persistent").weights, precision="fp32", topk=7)
