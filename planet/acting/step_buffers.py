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
        plan = step.planner.horizon, batch, model.action_size
        self._belief = _zeros(batch, model.belief_size)
        self._state = _zeros(batch, model.state_size)
        self.action, self.mean, self._stddev = _zeros(*plan[1:]), _zeros(*plan), _zeros(*plan)
        self._best_return, self.iterations = _zeros(batch), 0
        finite = torch.zeros(batch, dtype=torch.uint8, device="cpu")
        self.episode_seeds = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.steps = torch.zeros_like(self.episode_seeds)
        self.given = self.episode_seeds, self.steps, self.action, self._belief, self._state
        self.written = (
            self._belief, self._state, self.mean, self._stddev, self._best_return, self.action,
            finite,
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
            mean, stddev, best = self.mean.clone(), self._stddev.clone(), self._best_return.clone()
            none = mean.new_empty(*mean.shape[:2], 0, mean.shape[2])
            self._plan = Plan(mean[0].clone(), mean, stddev, best, self.iterations, none)
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

    def copy(self, moment: Moment | StepBuffers) -> None:
        """Writes what a step reads of another moment."""
        belief, state = moment.latent.belief, moment.latent.state
        parts = moment.episode_seeds, moment.steps, moment.action, belief, state
        for mine, other in zip(self.given, parts, strict=True):
            mine.copy_(other)

    def follow(self, before: StepBuffers) -> None:
        """Writes seeds and counts of steps after one more step, and gives its copies away."""
        self._latent = self._plan = None
        np.copyto(self._seeds_array, before._seeds_array)
        np.add(before._steps_array, 1, out=self._steps_array)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float32, device="cpu")
