"""Times control steps of one planner, or of several by turns in the same process.

Several planners see the same observations and take turns at every step, each once first, so that
a busy machine and the caches hit all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from planet.config import ActingConfig
from planet.latent import LatentState
from planet.machine import machine_facts
from planet.planning import Imagination, make_planner
from planet.profiling.facts import compute_facts, plan_facts, run_facts
from planet.profiling.latency import Stage
from planet.profiling.result import Comparison, Profile
from planet.protocols import Plan
from planet.scalars import check_int, check_positive
from planet.training.initial_model import make_agent
from planet.training.run import Run
from planet.weights import RolloutWeights

_WARMUP = 5  # steps that are not counted


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
    plans = {name: _search(settings, weights, latent) for name, settings in planners.items()}
    log = _Log(names)
    for step in range(-min(_WARMUP, steps), steps):
        for name in _turns(names, step):
            plan = partial(plans[name], abs(step))
            seconds, planned = _timed(weights.device, plan)
            if step >= 0:
                log.add(name, planned, plan=seconds)
    return log.comparison(planners, weights, batch_size, rate_hz)


def compare_run(
    run: Run,
    environment: Any,
    planners: Mapping[str, ActingConfig],
    steps: int = 100,
    rate_hz: float | None = None,
) -> Comparison:
    """Times the control steps of a trained agent in its environment.

    Every planner has an agent of its own; all of them filter the same observations and follow the
    actions of the first one, so that they plan from the same latents.

    Args:
      run: the agent.
      environment: of `planet.envs.make`: its `simulate` and `observe` are timed apart.
      planners: settings by name; the first one acts, and the others are compared with it.
      steps: how many control steps are timed, after a few that are not counted.
      rate_hz: control steps per second that are asked for.

    Raises:
      ValueError: `steps` is less than 1, `rate_hz` is not positive, or a planner refuses the sizes.
      ImportError: a backend is missing.
    """
    _check(steps, rate_hz)
    model, device = run.agent.world_model, run.agent.world_model.device
    agents = {
        name: make_agent(run.config.with_overrides(settings.overrides()), model, run.actions)
        for name, settings in planners.items()
    }
    for agent in agents.values():
        agent.imagination.try_out(agent.budget_ms)
    names = list(planners)
    log = _Log(names)
    observation: Any = None
    ended = True
    for step in range(-min(_WARMUP, steps), steps):
        if ended:
            observation, _ = environment.reset(seed=0)
            for agent in agents.values():
                agent.reset()
        spent: dict[str, tuple[float, float]] = {}
        plans: dict[str, Plan] = {}
        for name in _turns(names, step):
            filtering, _ = _timed(device, partial(agents[name].filter, observation))
            planning, plans[name] = _timed(device, agents[name].plan)
            spent[name] = filtering, planning
        action = plans[names[0]].action[0].cpu().numpy()
        for agent in agents.values():
            agent.executed(action)
        acting, outcome = _timed(device, partial(environment.simulate, action))
        rendering, observation = _timed(device, environment.observe)
        ended = outcome[1] or outcome[2]
        for name, (filtering, planning) in spent.items() if step >= 0 else ():
            log.add(
                name,
                plans[name],
                render=rendering,
                filter=filtering,
                plan=planning,
                environment=acting,
            )
    facts = run_facts(run, environment.action_repeat)
    return log.comparison(planners, run.agent.weights, 1, rate_hz, facts)


class _Log:
    """What was measured of every planner, step by step."""

    def __init__(self, names: Sequence[str]) -> None:
        self._rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        self._iterations: dict[str, list[int]] = {name: [] for name in names}

    def add(self, name: str, planned: Plan, **seconds: float) -> None:
        """Adds a step; its stages sum up to the total."""
        row = {stage: 1e3 * value for stage, value in seconds.items()}
        self._rows[name].append(row if len(row) == 1 else {**row, "total": sum(row.values())})
        self._iterations[name].append(planned.iterations)

    def comparison(
        self,
        planners: Mapping[str, ActingConfig],
        weights: RolloutWeights,
        batch_size: int,
        rate_hz: float | None,
        run: dict[str, Any] | None = None,
    ) -> Comparison:
        machine = machine_facts()
        return Comparison(
            {
                name: Profile(
                    tuple(Stage(stage, tuple(row[stage] for row in rows)) for stage in rows[0]),
                    tuple(self._iterations[name]),
                    plan_facts(planners[name].planner, weights, batch_size),
                    compute_facts(planners[name].imagination, weights.device),
                    machine,
                    run,
                    rate_hz,
                )
                for name, rows in self._rows.items()
            }
        )


def _search(
    settings: ActingConfig, weights: RolloutWeights, latent: LatentState
) -> Callable[[int], Plan]:
    """Makes a function that plans with a seed, and finds what is not served."""
    planner = settings.planner
    imagination = Imagination(
        weights, latent, low=planner.low, high=planner.high, **vars(settings.imagination)
    )
    imagination.try_out(planner.budget_ms)
    return partial(make_planner(planner).plan, imagination, budget_ms=planner.budget_ms)


def _turns(names: Sequence[str], step: int) -> Sequence[str]:
    """Who plans when: at every step another one is the first."""
    start = step % len(names)
    return [*names[start:], *names[:start]]


def _timed(device: torch.device, call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, work on the device included, and what it returns."""
    _synchronise(device)
    began = time.perf_counter()
    result = call()
    _synchronise(device)
    return time.perf_counter() - began, result


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check(steps: int, rate_hz: float | None, **sizes: int) -> None:
    for name, value in {"steps": steps, **sizes}.items():
        check_int(name, value, 1)
    if rate_hz is not None:
        check_positive("rate", rate_hz)
