"""Calls the compiled core at random: the right answer, or an error that names an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from ops.error_bound import bounded_returns
from ops.fused_support import ISAS, isa, needs_extension
from ops.tolerances import NORMAL_ABSOLUTE
from random_weights import Sizes, make_problem
from torch import Tensor

from planet.latent import LatentState
from planet.noise import STREAM_STATE, Noise, normals
from planet.ops import fused, reference
from planet.ops.results import Refit
from planet.protocols import Plan

pytestmark = needs_extension

ARGUMENTS = (
    "actions", "returns", "noise", "noise.seed", "seed", "latent.belief", "latent.state", "latent",
    "mean", "stddev", "candidates", "topk", "iterations", "first_iteration", "low", "high",
    "spread", "epsilon", "discount", "precision", "budget_ms", "weights", "particle", "iteration",
    "mix", "kept", "keep", "momentum", "temperature", "output",
)  # fmt: skip


def outcome(call: Callable[[], Any]) -> Any:
    """Returns the result, or the error after checking its words."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        text = str(error)
        assert any(text.startswith(name + ":") for name in ARGUMENTS), text
        assert "expected" in text or "available" in text, text
        return error


sizes = st.builds(
    Sizes,
    belief=st.integers(0, 20),
    state=st.integers(1, 12),
    action=st.integers(1, 9),
    hidden=st.integers(1, 20),
    reward=st.lists(st.integers(1, 12), max_size=3).map(tuple),
)
small = st.integers(1, 4)


@st.composite
def disturbed(draw: st.DrawFn, tensor: Tensor) -> Tensor:
    """Gives the tensor, or one with another shape, dtype, device or memory layout."""
    kind = draw(st.sampled_from(["same"] * 6 + ["shape", "empty", "dtype", "device", "strided"]))
    if kind == "shape":
        dim = draw(st.integers(0, tensor.dim() - 1))
        return torch.cat([tensor, tensor], dim) if draw(st.booleans()) else tensor.select(dim, 0)
    if kind == "empty":
        return tensor.narrow(draw(st.integers(0, tensor.dim() - 1)), 0, 0)
    if kind == "dtype":
        return tensor.to(draw(st.sampled_from([torch.float64, torch.float16, torch.int64])))
    if kind == "device":
        return tensor.to("meta")
    if kind == "strided":
        order = draw(st.permutations(range(tensor.dim())))
        inverse = sorted(range(tensor.dim()), key=order.__getitem__)
        return tensor.permute(order).contiguous().permute(inverse)
    return tensor


def same_error(got: Any, expected: Any) -> bool:
    """Whether both are errors, which then have to be equal."""
    if not isinstance(got, Exception) and not isinstance(expected, Exception):
        return False
    assert type(got) is type(expected), (got, expected)
    assert str(got) == str(expected)
    return True


def drawn(noise: Noise, horizon: int, batch: int, candidates: int, size: int) -> Tensor:
    """Draws the normals [H, B, J, S] that `noise` stands for."""
    seeds, place = noise.seeds(batch, torch.device("cpu")), (noise.iteration, noise.particle)
    where = {"stream": STREAM_STATE, "iteration": place[0], "particle": place[1]}
    return torch.stack([normals(seeds, candidates, size, time=t, **where) for t in range(horizon)])


