"""Says what is due when: pure functions of settings and counters, never of time or returns.

    episodes   0 ... S-1          S ... S+k-1          E
    collects   random actions     the planner          nothing more
    then       -                  C updates each; evaluates and saves every so many

S is `seed_episodes`, E `episodes`, C `updates_per_episode`; `initial_updates` follow the first S.
"""

from __future__ import annotations

from planet.config import TrainConfig

LINE_UPDATES = 100  # a line of training metrics stands for so many updates at most


def planned_episodes(train: TrainConfig, episodes: int) -> int:
    """Returns how many of the collected episodes were planned; below 0, seed episodes lack."""
    return episodes - train.seed_episodes


def updates_due(train: TrainConfig, episodes: int) -> int:
    """Returns the gradient steps that must have been made after so many episodes."""
    planned = planned_episodes(train, episodes)
    return train.initial_updates + train.updates_per_episode * planned if planned >= 0 else 0


def exploration_stddev(train: TrainConfig, episodes: int) -> float:
    """Returns the stddev of the noise on the next episode's actions, in half widths of the box."""
    if not train.exploration_ramp:
        return train.exploration_stddev
    share = min(1.0, planned_episodes(train, episodes) / train.exploration_ramp)
    return (1.0 - share) * train.exploration_stddev + share * train.exploration_min_stddev


def evaluation_due(train: TrainConfig, episodes: int, evaluated: int) -> bool:
    """Tells whether to evaluate now; `evaluated` episodes were there at the last time."""
    interval = train.evaluation_interval
    if not interval or evaluated == episodes:
        return False
    return finished(train, episodes) or planned_episodes(train, episodes) % interval == 0


def checkpoint_due(train: TrainConfig, episodes: int) -> bool:
    """Tells whether to save once so many episodes are learned from."""
    planned = planned_episodes(train, episodes)
    return finished(train, episodes) or planned % train.checkpoint_interval == 0


def checkpoint_due_between(train: TrainConfig, updates: int, saved: int) -> bool:
    """Tells whether to save while learning, when the newest checkpoint has `saved` updates."""
    return updates - saved >= train.checkpoint_updates


def line_due(train: TrainConfig, episodes: int, updates: int) -> bool:
    """Tells whether to write the metrics of the last updates after so many of them."""
    return updates % LINE_UPDATES == 0 or updates == updates_due(train, episodes)


def finished(train: TrainConfig, episodes: int) -> bool:
    """Tells whether so many episodes are enough."""
    return episodes >= train.episodes
