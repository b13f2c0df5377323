"""The commands from end to end, on the toy task with a model that trains within a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import torch

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="the command line needs the train extra")

from planet import __version__
from planet.checkpoint import load_checkpoint
from planet.cli import COMMANDS, main
from planet.cli.progress import Bars, Lines, duration, make_progress
from planet.cli.train import PresetName, TrainOptions, parse
from planet.config import Config
from planet.presets import PRESETS
from planet.training.metrics import read_metrics
from planet.training.run import open_run
from planet.weight_file import load_weights

STEPS = 6
SMALL = f"""
    --preset small --task toy-reach --environment.image-size 8 --environment.render-size 8
    --environment.control-steps {STEPS} --model.state-size 3 --model.belief-size 5
    --model.hidden-size 7 --model.encoder-channels 4 --model.decoder-hidden 9
    --model.reward-hidden 8 --planner.horizon 3 --planner.candidates 10 --planner.iterations 2
    --planner.topk 3 --planner.backend reference --train.batch-size 3 --train.chunk-length 4
    --train.initial-updates 5 --train.updates-per-episode 3 --train.evaluation-interval 2
    --train.evaluation-episodes 2 --train.seed-episodes 2 --train.episodes 5
    --train.learning-rate 0.001
""".split()


def train(directory: Path, *more: str) -> list[str]:
    return ["train", "--directory", str(directory), *SMALL, *more]


def timeless(directory: Path) -> list[dict[str, float]]:
    """Metrics without the times, which no two runs share."""
    return [
        {name: value for name, value in line.items() if "seconds" not in name}
        for line in read_metrics(directory)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests must not change it."""
    directory = tmp_path_factory.mktemp("runs") / "trained"
    assert main(train(directory)) == 0
    return directory


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["-h"]) == main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"planet {__version__}\n"


def test_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    error = capsys.readouterr().err
    assert "'trian'" in error and "train, evaluate, profile, export, doctor" in error


def test_every_setting_is_an_option_with_its_comment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for section, values in Config().to_dict().items():
        for name in values:
            assert f"--{section}.{name}".replace("_", "-") in text, (section, name)
    assert "action sequences per iteration" in text


def test_presets_on_the_command_line_are_all_presets() -> None:
    assert typing.get_args(PresetName) == tuple(PRESETS)


def test_preset_and_task_decide_the_other_defaults() -> None:
    options = parse(["--preset", "small", "--task", "walker-walk", "--directory", "x"])
    expected = PRESETS["small"]("walker-walk")
    assert (options.environment, options.model) == (expected.environment, expected.model)
    assert (options.planner, options.train) == (expected.planner, expected.train)


def test_default_preset_is_paper() -> None:
    assert parse(["--directory", "x"]) == TrainOptions(directory=Path("x"))


def test_options_override_the_preset() -> None:
    options = parse(["--directory", "x", "--preset=small", "--planner.candidates", "77"])
    assert options.planner.candidates == 77
    assert options.planner.iterations == PRESETS["small"]("cheetah-run").planner.iterations


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--preset", "tiny"], "tiny"),
        (["--planner.candidats", "5"], "candidats"),
        (["--planner.candidates", "5"], "topk: expected K <= J=5"),
        (["--train.seed", "one"], "one"),
    ],
)
def test_wrong_option_is_explained(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["train", "--directory", str(tmp_path / "run"), *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_unknown_task_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    directory = str(tmp_path / "run")
    assert main(["train", "--directory", directory, "--task", "cheetah-fly"]) == 1
    assert "cheetah-run" in capsys.readouterr().err


def test_train_says_what_was_chosen_and_every_point_of_the_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(tmp_path, "--environment.action-repeat", "2")) == 0
    captured = capsys.readouterr()
    assert "action repeat 2, 8x8 pixels" in captured.out
    assert (
        "horizon 3, candidates 10, iterations 2, topk 3, backend reference, precision fp32\n"
    ) in captured.out
    points = [line for line in captured.out.splitlines() if ": return " in line]
    assert [point.partition(":")[0] for point in points] == [
        "2 episodes, 5 updates",
        "4 episodes, 11 updates",
        "5 episodes, 14 updates",
    ]
    assert f"planet evaluate {tmp_path} --baselines" in captured.out


def test_output_into_a_file_is_one_line_per_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(tmp_path)) == 0
    captured = capsys.readouterr()
    assert "\r" not in captured.out and captured.err == ""
    stages = [line.partition(":")[0] for line in captured.out.splitlines()]
    assert stages.count("seed episodes") == 1
    assert stages.count("collect episode 3/5") == stages.count("learn from 3 episodes") == 1


