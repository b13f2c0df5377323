"""The settings of a run directory: written once, compared when the run goes on."""

from __future__ import annotations

from pathlib import Path

from planet.config import Config
from planet.listing import listed

# Settings that do not decide what is learned.
_MAY_DIFFER = {
    "planner": ("backend",),
    "train": (
        "episodes", "device", "threads", "evaluation_interval", "evaluation_episodes",
        "checkpoint_interval", "checkpoint_updates",
    ),
}  # fmt: skip


def write_config(path: Path, config: Config) -> None:
    """Writes a run's settings, unless the file holds them."""
    if not path.exists() or Config.load(path) != config:
        config.save(path)


def check_config(path: Path, kept: Config, config: Config) -> None:
    """Compares settings with those that a run was started with; some may differ.

    Args:
      path: where the run's settings come from.
      kept: the run's settings.
      config: settings that the run is to go on with.

    Raises:
      ValueError: the run was started with other settings; the message names them.
    """
    given = config.to_dict()
    difference = listed(
        f"{section}.{name} was {value!r}, now {given[section][name]!r}"
        for section, values in kept.to_dict().items()
        for name, value in values.items()
        if given[section][name] != value and name not in _MAY_DIFFER.get(section, ())
    )
    if difference:
        raise ValueError(
            f"{path}: the run was started with other settings: {difference}; "
            "use the same settings, or another directory"
        )
