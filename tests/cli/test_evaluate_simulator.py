"""`planet evaluate` without a run: planning on the true simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from envs.conftest import opengl  # noqa: F401  (a fixture)

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="the command line needs the train extra")

from planet import envs
from planet.cli import main
from planet.config import ICEMConfig
from planet.envs import rendering

SMALL = ["--planner.horizon", "2", "--planner.candidates", "8", "--planner.topk", "4",
         "--planner.iterations", "1"]  # fmt: skip
SIMULATOR = ["evaluate", "--planner.scorer", "simulator"]


@pytest.mark.usefixtures("opengl")
def test_a_planner_is_scored_without_a_run_and_nothing_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from planet.experiments.simulated import score_on_simulator

    monkeypatch.setattr(rendering.Renderer, "render", None)
    monkeypatch.chdir(tmp_path)
    arguments = ["--task", "reacher-easy", "--episodes", "2", "--seed", "3", "--baselines"]
    chosen = ["--planner", "icem", *SMALL, "--planner.decay", "1"]
    assert main([*SIMULATOR, *arguments, *chosen]) == 0
    output = capsys.readouterr().out
    assert "reacher-easy: planning on the true simulator; 2 episodes, seed 3; name icem" in output
    planner = ICEMConfig(
        horizon=2, candidates=8, topk=4, iterations=1, decay=1.0, scorer="simulator"
    )
    environment = envs.make("reacher-easy", observe="vectors")
    scores = score_on_simulator(environment, planner, 2, 3, baselines=True)
    environment.close()
    names = ["icem on the simulator", "random actions", "zero actions"]
    assert [score.policy for score in scores] == names
    for score in scores:
        returns = " ".join(f"{value:.1f}" for value in score.returns)
        assert score.policy in output and returns in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["evaluate"], "run_dir: expected the directory of a run, got none; to plan without one"),
        (["evaluate", "--task", "cheetah-run"], "run_dir: expected the directory of a run"),
        (SIMULATOR, "task: expected one of the DM Control Suite, as cheetah-run, got none"),
        ([*SIMULATOR, "--task", "chetah-run"], "task: expected one of cheetah-run"),
    ],
)
def test_what_is_missing_is_said_by_name(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert complaint in captured.err and captured.out == ""


def test_the_toy_has_no_simulator_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SIMULATOR, "--task", "toy-reach"]) == 1
    assert "environment: expected a task of the DM Control Suite" in capsys.readouterr().err


def test_a_run_is_scored_by_its_model(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SIMULATOR, str(trained)]) == 1
    assert "planner.scorer: expected 'model' for the agent of a run" in capsys.readouterr().err
    assert main(["evaluate", str(trained), "--task", "cheetah-run"]) == 1
    assert "task: expected none, a run has its own, got 'cheetah-run'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imagination.precision", "int8"),
        ("imagination.discount", "0.5"),
        ("train.device", "cuda"),
        ("context", "3"),
        ("length", "10"),
    ],
)
def test_what_has_no_effect_is_refused(
    name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SIMULATOR, "--task", "reacher-easy", f"--{name}", value]) == 1
    captured = capsys.readouterr()
    assert f"{name}: expected none with planner.scorer=simulator" in captured.err
    assert captured.out == ""