@given(st.data())
def test_rollout_gives_the_right_answer_or_names_the_argument(data: st.DataObject) -> None:
    size, batch, horizon = data.draw(sizes), data.draw(small), data.draw(small)
    candidates = data.draw(st.integers(1, 70))
    starts = candidates if data.draw(st.booleans()) else None
    problem = make_problem(
        size,
        batch,
        seed=data.draw(st.integers(0, 99)),
        activation=data.draw(st.sampled_from(["relu", "elu"])),
        stddev=data.draw(st.sampled_from(["add", "clamp"])),
        candidates=starts,
    )
    latent = LatentState(
        data.draw(disturbed(problem.latent.belief)), data.draw(disturbed(problem.latent.state))
    )
    actions = data.draw(disturbed(problem.actions(horizon, candidates)))
    kind = data.draw(st.sampled_from(["none", "philox", "tensor", "wrong"]))
    noise: Any = None
    if kind == "philox":
        noise = Noise(data.draw(st.integers(-(2**63), 2**64 - 1)), iteration=65535, particle=9)
    elif kind == "tensor":
        noise = data.draw(disturbed(problem.noise(horizon, candidates)))
    elif kind == "wrong":
        noise = data.draw(st.sampled_from([1, "seed", [0.0], torch.zeros(1)]))
    settings = {"discount": data.draw(st.sampled_from([1.0, 0.9, 0.0, float("inf"), "one"]))}
    arguments = (problem.weights, latent, actions, noise)
    expected = outcome(lambda: reference.rollout_returns(*arguments, **settings))  # type: ignore[arg-type]
    found = {"reference": expected}
    for name in ISAS:
        with isa(name):
            found[name] = outcome(lambda: fused.rollout_returns(*arguments, **settings))  # type: ignore[arg-type]
    errors = [same_error(got, expected) for got in found.values()]
    if any(errors):
        return
    error = 0.0
    if isinstance(noise, Noise):
        noise, error = drawn(noise, *actions.shape[:3], size.state), NORMAL_ABSOLUTE
    exact, bound = bounded_returns(*arguments[:3], noise, noise_error=error, **settings)  # type: ignore[arg-type]
    for name, got in found.items():
        assert ((got.double() - exact).abs() <= bound).all(), name


@given(st.data())
def test_refit_gives_the_right_answer_or_names_the_argument(data: st.DataObject) -> None:
    horizon, batch, size = (data.draw(small) for _ in range(3))
    candidates = data.draw(st.integers(1, 80))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    returns = torch.randint(-3, 3, (batch, candidates), generator=generator).float()
    if data.draw(st.booleans()):
        returns = torch.where(returns == 2, torch.nan, returns)
    actions = data.draw(
        disturbed(torch.rand(horizon, batch, candidates, size, generator=generator))
    )
    returns = data.draw(disturbed(returns))
    arguments = {
        "topk": data.draw(st.integers(-1, candidates + 1) | st.sampled_from([2**40, 1.0, None])),
        "spread": data.draw(st.sampled_from(["population", "mean_absolute", "", 3])),
        "epsilon": data.draw(st.sampled_from([1e-6, 0.0, -1.0, float("nan")])),
    }
    got = outcome(lambda: fused.refit(actions, returns, **arguments))
    expected = outcome(lambda: reference.refit(actions, returns, **arguments))
    if isinstance(got, Refit) and got.mean.device.type == "meta":
        assert got.mean.shape == expected.mean.shape
        assert got.elites.shape == expected.elites.shape
        return
    if isinstance(got, Refit):
        assert torch.equal(got.elites, expected.elites)
        assert torch.equal(got.best.nan_to_num(9.0), expected.best.nan_to_num(9.0))
        assert torch.allclose(got.mean, expected.mean, rtol=2e-7, atol=1e-9)
        assert torch.allclose(got.stddev, expected.stddev, rtol=2e-7, atol=1e-9)
    else:
        assert same_error(got, expected)


