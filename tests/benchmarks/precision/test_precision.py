"""Precisions are judged on models whose likeness is known, and on an agent of the toy task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from precision.likeness import exact_returns, likeness
from processes import python
from random_weights import PRESET_SIZES, make_problem

from planet.ops import reference

PROGRAMS = Path(__file__).parents[3] / "benchmarks" / "precision"
FIGURES = {
    "rank_correlation",
    "elite_overlap",
    "relative_l2",
    "rms_error_over_stddev",
    "largest_error_over_stddev",
}


def test_equal_returns_are_alike() -> None:
    values = torch.randn(50)
    same = likeness(values, values, 5)
    assert same["rank_correlation"] == pytest.approx(1.0)
    assert same["elite_overlap"] == 1.0
    assert same["relative_l2"] == same["rms_error_over_stddev"] == 0.0


def test_opposite_returns_are_not() -> None:
    values = torch.arange(50.0)
    opposite = likeness(-values, values, 5)
    assert opposite["rank_correlation"] == pytest.approx(-1.0)
    assert opposite["elite_overlap"] == 0.0


def test_overlap_is_the_share_of_the_elites() -> None:
    expected = torch.tensor([4.0, 3.0, 2.0, 1.0])
    got = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert likeness(got, expected, 2)["elite_overlap"] == 0.5
    assert likeness(2 * expected, expected, 2)["relative_l2"] == pytest.approx(1.0)


def test_float64_returns_are_what_float32_rounds() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=2, activation="elu")
    actions, noise = problem.actions(4, 20), problem.noise(4, 20)
    exact = exact_returns(problem.weights, problem.latent, actions, noise)
    assert exact.dtype == torch.float64
    rounded = problem.returns(reference, actions, noise)
    assert 0 < likeness(rounded[0], exact[0], 5)["relative_l2"] < 1e-6


@pytest.mark.slow
def test_fidelity_of_random_and_trained_models_is_written(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "fidelity.json"
    sizes = ("--candidates", 40, "--topk", 4, "--starts", 1, "--preset", "small")
    python(PROGRAMS / "fidelity.py", trained, *sizes, "--backend", "reference", "--output", output)
    models = json.loads(output.read_text())["models"]
    assert list(models) == [
        "random weights",
        "random weights x 2",
        "random weights x 3",
        f"trained: {trained.name}",
    ]
    for row in models.values():
        assert set(row["iterations"]) == {"0", "2", "4"}
        for kinds in row["iterations"].values():
            assert set(kinds) == {"fp32", "int8", "bf16", "other_noise"}
            assert all(set(figures) == FIGURES for figures in kinds.values())
        assert set(row["planned_action"]) == {"int8", "bf16", "other_seed"}
    first = models["random weights"]["iterations"]["0"]
    assert first["fp32"]["relative_l2"] < 2e-6
    assert min(first[name]["rank_correlation"] for name in ("int8", "bf16")) > 0.99


@pytest.mark.slow
def test_returns_are_played_with_the_precisions(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "returns.json"
    arguments = ("--precision", "bf16", "--episodes", 2, "--backend", "reference")
    python(PROGRAMS / "returns.py", trained, *arguments, "--output", output)
    row = json.loads(output.read_text())[trained.name]
    assert {"task", "updates", "planner", "machine", "bf16 - fp32"} <= set(row)
    for precision in ("fp32", "bf16"):
        assert len(row[precision]["returns"]) == 2
    assert set(row["bf16 - fp32"]) == {"mean", "standard_error"}
