"""What is due when: the schedule depends on the settings alone, never on time or returns."""

from __future__ import annotations

from planet.config import TrainConfig


def updates_due(train: TrainConfig, planned: int) -> int:
    """Returns the gradient steps that must have been made.

    Args:
      train: settings.
      planned: episodes that the planner has collected.
    """
    return train.initial_updates + train.updates_per_episode * planned


def exploration_stddev(train: TrainConfig, planned: int) -> float:
    """Returns the stddev of the noise on planned actions, in half widths of the box.

    Args:
      train: settings.
      planned: episodes that the planner has collected.
    """
    if not train.exploration_ramp:
        return train.exploration_stddev
    share = min(1.0, planned / train.exploration_ramp)
    return (1.0 - share) * train.exploration_stddev + share * train.exploration_min_stddev
