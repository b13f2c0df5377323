"""Holds a moment of an agent's episodes in memory that is written step by step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from planet.acting.control_step import ControlStep
from planet.acting.moment import Actions, Moment
from planet.latent import LatentState
from planet.protocols import Plan


class StepBuffers:
    """Holds what `Moment` has, until a later step writes it.

    Latent and plan are copies, made when they are asked for.

    Attributes:
      action: executed since the newest observation, float32 [B, A].
      episode_seeds: int64 [B].
      steps: that an episode has had, likewise.
      mean: of the plan, [H, B, A].
      iterations: of the plan, how many were run.
      given: tensors that a step reads, in the order of the op.
      written: tensors that a step writes, likewise.

    Args:
      step: has the sizes.
    """

    def __init__(self, step: ControlStep) -> None:
        batch, model = step.imagination.batch_size, step.weights.rollout
        plan = horizon, batch, size = step.planner.horizon, batch, model.action_size
        assert step.search is not None
        self._belief = _zeros(batch, model.belief_size)
        self._state = _zeros(batch, model.state_size)
        self.action, self._planned = _zeros(batch, size), _zeros(batch, size)
        self.mean, self._stddev = _zeros(*plan), _zeros(*plan)
        self._kept = _zeros(horizon, batch, step.search.keep, size)
        self._best_return, self.iterations = _zeros(batch), 0
        finite = torch.zeros(batch, dtype=torch.uint8, device="cpu")
        self.episode_seeds = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.steps = torch.zeros_like(self.episode_seeds)
        self.given = (
            self.episode_seeds, self.steps, self.action, self._belief, self._state, self.mean,
            self._kept,
        )  # fmt: skip
        self.written = (
            self._belief, self._state, self.mean, self._stddev, self._best_return, self._kept,
            self._planned, self.action, finite,
        )  # fmt: skip
        # Views of the same memory, which numpy writes and copies faster than torch does.
        self._seeds_array, self._steps_array = self.episode_seeds.numpy(), self.steps.numpy()
        self._finite_array = finite.numpy()
        self._action_array: Actions = self.action.numpy()
        self._latent: LatentState | None = None
        self._plan: Plan | None = None

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self._steps_array)

    @property
    def finite(self) -> bool:
        """Whether latent, plan and action are finite in all rows."""
        return bool(self._finite_array.all())

    @property
    def latent(self) -> LatentState:
        """Copy of belief [B, D] and state [B, S]."""
        if self._latent is None:
            self._latent = LatentState(self._belief.clone(), self._state.clone())
        return self._latent

    @property
    def plan(self) -> Plan:
        """Copy of the plan."""
        if self._plan is None:
            parts = self._planned, self.mean, self._stddev, self._best_return, self._kept
            action, mean, stddev, best, kept = (part.clone() for part in parts)
            self._plan = Plan(action, mean, stddev, best, self.iterations, kept)
        return self._plan

    @property
    def past(self) -> Plan:
        """Copy of the plan, which is of the newest `act`."""
        return self.plan

    def frozen(self) -> Moment:
        """Returns a copy that no later step writes."""
        seeds, steps = self.episode_seeds.clone(), self.steps.clone()
        return Moment(self.latent, self.action.clone(), self.plan, seeds, steps, self.past)

    def action_array(self) -> Actions:
        """Returns the action [B, A] as an array that no later step writes."""
        array: Actions = self._action_array.copy()
        return array

    def executing(self, action: Tensor) -> StepBuffers:
        """Writes another action [B, A]; returns itself."""
        self.action.copy_(action)
        return self

    def copy(self, moment: Moment | StepBuffers, cold: Plan) -> None:
        """Writes what a step reads of another moment; without a past that is a cold plan."""
        latent, past = moment.latent, cold if moment.past is None else moment.past
        parts = (
            moment.episode_seeds, moment.steps, moment.action, latent.belief, latent.state,
            past.mean, past.kept,
        )  # fmt: skip
        for mine, other in zip(self.given, parts, strict=True):
            mine.copy_(other)

    def follow(self, before: StepBuffers) -> None:
        """Writes seeds and counts of steps after one more step, and gives its copies away."""
        self._latent = self._plan = None
        np.copyto(self._seeds_array, before._seeds_array)
        np.add(before._steps_array, 1, out=self._steps_array)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float32, device="cpu")
