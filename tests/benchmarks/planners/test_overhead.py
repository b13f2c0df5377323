"""The benchmark of the loop's overhead: what it compares, and that its command runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cem.cases import Problem, Size
from cem.sampling import Samples
from ops.fused_support import needs_extension
from planners import overhead

from planet.ops import fused
from planet.planning import Imagination


def test_the_overhead_is_what_a_plan_takes_above_its_rollouts() -> None:
    wall = {"cem": [1.06, 1.10, 1.05], "cem rollouts": [1.00, 1.05, 1.02]}
    found = overhead.summary(Samples(wall))
    assert list(found) == ["cem"]
    assert found["cem"]["overhead_of_minima"] == pytest.approx(0.05)
    assert found["cem"]["median_overhead"] == pytest.approx(0.05 / 1.05)
    assert found["cem"]["rollouts"]["min_ms"] == pytest.approx(1000.0)


def test_every_planner_has_the_size_s_rollouts() -> None:
    size = Size.of_preset("paper")
    for name, planner in overhead.planners(size).items():
        again = planner.settings.keep
        assert planner.settings.counts == (1000,) * 10
        assert planner.settings.topk == 100
        assert again == (30 if name == "icem" else 0)
    assert overhead.planners(size)["icem"].settings.mix(torch.device("cpu")) is not None
    assert overhead.planners(size)["mppi"].settings.temperature


@needs_extension
def test_what_is_compared_scores_as_many_sequences_as_a_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, scored = Problem(overhead.QUICK), []
    imagination = Imagination(problem.weights, problem.latent)
    returns = Imagination.returns

    def count(self: Imagination, actions: torch.Tensor, noise: object) -> torch.Tensor:
        scored.append(actions.shape[2])
        return returns(self, actions, noise)  # type: ignore[arg-type]

    monkeypatch.setattr(Imagination, "returns", count)
    for planner in overhead.planners(overhead.QUICK).values():
        scored.clear()
        overhead.rollouts(planner, imagination)()
        assert sum(scored) == planner.settings.rollouts


@needs_extension
def test_the_command_writes_a_row_for_every_planner_and_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "overhead.json"
    assert overhead.main(["--quick", "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    assert set(content["precisions"]) == set(fused.served_precisions("cpu"))
    for found in content["precisions"].values():
        assert list(found["planners"]) == ["cem", "icem", "mppi"]
        assert found["rounds"] >= 3
    assert content["threads"] == 1
    assert "overhead" in capsys.readouterr().out
