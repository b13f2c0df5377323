"""Scores planners on the true simulator, where nothing is learned."""

from __future__ import annotations

from typing import Any

from planet.acting.baselines import RandomPolicy, ZeroPolicy
from planet.acting.planning_policy import PlanningPolicy
from planet.config import EnvironmentConfig, PlannerConfig
from planet.envs.simulator import Simulator
from planet.planning import make_planner
from planet.protocols import Policy
from planet.training.check_environment import check_environment
from planet.training.progress import Progress
from planet.training.score import Score, play, score


def score_on_simulator(
    environment: Any,
    planner: PlannerConfig,
    episodes: int,
    seed: int,
    progress: Progress | None = None,
    *,
    baselines: bool = False,
) -> list[Score]:
    """Plays evaluation episodes by planning on the simulator.

    Args:
      environment: a task of the DM Control Suite, as `planet.envs.make` makes it with
        `observe="vectors"`: nothing is drawn, since no policy here sees anything.
      planner: the planner and its settings; `low` and `high` are shares of the box of actions.
      episodes: how many; see `planet.training.score.play`.
      seed: of the episodes, likewise: those of a run with this seed.
      progress: is told of every step.
      baselines: also score random actions and zero actions.

    Returns:
      The planner's score and those of the baselines.

    Raises:
      TypeError: the environment is another one.
      ValueError: it shows pictures.
      ValueError, EpisodeError: as `play`.
    """
    simulator = Simulator(environment, low=planner.low, high=planner.high)
    policies: dict[str, Policy] = {
        f"{planner.name} on the simulator": PlanningPolicy(
            simulator, make_planner(planner), planner.budget_ms
        )
    }
    spec = check_environment(environment, EnvironmentConfig(observe="vectors"))
    steps = environment.max_episode_steps
    if baselines:
        policies |= {"random actions": RandomPolicy(spec), "zero actions": ZeroPolicy(spec)}
    return [
        score(name, play(environment, policy, episodes, seed, progress, name, steps=steps))
        for name, policy in policies.items()
    ]
