"""`planet diagnose`: says whether the model or the planner keeps an agent from scoring more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from planet.acting.planning_policy import PlanningPolicy
from planet.cli.options import RunDirectory, parse_options, told
from planet.cli.progress import make_progress
from planet.config import ActingConfig, Config
from planet.envs.simulator import Simulator
from planet.experiments.diagnose import WatchedAgent, diagnose
from planet.experiments.run import open_environment, open_run
from planet.storage.atomic import replaceable
from planet.training.collect import try_out
from planet.training.progress import guarded
from planet.training.threads import cpu_threads


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(ActingConfig):
    """Compares an agent with planning on the true simulator, on the same noise-free episodes.

    Puts side by side what the model predicts of the agent's plans, what the simulator says of them,
    and the plans that the same planner finds on the simulator; and says which of the two is to be
    improved. Writes diagnosis.json into the run's directory. Settings that are not given are the
    run's.
    """

    run_dir: RunDirectory
    episodes: int = 3  # of the agent, and as many on the simulator
    seed: int | None = None  # of the episodes; None: the run's, as in its own evaluations
    every: int = 25  # control steps from one plan of the agent that is looked at to the next


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = parse_options("diagnose", arguments, _default)
    trained = open_run(options.run_dir, options.overrides())
    path = trained.directory / "diagnosis.json"
    replaceable(path)
    try_out(trained.policy, trained.spec)
    config = trained.config
    seed = config.train.seed if options.seed is None else options.seed
    environment: Any = open_environment(trained)
    progress = guarded(make_progress())
    try:
        low, high = config.planner.low, config.planner.high
        simulator = Simulator(environment, low=low, high=high)
        watched = WatchedAgent(trained.agent, simulator, options.every)
        ceiling = PlanningPolicy(simulator, trained.agent.planner, execute=trained.agent.execute)
        progress.message(
            f"{config.environment.task}: agent after {trained.updates} updates; {options.episodes} "
            f"episodes without noise, seed {seed}; {told(config.planner)}"
        )
        with cpu_threads(config.train.threads):
            found = diagnose(watched, ceiling, environment, options.episodes, seed, progress)
    finally:
        progress.finish()
        environment.close()
    found.write(
        path, task=config.environment.task, updates=trained.updates, evaluation_seed=seed,
        every=options.every, config=config.to_dict(),
    )  # fmt: skip
    progress.message(found.table())
    progress.message(f"diagnosis {path}")
    return 0


def _default(config: Config) -> DiagnoseOptions:
    return DiagnoseOptions(run_dir=tyro.MISSING, **vars(ActingConfig.of(config)))
