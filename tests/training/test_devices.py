"""Devices, kernels and planners that cannot be had are refused before any work."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from conftest import FUSED_MISSING, fused_is_built
from toy_runs import changed, finished, make_trainer, refused

from planet.config import Config, TrainConfig
from planet.experiments.run import open_run
from planet.systems.planet import make_world_model, trained_model
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


# ---- What updates are computed by ----------------------------------------------------------------


def test_an_open_backend_is_fused_on_cpus_and_the_reference_elsewhere() -> None:
    chosen = {device: TrainConfig().on(device).backend for device in ("cpu", "cuda", "meta")}
    assert chosen == {"cpu": "fused", "cuda": "reference", "meta": "reference"}


@pytest.mark.parametrize(
    ("device", "settings", "message"),
    [
        ("cuda", {"backend": "fused"}, "train.backend: 'fused' has no kernels for updates on cuda"),
        ("cuda", {"precision": "bf16"},
         "train.precision: expected 'fp32' with backend='reference' on cuda, got 'bf16'"),
        ("cpu", {"backend": "reference", "precision": "bf16"},
         "train.precision: expected 'fp32' with backend='reference' on cpu, got 'bf16'"),
    ],
)  # fmt: skip
def test_updates_without_kernels_are_refused(
    device: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        TrainConfig(**settings).on(device)


def test_bf16_that_the_processor_does_not_multiply_is_refused_before_anything_is_written(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    config = changed(tiny, backend="fused", precision="bf16")
    with pytest.raises(ValueError, match=r"^train\.precision: 'bf16' needs a processor"):
        make_trainer(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_reference_computes_with_the_model_itself(tiny: Config) -> None:
    model = make_world_model(tiny, 2)
    assert trained_model(model, tiny.train) is model


def test_a_run_goes_on_with_another_backend_and_not_with_another_precision(
    tiny: Config, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planet.systems.planet.CompiledModel", lambda model, precision: model)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    other = changed(tiny, backend="fused", precision="bf16")
    refused(other, run, r"train\.precision was 'fp32', now 'bf16'")
    finished(changed(tiny, backend="fused"), run)


def test_an_agent_acts_where_its_updates_cannot_be_made(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planet.systems.planet.CompiledModel", lambda model, precision: model)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    config = changed(tiny, backend="fused", precision="bf16", episodes=2)
    finished(config, tmp_path)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    assert open_run(tmp_path).config == config
