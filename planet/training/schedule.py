"""Says what is due when: pure functions of settings and counters, never of time or returns.

    episodes   0 ... S-1          S ... S+k-1          E
    collects   random actions     the planner          nothing more
    then       -                  C updates each; evaluates and saves every so many

S is `seed_episodes`, E `episodes`, C `updates_per_episode`; `initial_updates` follow the first S.
With `collect="random"` the planner collects nothing: all episodes are of random actions, and what
follows them is as above.
"""

from __future__ import annotations

from typing import Literal

from planet.config import TrainConfig

LINE_UPDATES = 100  # a line of training metrics stands for so many updates at most

Part = Literal["random", "planned", "update"]
"""What a run is made of: episodes of random actions and planned ones, and gradient steps."""


def later_episodes(train: TrainConfig, episodes: int) -> int:
    """Returns how many episodes followed the seed episodes; below 0, some of these lack."""
    return episodes - train.seed_episodes


def next_part(train: TrainConfig, episodes: int) -> Part:
    """Tells what the next episode is: planned, or of random actions."""
    online = train.collect == "online" and later_episodes(train, episodes) >= 0
    return "planned" if online else "random"


def collector(train: TrainConfig, episodes: int) -> int:
    """Returns after how many episodes a learner has the policy that collects the next one.

    With `collect="random"` it is the one before any: nothing that was learned decides on data.
    """
    return episodes if train.collect == "online" else 0


def updates_due(train: TrainConfig, episodes: int) -> int:
    """Returns the gradient steps that must have been made after so many episodes."""
    later = later_episodes(train, episodes)
    return train.initial_updates + train.updates_per_episode * later if later >= 0 else 0


def work(train: TrainConfig, episodes: int, updates: int, evaluated: int) -> dict[Part, int]:
    """Counts what is still to come; an evaluation's episodes are planned ones, too.

    Args:
      train: settings.
      episodes: collected so far.
      updates: gradient steps so far.
      evaluated: number of episodes at the last evaluation.
    """
    seeds, most = train.seed_episodes, max(episodes, train.episodes)
    evaluations = _evaluations(train, max(episodes, seeds), most, evaluated)
    collected = most - max(episodes, seeds) if train.collect == "online" else 0
    return {
        "random": most - episodes - collected,
        "planned": collected + train.evaluation_episodes * evaluations,
        "update": max(0, updates_due(train, most) - updates),
    }


def _evaluations(train: TrainConfig, episodes: int, most: int, evaluated: int) -> int:
    """Counts the evaluations that are due from so many episodes on, now among them."""
    interval, last = train.evaluation_interval, later_episodes(train, most)
    if not interval:
        return 0
    multiples = last // interval - (later_episodes(train, episodes) - 1) // interval
    done = evaluated == episodes and evaluation_due(train, episodes, -1)
    return multiples + (last % interval > 0) - done


def exploration_stddev(train: TrainConfig, episodes: int) -> float:
    """Returns the stddev of the noise on the next episode's actions, in half widths of the box."""
    if not train.exploration_ramp:
        return train.exploration_stddev
    share = min(1.0, later_episodes(train, episodes) / train.exploration_ramp)
    return (1.0 - share) * train.exploration_stddev + share * train.exploration_min_stddev


def evaluation_due(train: TrainConfig, episodes: int, evaluated: int) -> bool:
    """Tells whether to evaluate now; `evaluated` episodes were there at the last time."""
    interval = train.evaluation_interval
    if not interval or evaluated == episodes:
        return False
    return finished(train, episodes) or later_episodes(train, episodes) % interval == 0


def checkpoint_due(train: TrainConfig, episodes: int) -> bool:
    """Tells whether to save once so many episodes are learned from."""
    later = later_episodes(train, episodes)
    return finished(train, episodes) or later % train.checkpoint_interval == 0


def checkpoint_due_between(train: TrainConfig, updates: int, saved: int) -> bool:
    """Tells whether to save while learning, when the newest checkpoint has `saved` updates."""
    return updates - saved >= train.checkpoint_updates


def line_due(train: TrainConfig, episodes: int, updates: int) -> bool:
    """Tells whether to write the metrics of the last updates after so many of them."""
    return updates % LINE_UPDATES == 0 or updates == updates_due(train, episodes)


def finished(train: TrainConfig, episodes: int) -> bool:
    """Tells whether so many episodes are enough."""
    return episodes >= train.episodes
