"""Holds where the episodes of an agent stand between two control steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from planet.acting.control_step import StepInputs
from planet.acting.seen import Seen
from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.noise import mix_seed
from planet.protocols import Plan
from planet.weights.rollout_weights import RolloutWeights

Actions = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """Holds where B episodes stand; nobody writes its tensors.

    Attributes:
      latent: after the newest observation; zeros before the first.
      action: executed since then, float32 [B, A] on the host.
      plan: newest one; None before it.
      episode_seeds: int64 [B] on the host.
      steps: that an episode has had, likewise.
      past: plan of the newest `act`, which the next one may start from; None: there is none.
      taken: how many of its actions a row has taken, int64 [B] on the host; None: one.
    """

    latent: LatentState
    action: Tensor
    plan: Plan | None
    episode_seeds: Tensor
    steps: Tensor
    past: Plan | None = None
    taken: Tensor | None = None

    __repr__ = short_repr

    @staticmethod
    def first(weights: RolloutWeights, seeds: list[int]) -> Moment:
        """Returns where episodes of a model start; each has its seed."""
        batch = len(seeds)
        action = torch.zeros(batch, weights.action_size, dtype=torch.float32, device="cpu")
        steps = torch.zeros(batch, dtype=torch.int64, device="cpu")
        return Moment(zero_latent(weights, batch), action, None, _episode_seeds(seeds), steps)

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self.steps)

    def frozen(self) -> Moment:
        """Returns what no later step writes: itself."""
        return self

    def action_array(self) -> Actions:
        """Returns the action [B, A] as an array that is the caller's."""
        array: Actions = self.action.numpy().copy()
        return array

    def under(self, weights: RolloutWeights) -> Moment | None:
        """Returns the moment on the device of a snapshot; None if that has other sizes."""
        latent = self.latent
        mine = latent.belief.shape[-1], latent.state.shape[-1], self.action.shape[-1]
        if mine != (weights.belief_size, weights.state_size, weights.action_size):
            return None
        device = weights.device
        if latent.belief.device == device:
            return self
        past = None if self.past is None else self.past.to(device)
        return replace(self, latent=latent.to(device), past=past)

    def executing(self, action: Tensor) -> Moment:
        """Returns the moment with another action [B, A], which is kept."""
        return replace(self, action=action)

    def restarted(self, rows: list[int], seeds: list[int]) -> Moment:
        """Returns the moment with new episodes in some rows, from the zero latent."""
        latent, action = self.latent, self.action
        parts = [part.clone() for part in (latent.belief, latent.state, action, self.steps)]
        for part in parts:
            part[rows] = 0
        belief, state, action, steps = parts
        episode_seeds = self.episode_seeds.clone()
        episode_seeds[rows] = _episode_seeds(seeds)
        return replace(
            self, latent=LatentState(belief, state), action=action, episode_seeds=episode_seeds,
            steps=steps,
        )  # fmt: skip

    def begins(self, execute: int) -> Tensor:
        """Tells which rows plan at their next step, bool [B] on the host.

        They are those that have taken `execute` actions of their plan, or have none.
        """
        first = self.steps == 0
        if self.past is None:
            return torch.ones_like(first)
        taken = torch.ones_like(self.steps) if self.taken is None else self.taken
        return first | (taken >= execute)

    def inputs(
        self, seen: Seen | None, exploration_stddev: float = 0.0, execute: int = 1
    ) -> StepInputs:
        """Joins a checked observation with what else a step starts from.

        A row's plan goes on from the one before where `execute` of that one's actions were taken.
        """
        arrays = {} if seen is None else seen.arrays
        # Copies, as torch warns of what is read-only.
        observation = {name: torch.from_numpy(np.array(x, order="C")) for name, x in arrays.items()}
        stddev = torch.from_numpy(np.array(exploration_stddev, np.float32))
        cold = (self.steps == 0) | ~self.begins(execute)
        if self.past is None:
            cold = torch.ones_like(cold)
        return StepInputs(observation, self.step_seeds(), self.action, cold, stddev)

    def step_seeds(self) -> Tensor:
        """Returns the seed of every row's next step, int64 [B] on the host."""
        pairs = zip(self.episode_seeds.tolist(), self.steps.tolist(), strict=True)
        return _integers([mix_seed(seed, step) for seed, step in pairs])


def zero_latent(weights: RolloutWeights, batch: int) -> LatentState:
    """Returns the latent before an episode: belief [B, D], state [B, S]."""
    parts = (
        torch.zeros(batch, size, dtype=torch.float32, device=weights.device)
        for size in (weights.belief_size, weights.state_size)
    )
    return LatentState(*parts)


def _episode_seeds(seeds: list[int]) -> Tensor:
    return _integers([mix_seed(seed, 0) for seed in seeds])


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device="cpu")
