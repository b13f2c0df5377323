"""Timing: every policy at every step, on the same frames, by turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from planet.acting.agent import Agent
from planet.acting.baselines import ZeroPolicy
from planet.config import ActingConfig, CEMConfig, Config, ImaginationConfig, ModelConfig
from planet.experiments.run import Run, open_run
from planet.latent import LatentState
from planet.planning import Imagination
from planet.profiling import Session, measure_session, run_session, untrained_session
from planet.profiling.facts import compute_facts
from planet.profiling.measure import WARMUP
from planet.weights.random import random_weights

MODEL = ModelConfig(
    state_size=3, belief_size=5, hidden_size=7, reward_layers=1, reward_hidden=4,
    encoder_channels=(4,), decoder="mlp",
)  # fmt: skip
PLANNER = CEMConfig(horizon=2, candidates=10, iterations=2, topk=3)
REFERENCE = ImaginationConfig(backend="reference")


def small(**planner: Any) -> ActingConfig:
    """Settings of a small planner of the reference."""
    return ActingConfig(planner=replace(PLANNER, **planner), imagination=REFERENCE)


def untrained(*planners: ActingConfig, **sizes: int) -> Session:
    """Untrained agents of a small model that see small frames."""
    config = Config(model=MODEL).with_overrides({"environment": {"image_size": 8}})
    named = {f"{i}": planner for i, planner in enumerate(planners)}
    return untrained_session(named, config, **{"action_size": 2, **sizes})


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, LatentState]]]:
    """Records who acted, told by the planner's iterations, and the latent after it."""
    noted: list[tuple[int, LatentState]] = []
    original = Agent.act

    def act(agent: Agent, *arguments: Any, **named: Any) -> Any:
        action = original(agent, *arguments, **named)
        planner: Any = agent.planner
        assert agent.latent is not None
        noted.append((planner.iterations, agent.latent))
        return action

    monkeypatch.setattr(Agent, "act", act)
    yield noted


def test_act_of_an_untrained_agent_is_timed_with_its_stages() -> None:
    profile = measure_session(untrained(small(), batch_size=3), steps=8).first
    names = [stage.name for stage in profile.stages]
    assert names[0] == "act" and names[-1] == "around" and {"filter", "plan"} < set(names)
    assert all(len(stage.milliseconds) == 8 for stage in profile.stages)
    assert all(len(stage.cpu_milliseconds) == 8 for stage in profile.stages)
    outer = [profile.stage(name) for name in names[1:] if name in ("filter", "plan", "explore")]
    inside = sum(np.array(s.milliseconds) for s in [*outer, profile.stage("around")])
    np.testing.assert_allclose(inside, profile.act.milliseconds)
    assert (profile.plan["batch_size"], profile.plan["reward_hidden"]) == (3, [4])
    assert profile.plan["pixels"] == 8 and profile.run is None
    assert profile.iterations == (2,) * 8
    assert (profile.warmup, profile.steps, profile.lateness) == (WARMUP, 8, ())
    assert len(profile.preemptions) == 8 and profile.starts[0] == 0.0
    assert list(profile.starts) == sorted(profile.starts)


def test_an_agent_keeps_no_timeline_and_acts_as_without_one() -> None:
    session = untrained(small())
    measure_session(session, steps=1)
    (agent,) = session.policies.values()
    assert isinstance(agent, Agent) and agent.timeline is None


def test_policies_take_turns_and_each_acts_at_every_step(
    acted: list[tuple[int, LatentState]],
) -> None:
    session = untrained(*(small(iterations=i) for i in (1, 2, 3)))
    comparison = measure_session(session, steps=3)
    assert [i for i, _ in acted] == [1, 2, 3, 2, 3, 1, 3, 1, 2] * 2  # three steps warm up
    for profile in comparison.profiles.values():
        assert (profile.steps, profile.warmup) == (3, 3)
    assert comparison.conditions is not None
    assert comparison.conditions.after.seconds > comparison.conditions.before.seconds


