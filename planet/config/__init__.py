"""Holds all settings as frozen dataclasses: one field, one line with symbol, unit and source.

Sources: [P] Hafner et al., "Learning Latent Dynamics for Planning from Pixels", ICML 2019
(arXiv v5), Section 5, Appendix A and Algorithms 1 and 2; [G] the official code,
google-research/planet at c04226b; [I] Pinneri et al., "Sample-efficient Cross-Entropy Method for
Real-time Planning", CoRL 2020; [T] Hansen et al., "TD-MPC2", ICLR 2024; [O] ours. Defaults are the
`paper` preset, the others stand in `planet.config.presets`.
"""

from planet.config.acting import ActingConfig
from planet.config.checks import choices
from planet.config.config import Config
from planet.config.environment import EnvironmentConfig
from planet.config.imagination import ImaginationConfig
from planet.config.model import ModelConfig
from planet.config.planner import (
    PLANNER_CONFIGS,
    CEMConfig,
    GradientConfig,
    ICEMConfig,
    MPPIConfig,
    PlannerConfig,
    ShootingConfig,
)
from planet.config.train import ComputeConfig, TrainConfig

__all__ = [
    "PLANNER_CONFIGS",
    "ActingConfig",
    "CEMConfig",
    "ComputeConfig",
    "Config",
    "EnvironmentConfig",
    "GradientConfig",
    "ICEMConfig",
    "ImaginationConfig",
    "MPPIConfig",
    "ModelConfig",
    "PlannerConfig",
    "ShootingConfig",
    "TrainConfig",
    "choices",
]
