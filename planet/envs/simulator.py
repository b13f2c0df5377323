"""Scores action sequences on the true simulator, from where an environment stands."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planet.envs.batched_rewards import REWARDS, BatchedReward
from planet.envs.dmc import DMControlEnv
from planet.envs.simulation_state import read_state, restore_state
from planet.errors.checks import check_floating
from planet.errors.scalars import check_float, check_int
from planet.noise import Noise

_log = logging.getLogger("planet")
_TOGETHER = 128  # simulations in a batch: more of them leave the processor's caches

Array = NDArray[np.float64]


class Simulator:
    """Scores action sequences by simulating them; a `planet.protocols.Scorer` of one problem.

    A return is the sum of rewards that `environment.step` would give, to its end at most: control
    steps beyond the end of the episode earn nothing. The environment itself is only read. A
    sequence that is not finite, or that the physics cannot simulate, has the return NaN.

    Tasks of `planet.envs.batched_rewards.REWARDS` are simulated by `mujoco.batch`, in C and with
    rewards that equal the suite's bit for bit. Others go through the suite's own code, one
    candidate and control step after the other on one thread; a warning says so. On one thread that
    takes 1.3 times (walker) to 8 times (reacher) as long.

    Attributes:
      environment: what is simulated, from where it stands at each call, in the model that it has at
        the first call of an episode.
      batched: whether the task is one of the former.
      threads: that simulate; the returns do not depend on them.

    Args:
      environment: a task of the DM Control Suite, as `planet.envs.make` makes it.
      low: smallest action, from -1.
      high: largest action, to 1.
      threads: None: as many as PyTorch has, when they are first needed in an episode.

    Raises:
      TypeError: the environment is another one, or a number has a wrong type.
      ValueError: a number is out of range.
    """

    def __init__(
        self,
        environment: DMControlEnv,
        *,
        low: float = -1.0,
        high: float = 1.0,
        threads: int | None = None,
    ) -> None:
        self.environment = _checked(environment)
        if not -1.0 <= check_float("low", low) <= check_float("high", high) <= 1.0:
            raise ValueError(f"low: expected -1 <= low <= high <= 1, got {low} and high={high}")
        size = environment.suite.action_spec().shape[0]
        self._low, self._high = (torch.full((1, size), float(bound)) for bound in (low, high))
        self.threads = None if threads is None else check_int("threads", threads, 1)
        self.batched = environment.task in REWARDS
        self._simulation: _Simulation | None = None
        self._episode = 0
        if not self.batched:
            _log.warning(
                "%s has no batched rewards: its candidates are simulated one after the other",
                environment.task,
            )

    @property
    def batch_size(self) -> int:
        """B, which is 1."""
        return 1

    @property
    def low(self) -> Tensor:
        """Smallest actions [1, A]."""
        return self._low

    @property
    def high(self) -> Tensor:
        """Largest actions [1, A]."""
        return self._high

    def returns(self, actions: Tensor, noise: Noise | Tensor | None = None) -> Tensor:
        """Simulates sequences from where the environment stands.

        Args:
          actions: [H, 1, J, A], in [-1, 1], each held for the environment's action repeat.
          noise: not read: a simulation has none.

        Returns:
          float32 [1, J] on the CPU, in environment reward units.

        Raises:
          TypeError, ValueError: `actions` has another dtype or shape.
          RuntimeError: the environment is closed, or no episode was started.
        """
        values = self._values(actions)
        usable = np.asarray(np.isfinite(values).all(axis=(0, 2)))
        returns = np.full(len(usable), np.nan)
        if usable.any():
            returns[usable] = self._simulate(values[:, usable])
        returns[~np.isfinite(returns)] = np.nan
        return torch.from_numpy(returns.astype(np.float32))[None]

    def _simulate(self, values: Array) -> Array:
        """Returns the sums of rewards [J] of actions [H, J, A]."""
        environment = self.environment
        steps = min(len(values) * environment.action_repeat, environment.remaining_steps)
        state = read_state(environment.physics)
        controls = environment.scaled(np.clip(values, -1.0, 1.0))
        if self._simulation is None or self._episode != environment.episodes:
            threads = torch.get_num_threads() if self.threads is None else self.threads
            self._simulation = (
                _Batched(environment, threads) if self.batched else _OneByOne(environment)
            )
            self._episode = environment.episodes
        returns = np.empty(values.shape[1])
        for first in range(0, len(returns), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            returns[part] = self._simulation.returns(state, controls[:, part], steps)
        return returns

    def _values(self, actions: Tensor) -> Array:
        """Returns checked actions [H, J, A] in float64."""
        size = self._low.shape[1]
        shape = check_floating("actions", actions).shape
        if len(shape) != 4 or shape[1] != 1 or shape[3] != size:
            raise ValueError(f"actions: expected shape [H, 1, J, A={size}], got {list(shape)}")
        if not self.environment.episodes:
            raise RuntimeError("simulator: expected an episode; call the environment's reset first")
        values: Array = actions.detach()[:, 0].cpu().numpy().astype(np.float64)
        return values


class _Simulation(Protocol):
    """Simulates candidates of one episode, in which the model does not change."""

    def returns(self, state: Array, controls: Array, steps: int) -> Array:
        """Sums rewards [n] of `steps` control steps from a state, with controls [H, n, A]."""


class _Batched:
    """Simulates with `mujoco.batch`, whose model is a copy: goals of an episode are in it."""

    def __init__(self, environment: DMControlEnv, threads: int) -> None:
        from mujoco import mjtStage
        from mujoco.batch import Batch

        suite = environment.suite
        self._batch = Batch(suite.physics.model.ptr, _TOGETHER, threads, persistent=True)
        self._repeat, self._substeps = environment.action_repeat, _substeps(suite)
        self._stage = mjtStage.mjSTAGE_VEL  # what the suite reads rewards from
        self._reward: BatchedReward = REWARDS[environment.task]
        self._parts = self._reward.read(self._batch)
        self._control = self._batch.bind("ctrl")

    def returns(self, state: Array, controls: Array, steps: int) -> Array:
        from mujoco.batch import SimulationError

        batch, count = self._batch, controls.shape[1]
        chosen = np.arange(count)
        batch.state[:count], batch.warning[:count] = state, 0
        recorded = [np.empty((steps, count, *part.shape[1:])) for part in self._parts]
        failed = np.zeros(count, bool)
        for step in range(steps):
            if step % self._repeat == 0:
                self._control[:count] = controls[step // self._repeat]
            try:
                batch.step(chosen, self._substeps, self._stage)
            except SimulationError as error:  # the others were simulated
                failed[error.ids] = True
            for record, part in zip(recorded, self._parts, strict=True):
                record[step] = part[:count]
        failed |= (batch.warning[:count, :, 1] > 0).any(axis=-1)  # as the suite has it
        with np.errstate(all="ignore"):
            rewards = self._reward.compute(batch.model, *recorded)
        returns: Array = np.where(failed, np.nan, rewards.sum(axis=0))
        return returns


class _OneByOne:
    """Simulates with the suite's own task and a copy of its physics."""

    def __init__(self, environment: DMControlEnv) -> None:
        suite = environment.suite
        self._task, self._substeps = suite.task, _substeps(suite)
        self._repeat = environment.action_repeat
        self._physics = suite.physics.copy(share_model=True)
        self._physics.legacy_step = suite.physics.legacy_step

    def returns(self, state: Array, controls: Array, steps: int) -> Array:
        each = [self._return(state, controls[:, i], steps) for i in range(controls.shape[1])]
        return np.array(each)

    def _return(self, state: Array, controls: Array, steps: int) -> float:
        from dm_control.rl.control import PhysicsError

        task, physics, total = self._task, self._physics, 0.0
        restore_state(physics, state)
        for step in range(steps):
            task.before_step(controls[step // self._repeat], physics)
            try:
                physics.step(self._substeps)
            except PhysicsError:
                return float("nan")
            task.after_step(physics)
            total += float(task.get_reward(physics))
            if task.get_termination(physics) is not None:
                break
        return total


def _substeps(suite: Any) -> int:
    """Returns the physics' steps in a control step."""
    return int(round(suite.control_timestep() / suite.physics.timestep()))


def _checked(environment: object) -> DMControlEnv:
    if isinstance(environment, DMControlEnv):
        return environment
    inner = getattr(environment, "unwrapped", None)
    wrapped = inner is not environment and isinstance(inner, DMControlEnv)
    raise TypeError(
        "environment: expected a task of the DM Control Suite as planet.envs.make makes it, got "
        + type(environment).__name__
        + ("; environment.unwrapped is one" if wrapped else "")
    )
