"""int8 is judged on models whose likeness is known, and on a trained agent of the toy task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from int8.fidelity import likeness
from processes import python

INT8 = Path(__file__).parents[3] / "benchmarks" / "int8"
FIGURES = {
    "rank_correlation",
    "topk_jaccard",
    "rms_error_over_stddev",
    "largest_error_over_stddev",
}


def test_equal_returns_are_alike() -> None:
    values = torch.randn(50)
    same = likeness(values, values, 5)
    assert same["rank_correlation"] == pytest.approx(1.0)
    assert (same["topk_jaccard"], same["rms_error_over_stddev"]) == (1.0, 0.0)


def test_opposite_returns_are_not() -> None:
    values = torch.arange(50.0)
    opposite = likeness(-values, values, 5)
    assert opposite["rank_correlation"] == pytest.approx(-1.0)
    assert opposite["topk_jaccard"] == 0.0


def test_half_of_the_best_is_a_third_of_the_union() -> None:
    expected = torch.tensor([4.0, 3.0, 2.0, 1.0])
    got = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert likeness(got, expected, 2)["topk_jaccard"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_fidelity_of_random_and_trained_models_is_written(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "fidelity.json"
    sizes = ("--candidates", 40, "--topk", 4, "--starts", 1, "--preset", "small")
    python(INT8 / "fidelity.py", trained, *sizes, "--backend", "reference", "--output", output)
    models = json.loads(output.read_text())["models"]
    assert list(models) == [
        "random weights",
        "random weights x 2",
        "random weights x 3",
        f"trained: {trained.name}",
    ]
    for row in models.values():
        assert set(row["iterations"]) == {"0", "2", "4"}
        for figures in row["iterations"].values():
            assert set(figures["int8"]) == set(figures["other_noise"]) == FIGURES
        assert set(row["planned_action"]) == {"int8", "other_seed"}
    assert models["random weights"]["iterations"]["0"]["int8"]["rank_correlation"] > 0.99


@pytest.mark.slow
def test_returns_are_played_with_both_precisions(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "returns.json"
    arguments = ("--episodes", 2, "--backend", "reference", "--output", output)
    python(INT8 / "returns.py", trained, *arguments)
    row = json.loads(output.read_text())[trained.name]
    assert {"task", "updates", "planner", "machine", "int8 - fp32"} <= set(row)
    for precision in ("fp32", "int8"):
        assert len(row[precision]["returns"]) == 2
    assert set(row["int8 - fp32"]) == {"mean", "standard_error"}
