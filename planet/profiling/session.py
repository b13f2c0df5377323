"""Makes what is timed: policies, and the world that they observe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from planet.acting.agent import Agent
from planet.config import ActingConfig, Config
from planet.errors.scalars import check_int
from planet.experiments.run import Run
from planet.noise import row_seeds
from planet.profiling.facts import Facts, policy_facts, run_facts
from planet.profiling.stages import Times
from planet.protocols import Observation, Policy, Shapes
from planet.systems.planet import make_agent, make_world_model
from planet.training.action_box import ActionBox
from planet.training.named_spaces import named_spaces

_OBSERVATIONS = 16  # that an untrained agent sees by turns


class World(Protocol):
    """Shows observations, and takes actions."""

    def restart(self) -> tuple[Observation, list[int]]:
        """Returns the first observation, of one row or of a batch, and a seed for each row."""

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, bool, dict[str, Times]]:
        """Returns the next observation, whether the episode ended, and what it took by stage."""


@dataclass(frozen=True)
class Session:
    """Holds policies that are to be timed on the same observations.

    Attributes:
      policies: by name; the first one acts.
      world: shows the observations.
      facts: sizes of the plan, and what computes, by name of the policy.
      run: facts of the run that the policies are of.
    """

    policies: Mapping[str, Policy]
    world: World
    facts: Mapping[str, Facts]
    run: dict[str, Any] | None = None


def untrained_session(
    planners: Mapping[str, ActingConfig], config: Config, batch_size: int = 1, action_size: int = 6
) -> Session:
    """Makes untrained agents that act on random images.

    Args:
      planners: settings by name; the first one is what the others are compared with.
      config: the sizes of model and frames, and the device.
      batch_size: B, images per step.
      action_size: A, numbers per action.

    Raises:
      ValueError: a size is less than 1, or a planner refuses the sizes.
      ImportError: a backend is missing.
    """
    check_int("batch_size", batch_size, 1)
    check_int("action_size", action_size, 1)
    if config.environment.observe != "pixels":
        raise ValueError(
            "environment.observe: expected 'pixels' for an untrained agent, got "
            f"{config.environment.observe!r}, whose sizes a run knows; profile a run"
        )
    model, box = make_world_model(config, action_size), ActionBox.unit(action_size)
    agents = {
        name: make_agent(config.with_overrides(settings.overrides()), model, box)
        for name, settings in planners.items()
    }
    world = RandomObservations(model.observation, batch_size)
    return _session(agents, world, batch_size)


def run_session(run: Run, environment: Any, planners: Mapping[str, ActingConfig]) -> Session:
    """Makes agents of a run that act in its environment.

    Every planner has an agent of its own. A policy that does not plan is timed alone.

    Args:
      run: the policy.
      environment: of `planet.envs.make`: its `simulate` and `observe` are timed apart.
      planners: settings by name; the first one acts, and the others are compared with it.

    Raises:
      ValueError: a planner refuses the sizes.
      ImportError: a backend is missing.
    """
    world = Simulated(environment)
    facts = run_facts(run, environment.action_repeat)
    if not isinstance(run.policy, Agent):
        return _session({next(iter(planners)): run.policy}, world, 1, facts)
    model = run.agent.world_model
    agents = {
        name: make_agent(run.config.with_overrides(settings.overrides()), model, run.actions)
        for name, settings in planners.items()
    }
    return _session(agents, world, 1, facts)


def _session(
    policies: Mapping[str, Policy],
    world: World,
    batch_size: int,
    run: dict[str, Any] | None = None,
) -> Session:
    """Lets the agents find what is not served, before anything is timed."""
    for policy in policies.values():
        if isinstance(policy, Agent):
            policy.planner.plan(policy.imagination, budget_ms=policy.budget_ms)
    facts = {name: policy_facts(policy, batch_size) for name, policy in policies.items()}
    return Session(policies, world, facts, run)


def first_observations(policy: Policy, world: World, count: int) -> list[Observation]:
    """Returns up to `count` observations from a start on, and resets the policy to there."""
    seen, seeds = world.restart()
    policy.reset(seeds)
    observations: list[Observation] = []
    ended = False
    while len(observations) < count and not ended:
        observations.append(seen)
        seen, ended, _ = world.step(policy.act(seen))
    policy.reset(seeds)
    return observations


class RandomObservations:
    """Shows random observations by turns, whatever is done.

    Args:
      shapes: of the arrays.
      batch_size: rows of a batch; of one, a row is shown alone.
    """

    def __init__(self, shapes: Shapes, batch_size: int) -> None:
        random = np.random.default_rng(0)
        self._observations = [
            {name: _random(random, dtype, (batch_size, *shape)) for name, (dtype, shape) in
             shapes.items()}
            for _ in range(_OBSERVATIONS)
        ]  # fmt: skip
        self._batch_size, self._next = batch_size, 0

    def restart(self) -> tuple[Observation, list[int]]:
        """Returns the first observation."""
        self._next = 0
        return self._observation(), row_seeds(0, self._batch_size).tolist()

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, bool, dict[str, Times]]:
        """Returns the next observation; no episode ends."""
        self._next = (self._next + 1) % _OBSERVATIONS
        return self._observation(), False, {}

    def _observation(self) -> Observation:
        rows = self._observations[self._next]
        return rows if self._batch_size > 1 else {name: x[0] for name, x in rows.items()}


class Simulated:
    """Shows the observations of an environment.

    Args:
      environment: of `planet.envs.make`.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._names = [*named_spaces(environment.observation_space)]

    def restart(self) -> tuple[Observation, list[int]]:
        """Starts the same episode again."""
        return self._named(self._environment.reset(seed=0)[0]), [0]

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, bool, dict[str, Times]]:
        """Simulates and renders."""
        outcome, environment = timed(lambda: self._environment.simulate(action))
        seen, render = timed(self._environment.observe)
        times = {"render": render, "environment": environment}
        return self._named(seen), outcome[1] or outcome[2], times

    def _named(self, seen: Any) -> Observation:
        return seen if isinstance(seen, Mapping) else dict.fromkeys(self._names, seen)


def _random(
    random: np.random.Generator, dtype: npt.DTypeLike, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    if np.dtype(dtype) == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    return random.standard_normal(shape, np.float32)


def timed(call: Callable[[], Any]) -> tuple[Any, Times]:
    """Returns the result of a call, and its times."""
    cpu, begin = time.process_time_ns(), time.perf_counter_ns()
    result = call()
    end = time.perf_counter_ns()
    return result, ((end - begin) / 1e6, (time.process_time_ns() - cpu) / 1e6)
