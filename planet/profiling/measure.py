"""Times control steps of one planner, or of several by turns in the same process.

Several planners see the same observations and take turns at every step, each once first, so that
a busy machine and the caches hit all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from planet.acting.agent import Agent
from planet.config import ActingConfig
from planet.diagnostics.machine import machine_facts
from planet.errors.scalars import check_int, check_positive
from planet.errors.short_repr import short_repr
from planet.experiments.run import Run
from planet.latent import LatentState
from planet.planning import Imagination, make_imagination, make_planner
from planet.profiling.facts import compute_facts, plan_facts, run_facts
from planet.profiling.latency import Stage
from planet.profiling.result import Comparison, Profile
from planet.protocols import Plan, Policy
from planet.systems.planet import make_agent
from planet.weights.rollout_weights import RolloutWeights

_WARMUP = 5  # steps that are not counted
_HOST = torch.device("cpu")

Seconds = tuple[float, float]  # of the wall's clock, of CPU time
Facts = tuple[dict[str, Any], dict[str, Any]]  # of the plan, and of what computes


def compare_planners(
    planners: Mapping[str, ActingConfig],
    weights: RolloutWeights,
    batch_size: int = 1,
    steps: int = 100,
    rate_hz: float | None = None,
) -> Comparison:
    """Times planners alone, from a zero latent.

    Args:
      planners: settings by name; the first one is what the others are compared with.
      weights: snapshot on the device to compute on.
      batch_size: B, problems per plan.
      steps: how many plans of each are timed, after a few that are not counted.
      rate_hz: plans per second that are asked for.

    Raises:
      ValueError: an argument is less than 1 or not positive, or a planner refuses the sizes.
      ImportError: a backend is missing.
    """
    _check(steps, rate_hz, batch_size=batch_size)
    latent = LatentState(
        torch.zeros(batch_size, weights.belief_size, dtype=torch.float32, device=weights.device),
        torch.zeros(batch_size, weights.state_size, dtype=torch.float32, device=weights.device),
    )
    names = list(planners)
    imaginations = {name: _imagine(s, weights, latent) for name, s in planners.items()}
    plans = {name: _search(planners[name], imaginations[name]) for name in names}
    log = _Log(names)
    for step in range(-min(_WARMUP, steps), steps):
        for name in _turns(names, step):
            plan = partial(plans[name], abs(step))
            seconds, planned = _timed(weights.device, plan)
            if step >= 0:
                log.add(name, planned.iterations, plan=seconds)
    facts = {name: _facts(planners[name], imaginations[name]) for name in names}
    return log.comparison(facts, rate_hz)


def compare_run(
    run: Run,
    environment: Any,
    planners: Mapping[str, ActingConfig],
    steps: int = 100,
    rate_hz: float | None = None,
) -> Comparison:
    """Times the control steps of a trained policy in its environment.

    Every planner has an agent of its own; all of them filter the same observations and follow the
    actions of the first one, so that they plan from the same latents. A policy that does not plan
    has one stage, `act`, and is not compared.

    Args:
      run: the policy.
      environment: of `planet.envs.make`: its `simulate` and `observe` are timed apart.
      planners: settings by name; the first one acts, and the others are compared with it.
      steps: how many control steps are timed, after a few that are not counted.
      rate_hz: control steps per second that are asked for.

    Raises:
      ValueError: `steps` is less than 1, `rate_hz` is not positive, or a planner refuses the sizes.
      ImportError: a backend is missing.
    """
    _check(steps, rate_hz)
    policies = _policies(run, planners)
    names = list(policies)
    log = _Log(names)
    observation: Any = None
    ended = True
    for step in range(-min(_WARMUP, steps), steps):
        if ended:
            observation, _ = environment.reset(seed=0)
            for policy in policies.values():
                policy.reset()
        acts = {name: _act(policies[name], observation) for name in _turns(names, step)}
        action = acts[names[0]].action
        for policy in policies.values():
            policy.executed(action)
        acting, outcome = _timed(_HOST, partial(environment.simulate, action))
        rendering, observation = _timed(_HOST, environment.observe)
        ended = outcome[1] or outcome[2]
        for name, act in acts.items() if step >= 0 else ():
            seconds = {"render": rendering, **act.seconds, "environment": acting}
            log.add(name, act.iterations, **seconds)
    facts = {
        name: _facts(planners[name], policy.imagination)
        if isinstance(policy, Agent)
        else ({}, {"threads": torch.get_num_threads()})
        for name, policy in policies.items()
    }
    return log.comparison(facts, rate_hz, run_facts(run, environment.action_repeat))


@dataclass(frozen=True)
class _Act:
    """Holds how long a policy took, by stage, and what it decided."""

    seconds: dict[str, Seconds]
    action: npt.NDArray[np.float32]
    iterations: int | None = None

    __repr__ = short_repr


def _policies(run: Run, planners: Mapping[str, ActingConfig]) -> dict[str, Policy]:
    """Makes an agent for every planner; a policy that plans nothing is timed alone."""
    if not isinstance(run.policy, Agent):
        return {next(iter(planners)): run.policy}
    model = run.agent.world_model
    agents = {
        name: make_agent(run.config.with_overrides(settings.overrides()), model, run.actions)
        for name, settings in planners.items()
    }
    for agent in agents.values():
        agent.imagination.try_out(agent.budget_ms)
    return dict(agents)


def _act(policy: Policy, observation: Any) -> _Act:
    """Times a policy: an agent in two stages, any other as a whole."""
    if not isinstance(policy, Agent):
        seconds, action = _timed(_HOST, partial(policy.act, {"image": observation}))
        return _Act({"act": seconds}, action)
    device = policy.world_model.device
    filtering, _ = _timed(device, partial(policy.filter, observation))
    planning, plan = _timed(device, policy.plan)
    action = plan.action[0].cpu().numpy()
    return _Act({"filter": filtering, "plan": planning}, action, plan.iterations)


def _facts(settings: ActingConfig, imagination: Imagination) -> Facts:
    weights = imagination.weights
    plan = plan_facts(settings.planner, weights, imagination.batch_size)
    return plan, compute_facts(imagination)


class _Log:
    """Keeps what was measured of every planner, step by step."""

    def __init__(self, names: Sequence[str]) -> None:
        self._rows: dict[str, list[dict[str, Seconds]]] = {name: [] for name in names}
        self._iterations: dict[str, list[int]] = {name: [] for name in names}

    def add(self, name: str, iterations: int | None, **seconds: Seconds) -> None:
        """Adds a step; its stages sum up to the total."""
        row = {stage: (1e3 * wall, 1e3 * cpu) for stage, (wall, cpu) in seconds.items()}
        total = (sum(wall for wall, _ in row.values()), sum(cpu for _, cpu in row.values()))
        self._rows[name].append(row if len(row) == 1 else {**row, "total": total})
        if iterations is not None:
            self._iterations[name].append(iterations)

    def comparison(
        self, facts: Mapping[str, Facts], rate_hz: float | None, run: dict[str, Any] | None = None
    ) -> Comparison:
        machine, profiles = machine_facts(), {}
        for name, rows in self._rows.items():
            stages = tuple(
                Stage(stage, *zip(*(row[stage] for row in rows), strict=True)) for stage in rows[0]
            )
            done = tuple(self._iterations[name])
            profiles[name] = Profile(stages, done, *facts[name], machine, run, rate_hz)
        return Comparison(profiles)


def _imagine(settings: ActingConfig, weights: RolloutWeights, latent: LatentState) -> Imagination:
    """Makes the imagination of the settings, and finds what is not served."""
    config = settings.planner
    imagination = make_imagination(
        settings.imagination, make_planner(config), weights, latent,
        low=config.low, high=config.high,
    )  # fmt: skip
    imagination.try_out(config.budget_ms)
    return imagination


def _search(settings: ActingConfig, imagination: Imagination) -> Callable[[int], Plan]:
    """Makes a function that plans with a seed."""
    config = settings.planner
    return partial(make_planner(config).plan, imagination, budget_ms=config.budget_ms)


def _turns(names: Sequence[str], step: int) -> Sequence[str]:
    """Orders the planners: at every step another one is the first."""
    start = step % len(names)
    return [*names[start:], *names[:start]]


def _timed(device: torch.device, call: Callable[[], Any]) -> tuple[Seconds, Any]:
    """Returns the seconds that a call takes, work on the device included, and its result."""
    _synchronise(device)
    cpu, began = time.process_time(), time.perf_counter()
    result = call()
    _synchronise(device)
    seconds = time.perf_counter() - began
    return (seconds, time.process_time() - cpu), result


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check(steps: int, rate_hz: float | None, **sizes: int) -> None:
    for name, value in {"steps": steps, **sizes}.items():
        check_int(name, value, 1)
    if rate_hz is not None:
        check_positive("rate", rate_hz)
