"""The speed baseline computes what the planner computes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from baselines.torch_cem import TorchCEM
from ops.tolerances import RETURNS, returns_error
from random_weights import PRESET_SIZES, TINY, Problem, Sizes, make_problem

from planet.ops import reference

LINEAR = Sizes(belief=5, state=3, action=2, hidden=7, reward=())  # a reward head of one layer
PACKS = torch.backends.mkldnn.is_available()
FORMS = [
    pytest.param(
        form,
        marks=pytest.mark.skipif(form == "packed" and not PACKS, reason="torch without oneDNN"),
    )
    for form in ("eager", "packed", "jit", "cell")
]


def rollout_error(problem: Problem, planner: TorchCEM, candidates: int = 30) -> float:
    actions, noise = problem.actions(5, candidates), problem.noise(5, candidates)
    expected = problem.returns(reference, actions, noise)
    return returns_error(planner.rollout(problem.latent, actions, noise), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_rollout_equals_the_reference(form: str, activation: str) -> None:
    for sizes in (TINY, LINEAR, *PRESET_SIZES.values()):
        problem = make_problem(sizes, batch=2, activation=activation)
        planner = TorchCEM(problem.weights, form, rows=25)  # three pieces, one of ten rows
        assert rollout_error(problem, planner) <= RETURNS[1.0], sizes


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float16, 2e-2), (torch.bfloat16, 1e-1)], ids=str
)
@pytest.mark.parametrize("form", ["eager", "packed", "cell", "autocast"])
def test_half_precision_rounds_and_no_more(form: str, dtype: torch.dtype, bound: float) -> None:
    if form == "packed" and not (PACKS and served(dtype)):
        pytest.skip("this oneDNN has no such products here")
    problem = make_problem(PRESET_SIZES["small"], batch=2)
    assert 1e-5 < rollout_error(problem, TorchCEM(problem.weights, form, dtype=dtype)) < bound


def served(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies the type on this processor."""
    name = "bf16" if dtype == torch.bfloat16 else "fp16"
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported")())


@pytest.mark.skipif(
    "onednn" not in torch.backends.quantized.supported_engines, reason="torch without the engine"
)
def test_int8_products_round_and_no_more() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=2)
    error = rollout_error(problem, TorchCEM(problem.weights, "quantised"))
    assert 1e-5 < error < 2e-2, error


def test_forms_refuse_types_that_they_lack() -> None:
    weights = make_problem(TINY).weights
    for form in ("quantised", "jit"):
        with pytest.raises(ValueError, match=f"expected float32 for form '{form}', got torch.bf"):
            TorchCEM(weights, form, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="expected a half precision for form 'autocast'"):
        TorchCEM(weights, "autocast")


@pytest.mark.parametrize("form", ["compile", "rollout"])
def test_compiled_forms_equal_the_reference(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one graph; what inductor makes of it is checked where it is timed (`cem/table.py`)."""
    whole = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", lambda module, **options: whole(module))
    problem = make_problem(TINY, batch=2)
    planner = TorchCEM(problem.weights, form)
    assert rollout_error(problem, planner) <= RETURNS[1.0]


def test_the_baseline_plans_as_well_as_the_planner() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    settings = {"candidates": 200, "topk": 20, "iterations": 8}
    torch.manual_seed(0)
    baseline = TorchCEM(problem.weights).plan(problem.latent, horizon=6, **settings)
    mean, stddev = problem.distribution(6)
    plan = reference.cem_plan(problem.weights, problem.latent, mean, stddev, seed=0, **settings)

    def score(mean: torch.Tensor) -> float:
        returns = problem.returns(reference, mean[:, :, None], None)
        return returns.item()

    still = score(torch.zeros_like(mean))
    gain, expected = score(baseline.mean) - still, score(plan.mean) - still
    assert expected > 0
    assert gain > 0.7 * expected  # both optimise noisy returns of the same model
