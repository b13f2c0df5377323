"""Scores planners on the true simulator, where nothing is learned."""

from __future__ import annotations

from typing import Any

from planet.acting.baselines import RandomPolicy, ZeroPolicy
from planet.acting.planning_policy import PlanningPolicy
from planet.config import PlannerConfig
from planet.envs.simulator import Simulator
from planet.envs.unseen import Unseen
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
    """Plays evaluation episodes by planning on the simulator; no frame is drawn.

    Args:
      environment: a task of the DM Control Suite, as `planet.envs.make` makes it.
      planner: the planner and its settings; `low` and `high` are shares of the box of actions.
      episodes: how many; see `planet.training.score.play`.
      seed: of the episodes, likewise: those of a run with this seed.
      progress: is told of every step.
      baselines: also score random actions and zero actions.

    Returns:
      The planner's score and those of the baselines.

    Raises:
      TypeError: the environment is another one.
      ValueError, EpisodeError: as `play`.
    """
    simulator = Simulator(environment, low=planner.low, high=planner.high)
    policies: dict[str, Policy] = {
        f"{planner.name} on the simulator": PlanningPolicy(
            simulator, make_planner(planner), planner.budget_ms, planner.execute
        )
    }
    unseen, steps = Unseen(environment), environment.max_episode_steps
    if baselines:
        spec = check_environment(unseen, 1).spec(1)
        policies |= {"random actions": RandomPolicy(spec), "zero actions": ZeroPolicy(spec)}
    return [
        score(name, play(unseen, policy, episodes, seed, progress, name, steps=steps))
        for name, policy in policies.items()
    ]
