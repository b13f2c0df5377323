"""The settings of a run directory: written once, compared when the run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from planet.config import Config
from planet.listing import listed


def write_config(path: Path, config: Config) -> None:
    """Writes a run's settings, unless the file holds them."""
    if not path.exists() or Config.load(path) != config:
        config.save(path)


def check_config(path: Path, kept: Config, config: Config) -> None:
    """Compares settings with those that a run was started with.

    `episodes`, `device`, `threads`, the planner's backend, the intervals of evaluation and
    checkpoints may differ; they do not decide what is learned.

    Args:
      path: where the run's settings come from.
      kept: the run's settings.
      config: settings that the run is to go on with.

    Raises:
      ValueError: the run was started with other settings; the message names them.
    """
    difference = _difference(_fixed(kept), _fixed(config))
    if difference:
        raise ValueError(
            f"{path}: the run was started with other settings: {difference}; "
            "use the same settings, or another directory"
        )


def _fixed(config: Config) -> dict[str, Any]:
    """The settings that may not change while a run goes on."""
    reference = Config()
    train = replace(
        config.train,
        episodes=10**9,
        device=reference.train.device,
        threads=reference.train.threads,
        evaluation_interval=reference.train.evaluation_interval,
        evaluation_episodes=reference.train.evaluation_episodes,
        checkpoint_interval=reference.train.checkpoint_interval,
        checkpoint_updates=reference.train.checkpoint_updates,
    )
    planner = replace(config.planner, backend=reference.planner.backend)
    return replace(config, train=train, planner=planner).to_dict()


def _difference(kept: dict[str, Any], given: dict[str, Any]) -> str:
    return listed(
        f"{section}.{name} was {value!r}, now {given[section][name]!r}"
        for section, values in kept.items()
        for name, value in values.items()
        if given[section][name] != value
    )
