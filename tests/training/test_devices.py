"""Devices, kernels and planners that cannot be had are refused before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from conftest import FUSED_MISSING, fused_is_built
from toy_runs import make_trainer

from planet.config import Config
from planet.systems.planet import make_world_model
from planet.training.device import available_device


def test_a_device_that_is_not_there_is_refused_before_any_work(tiny: Config) -> None:
    cases = [("gpu", "device: expected 'cpu' or 'cuda', got 'gpu'")]
    cases.append(("meta", "device: 'meta' cannot be computed on here"))  # as mps elsewhere
    if not torch.cuda.is_available():
        cases.append(("cuda", "device: 'cuda' is not available"))
    for device, message in cases:
        config = replace(tiny, train=replace(tiny.train, device=device))
        with pytest.raises(ValueError, match=message):
            make_world_model(config, 2)


@pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"precision": "fp16"}, "precision: 'fp16' has no kernels on cpu"),
        ({"variant": "persistent"}, "variant: 'persistent' has no kernels on cpu"),
    ],
)
def test_what_a_device_does_not_serve_is_refused_before_anything_is_written(
    overrides: dict[str, str], message: str, tiny: Config, tmp_path: Path
) -> None:
    config = tiny.with_overrides({"imagination": {"backend": "fused", **overrides}})
    with pytest.raises(ValueError, match=message):
        make_trainer(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("toolkit", "devices", "name", "message"),
    [
        (None, 0, "cuda", "'cuda' is not available, torch .* was built without CUDA; install"),
        ("13.0", 0, "cuda", "'cuda' is not available, torch .* sees no GPU or no driver that runs"),
        ("13.0", 2, "cuda:2", "'cuda:2' is not available, expected one of 'cuda:0', 'cuda:1'"),
    ],
)
def test_what_a_gpu_lacks_is_said_in_a_sentence(
    toolkit: Any, devices: int, name: str, message: str, tiny: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.version, "cuda", toolkit)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    config = replace(tiny, train=replace(tiny.train, device=name))
    with pytest.raises(ValueError, match=f"device: {message}"):
        available_device(config)


@pytest.mark.parametrize("kind", [ValueError, ImportError])
def test_a_planner_that_cannot_be_had_is_refused_before_anything_is_written(
    kind: type[Exception], tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **settings: Any) -> None:
        raise kind("precision: 'int8' needs another processor")

    monkeypatch.setattr("planet.ops.reference.cem_plan", refuse)
    with pytest.raises(kind, match="another processor"):
        make_trainer(tiny, tmp_path / "run")
    assert not (tmp_path / "run").exists()
