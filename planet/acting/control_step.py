"""The tensors' part of a control step: filter the belief, plan, explore.

`ControlStep.run` and what it calls have no Python numbers that change from step to step and look at
no result, so that a CUDA graph can capture them. `ControlStep.act` runs them operator by operator,
`planet.acting.captured_step.CapturedStep` as a graph, with the same results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from planet import ops
from planet.acting.timeline import Timeline, stage
from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.models.model_filter import AgentWeights, ModelFilter
from planet.noise import STREAM_EXPLORATION
from planet.ops import draws
from planet.planning import Imagination, SamplingPlanner, SearchSettings, cold, shift
from planet.protocols import Plan, Planner


@dataclass(frozen=True)
class StepInputs:
    """Holds what a control step starts from, beside the latent.

    Attributes:
      observation: the newest arrays by name; `image` is uint8 [B, h, w, 3]. A plan reads none.
      seeds: of the step, int64 [B].
      action: executed before it, [B, A].
      cold: rows that have no plan to start from, bool [B].
      exploration_stddev: of the noise on the planned action, in units of half the width of the
        box, float32 [].
    """

    observation: Mapping[str, Tensor]
    seeds: Tensor
    action: Tensor
    cold: Tensor
    exploration_stddev: Tensor

    __repr__ = short_repr

    def to(self, device: torch.device) -> StepInputs:
        """Returns the inputs on `device`."""
        observation = {name: array.to(device) for name, array in self.observation.items()}
        parts = (self.seeds, self.action, self.cold, self.exploration_stddev)
        return StepInputs(observation, *(part.to(device) for part in parts))


@dataclass(frozen=True)
class StepOutcome:
    """Holds what a control step leads to.

    Attributes:
      latent: after the observation, on the snapshot's device.
      plan: from there, likewise.
      action: to execute, float32 [B, A] on the host.
      finite: whether latent, plan and action of a row are finite, bool [B] on the host.
    """

    latent: LatentState
    plan: Plan
    action: Tensor
    finite: Tensor

    __repr__ = short_repr


@dataclass(frozen=True)
class ControlStep:
    """One control step of an agent.

    Attributes:
      weights: snapshot that filters.
      imagination: of the same snapshot; its bounds are those of the actions.
      planner: decides on actions.
      budget_ms: milliseconds that a plan may take.
      timeline: where the stages are marked.
      execute: actions of a plan that are executed before the next one.
    """

    weights: AgentWeights
    imagination: Imagination
    planner: Planner
    budget_ms: float | None = None
    timeline: Timeline | None = None
    execute: int = 1

    def same(self, other: ControlStep) -> bool:
        """Whether another step is made of these very objects, but for the snapshot."""
        names = set(vars(self)) - {"weights", "imagination"}
        return all(getattr(self, name) is getattr(other, name) for name in names)

    @property
    def device(self) -> torch.device:
        """Tells where it computes."""
        return self.weights.device

    def filter(self, latent: LatentState, inputs: StepInputs) -> LatentState:
        """Advances the latent by the executed action and samples the posterior of the observation.

        Args:
          latent: belief [B, D], state [B, S] after the previous observation.
          inputs: of this step, on any device.

        Returns:
          The latent after the observation.
        """
        inputs, weights = inputs.to(self.device), self.weights
        backend = ops.backend(self.imagination.backend)
        with stage(self.timeline, "filter"):
            if isinstance(weights, ModelFilter):
                seen = inputs.observation
                return weights.filter_step(latent, inputs.action, seen, inputs.seeds)
            filtered: LatentState = backend.filter_step(
                weights, latent, inputs.action, inputs.observation["image"], inputs.seeds
            )
        return filtered

    @property
    def search(self) -> SearchSettings | None:
        """Settings of a planner that samples; None: it is of another kind."""
        return self.planner.settings if isinstance(self.planner, SamplingPlanner) else None

    @property
    def goes_on(self) -> bool:
        """Whether a plan starts from the one before."""
        return self.search is not None and self.search.shift != "none"

    @torch.no_grad()
    def plan(self, latent: LatentState, past: Plan | None, inputs: StepInputs) -> Plan:
        """Plans from a latent.

        Args:
          latent: belief [B, D], state [B, S] after the observation.
          past: plan of `execute` steps before; None: there is none.
          inputs: of this step, on any device; seeds and cold rows are read.
        """
        inputs, imagination = inputs.to(self.device), self.imagination.at(latent)
        with stage(self.timeline, "plan"):
            warm = self._warm(past, inputs.cold, imagination)
            return self.planner.plan(imagination, inputs.seeds, warm=warm, budget_ms=self.budget_ms)

    def _warm(self, past: Plan | None, rows: Tensor, imagination: Imagination) -> Plan | None:
        """Moves a plan on to now, but for cold rows: there is what a search begins with."""
        if past is None or not self.goes_on:
            return None
        assert isinstance(self.planner, SamplingPlanner)
        warm = shift(past, self.execute, self.planner, imagination)
        first = cold(self.planner, imagination)
        mean = torch.where(rows[:, None], first.mean, warm.mean)
        kept = torch.where(rows[:, None, None], first.kept, warm.kept)
        return replace(warm, mean=mean, kept=kept)

    @torch.no_grad()
    def explore(self, action: Tensor, inputs: StepInputs) -> Tensor:
        """Adds Normal noise to planned actions [B, A] and clips to the box of actions.

        Its stddev is `inputs.exploration_stddev` times half the width of the box.
        """
        box = self.imagination.box
        noise = draws.normals(inputs.seeds, 1, action.shape[-1], stream=STREAM_EXPLORATION)[:, 0]
        return box.clip(action + inputs.exploration_stddev * noise * box.half_width)

    def act(
        self, latent: LatentState, past: Plan | None, inputs: StepInputs, explore: bool
    ) -> StepOutcome:
        """Makes the whole step: from the observation on the host to an action on the host."""
        latent, plan, report = self.run(latent, past, inputs.to(self.device), explore)
        return StepOutcome(latent, plan, *read_report(report.cpu()))

    def run(
        self, latent: LatentState, past: Plan | None, inputs: StepInputs, explore: bool
    ) -> tuple[LatentState, Plan, Tensor]:
        """Filters, plans and, if asked to, explores; returns latent, plan and `report`."""
        latent = self.filter(latent, inputs)
        plan = self.plan(latent, past, inputs)
        with stage(self.timeline, "explore"):
            action = self.explore(plan.action, inputs) if explore else plan.action
            return latent, plan, self.report(latent, plan, action)

    @torch.no_grad()
    def report(self, latent: LatentState, plan: Plan, action: Tensor) -> Tensor:
        """Joins what the host needs of a step in one tensor, so that one copy brings it there.

        Returns:
          float32 [B, A+1]: the action, and 0 where latent, plan and action are finite, else NaN.
        """
        parts = latent.belief, latent.state, plan.best_return[:, None], action
        seen = torch.cat([*parts, *plan.mean], dim=1)
        return torch.cat([action, (seen * 0.0).sum(dim=1, keepdim=True)], dim=1)


def read_report(report: Tensor) -> tuple[Tensor, Tensor]:
    """Takes apart what `ControlStep.report` gave, on the host: action, and whether it is finite."""
    return report[:, :-1].clone(), report[:, -1] == 0
