"""Settings to plain types and back, and other values for some."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import pytest
from settings import SECTIONS, fields

from planet.config import ActingConfig, CEMConfig, ComputeConfig, Config, TrainConfig, presets


@pytest.mark.parametrize("name", presets.PRESETS)
def test_settings_survive_the_way_through_json(name: str) -> None:
    config = presets.PRESETS[name]("walker-walk")
    assert Config.from_dict(config.to_dict()) == config
    restored = Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert restored == config
    assert restored.to_dict() == config.to_dict()
    hash(restored)  # tuples, not lists


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_setting_is_refused(section: str) -> None:
    values = Config().to_dict()
    values[section]["colour"] = 1
    with pytest.raises(ValueError, match=rf"{section}: unknown setting \['colour'\]"):
        Config.from_dict(values)


def test_missing_settings_are_refused() -> None:
    for section, name in fields():
        values = Config().to_dict()
        del values[section][name]
        with pytest.raises(ValueError, match=rf"{section}: missing setting \['{name}'\]"):
            Config.from_dict(values)


def test_unknown_and_missing_sections_are_refused() -> None:
    with pytest.raises(ValueError, match=r"config: unknown setting \['extra'\]"):
        Config.from_dict({**Config().to_dict(), "extra": {}})
    with pytest.raises(ValueError, match=r"missing setting \['train'\], which settings of older"):
        Config.from_dict({k: v for k, v in Config().to_dict().items() if k != "train"})
    with pytest.raises(ValueError, match="train: expected a table of settings, got list"):
        Config.from_dict({**Config().to_dict(), "train": []})


def test_invalid_value_in_a_dict_is_refused() -> None:
    values = Config().to_dict()
    values["model"]["bit_depth"] = 9
    with pytest.raises(ValueError, match="bit_depth: expected a value <= 8, got 9"):
        Config.from_dict(values)


def test_overrides_replace_settings_by_section_and_name() -> None:
    config = Config().with_overrides({"planner": {"candidates": 50, "topk": 5}, "model": {}})
    assert config == Config(planner=CEMConfig(candidates=50, topk=5))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"planer": {"topk": 5}}, r"config: unknown setting \['planer'\]; expected"),
        ({"planner": {"precision": "int8"}}, r"planner: unknown setting \['precision'\]; expected"),
        ({"imagination": {"precision": "int4"}}, "imagination.precision: expected one of"),
        ({"planner": 3}, "planner: expected a table of settings, got int"),
        ({"planner": {"name": []}}, r"planner.name: expected one of .*, got \[\]"),
    ],
)
def test_wrong_overrides_are_refused_by_name(overrides: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config().with_overrides(overrides)


@pytest.mark.parametrize(
    "remedy",
    [
        {"environment": {"frames": 2}}, {"environment": {"observe": "both"}},
        {"environment": {"observe": "vectors"}}, {"environment": {"task": "toy-reach"}},
        {"environment": {"task": "gym:Pendulum-v1"}}, {"model": {"transition": "rssm"}},
        {"model": {"posterior": "filter"}},
    ],
    ids=str,
)  # fmt: skip
def test_states_without_a_past_are_refused_where_a_picture_hides_velocities(remedy: Any) -> None:
    design = {"model": {"posterior": "encoder", "transition": "ssm"}}
    message = r"model.posterior: expected 'filter' .* 'cheetah-run'.* environment.frames to 2"
    with pytest.raises(ValueError, match=message):
        Config().with_overrides(design)
    section = {name: {**design.get(name, {}), **values} for name, values in remedy.items()}
    Config().with_overrides({**design, **section})


def test_what_an_agent_may_act_with_are_settings_of_the_config() -> None:
    assert ActingConfig().names() < set(fields())
    config = Config().with_overrides(ActingConfig(train=ComputeConfig(threads=3)).overrides())
    assert config == Config(train=TrainConfig(threads=3))


def test_every_field_has_a_comment_with_its_meaning() -> None:
    sections = [getattr(Config(), section) for section in SECTIONS]
    classes = {base for section in sections for base in type(section).__mro__[:-1]}
    source = "\n".join(inspect.getsource(base) for base in classes)
    for _, name in fields():
        assert re.search(rf"^    {name}: .* = .*  # \S", source, re.M), name