def test_same_command_continues_the_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(tmp_path, "--train.episodes", "4")) == 0
    capsys.readouterr()
    assert main(train(tmp_path)) == 0
    assert "continues from the checkpoint: 4 episodes, 11 updates" in capsys.readouterr().out
    assert timeless(tmp_path) == timeless(trained)


def test_directory_alone_continues_with_its_own_settings(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "config.json").read_bytes()
    assert main(["train", "--directory", str(trained)]) == 0
    assert "continues from the checkpoint: 5 episodes" in capsys.readouterr().out
    assert (trained / "config.json").read_bytes() == before


def test_other_settings_in_the_same_directory_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(trained, "--train.learning-rate", "0.5")) == 1
    assert "train.learning_rate was 0.001, now 0.5" in capsys.readouterr().err


def test_interrupted_run_continues_to_the_metrics_of_an_uninterrupted_one(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-u", "-m", "planet", *train(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C is ignored where the tests run in the background, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("seed episodes"):
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"planet train --directory {tmp_path}" in output
    assert load_checkpoint(tmp_path / "checkpoint.pt")["episodes"] < 5
    assert main(train(tmp_path)) == 0
    assert "continues from the checkpoint" in capsys.readouterr().out
    assert timeless(tmp_path) == timeless(trained)


def test_non_finite_loss_ends_with_an_explanation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(tmp_path, "--train.learning-rate", "1e30")) == 1
    error = capsys.readouterr().err
    assert error.startswith("planet train: ") and "is not finite" in error
    assert "bad_batch.pt" in error and "Traceback" not in error


def test_missing_backend_is_found_before_the_first_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planet.ops.fused._C", None)
    assert main(train(tmp_path, "--planner.backend", "fused")) == 1
    captured = capsys.readouterr()
    assert "compiled extension" in captured.err and "seed episodes" not in captured.out


def test_traceback_is_shown_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANET_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        main(["evaluate", str(tmp_path)])