@st.composite
def searches(draw: st.DrawFn, horizon: int, batch: int, size: int) -> dict[str, Any]:
    """Draws what a search has beyond the plain method, and counts for two iterations."""
    keep = draw(st.integers(0, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    kept = torch.rand(horizon, batch, keep, size, generator=generator) * 3 - 1.5
    kept[torch.rand(kept.shape, generator=generator) < draw(st.sampled_from([0.0, 0.1]))] = (
        torch.nan
    )
    mix = torch.randn(horizon, horizon, generator=generator)
    return {
        "candidates": draw(st.sampled_from([33, [33, 7], (5, 40), [64, 64]])),
        "keep": keep,
        "kept": draw(st.sampled_from([None, kept])),
        "mix": draw(st.sampled_from([None, mix, torch.zeros_like(mix)])),
        "momentum": draw(st.sampled_from([0.0, 0.3, 0.999])),
        "temperature": draw(st.sampled_from([None, 1e-6, 0.5, 1e9])),
        "output": draw(st.sampled_from(["mean", "best"])),
    }


@given(st.data())
def test_a_search_gives_a_plan_within_its_bounds_or_the_reference_s_error(
    data: st.DataObject,
) -> None:
    size, batch, horizon = data.draw(sizes), data.draw(small), data.draw(small)
    problem = make_problem(size, batch)
    more = data.draw(searches(horizon, batch, size.action))
    how = {"topk": 5, "iterations": 2, "low": -0.5, "high": 0.75, "precision": "fp32"} | more
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(more)))
        wrong = [None, -1, 6, 1.0, "best", [33], [33, 0], torch.zeros(2, 2), float("nan")]
        how[name] = data.draw(st.sampled_from(wrong))
    for name in ("mix", "kept"):
        if isinstance(how[name], Tensor) and how[name].numel():
            how[name] = data.draw(disturbed(how[name]))
    expected = outcome(lambda: problem.plan(reference, horizon, **how))
    for name in ISAS:
        with isa(name):
            got = outcome(lambda: problem.plan(fused, horizon, **how))
        if same_error(got, expected):
            continue
        assert got.kept.shape == expected.kept.shape
        for part in (got.mean, got.kept, got.action):
            assert ((part >= -0.5) & (part <= 0.75)).all()
        assert got.stddev.isfinite().all()
        assert got.best_return.isfinite().all()
        assert got.iterations == 2
        assert got.finite.all()


@given(st.data())
def test_plan_gives_an_answer_or_names_the_argument(data: st.DataObject) -> None:
    size, batch, horizon = data.draw(sizes), data.draw(small), data.draw(small)
    problem = make_problem(size, batch)
    mean, stddev = problem.distribution(horizon)
    bound = torch.full((batch, size.action), 0.5)
    number = st.integers(-1, 40)
    arguments: dict[str, Any] = {
        "seed": data.draw(
            st.integers() | st.sampled_from([1.5, torch.arange(batch), torch.zeros(9)])
        ),
        "candidates": data.draw(number | st.sampled_from([2**30, 2**31 - 1, 2**63, 2**80, 7.0])),
        "topk": data.draw(number | st.sampled_from([2**63])),
        "iterations": data.draw(st.integers(-1, 3) | st.sampled_from([2**17, 2**64])),
        "first_iteration": data.draw(st.sampled_from([0, 1, 65535, 65536, -1])),
        "low": data.draw(st.sampled_from([-1.0, 2.0, -bound, -bound[0], bound.double(), "low"])),
        "high": data.draw(st.sampled_from([1.0, bound, bound[0], bound.t(), bound[..., None]])),
        "spread": data.draw(st.sampled_from(["population", "mean_absolute"])),
        "state_noise": data.draw(st.booleans()),
        "discount": data.draw(st.sampled_from([1.0, 0.5])),
        "budget_ms": data.draw(st.sampled_from([None, 1e-3, 1e3, 0, float("nan")])),
    }
    if data.draw(st.booleans()):  # a call that should succeed, more often than chance gives one
        arguments |= {"seed": 1, "candidates": 33, "topk": 5, "iterations": 2, "first_iteration": 0}
        arguments |= {"low": -1.0, "high": bound[0], "budget_ms": None}
    mean, stddev = data.draw(disturbed(mean)), data.draw(disturbed(stddev))
    for name in ISAS:
        with isa(name):
            got = outcome(
                lambda: fused.cem_plan(problem.weights, problem.latent, mean, stddev, **arguments)
            )
        if isinstance(got, Plan):
            assert got.mean.shape == mean.shape  # both may have grown
            assert got.mean.isfinite().all()
            assert got.stddev.isfinite().all()
            assert got.best_return.isfinite().all()
            assert 1 <= got.iterations <= arguments["iterations"]
