"""Compares int8 products of the compiled core with the reference's writing of them."""

from __future__ import annotations

import pytest
import torch
from ops.fused_support import BUILT, isa, needs_extension
from ops.tolerances import INT8_MEDIAN, INT8_RMS, INT8_TO_FLOAT32, int8_errors
from processes import python, variables
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Sizes, make_problem

from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused, reference
from planet.planning import CEMPlanner, Imagination

needs_int8 = pytest.mark.skipif(
    not BUILT or "int8" not in fused._C.precisions(), reason="this processor has no AVX-512 VNNI"
)
pytestmark = needs_extension

# Around quads of inputs, 5 rows per tile, and the limits.
SIZES = [
    *PRESET_SIZES.values(),
    TINY,
    TINY_SSM,
    Sizes(1, 1, 1, 1, ()),
    Sizes(3, 4, 3, 5, (1,)),
    Sizes(4, 5, 2, 6, (8, 7, 9)),
    Sizes(512, 512, 2, 512, (512,)),
    Sizes(0, 30, 6, 200, (200, 200)),
]


@needs_int8
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
def test_returns_equal_the_reference(sizes: Sizes, activation: str, stddev: str) -> None:
    problem = make_problem(sizes, batch=2, activation=activation, stddev=stddev)
    arguments = (problem.weights, problem.latent, problem.actions(6, 131), Noise(7, iteration=2))
    got, expected = (
        ops.rollout_returns(*arguments, precision="int8") for ops in (fused, reference)
    )
    median, rms = int8_errors(got, expected)
    assert median <= INT8_MEDIAN
    assert rms <= INT8_RMS


@needs_int8
@pytest.mark.parametrize("candidates", [1, 15, 16, 17, 33, 48, 49, 63, 64, 65])
def test_returns_equal_the_reference_for_edge_candidates(candidates: int) -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    arguments = (problem.weights, problem.latent, problem.actions(2, candidates), None)
    got, expected = (
        ops.rollout_returns(*arguments, precision="int8") for ops in (fused, reference)
    )
    difference = (got - expected).abs() / expected.square().mean().sqrt()
    assert difference.median() <= INT8_MEDIAN
    assert difference.max() <= 10 * INT8_RMS  # one flipped integer, where there is one candidate


@needs_int8
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_starts_outside_one_and_per_candidate_equal_the_reference(activation: str) -> None:
    problem = make_problem(PRESET_SIZES["small"], 2, activation=activation, candidates=50)
    latent = LatentState(problem.latent.belief * 5.0, problem.latent.state * 3.0)
    arguments = (problem.weights, latent, problem.actions(5, 50), Noise(1))
    got, expected = (
        ops.rollout_returns(*arguments, precision="int8") for ops in (fused, reference)
    )
    median, rms = int8_errors(got, expected)
    assert median <= INT8_MEDIAN
    assert rms <= INT8_RMS


@needs_int8
@pytest.mark.parametrize("sizes", [PRESET_SIZES["paper"], TINY_SSM], ids=["rssm", "ssm"])
def test_returns_are_near_those_of_float32(sizes: Sizes) -> None:
    problem = make_problem(sizes, batch=1)
    arguments = (problem.weights, problem.latent, problem.actions(12, 500), Noise(1))
    int8, float32 = (fused.rollout_returns(*arguments, precision=p) for p in ("int8", "fp32"))
    _, rms = int8_errors(int8, float32)
    assert 1e-4 < rms <= INT8_TO_FLOAT32  # and they are not float32's


@needs_int8
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
def test_a_candidate_that_is_not_finite_returns_nan_and_spoils_no_other(
    sizes: Sizes, bad: float, activation: str
) -> None:
    problem = make_problem(sizes, batch=1, activation=activation)
    actions, noise = problem.actions(3, 20), problem.noise(3, 20)
    start = (problem.weights, problem.latent)
    clean = fused.rollout_returns(*start, actions, noise, precision="int8")
    keep = torch.arange(20) != 6
    for t in range(3):
        for target in ("action", "noise"):
            spoiled, normals = actions.clone(), noise.clone()
            (spoiled if target == "action" else normals)[t, 0, 6] = bad
            got = fused.rollout_returns(*start, spoiled, normals, precision="int8")
            assert torch.equal(got[:, keep], clean[:, keep])
            assert got[0, 6].isnan()


@needs_int8
def test_a_start_belief_with_one_nan_makes_its_candidate_nan() -> None:
    problem = make_problem(TINY, batch=1, candidates=20)
    problem.latent.belief[0, 3, 2] = float("nan")
    got = problem.returns(fused, problem.actions(4, 20), None, precision="int8")
    assert got.isnan().nonzero().tolist() == [[0, 3]]


@needs_int8
def test_each_precision_keeps_its_own_packed_weights() -> None:
    problem = make_problem(TINY, batch=1)
    arguments = (problem.weights, problem.latent, problem.actions(2, 4), None)
    before = fused.rollout_returns(*arguments)
    quantised = fused.rollout_returns(*arguments, precision="int8")
    assert len(problem.weights._cache) == 2
    assert torch.equal(fused.rollout_returns(*arguments), before)
    assert not torch.equal(quantised, before)


@needs_int8
def test_a_plan_in_int8_is_near_the_plan_in_float32() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    settings = {"horizon": 6, "candidates": 300, "topk": 30, "iterations": 4}
    plans = {
        (precision, seed): CEMPlanner(**settings).plan(
            Imagination(problem.weights, problem.latent, precision=precision), seed
        )
        for precision in ("fp32", "int8")
        for seed in (0, 1)
    }
    rounding = (plans["int8", 0].mean - plans["fp32", 0].mean).abs().mean()
    sampling = (plans["fp32", 1].mean - plans["fp32", 0].mean).abs().mean()
    assert 0.0 < rounding < sampling


@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_int8_without_vnni_is_refused_by_name(name: str) -> None:
    problem = make_problem(TINY, batch=1)
    arguments = (problem.weights, problem.latent, problem.actions(2, 4), None)
    if name not in fused._C.build_info()["isas"]:
        pytest.skip(f"this processor does not run {name}")
    with (
        isa(name),
        pytest.raises(ValueError, match=f"precision: 'int8' needs .*got '{name}'.*fp32"),
    ):
        fused.rollout_returns(*arguments, precision="int8")


def test_a_cap_on_the_instruction_set_refuses_int8() -> None:
    code = (
        "from planet import CEMPlanner, Imagination; from random_weights import *; "
        "p = make_problem(TINY, 1); "
        "imagination = Imagination(p.weights, p.latent, precision='int8'); "
        "CEMPlanner(horizon=2, candidates=9, topk=2).plan(imagination)"
    )
    done = python("-c", code, status=1, env=variables(PLANET_CPU_ISA="avx2"))
    assert "ValueError: precision: 'int8' needs the instruction set 'avx512vnni'" in done.stderr
