"""The comparison with and without continuation: what is decided, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from learning import endings

from planet.config import Config


@pytest.mark.parametrize(
    ("returns", "decided"), [([4.0, 6.0, 8.0], False), ([6.0, 8.0, 10.0], True)]
)
def test_a_difference_of_more_than_two_standard_errors_is_decided(
    returns: list[float], decided: bool
) -> None:
    """Variances of 4 over three episodes each: an error of sqrt(8 / 3), twice which is 3.3."""
    without = {"continuation": False, "returns": [2.0, 4.0, 6.0]}
    found = endings.compare([without, {"continuation": True, "returns": returns}])
    assert found["difference"] == pytest.approx(returns[0] - 2)
    assert found["standard_error"] == pytest.approx((8 / 3) ** 0.5)
    assert found["decided"] == decided
    assert found["seeds"] == {"mean": found["difference"], "standard_error": 0.0}


@pytest.mark.parametrize("task", endings.TASKS)
def test_both_arms_have_the_same_settings_but_for_continuation(task: str) -> None:
    without, learned = (endings.settings(task, 1, each).to_dict() for each in (False, True))
    assert learned["model"].pop("continuation") and not without["model"].pop("continuation")
    assert without == learned
    assert Config.from_dict(endings.settings(task, 1, True).to_dict()).environment.task == task


def test_a_quick_comparison_runs(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium.envs.mujoco", reason="needs the train extra")
    pytest.importorskip("mujoco", reason="needs the train extra")
    task = ["--task", "gym:InvertedPendulum-v5"]  # Gymnasium warns of its older version
    assert endings.main(["--quick", *task, "--output", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [run["continuation"] for run in found["runs"]] == [False, True]
    first, second = (run["random_mean"] for run in found["runs"])
    assert first == second
