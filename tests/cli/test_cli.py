"""The commands from end to end, on the toy task with a model that trains within a second."""

from __future__ import annotations

import shutil
import sys
import typing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from processes import python
from small_run import train

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="the command line needs the train extra")

from toy_runs import timeless

from planet import __version__
from planet.cli import COMMANDS, main
from planet.cli.export import exported_settings
from planet.cli.train import PresetName, TrainOptions, _summary, parse
from planet.config import Config
from planet.config.presets import PRESETS
from planet.envs.toy import ToyReachEnv
from planet.errors.advice import install_extra, repair
from planet.experiments.run import make_environment, open_run
from planet.planning import PLANNERS, make_planner
from planet.protocols import Planner
from planet.storage.checkpoint import load_checkpoint
from planet.systems.planet import build
from planet.training.trainer import Trainer
from planet.weights.file import load_filter_weights, load_settings


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
    known = "train, fit, evaluate, diagnose, profile, export, replay, doctor"
    assert "'trian'" in error and known in error


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
        (["--planner.candidates", "5"], "topk: expected 1 <= K <= J=5"),
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
    assert "name cem, horizon 3," in captured.out
    assert "candidates 10, iterations 2, topk 3, initial stddev 1" in captured.out
    imagination = "imagination  backend reference, precision fp32, variant portable, state noise "
    assert f"{imagination}True, discount 1.0 (precision and variant chosen for cpu)" in captured.out
    assert "  updates      backend reference, precision fp32\n" in captured.out
    points = [line for line in captured.out.splitlines() if ": return " in line]
    assert [point.partition(":")[0] for point in points] == [
        "2 episodes, 5 updates",
        "4 episodes, 11 updates",
        "5 episodes, 14 updates",
    ]
    assert f"planet evaluate {tmp_path} --baselines" in captured.out


def test_train_on_cuda_says_whether_a_resumed_run_repeats(tmp_path: Path) -> None:
    config = parse(train(tmp_path)[1:]).config()
    with Trainer(config, tmp_path, make_environment(config.environment), build) as trainer:
        for deterministic, said in ((True, "True: a resumed run repeats bit for bit"), (False, "")):
            other = {"device": "cuda", "deterministic": deterministic, "backend": None}
            text = _summary(config.with_overrides({"train": other}), trainer)
            assert (
                "  updates      backend reference, precision fp32 (backend chosen for cuda); "
                in text
            )
            assert f"; deterministic {said or 'False: cuDNN'}" in text
        assert "deterministic" not in _summary(config, trainer)


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


INTERRUPTED = """
import os, signal, sys
from planet.cli import main

def told(text, write=sys.stdout.write):
    if "seed episodes" in text:  # Ctrl-C comes when the first stage is told
        os.kill(os.getpid(), signal.SIGINT)
    return write(text)

# It is ignored where the tests run in the background, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.stdout.write = told
sys.exit(main(sys.argv[1:]))
"""


def test_interrupted_run_continues_to_the_metrics_of_an_uninterrupted_one(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = python("-c", INTERRUPTED, *train(tmp_path), status=130)
    assert "Traceback" not in done.stderr
    assert f"planet train --directory {tmp_path}" in done.stdout
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
    assert main(train(tmp_path, "--imagination.backend", "fused")) == 1
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
    command: str, module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes `import` fail
    assert main([command, "--help"]) == 1
    error = capsys.readouterr().err
    assert error == f"planet {command}: needs {module}; install it with: {install_extra()}\n"


def test_broken_package_of_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tqdm.py").write_text("raise TypeError('Descriptors cannot be created directly')")
    monkeypatch.delitem(sys.modules, "tqdm")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["train", "--help"]) == 1
    error = capsys.readouterr().err
    assert "needs tqdm, which cannot be imported (TypeError: Descriptors cannot" in error
    assert error.endswith(f"repair it with: {repair('tqdm')}\n")


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
    done = python("-c", program, status=11)
    for name in ("train", "evaluate", "profile"):
        assert f"planet {name}: needs tyro" in done.stderr
    assert "training needs packages that are missing: gymnasium, dm_control" in done.stdout
    assert "warning: tensorboard is missing: metrics are written as JSON alone" in done.stdout
    assert "pip install" in done.stdout and "[train]" in done.stdout


def test_export_writes_the_whole_agent(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toy.weights"
    assert main(["export", str(trained), str(file)]) == 0
    output = capsys.readouterr().out
    assert "frames 8x8 of 5 bits; encoder channels 4, kernels 4, strides 2" in output
    assert "rssm, belief 5, state 3, action 2, hidden 7, reward 8-1, elu, stddev add 0.1" in output
    assert f"written to {file} ({file.stat().st_size:,} bytes)" in output
    written = load_filter_weights(file)
    weights = open_run(trained).agent.world_model.filter_weights()
    assert written.encoder == weights.encoder
    assert written.rollout.min_stddev == weights.rollout.min_stddev
    for name, tensor in weights.named_tensors().items():
        assert torch.equal(written.named_tensors()[name], tensor)
    run = open_run(trained)
    box = {"low": run.config.planner.low, "high": run.config.planner.high}
    of_run = {"action_repeat": 1, "exploration_stddev": 0.3, "render_size": 8, **box}
    rollouts = {"precision": "fp32", "state_noise": True, "discount": 1.0, "budget_ms": None}
    search = vars(make_planner(run.config.planner).settings)
    assert load_settings(file) == {"planner": "cem", **search, **rollouts, **of_run}
    assert "planner cem, horizon " in output and "action_repeat 1" in output


@pytest.mark.parametrize("name", ["icem", "mppi", "shooting"])
def test_export_writes_what_a_planner_of_any_kind_searches_by(trained: Path, name: str) -> None:
    run = open_run(trained)
    config = run.config.with_overrides({"planner": {"name": name, "candidates": 90}})
    run.agent.planner = planner = make_planner(config.planner)
    assert isinstance(planner, PLANNERS[name])
    settings = exported_settings(replace(run, config=config))
    assert settings["planner"] == name and settings["candidates"] == 90
    assert vars(planner.settings).items() <= settings.items()


def test_export_refuses_a_planner_that_cpp_does_not_have(trained: Path) -> None:
    run = open_run(trained)
    run.agent.planner = Mock(spec=Planner)
    message = r"planner: expected one that C\+\+ has, too, \['cem', .*, got Mock"
    with pytest.raises(ValueError, match=message):
        exported_settings(run)


def test_export_knows_the_action_repeat_of_an_environment_of_the_user_s_own(tmp_path: Path) -> None:
    config = parse(train(tmp_path / "run", "--train.episodes", "2")[1:]).config()
    config = config.with_overrides({"environment": {"task": "my-robot"}})
    environment = ToyReachEnv(image_size=8, control_steps=12, action_repeat=3)
    with Trainer(config, tmp_path / "run", environment, build) as trainer:
        trainer.run()
    for repeat in (3, 0):  # 0: not said
        assert main(["export", str(tmp_path / "run"), str(tmp_path / "weights")]) == 0
        settings = load_settings(tmp_path / "weights")
        assert (settings["action_repeat"], settings["render_size"]) == (repeat, 0)
        shutil.rmtree(tmp_path / "run" / "episodes", ignore_errors=True)


def test_export_without_a_run_or_a_place_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "w")]) == 1
    assert "planet export" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
    assert main(["export", str(tmp_path), str(tmp_path / "absent" / "w")]) == 1
    assert "file: expected a path in an existing directory" in capsys.readouterr().err
