"""Compares bit for bit: runs, streams, captured graphs, the second device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from ops.cuda.support import Device, needs_gpu, plan, rollout
from ops.searches import SEARCHES, search
from ops.tolerances import same_plan
from random_weights import PRESET_SIZES, TINY, Sizes, make_problem
from torch import Tensor

from planet.noise import Noise, row_seeds
from planet.ops import fused
from planet.ops.checks import VARIANTS
from planet.ops.kernels import KERNELS
from planet.protocols import Plan

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
SETTINGS = {"candidates": 200, "topk": 20, "iterations": 2}
FITTING = Sizes(belief=64, state=16, action=2, hidden=64, reward=(64, 64))


@PRECISIONS
@pytest.mark.parametrize("variant", VARIANTS)
def test_plans_repeat(device: Device, variant: str, precision: str) -> None:
    if variant == "persistent" and (precision == "fp32" or device.emulated):
        pytest.skip("tests/csrc has this in the emulator; there is no fp32")
    sizes = TINY if device.emulated else PRESET_SIZES["paper"]
    problem = make_problem(sizes, 1)
    repeats, horizon, settings = 1000, 12, SETTINGS | {"candidates": 1000, "topk": 100}
    if device.emulated:
        repeats, horizon, settings = 3, 2, SETTINGS | {"candidates": 60}
    first = plan(
        device, problem, *problem.distribution(horizon), seed=1, **settings,
        precision=precision, variant=variant,
    )  # fmt: skip
    there = device.move(problem)
    seeds = device.to(row_seeds(1, 1))
    mean, stddev = (device.to(x) for x in problem.distribution(horizon))
    for _ in range(repeats):
        again = fused.cem_plan(
            there.weights, there.latent, mean, stddev, seed=seeds, **settings,
            precision=precision, variant=variant,
        )  # fmt: skip
        assert again.mean.cpu().equal(first.mean)
        assert again.best_return.cpu().equal(first.best_return)


@PRECISIONS
def test_rollouts_repeat(device: Device, precision: str) -> None:
    problem = make_problem(TINY if device.emulated else PRESET_SIZES["paper"], 2)
    actions = problem.actions(2, 40 if device.emulated else 1000)
    first = rollout(device, problem, actions, Noise(1), precision=precision)
    for _ in range(2 if device.emulated else 200):
        assert rollout(device, problem, actions, Noise(1), precision=precision).equal(first)


@PRECISIONS
def test_another_snapshot_is_packed_into_the_same_memory(device: Device, precision: str) -> None:
    sizes = TINY if device.emulated else PRESET_SIZES["paper"]
    kept, newer = (device.move(make_problem(sizes, 1, seed=seed)) for seed in (0, 1))
    actions, kernels = newer.actions(2, 40), KERNELS[device.place]
    packed = kernels.model(kept.weights, precision)[0]
    expected = rollout(device, newer, actions, Noise(1), precision=precision)
    fused.repack(kept.weights, newer.weights)
    assert kernels.model(kept.weights, precision)[0] is packed
    other = replace(newer, weights=kept.weights)
    assert rollout(device, other, actions, Noise(1), precision=precision).equal(expected)


# --- A GPU alone ----------------------------------------------------------------------------------


def captured(make: Callable[[], Plan]) -> tuple[torch.cuda.CUDAGraph, Plan]:
    """Captures a plan; replays write into it."""
    make()  # packs the weights
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plan = make()
    return graph, plan


@needs_gpu
@PRECISIONS
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_captured_plan_is_replayed_with_new_seeds(variant: str, precision: str) -> None:
    if variant == "persistent" and precision == "fp32":
        pytest.skip("there is no fp32")
    device, problem = Device("cuda", "cuda"), make_problem(FITTING, 2)
    there, seeds = device.move(problem), row_seeds(1, 2).cuda()
    how = SETTINGS | {"precision": precision, "variant": variant}
    mean, stddev = (device.to(x) for x in problem.distribution(4))

    def make() -> Plan:
        return fused.cem_plan(there.weights, there.latent, mean, stddev, seed=seeds, **how)

    start = problem.distribution(4)
    eager = {seed: plan(device, problem, *start, seed=seed, **how) for seed in (1, 2, 3)}
    graph, got = captured(make)
    for seed, expected in eager.items():
        seeds.copy_(row_seeds(seed, 2))
        graph.replay()
        torch.cuda.synchronize()
        assert got.mean.cpu().equal(expected.mean)
        assert got.best_return.cpu().equal(expected.best_return)


@needs_gpu
@PRECISIONS
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_captured_plan_is_replayed_with_new_weights(variant: str, precision: str) -> None:
    if variant == "persistent" and precision == "fp32":
        pytest.skip("there is no fp32")
    device, first = Device("cuda", "cuda"), make_problem(FITTING, 2)
    kept, seeds = device.move(first), row_seeds(1, 2).cuda()
    how = SETTINGS | {"precision": precision, "variant": variant}
    start = first.distribution(4)
    mean, stddev = map(device.to, start)

    def make() -> Plan:
        return fused.cem_plan(kept.weights, kept.latent, mean, stddev, seed=seeds, **how)

    graph, got = captured(make)
    for seed in (1, 2):
        newer = replace(first, weights=make_problem(FITTING, 2, seed=seed).weights)
        expected = plan(device, newer, *start, seed=1, **how)
        with torch.cuda.stream(torch.cuda.Stream()):
            fused.repack(kept.weights, device.move(newer).weights)
        graph.replay()
        torch.cuda.synchronize()
        assert got.mean.cpu().equal(expected.mean)
        assert got.best_return.cpu().equal(expected.best_return)


@needs_gpu
def test_the_first_use_of_weights_cannot_be_captured() -> None:
    problem = Device("cuda", "cuda").move(make_problem(TINY, 1))
    actions = problem.actions(2, 8).cuda()
    packed_first = pytest.raises(RuntimeError, match="weights: a snapshot is packed when it is fir")
    with packed_first, torch.cuda.graph(torch.cuda.CUDAGraph()):
        fused.rollout_returns(problem.weights, problem.latent, actions, None)
    torch.cuda.synchronize()
    fused.rollout_returns(problem.weights, problem.latent, actions, None)
    seed_as_tensor = pytest.raises(ValueError, match="seed: expected an int64 tensor .* captured")
    with seed_as_tensor, torch.cuda.graph(torch.cuda.CUDAGraph()):
        fused.rollout_returns(problem.weights, problem.latent, actions, Noise(1))


@needs_gpu
@PRECISIONS
def test_work_goes_to_the_current_stream(precision: str) -> None:
    device, problem = Device("cuda", "cuda"), make_problem(TINY, 1)
    actions = problem.actions(3, 500)
    expected = rollout(device, problem, actions, Noise(1), precision=precision)
    there, stream, other = device.move(problem), torch.cuda.Stream(), torch.cuda.Stream()
    seeds = row_seeds(1, 1).cuda()
    torch.cuda.synchronize()
    for current in (stream, other, torch.cuda.current_stream()):
        with torch.cuda.stream(current):
            # What comes before in this stream is slow, and nothing waits for it but the stream.
            late = torch.full_like(actions, torch.nan, device="cuda")
            torch.cuda._sleep(20_000_000)
            late.copy_(actions, non_blocking=True)
            got = fused.rollout_returns(
                there.weights, there.latent, late, Noise(seeds), precision=precision
            )
        current.synchronize()
        assert got.cpu().equal(expected)


def two_devices() -> bool:
    return torch.cuda.is_available() and torch.cuda.device_count() > 1


@needs_gpu
@pytest.mark.skipif(not two_devices(), reason="needs two GPUs")
def test_tensors_of_the_second_device_are_served_there() -> None:
    problem = make_problem(TINY, 2)
    first, second = (Device("cuda", f"cuda:{index}") for index in range(2))
    settings = SETTINGS | {"seed": 1}
    expected = plan(first, problem, *problem.distribution(3), **settings)
    with torch.cuda.device(0):
        got = plan(second, problem, *problem.distribution(3), **settings)
        assert torch.cuda.current_device() == 0
    assert same_plan(got, expected)
    there = second.move(problem)
    with pytest.raises(ValueError, match="actions: expected device cuda:1, got cuda:0"):
        fused.rollout_returns(there.weights, there.latent, first.to(problem.actions(2, 5)), None)


@needs_gpu
@pytest.mark.parametrize("name", [None, "all"])
def test_nothing_waits_for_the_device(name: str | None) -> None:
    device, problem = Device("cuda", "cuda"), make_problem(TINY, 1)
    there, seeds = device.move(problem), row_seeds(1, 1).cuda()
    mean, stddev = (device.to(x) for x in problem.distribution(4))
    how = SETTINGS if name is None else search(problem, SEARCHES[name], 4)
    how = {k: device.to(v) if isinstance(v, Tensor) else v for k, v in how.items()}

    def make() -> Tensor:
        return fused.cem_plan(
            there.weights, there.latent, mean, stddev, **how | {"seed": seeds}
        ).mean

    make()
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # about a second
    done = torch.cuda.Event()
    make()
    done.record()
    assert not done.query()
