"""The joints of the house: structural protocols, and the values that cross them.

A class fits a protocol by having its methods; there are no base classes and no registration. Axis
order is time, batch, candidates, features, with the letters B problems or rows, H horizon, J
candidates, A action, D belief, S state, T chunk length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from planet.errors.short_repr import short_repr
from planet.latent import Gaussian, LatentState
from planet.noise import Noise

# ---- Values --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """Holds the outcome of a search.

    A plan from a latent or weights whose returns are NaN or infinite looks like any other: the
    action lies in its box. `finite` tells them apart, at the cost of a look at the tensors.

    Attributes:
      action: the one to execute, [B, A]: `mean[0]`, or the first one of the best candidate.
      mean: [H, B, A].
      stddev: [H, B, A].
      best_return: largest return of the last iteration, [B], in environment reward units.
      iterations: how many iterations were run.
      kept: the last iteration's best candidates by rank, [H, B, E, A]; E may be 0.
    """

    action: Tensor
    mean: Tensor
    stddev: Tensor
    best_return: Tensor
    iterations: int
    kept: Tensor

    __repr__ = short_repr

    @property
    def finite(self) -> Tensor:
        """Whether mean and best return are finite, per problem: bool [B], on the plan's device."""
        return self.mean.isfinite().all(dim=-1).all(dim=0) & self.best_return.isfinite()

    def to(self, device: torch.device | str) -> Plan:
        """Returns the plan on `device`."""
        parts = (part for part in vars(self).items() if isinstance(part[1], Tensor))
        return replace(self, **{name: tensor.to(device) for name, tensor in parts})


@dataclass(frozen=True)
class Filtered:
    """Holds a filtered chunk, time-major.

    Attributes:
      latent: posterior samples and their beliefs, [T, B, D] and [T, B, S].
      prior: p(s_t | h_t) over [T, B, S].
      posterior: q(s_t | h_t, o_t) over [T, B, S].
    """

    latent: LatentState
    prior: Gaussian
    posterior: Gaussian

    __repr__ = short_repr


@dataclass(frozen=True, eq=False)
class Chunk:
    """Holds B sequences of T consecutive entries, time-major, each from one episode.

    Attributes:
      observation: arrays [T, B, ...] by name; `image` is uint8 [T, B, h, w, 3 * frames], every
        other one float32 [T, B, V].
      action: float32 [T, B, A]; action[t] led to observation[t].
      reward: float32 [T, B]; received together with observation[t].
      terminated: bool [T, B]; whether the task ended itself at observation[t].
    """

    observation: Mapping[str, Tensor]
    action: Tensor
    reward: Tensor
    terminated: Tensor

    __repr__ = short_repr

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Chunk:
        """Returns the chunk on `device`; see `torch.Tensor.to`."""
        there = partial(Tensor.to, device=device, non_blocking=non_blocking)
        observation = {name: there(array) for name, array in self.observation.items()}
        others = there(self.action), there(self.reward), there(self.terminated)
        return Chunk(observation, *others)


Shapes = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]
"""Dtype and shape of every array that an observation has, by name.

At most one is a picture, `image`, uint8 [n, n, C] with C = 3 for each of the frames that it holds;
all others are float32 [V].
"""


def image_spec(size: int, frames: int = 1) -> Shapes:
    """Returns the shapes of an observation that is an image alone, [size, size, 3 frames]."""
    return {"image": (np.uint8, (size, size, 3 * frames))}


@dataclass(frozen=True, eq=False)
class Spec:
    """Says what an environment shows and takes.

    Attributes:
      observation: what it shows.
      low: smallest actions, float32 [A].
      high: largest actions, float32 [A].
    """

    observation: Shapes
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    __repr__ = short_repr


# ---- Models and planners -------------------------------------------------------------------------


