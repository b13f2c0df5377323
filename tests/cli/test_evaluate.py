"""`planet evaluate`: scores, curve and video of a run, by the planner that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_run import STEPS

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet.cli import main
from planet.training.metrics import read_metrics


def test_evaluate_writes_scores_curve_and_video(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import imageio.v2 as imageio

    assert main(["evaluate", str(trained), "--episodes", "2", "--baselines"]) == 0
    output = capsys.readouterr().out
    content = json.loads((trained / "scores.json").read_text())
    scores = {score["policy"]: score for score in content["scores"]}
    assert list(scores) == ["agent", "random actions", "zero actions", "untrained planner"]
    assert all(len(score["returns"]) == 2 for score in scores.values())
    # The run's last evaluation had the same agent, seeds and number of episodes.
    last = [line for line in read_metrics(trained) if "evaluate/return" in line][-1]
    assert scores["agent"]["mean"] == last["evaluate/return"]
    for score in scores.values():
        assert f"{score['mean']:.1f}" in output and f"{score['standard_error']:.1f}" in output
    for name in ("scores.json", "learning_curve.png", "evaluation.mp4"):
        assert str(trained / name) in output and (trained / name).stat().st_size > 0
    with imageio.get_reader(trained / "evaluation.mp4") as reader:
        assert sum(1 for _ in reader) == STEPS + 1
        width, height = reader.get_meta_data()["size"]
    assert width > 2.5 * height / 2 and width % 16 == height % 16 == 0


def test_evaluate_takes_a_seed_and_no_video(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "evaluation.mp4").unlink(missing_ok=True)
    arguments = ["evaluate", str(trained), "--episodes", "1", "--no-video", "--seed"]
    returns = []
    for seed in ("0", "7"):
        assert main([*arguments, seed]) == 0
        content = json.loads((trained / "scores.json").read_text())
        returns.append(content["scores"][0]["returns"])
    assert returns[0] != returns[1]
    assert not (trained / "evaluation.mp4").exists()


def test_evaluate_without_a_run_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path)]) == 1
    assert f"{tmp_path} holds no run: config.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--context", "50"], "context: expected 1 <= context < length=50, got 50"),
        (["--no-video"], "metrics.jsonl"),
    ],
)
def test_what_could_not_be_drawn_is_refused_before_anything_is_played(
    options: list[str], complaint: str, trained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("config.json", "checkpoint.pt"):  # and no metrics
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    assert main(["evaluate", str(tmp_path), *options]) == 1
    captured = capsys.readouterr()
    assert complaint in captured.err and captured.out == ""


def test_evaluate_with_a_damaged_checkpoint_is_explained(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    (tmp_path / "checkpoint.pt").write_bytes((trained / "checkpoint.pt").read_bytes()[:500])
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "checkpoint.pt" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_evaluate_with_other_settings_says_so(
    precision: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--planner.budget-ms", "1000", "--imagination.precision", precision]
    assert main(["evaluate", str(trained), "--episodes", "1", "--no-video", *chosen]) == 0
    output = capsys.readouterr().out
    assert "budget ms 1000.0" in output and f"backend reference, precision {precision}" in output
    config = json.loads((trained / "scores.json").read_text())["config"]
    assert "(variant chosen for cpu)" in output
    chosen_there = config["imagination"]["precision"], config["planner"]["budget_ms"]
    assert chosen_there == (precision, 1000.0)
