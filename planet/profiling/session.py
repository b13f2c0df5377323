"""Makes what is timed: policies, and the world that shows them something."""

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
from planet.protocols import Observation, Policy
from planet.systems.planet import make_agent, make_world_model
from planet.training.action_box import ActionBox

_FRAMES = 16  # that an untrained agent sees by turns


class World(Protocol):
    """Shows observations by name, and takes actions."""

    def restart(self) -> tuple[Observation, list[int]]:
        """Returns the first observation, or a batch of them, and a seed for each."""

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, bool, dict[str, Times]]:
        """Returns the next observation, whether the episode ended, and times of the world's own."""


@dataclass(frozen=True)
class Session:
    """Holds policies that are to be timed on the same frames.

    Attributes:
      policies: by name; the first one acts.
      world: shows the frames.
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
    """Makes untrained agents that act on random frames.

    Args:
      planners: settings by name; the first one is what the others are compared with.
      config: the sizes of model and frames, and the device.
      batch_size: B, frames per step.
      action_size: A, numbers per action.

    Raises:
      ValueError: a size is less than 1, or a planner refuses the sizes.
      ImportError: a backend is missing.
    """
    check_int("batch_size", batch_size, 1)
    check_int("action_size", action_size, 1)
    model, box = make_world_model(config, action_size), ActionBox.unit(action_size)
    agents = {
        name: make_agent(config.with_overrides(settings.overrides()), model, box)
        for name, settings in planners.items()
    }
    world = RandomFrames(config.environment.image_size, batch_size)
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


def first_frames(policy: Policy, world: World, count: int) -> list[Observation]:
    """Returns up to `count` observations of a policy from a start on, and resets it to there."""
    frame, seeds = world.restart()
    policy.reset(seeds)
    frames: list[Observation] = []
    ended = False
    while len(frames) < count and not ended:
        frames.append(frame)
        frame, ended, _ = world.step(policy.act(frame))
    policy.reset(seeds)
    return frames


class RandomFrames:
    """Shows random frames by turns, whatever is done.

    Args:
      image_size: pixels per side.
      batch_size: frames per step; a batch of one is a single frame.
    """

    def __init__(self, image_size: int, batch_size: int) -> None:
        shape = (_FRAMES, batch_size, image_size, image_size, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self._frames = frames[:, 0] if batch_size == 1 else frames
        self._batch_size, self._next = batch_size, 0

    def restart(self) -> tuple[Observation, list[int]]:
        """Returns the first frames."""
        self._next = 0
        return {"image": self._frames[0]}, row_seeds(0, self._batch_size).tolist()

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, bool, dict[str, Times]]:
        """Returns the next frames; no episode ends."""
        self._next = (self._next + 1) % _FRAMES
        return {"image": self._frames[self._next]}, False, {}


class Simulated:
    """Shows what an environment does.

    Args:
      environment: of `planet.envs.make`.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment

    def restart(self) -> tuple[Observation, list[int]]:
        """Starts the same episode again."""
        return named(self._environment.reset(seed=0)[0]), [0]

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, bool, dict[str, Times]]:
        """Simulates and renders."""
        outcome, environment = timed(lambda: self._environment.simulate(action))
        seen, render = timed(self._environment.observe)
        times = {"render": render, "environment": environment}
        return named(seen), outcome[1] or outcome[2], times


def named(seen: Any) -> Observation:
    """Returns an observation by name: an array alone is an image, or a vector."""
    return seen if isinstance(seen, Mapping) else {"image" if seen.ndim == 3 else "vector": seen}


def timed(call: Callable[[], Any]) -> tuple[Any, Times]:
    """Returns the result of a call, and its times."""
    cpu, begin = time.process_time_ns(), time.perf_counter_ns()
    result = call()
    end = time.perf_counter_ns()
    return result, ((end - begin) / 1e6, (time.process_time_ns() - cpu) / 1e6)
