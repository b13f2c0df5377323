"""Returns of the device's rollouts against float64: sizes, starts, noise, what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from ops.cuda.support import Device, rollout
from ops.oracle import exact_returns
from ops.tolerances import FP32_CLASS, HALF_L2, RETURNS, relative_l2, returns_error
from random_weights import PRESET_SIZES, TINY, Sizes, make_problem

from planet.latent import LatentState
from planet.noise import STREAM_STATE, Noise, normals, row_seeds

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
MODELS = {
    "tiny": TINY,
    "one reward layer": replace(TINY, reward=()),
    "four reward layers": replace(TINY, reward=(9, 4, 17)),
    "ssm": Sizes(0, 3, 2, 7, (6, 4)),
    "ssm, one reward layer": Sizes(0, 3, 2, 7, ()),
    "one of everything": Sizes(1, 1, 1, 1, (1,)),
    "tile edges": Sizes(16, 8, 8, 32, (16, 17)),
    "past tile edges": Sizes(17, 9, 8, 33, (15, 33)),
    "continuation": replace(TINY, reward=(6, 17), continuation=True),
    "ssm, continuation, one reward layer": Sizes(0, 3, 2, 7, (), continuation=True),
}
# Of the paper and others; A of 1, 6, 17, 38; the device alone.
LARGE = {
    "64/16": Sizes(64, 16, 1, 64, (64,)),
    "200/30": PRESET_SIZES["paper"],
    "200/30, A=17": replace(PRESET_SIZES["paper"], action=17),
    "200/30/300": PRESET_SIZES["official"],
    "400/60, A=38": Sizes(400, 60, 38, 400, (400, 400)),
    "512": Sizes(512, 512, 512, 512, (512, 512, 512)),
    "ssm 200": Sizes(0, 30, 6, 200, (200, 200)),
}


def bound(precision: str, scale: float) -> float:
    return FP32_CLASS[scale] if precision == "fp32" else HALF_L2[precision][scale]


@PRECISIONS
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
def test_small_models(
    device: Device, model: str, activation: str, stddev: str, precision: str, seed: int,
    report_error: Callable[[str, float, float], None],
) -> None:  # fmt: skip
    problem = make_problem(MODELS[model], 2, seed=seed, activation=activation, stddev=stddev)
    actions, noise = problem.actions(3, 19), problem.noise(3, 19)
    exact = exact_returns(problem.weights, problem.latent, actions, noise, discount=0.9)
    got = rollout(device, problem, actions, noise, discount=0.9, precision=precision)
    report_error("relative L2", relative_l2(got, exact), bound(precision, 1.0))


@PRECISIONS
@pytest.mark.parametrize("model", LARGE)
def test_large_models(
    device: Device, model: str, precision: str, seed: int,
    report_error: Callable[[str, float, float], None],
) -> None:  # fmt: skip
    if device.emulated and model not in ("64/16", "200/30"):
        pytest.skip("too large for the emulator")
    horizon, candidates = (2, 17) if device.emulated else (12, 1001)
    if model == "512":
        candidates = 100
    for scale in (1.0,) if device.emulated else (1.0, 2.0):
        problem = make_problem(LARGE[model], 1, seed=seed, scale=scale)
        actions, noise = problem.actions(horizon, candidates), problem.noise(horizon, candidates)
        exact = exact_returns(problem.weights, problem.latent, actions, noise)
        got = rollout(device, problem, actions, noise, precision=precision)
        report_error("relative L2", relative_l2(got, exact), bound(precision, scale))
        if precision == "fp32":
            report_error("largest error", returns_error(got, exact), RETURNS[scale])


@PRECISIONS
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_candidates_and_batches_of_any_number(
    device: Device, batch: int, precision: str, seed: int
) -> None:
    if device.emulated and precision == "bf16":
        pytest.skip("enough in the emulator")
    for candidates in (1, 15, 16, 17, 31, 32, 33, 63, 65, 1000, 1001, 10_000):
        if device.emulated and candidates * batch > 100:
            break
        # Among others they are compared with float64: the return of one alone may be almost 0.
        problem, wide = make_problem(MODELS["past tile edges"], batch, seed=seed), candidates + 30
        actions, noise = problem.actions(2, wide), problem.noise(2, wide)
        exact = exact_returns(problem.weights, problem.latent, actions, noise)
        got = rollout(device, problem, actions, noise, precision=precision)
        assert relative_l2(got, exact) <= bound(precision, 1.0), candidates
        actions, noise = actions[:, :, :candidates], noise[:, :, :candidates]
        alone = rollout(device, problem, actions, noise, precision=precision)
        assert alone.equal(got[:, :candidates]), candidates


@PRECISIONS
def test_a_candidate_does_not_depend_on_its_neighbours(device: Device, precision: str) -> None:
    problem = make_problem(MODELS["past tile edges"], 2, seed=4, candidates=70)
    actions, noise = problem.actions(2, 70), problem.noise(2, 70)
    whole = rollout(device, problem, actions, noise, precision=precision)
    for part in (slice(0, 1), slice(3, 36), slice(64, 70)):
        start = LatentState(problem.latent.belief[:, part], problem.latent.state[:, part])
        got = rollout(
            device, replace(problem, latent=start), actions[:, :, part], noise[:, :, part],
            precision=precision,
        )  # fmt: skip
        assert got.equal(whole[:, part])
    row = slice(1, 2)
    got = rollout(device, problem.rows(row), actions[:, row], noise[:, row], precision=precision)
    assert got.equal(whole[row])


@PRECISIONS
def test_noise_by_seed_is_noise_by_value(device: Device, precision: str) -> None:
    problem, seeds = make_problem(TINY, 2), row_seeds(5, 2)
    actions = problem.actions(3, 21)
    noise = torch.stack(
        [normals(seeds, 21, 3, stream=STREAM_STATE, time=t, iteration=7, particle=2)
         for t in range(3)]
    )  # fmt: skip
    by_value = rollout(device, problem, actions, noise, precision=precision)
    named = Noise(device.to(seeds), iteration=7, particle=2)
    by_seed = rollout(device, problem, actions, named, precision=precision)
    assert relative_l2(by_seed, by_value.double()) <= (
        1e-6 if precision == "fp32" else HALF_L2[precision][1.0]
    )
    assert rollout(device, problem, actions, Noise(5, 7, 2), precision=precision).equal(by_seed)
    mean = rollout(device, problem, actions, None, precision=precision)
    exact = exact_returns(problem.weights, problem.latent, actions, None)
    assert relative_l2(mean, exact) <= bound(precision, 1.0)
    assert not mean.equal(by_seed)


@PRECISIONS
@pytest.mark.parametrize("place", ["actions", "noise", "state", "belief"])
def test_what_a_format_does_not_hold_touches_its_own_candidate_alone(
    device: Device, place: str, precision: str
) -> None:
    for bad in (float("nan"), float("inf"), 1e5, -3e30):
        if device.emulated and (place, bad) == ("state", -3e30):
            continue
        problem = make_problem(TINY, 1, candidates=20)
        actions, noise = problem.actions(2, 20), problem.noise(2, 20)
        usual = rollout(device, problem, actions, noise, precision=precision)
        belief, state = problem.latent.belief.clone(), problem.latent.state.clone()
        values = {"actions": actions[0], "noise": noise[0], "state": state, "belief": belief}[place]
        values[0, 3, 1] = bad
        problem = replace(problem, latent=LatentState(belief, state))
        got = rollout(device, problem, actions, noise, precision=precision)
        others = torch.arange(20) != 3
        assert got[:, others].equal(usual[:, others]), bad
        exact = exact_returns(problem.weights, problem.latent, actions, noise)[0, 3]
        if precision == "bf16":
            assert got[0, 3].isnan() == (not abs(bad) < 1e32), bad
        elif exact.isfinite() and exact.abs() < 1e30:
            error = abs(got[0, 3].double() - exact) / exact.abs()
            assert error <= 1e-5, bad
        else:
            assert not got[0, 3].isfinite() or exact.isfinite(), bad


@PRECISIONS
def test_starts_are_shared_or_one_per_candidate(device: Device, precision: str) -> None:
    problem = make_problem(TINY, 2, seed=2)
    actions = problem.actions(2, 18)
    shared = rollout(device, problem, actions, None, precision=precision)
    start = LatentState(
        *(x[:, None].expand(-1, 18, -1) for x in (problem.latent.belief, problem.latent.state))
    )
    wide = rollout(device, replace(problem, latent=start), actions, None, precision=precision)
    assert wide.equal(shared)
