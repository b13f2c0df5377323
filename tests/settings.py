"""The settings of a run one by one, for tests of all of them."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

from planet.config import Config

SECTIONS = tuple(field.name for field in dataclasses.fields(Config))


def fields() -> list[tuple[str, str]]:
    return [
        (section, field.name)
        for section in SECTIONS
        for field in dataclasses.fields(getattr(Config(), section))
    ]


def changed(config: Config, field: str, value: object) -> Config:
    """`config` with one field, "section.name", set."""
    section, name = field.split(".")
    part = replace(getattr(config, section), **{name: value})
    return replace(config, **{section: part})
