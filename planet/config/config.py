"""Joins the settings of a whole run; writes them to a file and reads them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from planet.config.environment import EnvironmentConfig
from planet.config.imagination import ImaginationConfig
from planet.config.model import ModelConfig
from planet.config.planner import (
    PLANNER_CONFIGS,
    CEMConfig,
    PlannerConfig,
    other_planner,
    planner_class,
)
from planet.config.settings_file import parse_settings
from planet.config.train import TrainConfig
from planet.errors.listing import listed
from planet.storage.atomic import atomic_write, read_file

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """Holds the settings of a whole run, by section."""

    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    planner: PlannerConfig = field(default_factory=CEMConfig)
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Refuses states of one observation each where that hides what moves how fast."""
        model, environment = self.model, self.environment
        forgets = model.posterior == "encoder" and model.transition == "ssm"
        if forgets and environment.hides_velocities:
            raise ValueError(
                "model.posterior: expected 'filter' where one picture hides velocities (task "
                f"{environment.task!r}) and transition='ssm' remembers none, got 'encoder'; or set "
                "environment.frames to 2 or more, environment.observe to 'vectors' or 'both', or "
                "model.transition to 'rssm'"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns values of JSON types by section and name."""
        return {
            section: {k: list(v) if isinstance(v, tuple) else v for k, v in vars(values).items()}
            for section, values in vars(self).items()
        }

    def with_overrides(self, overrides: Mapping[str, Mapping[str, Any]]) -> Config:
        """Returns these settings with others for some, by section and name; see `from_dict`.

        Another planner's name stands for its defaults, see `planet.config.planner.other_planner`.
        """
        values = self._with_planner_of(overrides).to_dict()
        for section, given in overrides.items():
            known = isinstance(given, Mapping)
            values[section] = {**values.get(section, {}), **given} if known else given
        return Config.from_dict(values)

    def _with_planner_of(self, overrides: Mapping[str, Mapping[str, Any]]) -> Config:
        given = overrides.get("planner")
        name = given.get("name", self.planner.name) if isinstance(given, Mapping) else None
        if name not in [*PLANNER_CONFIGS] or name == self.planner.name:  # it may be a list
            return self
        return dataclasses.replace(self, planner=other_planner(self.planner, name))

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config:
        """Builds the settings that `to_dict` returned.

        Raises:
          ValueError: an unknown or missing key, or a value of another type or out of range; the
            message names it.
        """
        kinds = get_type_hints(Config)
        _known(values, set(kinds), "config")
        kinds["planner"] = _planner_class(values["planner"])
        return Config(**{name: _build(kind, values[name], name) for name, kind in kinds.items()})

    @staticmethod
    def load(path: Path | str) -> Config:
        """Reads the settings that `save` wrote, as JSON in UTF-8.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: the file holds no settings; the message names the file and the setting, what
            was expected and what came.
        """
        content = read_file(path)
        try:
            return Config.from_dict(parse_settings(content))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path | str) -> None:
        """Writes or replaces a file of settings, atomically.

        Raises:
          OSError: the file cannot be written; an existing one stays as it was.
        """
        with atomic_write(path) as file:
            file.write((json.dumps(self.to_dict(), indent=2) + "\n").encode())


def _planner_class(values: Any) -> type[PlannerConfig]:
    """Returns the class of the planner that settings name; of what is no table, any."""
    if not isinstance(values, dict):
        return PlannerConfig
    _known({"name": None} if "name" in values else {}, {"name"}, "planner")
    try:
        return planner_class(values["name"])
    except ValueError as error:
        raise ValueError(f"planner.{error}") from None


def _build(kind: type[T], values: dict[str, Any], where: str) -> T:
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    _known(values, names, where)
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.{error}") from error


def _known(values: dict[str, Any], names: set[str], where: str) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a table of settings, got {type(values).__name__}")
    older = ", which settings of older versions of planet do not have"
    for kind, keys, reason in (
        ("unknown", set(values) - names, ""), ("missing", names - set(values), older)
    ):  # fmt: skip
        if keys:
            named = listed(map(repr, sorted(keys, key=str)))
            raise ValueError(f"{where}: {kind} setting [{named}]{reason}; expected {sorted(names)}")
