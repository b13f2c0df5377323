"""The agent: filter the belief, plan, explore."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt
from torch import Tensor

from planet.acting.blocks import take_step
from planet.acting.captured_step import CapturedStep, captures
from planet.acting.compiled_step import CompiledStep, is_compiled
from planet.acting.control_step import ControlStep
from planet.acting.executed import executed_action
from planet.acting.finite import check_finite_latent, refuse_step
from planet.acting.moment import Actions, Moment, zero_latent
from planet.acting.seen import Array, Seen, check_observation
from planet.acting.starts import check_rows, check_starts
from planet.acting.step_buffers import StepBuffers
from planet.acting.timeline import Timeline
from planet.config import ImaginationConfig
from planet.errors.checks import check_type
from planet.errors.scalars import check_not_negative
from planet.latent import LatentState
from planet.models import WorldModel
from planet.models.model_filter import AgentWeights
from planet.ops.bounds import Bound, CheckedBound, check_bounds
from planet.ops.checks import check_latent
from planet.planning import Imagination, executable, make_imagination
from planet.protocols import Observation, Plan, Planner


class Agent:
    """Acts from what it observes by planning, at every step or every few; there is no policy net.

    It acts by a snapshot of the model, which `update_weights` takes. The belief, and the action
    that was executed (after noise and clipping), are kept inside.
    Randomness is counter-based: it derives from (the row's seed in `reset`, step), so the same seed
    and the same observations give the same actions.

    Attributes:
      timeline: collects when the stages of the newest `act`, `filter` or `plan` began and ended;
        None: nothing does.

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
        same static buffers; else a step of the fused backend is one compiled call.
      execute: actions of a plan that are executed before the next one; 1: model-predictive control.
        With more, every observation is filtered all the same; see `planet.acting.blocks`.

    Raises:
      TypeError, ValueError: `exploration_stddev` is not a number, negative or not finite, what
        cannot be captured was asked for, or plans have not so many actions to execute.
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
        execute: int = 1,
    ) -> None:
        self.world_model = world_model
        self._execute = executable(planner, execute)
        self._planner = planner
        self.budget_ms = budget_ms
        self._low, self._high = map(CheckedBound, copy.deepcopy(check_bounds(low, high)))
        self._settings = ImaginationConfig() if imagination is None else imagination
        check_type("imagination", self._settings, ImaginationConfig)
        self._imagination: Imagination | None = None
        self.exploration_stddev = exploration_stddev
        self.capture = capture
        self.timeline: Timeline | None = None
        self._captured: CapturedStep | None = None
        self._compiled: CompiledStep | None = None
        self._moment: Moment | StepBuffers | None = None
        self.update_weights()
        self._captures()

    def __getstate__(self) -> dict[str, Any]:
        """Pickles and copies without buffers, which belong to this agent."""
        moment = None if self._moment is None else self._moment.frozen()
        return vars(self) | {"_captured": None, "_compiled": None, "_moment": moment}

    @property
    def batch_size(self) -> int:
        """B, the number of environments acted in; 0 before the first `reset`."""
        return 0 if self._moment is None else self._moment.batch_size

    @property
    def planner(self) -> Planner:
        """Decides on actions; another one plans at the next step, from no plan of this one."""
        return self._planner

    @planner.setter
    def planner(self, planner: Planner) -> None:
        executable(planner, self._execute)
        if planner is not self._planner and self._moment is not None:
            self._moment = replace(self._moment.frozen(), past=None)
        self._planner = planner

    @property
    def execute(self) -> int:
        """Actions of a plan that are executed before the next one."""
        return self._execute

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

        To change it, assign another one, belief [B, D] and state [B, S], finite: what is written
        into this one need not reach the agent.
        """
        return None if self._moment is None else self._moment.latent

    @latent.setter
    def latent(self, latent: LatentState) -> None:
        before = self._require_reset()
        check_latent(self._weights.rollout, latent, before.batch_size, None)
        check_finite_latent("latent", latent)
        mine = LatentState(latent.belief.clone(), latent.state.clone())
        self._moment = replace(before.frozen(), latent=mine)

    @property
    def planned(self) -> Plan | None:
        """The newest plan as it was made, with the iterations that were run; None before it."""
        return None if self._moment is None else self._moment.plan

    @property
    def settings(self) -> ImaginationConfig:
        """Settings of the imagination as they were given; `imagination` has what None became."""
        return self._settings

    @property
    def weights(self) -> AgentWeights:
        """The snapshot that it acts by."""
        return self._weights

    def update_weights(self) -> None:
        """Takes a new snapshot of the world model; call it after every training phase.

        Until then the agent filters and plans by the one before. Earlier ones stay as they are. A
        captured graph, which reads a copy, and a plan that is being executed are kept. A model of
        other sizes needs a reset() first.

        Raises:
          ValueError: a parameter is NaN or infinite; the snapshot before stays in use.
        """
        self._weights = self.world_model.filter_weights()
        self._imagination = None
        if self._moment is not None:
            self._moment = self._moment.frozen().under(self._weights.rollout)

    @property
    def imagination(self) -> Imagination:
        """The snapshot's rollouts from the zero latent, made once for a snapshot and batch size."""
        batch = max(1, self.batch_size)
        if self._imagination is None or self._imagination.batch_size != batch:
            model = self._weights.rollout
            self._imagination = make_imagination(
                self._settings, self.planner, model, zero_latent(model, batch), low=self._low,
                high=self._high,
            )  # fmt: skip
        return self._imagination

    def reset(
        self, seeds: Sequence[int] | Tensor | int = 0, rows: Sequence[int] | None = None
    ) -> None:
        """Starts episodes from a zero latent, and from no plan.

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
            first = Moment.first(self._weights.rollout, check_starts(seeds, None))
            self._moment = replace(first, plan=self.planned)
        else:
            before = self._require_reset()
            rows = check_rows(rows, before.batch_size)
            seeds = check_starts(seeds, len(rows))
            self._moment = before.frozen().restarted(rows, seeds)

    def act(self, observation: Observation | Array, explore: bool = False) -> Actions:
        """Filters the newest observation, plans, and returns the action to execute.

        Whatever is raised, by the planner or by Ctrl-C, leaves the agent as it was. Whether the
        step is finite comes to the host with the action, so nothing more is waited for.

        Args:
          observation: the arrays that the model observes, by name, [...] or [B, ...], as `image`,
            uint8 [h, w, 3]; or that array itself, where there is one alone.
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
        before, seen = self._check(observation)
        after, finite = self._after(before, seen, explore)
        if not finite:
            refuse_step(before.latent, after.latent, after.plan)
        out = after.action_array()
        self._moment = after
        return out if seen.batched else out[0]

    def filter(self, observation: Observation | Array) -> LatentState:
        """Makes the first half of `act`: advances the latent by action and observation.

        Args:
          observation: as in `act`.

        Returns:
          The latent after the observation, belief [B, D] and state [B, S].

        Raises:
          RuntimeError, TypeError, ValueError: as `act`.
        """
        moment, seen = self._check(observation)
        before = moment.frozen()
        latent = self._step().filter(before.latent, before.inputs(seen, self._exploration_stddev))
        if not latent.finite.all():
            refuse_step(before.latent, latent, None)
        self._moment = replace(before, latent=latent)
        return latent

    def plan(self) -> Plan:
        """Makes the second half of `act`: plans from the present latent, without exploration.

        The next `act` goes on with the plan of the `act` before, as without such a plan. Of rows in
        the middle of a plan's actions this one is cold.

        Raises:
          RuntimeError: `reset` was not called.
          ValueError: the latent, or the plan from it, is NaN or infinite.
        """
        before = self._require_reset().frozen()
        latent = before.latent
        inputs = before.inputs(None, execute=self._execute)
        plan = self._step().plan(latent, before.past, inputs)
        if not (latent.finite & plan.finite).all():
            refuse_step(latent, latent, plan)
        self._moment = replace(before, plan=plan)
        return plan

    def executed(self, action: npt.ArrayLike | Tensor) -> None:
        """Says which action was really executed after the last `act`, [A] or [B, A].

        Raises:
          RuntimeError: `reset` was not called.
          TypeError: `action` is not made of numbers.
          ValueError: the shape disagrees, or a value is not finite.
        """
        before = self._require_reset()
        self._moment = before.executing(executed_action(action, before.action.shape))

    def _after(
        self, before: Moment | StepBuffers, seen: Seen, explore: bool
    ) -> tuple[Moment | StepBuffers, bool]:
        """Makes a step; returns where the episodes stand then, and whether all that is finite."""
        step = self._control_step()
        if self._execute == 1 and is_compiled(step) and not self._captures():
            if self._compiled is None or not self._compiled.take(step):
                self._compiled = CompiledStep(step)
            stddev = self._exploration_stddev if explore else None
            written = self._compiled.act(before, seen, stddev)
            return written, written.finite
        start = before.frozen()
        inputs = start.inputs(seen, self._exploration_stddev, self._execute)
        return take_step(step, self._runner(step), start, inputs, explore)

    def _control_step(self) -> ControlStep:
        if self.timeline is not None:
            self.timeline.begin(self._weights.device)
        return ControlStep(
            self._weights, self.imagination, self.planner, self.budget_ms, self.timeline,
            self._execute,
        )  # fmt: skip

    def _step(self) -> ControlStep | CapturedStep:
        return self._runner(self._control_step())

    def _runner(self, step: ControlStep) -> ControlStep | CapturedStep:
        """Returns what runs a step: the captured one is kept as long as it serves."""
        captured, self._captured = self._captured, None
        if captured is None or self.capture is False or not captured.take(step):
            captured = None  # gives its memory back before there is a new one
            if not self._captures():
                return step
            captured = CapturedStep(step)
        self._captured = captured
        return captured

    def _captures(self) -> bool:
        return captures(self.capture, self._weights.device.type, self._settings.backend)

    def _require_reset(self) -> Moment | StepBuffers:
        if self._moment is None:
            raise RuntimeError("agent: call reset() before the first observation")
        return self._moment

    def _check(self, observation: Observation | Array) -> tuple[Moment | StepBuffers, Seen]:
        before = self._require_reset()
        return before, check_observation(observation, self._weights.observation, before.batch_size)
