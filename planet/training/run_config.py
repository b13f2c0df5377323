"""Writes the settings of a run directory once, and compares them when the run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planet.config import ActingConfig, Config
from planet.errors.listing import listed

# Settings that do not decide what is learned.
_MAY_DIFFER = {
    "imagination": ("backend",),
    "train": (
        "episodes", "device", "threads", "backend", "deterministic", "evaluation_interval",
        "evaluation_episodes", "checkpoint_interval", "checkpoint_updates",
    ),
}  # fmt: skip


def write_config(path: Path, config: Config) -> None:
    """Writes a run's settings, unless the file holds them."""
    if not path.exists() or Config.load(path) != config:
        config.save(path)


def check_config(path: Path, kept: Config, config: Config) -> None:
    """Compares settings with those of `path` that a run was started with; some may differ.

    Raises:
      ValueError: the run was started with other settings; the message names them.
    """
    difference = listed(
        f"{section}.{name} was {was!r}, now {now!r}"
        for section, name, was, now in _differences(kept, config)
        if name not in _MAY_DIFFER.get(section, ())
    )
    if difference:
        other = f"the run was started with other settings: {difference}"
        raise ValueError(f"{path}: {other}; use the same settings, or another directory")


def overridden(kept: Config, overrides: Mapping[str, Mapping[str, Any]]) -> Config:
    """Returns a run's settings with others, by section and name, to act with what was learned.

    Raises:
      ValueError: an unknown setting, a wrong value, or another value of a setting that decided
        what was learned.
    """
    config, acting = kept.with_overrides(overrides), ActingConfig.of(kept).names()
    for section, name, was, now in _differences(kept, config):
        if (section, name) not in acting:
            raise ValueError(
                f"{section}.{name}: expected {was!r}, which decided what was learned, got {now!r}"
            )
    return config


def _differences(kept: Config, config: Config) -> Iterator[tuple[str, str, Any, Any]]:
    """Yields section, name and both values of the settings that differ.

    Of planners of two kinds these are the settings that both have, the name among them.
    """
    given = config.to_dict()
    for section, values in kept.to_dict().items():
        for name, value in values.items():
            now = given[section].get(name, value)
            if now != value:
                yield section, name, value, now
