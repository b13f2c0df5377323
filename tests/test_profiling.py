"""Profiles: percentiles, stages, sizes, and what they need."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planet.config import ModelConfig
from planet.planning import CEMPlanner
from planet.profiling import (
    Profile,
    Stage,
    compute_facts,
    profile_planner,
)
from planet.random_weights import random_weights

MODEL = ModelConfig(state_size=3, belief_size=5, hidden_size=7, reward_layers=1, reward_hidden=4)
PLANNER = CEMPlanner(horizon=2, candidates=10, iterations=2, topk=3, backend="reference")


def test_summary_is_the_percentiles_of_the_steps() -> None:
    times = np.random.default_rng(0).exponential(size=200)
    summary = Stage("plan", tuple(times)).summary()
    assert summary["p50_ms"] == pytest.approx(np.median(times))
    assert summary["p95_ms"] == pytest.approx(np.percentile(times, 95))
    assert summary["p99_ms"] == pytest.approx(np.percentile(times, 99))
    assert summary["max_ms"] == times.max()
    assert summary["mean_ms"] == pytest.approx(times.mean())


def test_bare_planner_reports_its_sizes_and_survives_json() -> None:
    profile = profile_planner(PLANNER, random_weights(MODEL, 2), batch_size=3, steps=4)
    content = json.loads(json.dumps(profile.to_dict()))
    assert content["steps"] == 4 and list(content["stages"]) == ["plan"]
    assert content["plan"]["batch_size"] == 3 and content["plan"]["reward_hidden"] == [4]
    assert all(value > 0 for value in content["stages"]["plan"].values())


def test_table_has_a_line_per_stage_and_the_sizes() -> None:
    stages = (Stage("plan", (1.0, 3.0)), Stage("total", (2.0, 5.0)))
    facts = {"horizon": 12, "belief_size": 200, "reward_hidden": [200, 100]}
    text = Profile(stages, facts, {"backend": "fused"}, {"cores": 2}, {"task": "toy-reach"}).table()
    assert "horizon 12, belief 200, reward hidden 200 100" in text
    assert "backend fused" in text and "cores 2" in text and "task toy-reach" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["plan"] == ["2.00", "2.90", "2.98", "3.00", "2.00"]
    assert rows["stage"][:5] == ["p50", "p95", "p99", "max", "mean"]
    assert "2 steps" in text


@pytest.mark.parametrize("name", ["batch_size", "steps"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        profile_planner(PLANNER, random_weights(MODEL, 2), **{name: 0})


def test_planner_errors_pass_through() -> None:
    with pytest.raises(ValueError, match="topk"):
        profile_planner(replace(PLANNER, topk=11), random_weights(MODEL, 2))


def test_compute_facts_name_the_instruction_set_of_the_backend() -> None:
    weights = random_weights(MODEL, 2)
    facts = compute_facts("reference", weights.device)
    assert facts["device"] == "cpu" and facts["backend"] == "reference" and facts["threads"] >= 1
    assert facts["instruction_set"]


def test_profiling_and_doctor_need_torch_and_numpy_alone() -> None:
    program = """
import sys
for name in ("tyro", "gymnasium", "dm_control", "mujoco", "OpenGL", "tqdm", "matplotlib",
             "imageio", "tensorboard"):
    sys.modules[name] = None
import planet.profiling, planet.doctor
"""
    folder = Path(__file__).parent
    subprocess.run([sys.executable, "-c", program], check=True, cwd=folder)