def test_a_budget_is_among_the_sizes_and_cuts_the_iterations() -> None:
    both = measure_session(untrained(small(), small(iterations=50, budget_ms=1e-6)), steps=2)
    assert "budget_ms" not in both.profiles["0"].plan
    assert both.profiles["1"].plan["budget_ms"] == 1e-6
    assert both.profiles["1"].iterations == (1, 1)


def test_every_act_of_a_paced_measurement_waits_for_its_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    class Counting:
        def __init__(self, rate_hz: float) -> None:
            assert rate_hz == 50.0

        def wait(self) -> float:
            waits.append(0.001 * len(waits))
            return waits[-1]

    monkeypatch.setattr("planet.profiling.measure.Pace", Counting)
    both = measure_session(untrained(small(), small()), steps=2, rate_hz=50.0, paced=True)
    assert len(waits) == 8  # two steps warm up
    first, second = (profile.lateness for profile in both.profiles.values())
    assert first == pytest.approx((4.0, 7.0)) and second == pytest.approx((5.0, 6.0))


@pytest.mark.parametrize("name", ["batch_size", "action_size"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a value >= 1, got 0"):
        untrained(small(), **{name: 0})


def test_a_pace_or_steps_that_are_none_are_refused() -> None:
    session = untrained(small())
    with pytest.raises(ValueError, match="steps: expected a value >= 1, got 0"):
        measure_session(session, steps=0)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rate: expected a (value > 0|finite value), got"):
            measure_session(session, rate_hz=rate)
    with pytest.raises(ValueError, match="rate: expected control steps per second, which paced"):
        measure_session(session, paced=True)


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


def test_compute_facts_of_a_gpu_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    device, settings = torch.device("cuda:0"), ImaginationConfig().on("cuda")
    imagination: Any = SimpleNamespace(weights=SimpleNamespace(device=device), settings=settings)
    facts = compute_facts(imagination)
    assert (facts["device"], facts["instruction_set"]) == ("NVIDIA H200", "sm_90")
    assert (facts["precision"], facts["variant"]) == ("fp16", "portable")


# ---- A run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(trained: Path) -> Run:
    """The toy task's agent after a few updates."""
    return open_run(trained)


class Recorder:
    """Ends every third step; notes the actions."""

    action_repeat = 1
    observation_space = SimpleNamespace(low=0, high=255, shape=(8, 8, 3), dtype=np.uint8)

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
    run: Run, acted: list[tuple[int, LatentState]]
) -> None:
    planners = {"a": small(), "b": small(iterations=1)}
    environment = Recorder()
    both = measure_session(run_session(run, environment, planners), steps=6)
    latents = {i: [latent for who, latent in acted if who == i] for i in (1, 2)}
    assert len(latents[1]) == 11
    for one, other in zip(latents[1], latents[2], strict=True):
        assert torch.equal(one.features, other.features)
    assert environment.resets == 4
    alone = Recorder()
    measure_session(run_session(run, alone, {"a": planners["a"]}), steps=6)
    assert np.array_equal(alone.actions, environment.actions)
    assert both.profiles["b"].iterations == (1,) * 6


def test_render_and_environment_of_a_run_are_timed_once_and_are_no_part_of_act(run: Run) -> None:
    session = run_session(run, Recorder(), {"a": small(), "b": small()})
    both = measure_session(session, steps=4, rate_hz=25.0)
    first, second = both.profiles.values()
    for profile in (first, second):
        names = [stage.name for stage in profile.stages]
        assert names[0] == "act" and names[-3:] == ["around", "render", "environment"]
        assert profile.run is not None and profile.run["task"] == "toy-reach"
    for shared in ("render", "environment"):
        assert first.stage(shared) == second.stage(shared)
    whole = first.act.milliseconds
    inside = [first.stage(name) for name in ("filter", "plan", "explore", "around")]
    np.testing.assert_allclose(np.sum([stage.milliseconds for stage in inside], 0), whole)


def test_a_policy_that_does_not_plan_has_act_alone(run: Run) -> None:
    idle = replace(run, policy=ZeroPolicy(run.spec))
    profile = measure_session(run_session(idle, Recorder(), {"": small()}), steps=3).first
    assert [stage.name for stage in profile.stages] == ["act", "render", "environment"]
    assert (profile.iterations, profile.rounds, profile.plan) == ((), (), {})
