"""Small agents with every form of the control step, and captures that are counted."""

from __future__ import annotations

from typing import Any

import agents
import pytest
import torch
from acting.captures import Captures
from acting.device_clock import ClockEvent, DeviceClock
from conftest import FUSED_MISSING, fused_is_built

from planet.acting import captured_step
from planet.acting.agent import Agent
from planet.models import WorldModel


@pytest.fixture(params=["eager", "captured", "compiled"])
def make_agent(request: pytest.FixtureRequest) -> agents.MakeAgent:
    """make_agent(stddev=0.3, model=None, **settings of planner, imagination and agent)."""
    if request.param == "compiled" and not fused_is_built():
        pytest.skip(FUSED_MISSING)
    form = {"backend": "fused"} if request.param == "compiled" else {}

    def make(stddev: float = 0.3, model: WorldModel | None = None, **how: Any) -> Agent:
        capture = request.param == "captured"
        return agents.small_agent(capture, model, exploration_stddev=stddev, **form | how)

    return make


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    noted = Captures()
    monkeypatch.setattr(captured_step, "capture", noted)
    return noted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DeviceClock:
    """Makes `torch.cuda` record events by the clock of a stand-in."""
    clock = DeviceClock()
    cuda, nvtx, log = torch.cuda, torch.cuda.nvtx, clock.log
    monkeypatch.setattr(cuda, "Event", type("Event", (ClockEvent,), {"clock": clock}))
    monkeypatch.setattr(cuda, "current_stream", clock.current_stream)
    monkeypatch.setattr(cuda, "is_current_stream_capturing", lambda: clock.nodes is not None)
    monkeypatch.setattr(nvtx, "range_push", lambda name: log.append(f"<{name}"))
    monkeypatch.setattr(nvtx, "range_pop", lambda: log.append(">"))
    return clock
