"""Diagnosis: predicted, true and possible returns of an agent's plans, and what follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import make_model
from torch import Tensor

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")
from planet.acting.agent import Agent
from planet.acting.planning_policy import PlanningPolicy
from planet.config import ImaginationConfig
from planet.envs.toy import ToyReachEnv
from planet.experiments.diagnose import (
    Diagnosis,
    EpisodeReturns,
    StepReturns,
    WatchedAgent,
    diagnose,
)
from planet.planning import CEMPlanner, ICEMPlanner, ShootingPlanner
from planet.protocols import Planner

STEPS = 5


class Toy(ToyReachEnv):
    """Says how long an episode goes on."""

    @property
    def remaining_steps(self) -> int:
        return self.control_steps - self._steps


class ToySimulator:
    """Scores sequences by the toy's equations."""

    batch_size = 1
    low, high = -torch.ones(1, 2), torch.ones(1, 2)

    def __init__(self, environment: Toy) -> None:
        self.environment = environment

    def returns(self, actions: Tensor, noise: Any) -> Tensor:
        environment = self.environment
        point = np.repeat(environment._point[None], actions.shape[2], axis=0)
        total = np.zeros(len(point))
        for action in actions[:, 0].double().numpy():
            point = np.clip(point + 0.1 * action, 0.12, 0.88)
            distance = np.linalg.norm(point - environment._target, axis=1)
            total += 1.0 / (1.0 + (distance / 0.2) ** 2)
        return torch.from_numpy(total.astype(np.float32))[None]


def watched(
    planner: Planner,
    every: int = 1,
    repeat: int = 1,
    execute: int = 1,
    control_steps: int = STEPS,
    **imagination: Any,
) -> tuple[WatchedAgent, Toy]:
    environment = Toy(image_size=8, control_steps=control_steps, action_repeat=repeat)
    how = ImaginationConfig(backend="reference", **imagination)
    agent = Agent(make_model(), planner, imagination=how, exploration_stddev=0.0, execute=execute)
    simulator: Any = ToySimulator(environment)
    return WatchedAgent(agent, simulator, every), environment


def diagnosed(planner: Planner, every: int = 1, **imagination: Any) -> Diagnosis:
    seen, environment = watched(planner, every, **imagination)
    ceiling = PlanningPolicy(ToySimulator(environment), planner)
    return diagnose(seen, ceiling, environment, episodes=2, seed=3)


def test_plans_of_one_step_return_what_the_episode_does() -> None:
    for planner in (CEMPlanner(1, 8, 2, 3), ICEMPlanner(1, 12, 2, 3, keep=2)):
        for episode in diagnosed(planner).episodes:
            assert [step.step for step in episode.steps] == [*range(STEPS)]
            total = sum(step.true for step in episode.steps)
            assert episode.realised == pytest.approx(total, rel=1e-5)


def test_a_model_without_noise_predicts_what_the_planner_saw() -> None:
    planner = ShootingPlanner(2, 16)
    seen, environment = watched(planner, state_noise=False)
    observation, _ = environment.reset(seed=1)
    seen.reset(5)
    seen.act({"image": observation})
    (step,) = seen.episodes[0]
    assert seen.agent.planned is not None
    assert step.predicted == pytest.approx(seen.agent.planned.best_return.item(), rel=1e-4)


def test_plans_beyond_the_end_of_the_episode_are_left_out() -> None:
    found = diagnosed(CEMPlanner(3, 8, 1, 3), every=2)
    assert [[step.step for step in e.steps] for e in found.episodes] == [[0, 2], [0, 2]]


def test_planning_on_the_simulator_is_possible_better() -> None:
    """The model is random, the toy is easy, and the seeds are fixed."""
    scores = diagnosed(ShootingPlanner(2, 64)).scores
    assert scores["episode, what the model costs"].mean > 0
    found, mine = scores["plan found on the simulator"], scores["plan, on the simulator"]
    assert all(a > b for a, b in zip(found.returns, mine.returns, strict=True))


def test_looking_changes_nothing() -> None:
    planner = ICEMPlanner(2, 12, 2, 3, keep=2)
    often, seldom = diagnosed(planner), diagnosed(planner, every=4)
    assert [e.realised for e in often.episodes] == [e.realised for e in seldom.episodes]
    assert [e.steps[::4] for e in often.episodes] == [e.steps for e in seldom.episodes]


def test_plans_that_are_executed_whole_return_what_the_episode_does() -> None:
    planner = ICEMPlanner(2, 12, 2, 3, keep=2)
    seen, environment = watched(planner, every=2, execute=2, control_steps=6)
    ceiling = PlanningPolicy(ToySimulator(environment), planner, execute=2)
    for episode in diagnose(seen, ceiling, environment, episodes=2, seed=3).episodes:
        assert [step.step for step in episode.steps] == [0, 2, 4]
        total = sum(step.true for step in episode.steps)
        assert episode.realised == pytest.approx(total, rel=1e-5)
    with pytest.raises(ValueError, match="every: expected a multiple of execute=2, .* got 3"):
        watched(planner, every=3, execute=2)


@pytest.mark.parametrize(
    ("realised", "simulator", "verdict"),
    [
        ((100.0, 110.0, 90.0), (600.0, 640.0, 610.0), "the model: "),
        ((600.0, 610.0, 605.0), (610.0, 612.0, 608.0), "the planner: "),
        ((100.0, 700.0, 300.0), (600.0, 640.0, 610.0), "undecided: "),
        ((100.0,), (600.0,), "undecided from one episode: "),
    ],
)
def test_the_verdict_is_by_two_standard_errors(
    realised: tuple[float, ...], simulator: tuple[float, ...], verdict: str, tmp_path: Path
) -> None:
    steps = (StepReturns(0, 9.0, 5.0, 12.0), StepReturns(25, 11.0, 5.0, 12.0))
    pairs = zip(realised, simulator, strict=True)
    found = Diagnosis(tuple(EpisodeReturns(a, b, steps) for a, b in pairs))
    assert found.verdict.startswith(verdict)
    assert found.scores["plan, exploitation gap"].mean == 5.0
    assert f"to be improved: {verdict}" in found.table()
    found.write(tmp_path / "diagnosis.json", seed=4)
    content = json.loads((tmp_path / "diagnosis.json").read_text())
    assert (content["verdict"], content["seed"]) == (found.verdict, 4)
    assert content["episodes"][0]["steps"][1]["step"] == 25


@pytest.mark.parametrize(
    ("horizon", "every", "repeat", "message"),
    [
        (2, 0, 1, "every: expected a value >= 1, got 0"),
        (STEPS + 1, 1, 1, f"horizon: expected at most the {STEPS} whole steps of an episode"),
        (3, 1, 2, "horizon: expected at most the 2 whole steps of an episode, got 3"),
    ],
)
def test_what_could_not_be_looked_at_is_refused(
    horizon: int, every: int, repeat: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        watched(CEMPlanner(horizon, 8, 1, 3), every, repeat)
