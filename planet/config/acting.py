"""Names the settings that a trained agent may act with although its run has others."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from planet.config.config import Config
from planet.config.imagination import ImaginationConfig
from planet.config.planner import CEMConfig, PlannerConfig
from planet.config.train import ComputeConfig


@dataclass(frozen=True, kw_only=True)
class ActingConfig:
    """Holds the settings of `Config` that do not decide what was learned."""

    planner: PlannerConfig = field(default_factory=CEMConfig)
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    train: ComputeConfig = field(default_factory=ComputeConfig)

    @staticmethod
    def of(config: Config) -> ActingConfig:
        """Returns these settings of a run."""
        compute = {f.name: getattr(config.train, f.name) for f in fields(ComputeConfig)}
        return ActingConfig(
            planner=config.planner, imagination=config.imagination, train=ComputeConfig(**compute)
        )

    def names(self) -> set[tuple[str, str]]:
        """Returns section and name of each of these settings."""
        return {(s.name, f.name) for s in fields(self) for f in fields(getattr(self, s.name))}

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Returns these settings by section and name."""
        return {section.name: vars(getattr(self, section.name)) for section in fields(ActingConfig)}
