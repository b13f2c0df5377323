"""The family of sampling planners: settings of one loop, and where they meet."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeImagination
from linear_model import best_plan, linear_latent, linear_weights
from ops.tolerances import same_plan
from random_weights import TINY, make_problem
from torch import Tensor

import planet
from planet.config import PLANNER_CONFIGS
from planet.planning import (
    PLANNERS,
    CEMPlanner,
    ICEMPlanner,
    Imagination,
    MPPIPlanner,
    SamplingPlanner,
    SearchSettings,
    ShootingPlanner,
    make_planner,
)

SETTINGS: dict[str, Any] = {"horizon": 4, "candidates": 30, "topk": 5, "iterations": 3}
PLAIN: dict[str, Any] = {
    "colour": 0.0, "keep": 0, "decay": 1.0, "momentum": 0.0, "output": "mean", "shift": "none",
    "initial_stddev": 1.0,
}  # fmt: skip


def test_icem_with_plain_settings_is_cem_bit_for_bit(imagine: MakeImagination) -> None:
    expected = CEMPlanner(**SETTINGS).plan(imagine(3), seed=5)
    plan = ICEMPlanner(**SETTINGS, **PLAIN).plan(imagine(3), seed=5)
    assert same_plan(plan, expected)
    assert torch.equal(plan.action, expected.action) and plan.kept.shape == (4, 3, 0, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 0.5}, {"colour": 0.5, "numerics": "icem"}, {"keep": 2}, {"decay": 1.5},
        {"momentum": 0.2}, {"output": "best"}, {"initial_stddev": 0.5}, {"epsilon": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_of_icem_changes_the_plan(
    imagine: MakeImagination, change: dict[str, Any]
) -> None:
    plain = ICEMPlanner(**SETTINGS, **PLAIN)
    usual, other = (
        planner.plan(imagine(2), seed=5) for planner in (plain, replace(plain, **change))
    )
    assert not same_plan(other, usual) or not torch.equal(other.action, usual.action)


@pytest.mark.parametrize("change", [{"temperature": 3.0}, {"momentum": 0.2}, {"topk": 6}], ids=str)
def test_every_setting_of_mppi_changes_the_plan(
    imagine: MakeImagination, change: dict[str, Any]
) -> None:
    usual, other = (
        MPPIPlanner(**(SETTINGS | given)).plan(imagine(2), seed=5) for given in ({}, change)
    )
    assert not same_plan(other, usual)


def test_numerics_are_told_apart(imagine: MakeImagination) -> None:
    coloured = ICEMPlanner(**SETTINGS, **(PLAIN | {"colour": 2.0}))
    published = replace(coloured, numerics="icem")
    assert not same_plan(coloured.plan(imagine(1)), published.plan(imagine(1)))


def test_mppi_at_a_high_temperature_is_cem_and_at_a_low_one_the_best_candidate(
    imagine: MakeImagination,
) -> None:
    imagination = imagine(3)
    warmest = MPPIPlanner(**SETTINGS, temperature=1e30).plan(imagination, seed=5)
    cem = CEMPlanner(**SETTINGS).plan(imagination, seed=5)
    assert (warmest.mean - cem.mean).abs().max() <= 1e-6
    once = {"horizon": 4, "candidates": 30}
    coldest = MPPIPlanner(**once, topk=5, iterations=1, temperature=1e-30).plan(imagination, seed=5)
    best = ShootingPlanner(**once).plan(imagination, seed=5)
    assert torch.equal(coldest.mean, best.mean)


def test_shooting_is_the_best_candidate_of_cem_s_first_iteration(imagine: MakeImagination) -> None:
    imagination, once = imagine(3), {"horizon": 4, "candidates": 30, "initial_stddev": 0.7}
    plan = ShootingPlanner(**once).plan(imagination, seed=5)
    best = ICEMPlanner(**(SETTINGS | PLAIN | once | {"iterations": 1, "output": "best"}))
    expected = best.plan(imagination, seed=5)
    assert torch.equal(plan.action, expected.action)
    assert torch.equal(plan.best_return, expected.best_return)
    assert torch.equal(plan.mean[0], plan.action)
    assert plan.iterations == 1


def test_planners_differ_in_rollouts() -> None:
    assert ICEMPlanner().settings.counts == (46, 36, 29)
    rollouts = {name: kind().rollouts for name, kind in PLANNERS.items()}
    assert rollouts == {
        "cem": 10_000, "icem": 120, "mppi": 3072, "shooting": 1000, "gradient": 976
    }  # fmt: skip


def test_icem_reaches_the_optimum_that_cem_reaches(imagine: MakeImagination, ops: Any) -> None:
    start, goal = torch.tensor([[0.0, 0.1]]), torch.tensor([[0.1, -0.5]])
    model = linear_weights(dims=2), linear_latent(start, goal)
    imagination = Imagination(*model, backend=ops.__name__.rpartition(".")[2])
    planner = ICEMPlanner(
        horizon=4, candidates=400, topk=40, iterations=10, decay=1.1, initial_stddev=1.0
    )
    assert (planner.plan(imagination).mean - best_plan(start, goal, 4)).abs().max() < 0.1


# ---- Settings ------------------------------------------------------------------------------------


def test_there_are_settings_for_every_planner_and_both_have_the_same_names_and_defaults() -> None:
    assert set(PLANNERS) == set(PLANNER_CONFIGS)
    for name, kind in PLANNERS.items():
        config = PLANNER_CONFIGS[name]()
        assert make_planner(config) == kind()
        given = {field.name for field in fields(kind) if field.init}
        shared = {"name", "low", "high", "budget_ms", "scorer", "execute"}
        assert given | shared == {field.name for field in fields(config)}


def test_planners_are_public() -> None:
    for kind in PLANNERS.values():
        assert getattr(planet, kind.__name__) is kind
        assert getattr(planet.planning, kind.__name__) is kind


def test_what_a_planner_has_no_field_for_is_as_in_the_plain_method() -> None:
    assert CEMPlanner().settings == SearchSettings()
    for kind in PLANNERS.values():
        planner = kind()
        if not isinstance(planner, SamplingPlanner):
            continue
        named = {field.name for field in fields(kind)}
        for field in fields(SearchSettings):
            expected = getattr(planner if field.name in named else SearchSettings, field.name)
            assert getattr(planner.settings, field.name) == expected


def test_a_plain_search_is_known() -> None:
    assert CEMPlanner(spread="mean_absolute", epsilon=0.1, initial_stddev=0.5).settings.plain
    assert ShootingPlanner().settings.plain
    assert ICEMPlanner(**SETTINGS, **PLAIN).settings.plain
    for change in ({"colour": 1.0}, {"keep": 1}, {"decay": 1.1}, {"momentum": 0.1},
                   {"output": "best"}):  # fmt: skip
        assert not ICEMPlanner(**SETTINGS, **(PLAIN | change)).settings.plain
    assert not MPPIPlanner().settings.plain


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"horizon": 0}, ValueError, "horizon: expected a value >= 1, got 0"),
        ({"candidates": 2.0}, TypeError, "candidates: expected an int, got float"),
        ({"iterations": 65537}, ValueError, "iterations: expected a value <= 65536, got 65537"),
        ({"topk": 47}, ValueError, "topk: expected 1 <= K <= J=46, got 47"),
        ({"keep": 11}, ValueError, "keep: expected a value <= 10, got 11"),
        ({"keep": -1}, ValueError, "keep: expected a value >= 0, got -1"),
        ({"keep": True}, TypeError, "keep: expected an int, got bool"),
        ({"decay": 0.9}, ValueError, "decay: expected a value >= 1, got 0.9"),
        ({"decay": float("nan")}, ValueError, "decay: expected a finite value, got nan"),
        ({"decay": 1.6}, ValueError,
         "decay: expected at least 2 K = 20 candidates in every iteration, got 17 in the last: "
         "46 * 1.6^-2"),
        ({"candidates": 30, "topk": 14}, ValueError, "decay: expected at least 2 K = 28 "),
        ({"momentum": 1.0}, ValueError, "momentum: expected a value in [0, 1), got 1.0"),
        ({"momentum": -0.1}, ValueError,
         "momentum: expected a finite float32 value >= 0, got -0.1"),
        ({"colour": -1.0}, ValueError, "colour: expected a finite float32 value >= 0, got -1.0"),
        ({"colour": "pink"}, TypeError, "colour: expected a float, got str"),
        ({"horizon": 1025}, ValueError,
         "colour: expected 0 for a horizon above 1024, as its matrix has H x H numbers, got 0.25 "
         "and horizon=1025"),
        ({"numerics": "raw"}, ValueError, "numerics: expected one of ['unit', 'icem'], got 'raw'"),
        ({"horizon": 1, "numerics": "icem"}, ValueError,
         "numerics: expected 'unit' for horizon=1, where 'icem' knows no colour, got 'icem'"),
        ({"output": "worst"}, ValueError, "output: expected one of ['mean', 'best'], got 'worst'"),
        ({"shift": "left"}, ValueError,
         "shift: expected one of ['none', 'repeat', 'middle'], got 'left'"),
        ({"initial_stddev": -1.0}, ValueError,
         "initial_stddev: expected a finite float32 value >= 0, got -1.0"),
        ({"epsilon": -1.0}, ValueError, "epsilon: expected a value >= 0, got -1.0"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_by_name(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        ICEMPlanner(**change)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a value > 0, got 0.0"),
        ({"temperature": float("inf")}, "temperature: expected a finite value, got inf"),
        ({"temperature": 1.0, "spread": "mean_absolute"},
         "temperature: expected None with spread='mean_absolute', got 1.0"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_temperatures_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        SearchSettings(**change)
    assert str(error.value) == message


def test_settings_of_numpy_become_python_s() -> None:
    planner = ICEMPlanner(
        horizon=np.int64(4), keep=np.int32(2), momentum=np.float32(0.5), decay=np.float64(1.25),
        colour=np.float32(0.5),
    )  # fmt: skip
    assert planner == ICEMPlanner(horizon=4, keep=2, momentum=0.5, decay=1.25, colour=0.5)
    assert {type(getattr(planner, name)) for name in ("momentum", "decay", "colour")} == {float}


def test_a_sampling_planner_needs_the_starts_of_problems_not_of_candidates() -> None:
    problem = make_problem(TINY, 2)
    latent = planet.LatentState(
        problem.latent.belief[:, None].expand(-1, 46, -1),
        problem.latent.state[:, None].expand(-1, 46, -1),
    )
    imagination = Imagination(problem.weights, latent, backend="reference")
    with pytest.raises(ValueError, match="keep: expected 0 with a start per candidate"):
        ICEMPlanner(horizon=4).plan(imagination)
    with pytest.raises(ValueError, match="candidates: expected the same number in every"):
        ICEMPlanner(horizon=4, keep=0).plan(imagination)


@pytest.mark.parametrize("shape", [(46,), (2, 40), (1, 46), (2, 50)])
def test_a_scorer_s_returns_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    class Wrong:
        batch_size = 2
        low, high = -torch.ones(2, 3), torch.ones(2, 3)

        def returns(self, actions: Tensor, noise: Any) -> Tensor:
            return torch.zeros(shape)

    for planner in (ICEMPlanner(), CEMPlanner(candidates=46, topk=10)):
        with pytest.raises(ValueError) as error:
            planner.plan(Wrong())
        expected = [2, 46 + planner.settings.keep]
        told = f"imagination.returns: expected shape {expected} ([B, J]), got {[*shape]}"
        assert str(error.value) == told
