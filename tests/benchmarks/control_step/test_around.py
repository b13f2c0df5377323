"""The benchmark of what surrounds a plan runs, and its forms act alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from control_step import around
from ops.fused_support import needs_extension

from planet.config.presets import PRESETS
from planet.models import WorldModel
from planet.planning import CEMPlanner
from planet.protocols import image_spec

pytestmark = needs_extension


def test_the_command_writes_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)  # which takes half a minute
    path, threads = tmp_path / "around.json", torch.get_num_threads()
    arguments = ["--presets", "small", "--threads", "1", "--rounds", "6", "--output", str(path)]
    monkeypatch.setattr(sys, "argv", ["around.py", *arguments])
    try:
        around.main()
    finally:
        torch.set_num_threads(threads)
    parts = json.loads(path.read_text())["presets"]["small"]["1"]
    assert set(parts) == {
        "encoder", "encoder, after a plan", "filter", "filter, after a plan", "step"
    }  # fmt: skip
    for forms in parts.values():
        assert {"modules", "planet"} <= set(forms)
        for p50 in forms.values():
            assert 0 < p50["low"] <= p50["value"] <= p50["high"]
    assert "channels last" in capsys.readouterr().out


def test_both_agents_act_alike() -> None:
    """All candidates are elites, so that no rounding chooses others."""
    config = PRESETS["small"]("cheetah-run")
    model = WorldModel(config.model, around.ACTIONS, image_spec(config.environment.image_size))
    agents = around.agents(model, CEMPlanner(3, 20, 2, 20), "fp32")
    frame = np.full((32, 32, 3), 7, np.uint8)
    for agent in agents.values():
        agent.reset(1)
    one, other = (agent.act(frame, True) for agent in agents.values())
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert not isinstance(agents["modules"]._moment, type(agents["planet"]._moment))
