"""Small agents with both forms of the control step, and captures that are counted."""

from __future__ import annotations

from typing import Any

import agents
import pytest
from acting.captures import Captures

from planet.acting import captured_step
from planet.acting.agent import Agent
from planet.models import WorldModel


@pytest.fixture(params=[False, True], ids=["eager", "captured"])
def make_agent(request: pytest.FixtureRequest) -> agents.MakeAgent:
    """make_agent(stddev=0.3, model=None, **settings of planner, imagination and agent)."""

    def make(stddev: float = 0.3, model: WorldModel | None = None, **how: Any) -> Agent:
        return agents.small_agent(request.param, model, exploration_stddev=stddev, **how)

    return make


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    noted = Captures()
    monkeypatch.setattr(captured_step, "capture", noted)
    return noted
