"""Compares `fused.rollout_returns` with the reference around edges of tiles, vectors, panels."""

from __future__ import annotations

import pytest
import torch
from ops.fused_support import ISAS, KERNELS, isa, needs_extension
from ops.tolerances import RETURNS, returns_error
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Sizes, make_problem

from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused, reference

pytestmark = needs_extension

# Around 4 and 5 rows per tile, 50 products per chunk, and the limits.
EDGE_SIZES = [
    Sizes(1, 1, 1, 1, ()),
    Sizes(4, 5, 3, 4, (1,)),
    Sizes(5, 4, 2, 6, (5, 4, 3)),
    Sizes(49, 50, 1, 51, (50,)),
    Sizes(100, 20, 6, 101, (99, 7)),
    Sizes(3, 2, 512, 8, ()),
    Sizes(512, 3, 1, 2, (512,)),
    Sizes(2, 512, 1, 512, ()),
    Sizes(0, 1, 1, 1, ()),
    Sizes(0, 7, 2, 51, (6,)),
    Sizes(0, 512, 3, 9, (4, 5)),
    Sizes(5, 4, 2, 6, (51,), continuation=True),
    Sizes(49, 3, 1, 5, (), continuation=True),
    Sizes(0, 3, 2, 4, (5, 4, 100), continuation=True),
]
# Around 4, 8 and 16 lanes and panels of 2 to 4 vectors.
EDGE_CANDIDATES = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 25, 33, 47, 48, 49, 63, 64, 65, 100, 129]


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("sizes", EDGE_SIZES, ids=str)
@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
def test_returns_equal_the_reference_for_edge_sizes(
    name: str, sizes: Sizes, activation: str, stddev: str
) -> None:
    problem = make_problem(sizes, batch=2, activation=activation, stddev=stddev)
    actions = problem.actions(3, 21)
    for noise in (None, problem.noise(3, 21), Noise(7, iteration=3, particle=1)):
        expected = problem.returns(reference, actions, noise)
        with isa(name):
            got = problem.returns(fused, actions, noise)
        assert returns_error(got, expected) <= RETURNS[1.0]


@pytest.mark.parametrize("name", ISAS)
def test_returns_equal_the_reference_for_edge_candidates(name: str) -> None:
    for candidates in EDGE_CANDIDATES:
        problem = make_problem(TINY, batch=1)
        actions, noise = problem.actions(4, candidates), Noise(11)
        expected = problem.returns(reference, actions, noise)
        with isa(name):
            got = problem.returns(fused, actions, noise)
        assert got.shape == (1, candidates)
        assert returns_error(got, expected) <= RETURNS[1.0], candidates


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("preset", list(PRESET_SIZES))
def test_returns_equal_the_reference_for_presets(name: str, preset: str) -> None:
    problem = make_problem(PRESET_SIZES[preset], batch=1, seed=3)
    actions, noise = problem.actions(12, 70), problem.noise(12, 70)
    expected = problem.returns(reference, actions, noise)
    with isa(name):
        got = problem.returns(fused, actions, noise)
    assert returns_error(got, expected) <= RETURNS[1.0]


@pytest.mark.parametrize(("name", "precision"), KERNELS)
@pytest.mark.parametrize("sizes", [PRESET_SIZES["small"], TINY_SSM], ids=["rssm", "ssm"])
def test_a_start_per_candidate_equals_the_shared_start_bit_for_bit(
    name: str, precision: str, sizes: Sizes
) -> None:
    problem = make_problem(sizes, batch=2)
    actions, latent = problem.actions(3, 37), problem.latent
    starts = LatentState(
        latent.belief[:, None].expand(-1, 37, -1), latent.state[:, None].expand(-1, 37, -1)
    )
    with isa(name):
        got, shared = (
            fused.rollout_returns(problem.weights, start, actions, Noise(5), precision=precision)
            for start in (starts, latent)
        )
    assert torch.equal(got, shared)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
def test_a_start_per_candidate_equals_the_reference(name: str, sizes: Sizes) -> None:
    problem = make_problem(sizes, batch=3, candidates=19)
    actions = problem.actions(4, 19)
    expected = problem.returns(reference, actions, Noise(5))
    with isa(name):
        got = problem.returns(fused, actions, Noise(5))
    assert returns_error(got, expected) <= RETURNS[1.0]


def test_saturated_activations_equal_the_reference() -> None:
    for activation in ("relu", "elu"):
        problem = make_problem(TINY, batch=1, scale=60.0, activation=activation)
        actions = problem.actions(1, 50)
        expected = problem.returns(reference, actions, Noise(2))
        got = problem.returns(fused, actions, Noise(2))
        assert returns_error(got, expected) <= RETURNS[3.0]  # gains above one


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_candidate_spoils_no_other(name: str, bad: float) -> None:
    for activation in ("relu", "elu"):
        problem = make_problem(TINY, batch=1, activation=activation)
        actions = problem.actions(3, 20)
        with isa(name):
            clean = problem.returns(fused, actions, Noise(2))
            actions[1, 0, 6] = bad
            got = problem.returns(fused, actions, Noise(2))
        keep = torch.arange(20) != 6
        assert torch.equal(got[:, keep], clean[:, keep])
        assert bad == bad or got[0, 6].isnan()  # NaN goes through to the return


def test_strided_arguments_are_read_as_they_are() -> None:
    problem = make_problem(TINY, batch=2)
    wide = problem.actions(8, 30)
    view = wide[::2, :, ::3].flip(0)
    noise = problem.noise(8, 30)[::2, :, ::3]
    latent = LatentState(
        problem.latent.belief.t().contiguous().t(), problem.latent.state.flip(0).flip(0)
    )
    got = fused.rollout_returns(problem.weights, latent, view, noise)
    expected = problem.returns(fused, view.contiguous(), noise.contiguous())
    assert torch.equal(got, expected)


def test_a_snapshot_keeps_its_packed_weights() -> None:
    problem = make_problem(TINY, batch=1)
    actions = problem.actions(2, 4)
    problem.returns(fused, actions, None)
    packed = dict(problem.weights._cache)
    problem.returns(fused, actions, None)
    assert len(packed) == 1
    assert all(problem.weights._cache[key] is value for key, value in packed.items())
