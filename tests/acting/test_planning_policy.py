"""Acting by plans from the true state: seeds, errors, a plan that is not finite."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from planet import CEMPlanner
from planet.acting.planning_policy import PlanningPolicy, shifted
from planet.noise import mix_seed
from planet.planning import ICEMPlanner, shift

PLANNER = CEMPlanner(3, 32, 4, 4)


@dataclass
class Target:
    """Rewards actions near a number."""

    place: float = 0.5
    batch_size: int = 1
    low: torch.Tensor = field(default_factory=lambda: torch.full((1, 2), -1.0))
    high: torch.Tensor = field(default_factory=lambda: torch.ones(1, 2))

    def returns(self, actions, noise):
        return -(actions - self.place).square().sum(dim=(0, 3))


def acted(policy, steps=3):
    return np.stack([policy.act({}) for _ in range(steps)])


def test_it_plans_from_where_the_scorer_stands_at_each_step():
    scorer = Target()
    policy = PlanningPolicy(scorer, PLANNER)
    policy.reset(0)
    action = policy.act({})
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, [0.5, 0.5], atol=0.2)
    scorer.place = -0.5
    np.testing.assert_allclose(policy.act({}, explore=True), [-0.5, -0.5], atol=0.2)


def test_the_seed_of_the_episode_and_the_step_decide():
    policy, other = PlanningPolicy(Target(), PLANNER), PlanningPolicy(Target(), PLANNER)
    policy.reset(7)
    first = acted(policy)
    assert (first[0] != first[1]).any()
    policy.reset(7, rows=[0])
    other.reset([7])
    assert (acted(policy) == first).all()
    assert (acted(other) != first).any()  # [7] is a row's own seed, 7 is mixed with the row
    policy.reset(8)
    assert (acted(policy) != first).any()


def test_a_plan_starts_where_the_one_before_goes_on_and_an_episode_cold():
    scorer, planner = Target(), ICEMPlanner(3, 32, 1, 4, keep=2, momentum=0.9)
    policy = PlanningPolicy(scorer, planner)
    for _ in range(2):
        policy.reset([7])
        policy.act({})
        first = policy.planned
        cold = planner.plan(scorer, torch.tensor([mix_seed(mix_seed(7, 0), 0)]))
        assert torch.equal(first.mean, cold.mean)
        policy.act({})
        seed = torch.tensor([mix_seed(mix_seed(7, 0), 1)])
        warm = planner.plan(scorer, seed, warm=shift(first, 1, planner, scorer))
        assert torch.equal(policy.planned.kept, warm.kept)
        assert not torch.equal(warm.kept, planner.plan(scorer, seed).kept)


BEST = ICEMPlanner(3, 32, 2, 4, keep=2)


@pytest.mark.parametrize("planner", [PLANNER, BEST], ids=["mean", "best"])
def test_a_plan_is_followed_for_its_block_from_each_start(planner):
    policy = PlanningPolicy(Target(), planner, execute=2)
    for _ in range(2):
        policy.reset([7])
        warm = None
        for step in range(0, 6, 2):
            seed = torch.tensor([mix_seed(mix_seed(7, 0), step)])
            plan = planner.plan(Target(), seed, warm=warm)
            followed = plan.kept[:, :, 0] if planner is BEST else plan.mean
            for k in range(2 if step < 4 else 1):
                assert (policy.act({}) == followed[k, 0].numpy()).all()
                assert torch.equal(policy.planned.mean, plan.mean)
            warm = shift(plan, 2, planner, Target()) if planner is BEST else None
    with pytest.raises(ValueError, match="execute: expected 1 <= execute <= horizon=3, got 4"):
        PlanningPolicy(Target(), PLANNER, execute=4)


@pytest.mark.parametrize("kind", ["repeat", "middle"])
def test_a_plan_goes_on_where_the_scorer_is(kind):
    planner = ICEMPlanner(3, 24, 2, 4, shift=kind)
    plan, bounds = planner.plan(Target()), torch.ones(1, 2, device="meta")
    warm = shifted(plan, planner, Target(low=-bounds, high=bounds))
    assert {part.device.type for part in (warm.mean, warm.stddev, warm.kept)} == {"meta"}


def test_a_plan_without_a_finite_return_is_refused():
    policy = PlanningPolicy(Target(place=float("nan")), PLANNER)
    policy.reset(0)
    with pytest.raises(ValueError, match="plan: expected a finite one, .* at step 0"):
        policy.act({})


def test_it_acts_in_one_environment_alone():
    with pytest.raises(ValueError, match="scorer: expected batch_size 1, got 2"):
        PlanningPolicy(Target(batch_size=2), PLANNER)
    policy = PlanningPolicy(Target(), PLANNER)
    with pytest.raises(ValueError, match=r"rows: expected None or \[0\], got \[1\]"):
        policy.reset(0, rows=[1])
    with pytest.raises(ValueError, match="seeds: expected one for each of 1 rows, got 2"):
        policy.reset([1, 2])
