"""The sequence that a plan stands for: the mean, or the best candidate where it was kept."""

from __future__ import annotations

import torch

from planet.planning import CEMPlanner, ICEMPlanner, sequence
from planet.protocols import Plan


def test_a_plan_stands_for_the_sequence_that_its_planner_acts_by() -> None:
    kept = torch.arange(12.0).reshape(3, 1, 2, 2)
    mean = -kept[:, :, 1]
    plan = Plan(mean[0], mean, mean, torch.zeros(1), 1, kept)
    assert torch.equal(sequence(plan, CEMPlanner(3)), mean)
    assert torch.equal(sequence(plan, ICEMPlanner(3, output="mean")), mean)
    best = Plan(kept[0, :, 0], mean, mean, torch.zeros(1), 1, kept)
    assert torch.equal(sequence(best, ICEMPlanner(3, keep=2)), kept[:, :, 0])
    unkept = Plan(kept[0, :, 0], mean, mean, torch.zeros(1), 1, kept[:, :, :0])
    expected = torch.cat([kept[:1, :, 0], mean[1:]])
    assert torch.equal(sequence(unkept, ICEMPlanner(3, keep=0)), expected)
