"""Settings of planners: a class for each, chosen by name, through JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planet.config import (
    PLANNER_CONFIGS,
    CEMConfig,
    Config,
    GradientConfig,
    ICEMConfig,
    MPPIConfig,
    PlannerConfig,
    ShootingConfig,
)


@pytest.mark.parametrize("name", PLANNER_CONFIGS)
def test_settings_survive_the_way_through_json(name: str) -> None:
    config = Config(planner=PLANNER_CONFIGS[name](horizon=7, budget_ms=2.5))
    assert config.planner.name == name
    restored = Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert restored == config and type(restored.planner) is PLANNER_CONFIGS[name]


@pytest.mark.parametrize("name", PLANNER_CONFIGS)
def test_unknown_and_missing_settings_of_a_planner_are_named(name: str) -> None:
    values = Config(planner=PLANNER_CONFIGS[name]()).to_dict()
    for setting in values["planner"]:
        rest = {k: v for k, v in values["planner"].items() if k != setting}
        with pytest.raises(ValueError, match=rf"planner: missing setting \['{setting}'\]"):
            Config.from_dict({**values, "planner": rest})
    values["planner"]["warmth"] = 1
    with pytest.raises(ValueError, match=r"planner: unknown setting \['warmth'\]"):
        Config.from_dict(values)


def test_a_planner_has_no_settings_of_another() -> None:
    values = Config().to_dict()
    values["planner"]["name"] = "shooting"
    with pytest.raises(ValueError, match=r"planner: unknown setting \['epsilon', 'iterations', "):
        Config.from_dict(values)


@pytest.mark.parametrize("name", ["hill", 3, None, ["cem"]])
def test_an_unknown_planner_is_named(name: Any) -> None:
    values = Config().to_dict()
    values["planner"]["name"] = name
    with pytest.raises(ValueError, match=r"^planner.name: expected one of \['cem', 'icem', "):
        Config.from_dict(values)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (PlannerConfig, {}, "name: expected settings in CEMConfig for 'cem', got PlannerConfig"),
        (ICEMConfig, {"name": "cem"}, "name: expected settings in CEMConfig for 'cem', got ICEM"),
        (ICEMConfig, {"horizon": 0}, "horizon: expected a value > 0, got 0"),
        (ICEMConfig, {"candidates": 0}, "candidates: expected a value > 0, got 0"),
        (ICEMConfig, {"topk": 47}, "topk: expected 1 <= K <= J=46, got 47"),
        (ICEMConfig, {"topk": 16}, "decay: expected at least 2 K = 32 candidates in every"),
        (ICEMConfig, {"iterations": 2**62}, "decay: expected at least 2 K = 20 candidates"),
        (ICEMConfig, {"decay": 0.5}, "decay: expected a value >= 1, got 0.5"),
        (ICEMConfig, {"keep": 11}, "keep: expected a value <= 10, got 11"),
        (ICEMConfig, {"keep": -1}, "keep: expected a value >= 0, got -1"),
        (ICEMConfig, {"momentum": 1.0}, "momentum: expected a value in [0, 1), got 1.0"),
        (ICEMConfig, {"colour": -1.0}, "colour: expected a value >= 0.0, got -1.0"),
        (ICEMConfig, {"horizon": 1025}, "colour: expected 0 for a horizon above 1024"),
        (ICEMConfig, {"horizon": 1, "numerics": "icem"}, "numerics: expected 'unit' for horizon=1"),
        (ICEMConfig, {"numerics": "raw"}, "numerics: expected one of ['unit', 'icem'], got"),
        (ICEMConfig, {"output": "worst"}, "output: expected one of ['mean', 'best'], got"),
        (ICEMConfig, {"shift": "left"}, "shift: expected one of ['none', 'repeat', 'middle'], got"),
        (ICEMConfig, {"epsilon": -1.0}, "epsilon: expected a value >= 0.0, got -1.0"),
        (MPPIConfig, {"temperature": 0.0}, "temperature: expected a value > 0, got 0.0"),
        (MPPIConfig, {"topk": 513}, "topk: expected 1 <= K <= J=512, got 513"),
        (MPPIConfig, {"momentum": -0.5}, "momentum: expected a value in [0, 1), got -0.5"),
        (ShootingConfig, {"candidates": 0}, "candidates: expected a value > 0, got 0"),
        (GradientConfig, {"learning_rate": 0.0}, "learning_rate: expected a value > 0, got 0.0"),
        (CEMConfig, {"scorer": "dream"}, "scorer: expected one of ['model', 'simulator'], got"),
        (CEMConfig, {"execute": 0}, "execute: expected 1 <= execute <= horizon=12, got 0"),
        (CEMConfig, {"execute": 13}, "execute: expected 1 <= execute <= horizon=12, got 13"),
        (ICEMConfig, {"execute": 2, "keep": 0}, "output: expected 'mean', or keep >= 1 sequences"),
        (MPPIConfig, {"execute": 2, "output": "best"}, "output: expected 'mean', or keep >= 1"),
        (CEMConfig, {"low": 1.0, "high": 0.0}, "low: expected a value <= high=0.0, got 1.0"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_by_name(
    kind: type[PlannerConfig], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        kind(**settings)
    assert str(error.value).startswith(message)
