"""Timing: every planner at every step, on the same latents, by turns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from planet.config import ActingConfig, ImaginationConfig, ModelConfig, PlannerConfig
from planet.experiments.run import Run, open_run
from planet.latent import LatentState
from planet.planning import CEMPlanner, Imagination
from planet.profiling import compare_planners, compare_run
from planet.profiling.facts import compute_facts
from planet.protocols import Plan
from planet.weights.random import random_weights

MODEL = ModelConfig(state_size=3, belief_size=5, hidden_size=7, reward_layers=1, reward_hidden=4)
PLANNER = PlannerConfig(horizon=2, candidates=10, iterations=2, topk=3)
REFERENCE = ImaginationConfig(backend="reference")


def small(**planner: Any) -> ActingConfig:
    """Settings of a small planner of the reference."""
    return ActingConfig(planner=replace(PLANNER, **planner), imagination=REFERENCE)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, LatentState]]:
    """Records who planned, told by its iterations, and from which latent."""
    noted: list[tuple[int, LatentState]] = []
    original = CEMPlanner.plan

    def plan(planner: CEMPlanner, imagination: Imagination, *seed: Any, **budget: Any) -> Plan:
        noted.append((planner.iterations, imagination.latent))
        return original(planner, imagination, *seed, **budget)

    monkeypatch.setattr(CEMPlanner, "plan", plan)
    return noted


def test_bare_planner_reports_its_sizes_and_survives_json() -> None:
    weights = random_weights(MODEL, 2)
    profile = compare_planners({"": small()}, weights, batch_size=3, steps=4).first
    content = json.loads(json.dumps(profile.to_dict()))
    assert content["steps"] == 4
    assert list(content["stages"]) == ["plan"]
    assert content["plan"]["batch_size"] == 3
    assert content["plan"]["reward_hidden"] == [4]
    assert content["iterations"] == {"least": 2, "median": 2, "most": 2}
    assert content["stages"]["plan"]["p50_ms"] > 0


def test_planners_take_turns_and_each_plans_at_every_step(
    calls: list[tuple[int, LatentState]],
) -> None:
    planners = {f"{i}": small(iterations=i) for i in (1, 2, 3)}
    comparison = compare_planners(planners, random_weights(MODEL, 2), steps=3)
    assert [i for i, _ in calls] == [1, 2, 3, 2, 3, 1, 3, 1, 2] * 2  # three steps warm up
    assert all(len(profile.iterations) == 3 for profile in comparison.profiles.values())


def test_a_budget_is_among_the_sizes_and_cuts_the_iterations() -> None:
    hurried = small(iterations=50, budget_ms=1e-6)
    both = compare_planners({"a": small(), "b": hurried}, random_weights(MODEL, 2), steps=2)
    assert "budget_ms" not in both.profiles["a"].plan
    assert both.profiles["b"].plan["budget_ms"] == 1e-6
    assert both.profiles["b"].iterations == (1, 1)


@pytest.mark.parametrize("name", ["batch_size", "steps"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a value >= 1, got 0"):
        compare_planners({"": small()}, random_weights(MODEL, 2), **{name: 0})


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate: expected a (value > 0|finite value), got"):
        compare_planners({"": small()}, random_weights(MODEL, 2), rate_hz=rate)


def test_compute_facts_name_precision_and_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = random_weights(MODEL, 2)
    zeros = LatentState(torch.zeros(1, 5), torch.zeros(1, 3))
    facts = compute_facts(Imagination(weights, zeros, backend="reference"))
    assert (facts["device"], facts["backend"], facts["precision"]) == ("cpu", "reference", "fp32")
    assert facts["threads"] >= 1
    assert facts["instruction_set"]
    info = {"fp32": "avx512", "int8": "avx512vnni"}
    monkeypatch.setattr("planet.profiling.facts.build_info", lambda: info)
    for precision, isa in info.items():
        facts = compute_facts(Imagination(weights, zeros, precision=precision))
        assert (facts["precision"], facts["instruction_set"]) == (precision, isa)


def test_compute_facts_of_a_gpu_name_it_and_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    device, settings = torch.device("cuda:0"), ImaginationConfig().on("cuda")
    imagination: Any = SimpleNamespace(weights=SimpleNamespace(device=device), settings=settings)
    facts = compute_facts(imagination)
    assert (facts["device"], facts["instruction_set"]) == ("NVIDIA H200", "sm_90")
    assert (facts["precision"], facts["variant"]) == ("fp16", "portable")
    assert facts["clock"] == "host, device synchronised before and after each stage"


# ---- A run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(trained: Path) -> Run:
    """The toy task's agent after a few updates."""
    return open_run(trained)


class Recorder:
    """Ends every third step; notes the actions."""

    action_repeat = 1

    def __init__(self) -> None:
        self.resets, self.steps, self.actions = 0, 0, []

    def _frame(self) -> Any:
        return np.random.default_rng(self.steps).integers(0, 256, (8, 8, 3), np.uint8)

    def reset(self, *, seed: int) -> Any:
        self.resets += 1
        return self._frame(), {}

    def simulate(self, action: Any) -> Any:
        self.actions.append(action.copy())
        self.steps += 1
        return 0.0, False, self.steps % 3 == 0

    def observe(self) -> Any:
        return self._frame()


def test_planners_of_a_run_see_the_same_latents_and_the_first_one_acts(
    run: Run, calls: list[tuple[int, LatentState]]
) -> None:
    planners = {"a": small(), "b": small(iterations=1)}
    environment = Recorder()
    both = compare_run(run, environment, planners, steps=6)
    latents = {i: [latent for who, latent in calls if who == i] for i in (1, 2)}
    assert len(latents[1]) == 11
    for one, other in zip(latents[1], latents[2], strict=True):
        assert torch.equal(one.features, other.features)
    assert environment.resets == 4
    alone = Recorder()
    compare_run(run, alone, {"a": planners["a"]}, steps=6)
    assert np.array_equal(alone.actions, environment.actions)
    assert both.profiles["b"].iterations == (1,) * 6


def test_stages_of_a_run_sum_up_to_the_total(run: Run) -> None:
    both = compare_run(run, Recorder(), {"a": small(), "b": small()}, steps=4, rate_hz=25.0)
    for profile in both.profiles.values():
        names = [stage.name for stage in profile.stages]
        assert names == ["render", "filter", "plan", "environment", "total"]
        times = np.array([stage.milliseconds for stage in profile.stages])
        np.testing.assert_allclose(times[:-1].sum(axis=0), times[-1])
        assert profile.run is not None
        assert profile.run["task"] == "toy-reach"
    first, second = both.profiles.values()
    for shared in ("render", "environment"):
        assert first.stage(shared) == second.stage(shared)
