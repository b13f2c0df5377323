"""Executes several actions of a plan before the next one: open loop within a block.

    execute = 3, step of the episode    0  1  2  3  4  5  6
    plan that is followed               a  a  a  b  b  b  c
    its action                          0  1  2  0  1  2  0

Every observation is filtered, so a plan starts from the belief of all of them. A block that begins
goes on from the plan before, which is moved on by the whole block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from planet.acting.captured_step import CapturedStep
from planet.acting.control_step import ControlStep, StepInputs, StepOutcome, read_report
from planet.acting.moment import Moment
from planet.acting.timeline import stage
from planet.planning import sequence
from planet.protocols import Plan

Runner = ControlStep | CapturedStep


def take_step(
    step: ControlStep, runner: Runner, before: Moment, inputs: StepInputs, explore: bool
) -> tuple[Moment, bool]:
    """Filters, plans where a row's block begins, and takes the next action of each row's plan.

    Where some rows begin, all are planned for, and the others keep the plan that they have: a row
    does not depend on the others. Where none begins, nothing is planned.

    Args:
      step: what an agent does; `step.execute` is the length of a block.
      runner: of the step or its parts: the step itself, or its captured form.
      before: where the episodes stand.
      inputs: of this step, on the host.
      explore: whether noise is added to the planned action.

    Returns:
      Where they stand after it, each row with the plan that it follows, as it was made; and whether
      all that is finite.
    """
    if step.execute == 1:
        outcome, taken = runner.act(before.latent, before.past, inputs, explore), None
    else:
        outcome, taken = _act_in_block(step, runner, before, inputs, explore)
    plan, seeds, steps = outcome.plan, before.episode_seeds, before.steps + 1
    after = Moment(outcome.latent, outcome.action, plan, seeds, steps, plan, taken)
    return after, bool(outcome.finite.all())


def _act_in_block(
    step: ControlStep, runner: Runner, before: Moment, inputs: StepInputs, explore: bool
) -> tuple[StepOutcome, Tensor]:
    """Returns the outcome, and how many actions of their plans the rows have taken then."""
    latent = runner.filter(before.latent, inputs)
    begins, plan, taken = before.begins(step.execute), before.past, before.taken
    if plan is None or taken is None or begins.all():
        plan, taken = runner.plan(latent, before.past, inputs), torch.zeros_like(before.steps)
    elif begins.any():
        plan = joined(begins, runner.plan(latent, plan, inputs), plan)
        taken = torch.where(begins, 0, taken)
    with stage(step.timeline, "explore"):
        actions, here = sequence(plan, step.planner), taken.to(step.device)
        action = actions[here, torch.arange(len(here), device=step.device)]
        if explore:
            action = step.explore(action, inputs.to(step.device))
        report = step.report(latent, plan, action)
    return StepOutcome(latent, plan, *read_report(report.cpu())), taken + 1


def joined(rows: Tensor, plan: Plan, other: Plan) -> Plan:
    """Returns a plan that is `plan` in some rows, bool [B], and another one of its sizes elsewhere.

    The number of iterations is that of `plan`.
    """
    rows = rows.to(plan.mean.device)

    def join(name: str) -> Tensor:
        mine, theirs = getattr(plan, name), getattr(other, name)
        # The axis of rows comes first, or after that of the horizon; all axes after it are others.
        after = {"best_return": 0, "kept": 2}.get(name, 1)
        return torch.where(rows.reshape(-1, *[1] * after), mine, theirs)

    action, mean, stddev, best, kept = map(
        join, ("action", "mean", "stddev", "best_return", "kept")
    )
    return Plan(action, mean, stddev, best, plan.iterations, kept)