@pytest.mark.parametrize(
    ("command", "module"),
    [(command, module) for command, modules in COMMANDS.items() for module in modules],
)
def test_missing_package_of_the_extra_is_named(
    command: str,
    module: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes `import` fail
    assert main([command, "--help"]) == 1
    error = capsys.readouterr().err
    assert module in error and "pip install 'planet-rl[train]'" in error


def test_without_the_extra_help_version_and_doctor_still_work() -> None:
    packages = ("tyro", "gymnasium", "dm_control", "mujoco", "OpenGL", "tqdm", "matplotlib",
                "imageio", "imageio_ffmpeg", "tensorboard")  # fmt: skip
    program = f"""
import sys
for name in {packages!r}:
    sys.modules[name] = None
from planet.cli import main
assert main(["--help"]) == main(["--version"]) == 0
sys.stdout.flush()
assert [main([name]) for name in ("train", "evaluate", "profile")] == [1, 1, 1]
raise SystemExit(10 + main(["doctor"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 11, done.stderr
    for name in ("train", "evaluate", "profile"):
        assert f"planet {name}: needs tyro" in done.stderr
    assert "training needs packages that are missing: gymnasium, dm_control" in done.stdout
    assert "pip install 'planet-rl[train]'" in done.stdout


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


def test_evaluate_with_a_budget_and_a_precision_says_so(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--episodes", "1", "--no-video", "--budget-ms", "1000", "--precision", "fp32"]
    assert main(["evaluate", str(trained), *options]) == 0
    assert "planner reference fp32, budget 1000 ms" in capsys.readouterr().out
    content = json.loads((trained / "scores.json").read_text())
    assert (content["precision"], content["budget_ms"]) == ("fp32", 1000.0)


@pytest.mark.parametrize("command", ["train", "evaluate", "profile"])
def test_int8_that_the_processor_does_not_run_is_refused_before_any_work(
    command: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, precision: str, **settings: object) -> None:
        raise ValueError(f"precision: {precision!r} needs another processor")

    monkeypatch.setattr("planet.ops.fused.cem_plan", refuse)
    chosen = ("--planner.backend", "fused", "--planner.precision", "int8")
    arguments = {
        "train": train(tmp_path / "run", *chosen),
        "evaluate": ["evaluate", str(trained), "--backend", "fused", "--precision", "int8"],
        "profile": ["profile", str(trained), "--backend", "fused", "--precision", "int8"],
    }[command]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err == f"planet {command}: precision: 'int8' needs another processor\n"
    assert captured.out == ""
    assert not (tmp_path / "run").exists()


def test_evaluate_without_a_run_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path)]) == 1
    assert f"{tmp_path} holds no run: config.json is missing" in capsys.readouterr().err


def test_evaluate_with_a_damaged_checkpoint_is_explained(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    (tmp_path / "checkpoint.pt").write_bytes((trained / "checkpoint.pt").read_bytes()[:500])
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "checkpoint.pt" in capsys.readouterr().err


def test_profile_of_a_bare_planner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    sizes = [
        "--horizon=2", "--candidates=20", "--iterations=3", "--action-size=2", "--belief-size=5",
        "--state-size=3", "--hidden-size=7", "--reward-layers=1", "--reward-hidden=4",
        "--batch-size=2",
    ]  # fmt: skip
    options = ["--backend", "reference", "--threads", "1", "--steps", "4", "--json", str(path)]
    assert main(["profile", *sizes, *options]) == 0
    content = json.loads(path.read_text())
    assert list(content["stages"]) == ["plan"] and content["steps"] == 4
    assert content["plan"] == {
        "horizon": 2, "candidates": 20, "iterations": 3, "topk": 2, "batch_size": 2,
        "belief_size": 5, "state_size": 3, "hidden_size": 7, "action_size": 2, "reward_hidden": [4],
    }  # fmt: skip
    assert content["compute"]["backend"] == "reference" and content["compute"]["threads"] == 1
    assert content["run"] is None
    output = capsys.readouterr().out
    assert "p99" in output and "candidates 20" in output and str(path) in output


def test_profile_of_a_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["profile", str(trained), "--steps", "8", "--candidates", "12", "--json", str(path)]
    assert main(arguments) == 0
    content = json.loads(path.read_text())
    assert list(content["stages"]) == ["render", "filter", "plan", "environment", "total"]
    keys = ["p50_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms"]
    for stage in content["stages"].values():
        assert list(stage) == keys
        assert 0 <= stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"] <= stage["max_ms"]
    means = [stage["mean_ms"] for stage in content["stages"].values()]
    assert means[-1] == pytest.approx(sum(means[:-1]))
    assert content["plan"]["candidates"] == 12 and content["plan"]["topk"] == 3
    assert content["run"]["task"] == "toy-reach"


def test_profile_refuses_a_size_that_the_run_decides(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(trained), "--belief-size", "9"]) == 1
    assert "--belief-size: only for a bare planner" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "complaint"),
    [("--steps", "steps"), ("--threads", "threads"), ("--horizon", "horizon"),
     ("--batch-size", "batch_size"), ("--candidates", "candidates")],
)  # fmt: skip
def test_profile_refuses_zero(
    option: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "--backend", "reference", option, "0"]) == 1
    assert complaint in capsys.readouterr().err


def test_export_writes_the_weights_that_the_agent_plans_with(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toy.weights"
    assert main(["export", str(trained), str(file)]) == 0
    output = capsys.readouterr().out
    assert "rssm, belief 5, state 3, action 2, hidden 7, reward 8-1, elu" in output
    assert f"written to {file} ({file.stat().st_size:,} bytes)" in output
    written = load_weights(file)
    weights = open_run(trained).agent.world_model.rollout_weights()
    assert torch.equal(written.gru_weight_hh, weights.gru_weight_hh)
    assert torch.equal(written.reward_weights[1], weights.reward_weights[1])
    assert written.min_stddev == weights.min_stddev


def test_export_without_a_run_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "w")]) == 1
    assert "planet export" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_bars_show_rate_remaining_time_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars()
    bars.start("learn from 3 episodes", 2)
    bars.advance(loss=1.23456)
    bars.message("in between")
    bars.finish()
    bars.finish()
    captured = capsys.readouterr()
    assert (
        "learn from 3 episodes" in captured.err and "?" in captured.err and "/2 [" in captured.err
    )
    first, last = captured.out.splitlines()
    assert first == "in between"
    assert last.startswith("learn from 3 episodes: 1 updates in ") and "loss 1.235" in last


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
    assert type(make_progress()) is (Bars if terminal else Lines)


def test_durations_are_readable() -> None:
    assert [duration(s) for s in (0.84, 59.94, 125, 11220)] == [
        "0.8 s", "59.9 s", "2 min 05 s", "3 h 07 min",
    ]  # fmt: skip


def test_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "planet", "no-such-command"],
        capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 2 and "no-such-command" in done.stderr
