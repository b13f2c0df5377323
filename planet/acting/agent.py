"""The agent: filter the belief, plan, explore."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from planet.acting.captured_step import CapturedStep
from planet.acting.control_step import ControlStep, StepInputs
from planet.acting.finite import check_finite_latent, refuse_step
from planet.acting.starts import check_rows, check_starts
from planet.config import ImaginationConfig
from planet.errors.checks import check_type
from planet.errors.scalars import check_not_negative
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import mix_seed
from planet.ops.bounds import Bound, CheckedBound, check_bounds, float32_values
from planet.ops.checks import check_latent
from planet.planning import Imagination, make_imagination
from planet.protocols import Observation, Plan, Planner
from planet.weights.filter_weights import FilterWeights

Array = npt.NDArray[np.float32]
Frames = npt.NDArray[np.uint8]


class Agent:
    """Acts from pixels by planning at every step; there is no policy network.

    It acts by a snapshot of the model, which `update_weights` takes. The belief, and the action
    that was executed (after noise and clipping), are kept inside.
    Randomness is counter-based: it derives from (the row's seed in `reset`, step), so the same seed
    and the same observations give the same actions.

    Attributes:
      planned: the newest plan, with the number of iterations that were run; None before it.

    Args:
      world_model: the model; its device at the snapshot is where the agent computes.
      planner: decides on actions.
      low: smallest action; see `planet.Imagination`.
      high: largest action.
      imagination: how the model is rolled out, see `planet.planning.make_imagination`; None: by
        the defaults.
      budget_ms: milliseconds that a plan may take; None: whatever it takes.
      exploration_stddev: of the Normal noise that `act(explore=True)` adds to planned actions, in
        units of half the width of the box of actions; 0 adds none.
      capture: run a step as one CUDA graph, which is captured at the first `act` and again after
        another batch size, another planner or a move of the snapshot; None: on CUDA with the fused
        backend. The actions are the same, bit for bit. On the CPU, True runs the same code on the
        same static buffers.

    Raises:
      TypeError, ValueError: `exploration_stddev` is not a number, negative or not finite, or what
        cannot be captured was asked for.
    """

    def __init__(
        self,
        world_model: WorldModel,
        planner: Planner,
        *,
        low: Bound = -1.0,
        high: Bound = 1.0,
        imagination: ImaginationConfig | None = None,
        budget_ms: float | None = None,
        exploration_stddev: float = 0.3,
        capture: bool | None = None,
    ) -> None:
        self.world_model = world_model
        self.planner = planner
        self.budget_ms = budget_ms
        self._low, self._high = map(CheckedBound, copy.deepcopy(check_bounds(low, high)))
        self._settings = ImaginationConfig() if imagination is None else imagination
        check_type("imagination", self._settings, ImaginationConfig)
        self._imagination: Imagination | None = None
        self.exploration_stddev = exploration_stddev
        self.capture = capture
        self._captured: CapturedStep | None = None
        self._latent: LatentState | None = None
        self.planned: Plan | None = None
        self._episode_seeds: list[int] = []
        self._steps: list[int] = []
        self._action = torch.empty(0)
        self.update_weights()
        self._captures()

    def __getstate__(self) -> dict[str, Any]:
        """Pickles and copies without captured buffers, which belong to this agent."""
        return vars(self) | {"_captured": None}

    @property
    def batch_size(self) -> int:
        """B, the number of environments acted in; 0 before the first `reset`."""
        return len(self._steps)

    @property
    def exploration_stddev(self) -> float:
        """Stddev of the noise on actions, in units of half the width of the box."""
        return self._exploration_stddev

    @exploration_stddev.setter
    def exploration_stddev(self, stddev: float) -> None:
        self._exploration_stddev = check_not_negative("exploration_stddev", stddev)

    @property
    def latent(self) -> LatentState | None:
        """Belief after the newest observation; None before the first `reset`.

        To change it, assign another one: belief [B, D] and state [B, S], finite.
        """
        return self._latent

    @latent.setter
    def latent(self, latent: LatentState) -> None:
        self._require_reset()
        check_latent(self._weights.rollout, latent, self.batch_size, None)
        check_finite_latent("latent", latent)
        self._latent = latent

    @property
    def settings(self) -> ImaginationConfig:
        """Settings of the imagination as they were given; `imagination` has what None became."""
        return self._settings

    @property
    def weights(self) -> FilterWeights:
        """The snapshot that it acts by."""
        return self._weights

    def update_weights(self) -> None:
        """Takes a new snapshot of the world model; call it after every training phase.

        Until then the agent filters and plans by the one before. Earlier ones stay as they are. A
        captured graph is kept, which reads a copy.

        Raises:
          ValueError: a parameter is NaN or infinite; the snapshot before stays in use.
        """
        self._weights = self.world_model.filter_weights()
        self._imagination = None
        if self._latent is not None:
            self._latent = self._latent.to(self._weights.device)

    @property
    def imagination(self) -> Imagination:
        """The snapshot's rollouts from the zero latent, made once for a snapshot and batch size."""
        batch = max(1, self.batch_size)
        if self._imagination is None or self._imagination.batch_size != batch:
            self._imagination = make_imagination(
                self._settings, self.planner, self._weights.rollout, self._zero_latent(batch),
                low=self._low, high=self._high,
            )  # fmt: skip
        return self._imagination

    def reset(
        self, seeds: Sequence[int] | Tensor | int = 0, rows: Sequence[int] | None = None
    ) -> None:
        """Starts episodes from a zero latent.

        Args:
          seeds: one per episode that starts: B of them, or one for each of `rows`. The same seed
            draws the same numbers again. An int s stands for `row_seeds(s, n)`, where n is the
            number of `rows`, or 1 without them.
          rows: restart only these rows; the others go on.

        Raises:
          RuntimeError: `rows` are to restart, and none was started.
          TypeError, ValueError: a seed is none, a row does not exist, or their numbers differ.
        """
        if rows is None:
            starts = check_starts(seeds, None)
            rows, shape = range(len(starts)), (len(starts), self._weights.rollout.action_size)
            self._latent = self._zero_latent(len(starts))
            self._action = torch.zeros(shape, dtype=torch.float32, device="cpu")
            self._episode_seeds, self._steps = [0] * len(starts), [0] * len(starts)
        else:
            latent, rows = self._require_reset(), check_rows(rows, self.batch_size)
            starts = check_starts(seeds, len(rows))
            parts = [part.clone() for part in (latent.belief, latent.state, self._action)]
            for part in parts:
                part[rows] = 0.0
            self._latent, self._action = LatentState(*parts[:2]), parts[2]
        for row, seed in zip(rows, starts, strict=True):
            self._episode_seeds[row], self._steps[row] = mix_seed(seed, 0), 0

    def act(self, observation: Observation | Frames, explore: bool = False) -> Array:
        """Filters the newest observation, plans, and returns the action to execute.

        Whatever is raised, by the planner or by Ctrl-C, leaves the agent as it was. Whether the
        step is finite comes to the host with the action, so nothing more is waited for.

        Args:
          observation: with an `image`, uint8 [h, w, 3] or [B, h, w, 3]; or that array itself, as an
            environment of pixels gives it.
          explore: add Normal noise of `exploration_stddev` half widths of the box to the plan,
            then clip.

        Returns:
          float32 [A], or [B, A], within the bounds.

        Raises:
          RuntimeError: `reset` was not called.
          TypeError, ValueError: the observation's dtype, shape or batch size is not what `reset`
            and the world model expect.
          ValueError: the belief, or the plan from it, is NaN or infinite; the message says which
            rows, and what was not finite before.
        """
        before, image = self._require_reset(), self._check_image(observation)
        outcome = self._step().act(before, self._inputs(image), explore)
        if not outcome.finite.all():
            refuse_step(before, outcome.latent, outcome.plan)
        self._latent, self.planned, self._action = outcome.latent, outcome.plan, outcome.action
        self._steps = [step + 1 for step in self._steps]
        out: Array = outcome.action.numpy().copy()
        return out if image.ndim == 4 else out[0]

    def filter(self, observation: Observation | Frames) -> LatentState:
        """Makes the first half of `act`: advances the latent by action and observation.

        Args:
          observation: as in `act`.

        Returns:
          The latent after the observation, belief [B, D] and state [B, S].

        Raises:
          RuntimeError, TypeError, ValueError: as `act`.
        """
        before, image = self._require_reset(), self._check_image(observation)
        latent = self._step().filter(before, self._inputs(image))
        if not latent.finite.all():
            refuse_step(before, latent, None)
        self._latent = latent
        return latent

    def plan(self) -> Plan:
        """Makes the second half of `act`: plans from the present latent, without exploration.

        Raises:
          RuntimeError: `reset` was not called.
          ValueError: the latent, or the plan from it, is NaN or infinite.
        """
        latent = self._require_reset()
        plan = self._step().plan(latent, self._step_seeds())
        if not (latent.finite & plan.finite).all():
            refuse_step(latent, latent, plan)
        self.planned = plan
        return plan

    def executed(self, action: npt.ArrayLike | Tensor) -> None:
        """Says which action was really executed after the last `act`, [A] or [B, A].

        Raises:
          RuntimeError: `reset` was not called.
          TypeError: `action` is not made of numbers.
          ValueError: the shape disagrees, or a value is not finite.
        """
        self._require_reset()
        values = float32_values("action", action).to("cpu", copy=True)
        if values.dim() == 1 and self.batch_size == 1:
            values = values[None]
        if values.shape != self._action.shape:
            expected, got = list(self._action.shape), list(values.shape)
            raise ValueError(f"action: expected shape {expected}, got {got}")
        if not torch.isfinite(values).all():
            raise ValueError("action: expected finite values, got NaN or infinite")
        self._action = values

    def _step(self) -> ControlStep | CapturedStep:
        """Returns the step's runner: the captured one is kept as long as it serves."""
        step = ControlStep(self._weights, self.imagination, self.planner, self.budget_ms)
        captured, self._captured = self._captured, None
        if captured is None or self.capture is False or not captured.take(step):
            captured = None  # gives its memory back before there is a new one
            if not self._captures():
                return step
            captured = CapturedStep(step)
        self._captured = captured
        return captured

    def _captures(self) -> bool:
        device, backend = self._weights.device.type, self._settings.backend
        capturable = device == "cpu" or (device == "cuda" and backend == "fused")
        if self.capture and not capturable:
            raise ValueError(
                "capture: expected None or False for "
                f"backend={backend!r} on {device}; only backend='fused' on cuda can be captured"
            )
        return device == "cuda" and capturable if self.capture is None else self.capture

    def _inputs(self, image: Frames) -> StepInputs:
        """Joins a checked image, [h, w, 3] or [B, h, w, 3], with what else the step starts from."""
        copy = np.array(image if image.ndim == 4 else image[None], order="C")
        observation = {"image": torch.from_numpy(copy)}  # which warns of what is read-only
        stddev = torch.from_numpy(np.array(self.exploration_stddev, np.float32))
        return StepInputs(observation, self._step_seeds(), self._action, stddev)

    def _zero_latent(self, batch: int) -> LatentState:
        model = self._weights.rollout
        parts = (
            torch.zeros(batch, size, dtype=torch.float32, device=model.device)
            for size in (model.belief_size, model.state_size)
        )
        return LatentState(*parts)

    def _step_seeds(self) -> Tensor:
        seeds = map(mix_seed, self._episode_seeds, self._steps)
        return torch.from_numpy(np.array([*seeds], np.int64))

    def _require_reset(self) -> LatentState:
        if self._latent is None:
            raise RuntimeError("agent: call reset() before the first observation")
        return self._latent

    def _check_image(self, observation: Observation | Frames) -> Frames:
        if isinstance(observation, Mapping):
            if "image" not in observation:
                raise ValueError(f"observation: expected an array 'image', got {[*observation]}")
            observation = observation["image"]
        array, size = np.asarray(observation), self._weights.image_size
        if array.dtype != np.uint8:
            raise TypeError(f"observation: expected dtype uint8, got {array.dtype}")
        if array.ndim not in (3, 4) or array.shape[-3:] != (size, size, 3):
            raise ValueError(
                f"observation: expected shape [{size}, {size}, 3] or [B, {size}, {size}, 3], "
                f"got {list(array.shape)}"
            )
        count = len(array) if array.ndim == 4 else 1
        if count != self.batch_size:
            raise ValueError(
                f"observation: expected batch size {self.batch_size} as in reset(), got {count}; "
                "call reset() with a seed per row to change it"
            )
        return array