class Dynamics(Protocol):
    """Makes imagined steps: a world model, or a snapshot of one in some arithmetic."""

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Advances a latent by an action.

        Args:
          latent: belief [..., D] and state [..., S] at t-1; D is 0 for a purely stochastic model.
          action: [..., A], the one that leads from t-1 to t.

        Returns:
          Belief [..., D] at t, and the prior over the state [..., S] at t.
        """

    def reward(self, latent: LatentState) -> Tensor:
        """Predicts mean rewards [...] of latents [..., D], [..., S], per model step."""


class ScoredDynamics(Dynamics, Protocol):
    """Makes the imagined steps that returns are summed of: a snapshot in some arithmetic."""

    def outcome(self, latent: LatentState) -> tuple[Tensor, Tensor | None]:
        """Predicts `reward` [...], and the logits of going on [...] of a model that has them."""


class Scorer(Protocol):
    """Scores action sequences from B fixed starts."""

    @property
    def batch_size(self) -> int:
        """B."""

    @property
    def low(self) -> Tensor:
        """Smallest actions [B, A]; low = high fixes an action."""

    @property
    def high(self) -> Tensor:
        """Largest actions [B, A]."""

    def returns(self, actions: Tensor, noise: Noise | Tensor | None) -> Tensor:
        """Scores sequences.

        Args:
          actions: [H, B, J, A], within the bounds.
          noise: `Noise`, or standard normals [H, B, J, S], or None; a scorer without noise
            ignores it.

        Returns:
          [B, J], in environment reward units; NaN ranks last.
        """


class Planner(Protocol):
    """Searches action sequences; knows no model, environment or agent, and never changes."""

    @property
    def horizon(self) -> int:
        """H, model steps."""

    def plan(
        self,
        scorer: Any,
        /,
        seed: int | Tensor = 0,
        *,
        warm: Plan | None = None,
        budget_ms: float | None = None,
    ) -> Plan:
        """Plans one action sequence per problem.

        Args:
          scorer: a `Scorer`; a planner may ask for a narrower kind.
          seed: int, or int64 tensor [B].
          warm: an earlier plan, shifted to now.
          budget_ms: milliseconds that the plan may take.
        """


# ---- Acting and learning -------------------------------------------------------------------------

Observation = Mapping[str, npt.NDArray[Any]]
"""Arrays by name: [...] of one environment, or [B, ...]."""


class Policy(Protocol):
    """Acts in B environments."""

    def reset(self, seeds: Sequence[int] | int = 0, rows: Sequence[int] | None = None) -> None:
        """Starts episodes.

        Args:
          seeds: one per row that starts; an int starts a single row.
          rows: restart only these, the others go on; None starts all anew.
        """

    def act(self, observation: Observation, explore: bool = False) -> npt.NDArray[np.float32]:
        """Returns the action to execute, float32 [A], or [B, A] for observations of B rows.

        Args:
          observation: the newest arrays.
          explore: whether to act as while collecting.
        """

    def executed(self, action: npt.NDArray[np.float32]) -> None:
        """Says which action was really executed after the last `act`, [A] or [B, A]."""


Empty = Callable[[tuple[int, ...], torch.dtype], Tensor]
"""Makes a tensor on the host, whose values are to be written."""


class Pieces(Protocol):
    """Says what a chunk is made of; equal ones hold the same numbers."""

    def read(self, empty: Empty = ...) -> Chunk:
        """Reads the chunk into tensors of `empty`'s; may run in another thread."""


class Replay(Protocol):
    """Draws pieces of experience."""

    def sample(self, batch_size: int, length: int, generator: np.random.Generator) -> Chunk:
        """Draws `batch_size` sequences of `length` entries; the generator alone decides which."""

    def draw(
        self, batch_size: int, length: int, generator: np.random.Generator, *, ahead: bool = False
    ) -> Pieces:
        """Chooses what `sample` reads.

        Args:
          batch_size: how many sequences.
          length: entries of each.
          generator: decides which.
          ahead: only tell what such a draw will choose if nothing is added until then.
        """


class NonFiniteError(RuntimeError):
    """Says that an update was not finite; it changed nothing, and neither did any after it.

    Attributes:
      term: what was not finite: a metric, or "gradient of <parameter>".
      update: its number, counted from 0.
      batch: what it learned from, on the CPU.
    """

    def __init__(self, term: str, update: int, batch: Chunk, where: str = "") -> None:
        super().__init__(f"{term} is not finite; training stopped before update {update}{where}")
        self.term, self.update, self.batch = term, update, batch


class Learner(Protocol):
    """Turns replay into better policies; the one thing that a system must bring.

    Attributes:
      updates: made so far.
    """

    updates: int

    def update(self, replay: Replay) -> Mapping[str, Tensor]:
        """Makes one update; its random draws derive from (seed of the run, `updates`).

        One that is not finite changes nothing, and neither does any after it, until `state_dict`
        names it.

        Returns:
          Metrics by name, 0-d tensors, on the device where they are computed, the same names every
          time; `total` is the loss, where there is one.
        """

    def policy(self, episodes: int) -> Policy:
        """Returns what acts once so many episodes are collected, valid until the next call.

        Args:
          episodes: how many; exploration, as `act(explore=True)` has it, is that of the next one.
            0 also stands for data that do not depend on what was learned.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint must keep, `updates` among it; may wait for the device.

        Raises:
          NonFiniteError: an update was not finite; `updates` counts those before it again.
        """

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned; refuses with ValueError what does not fit."""
