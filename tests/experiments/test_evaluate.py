"""Evaluation: scores, equal episodes for all policies, pictures of what the model foresees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings import pixel_spec
from toy_runs import changed, model_of

from planet.config import Config
from planet.replay import Episode
from planet.storage.checkpoint import CheckpointError
from planet.systems.planet import build

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")
from planet.experiments.evaluate import baselines, score_table, write_scores
from planet.experiments.plots import plot_learning_curve
from planet.experiments.run import make_environment, open_environment, open_run
from planet.experiments.video import imagine_episode, write_video
from planet.training.action_box import ActionBox
from planet.training.score import Score, play, score
from planet.training.trainer import Trainer

BOX = ActionBox.unit(2)


@pytest.fixture(scope="module")
def trained(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny settings."""
    directory = tmp_path_factory.mktemp("run")
    Trainer(tiny, directory, make_environment(tiny.environment), build).run()
    return directory


def random_episode(frames: int = 12, size: int = 8) -> Episode:
    generator = np.random.default_rng(0)
    action = generator.uniform(-1, 1, (frames, 2)).astype(np.float32)
    reward = generator.random(frames).astype(np.float32)
    action[0], reward[0] = 0, 0
    observation = generator.integers(0, 256, (frames, size, size, 3), dtype=np.uint8)
    return Episode({"image": observation}, action, reward, np.zeros(frames, bool))


def test_mean_and_standard_error_are_of_the_sample() -> None:
    returns = (3.0, 5.0, 10.0, 2.0)
    result = Score("agent", returns)
    assert result.mean == 5.0
    assert result.standard_error == pytest.approx(np.std(returns, ddof=1) / 2)
    assert Score("agent", (3.0,)).standard_error == 0.0


def test_table_shows_mean_error_and_every_return() -> None:
    text = score_table([Score("agent", (1.0, 3.0), 5000), Score("zero actions", (0.0, 0.25))])
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in text.splitlines()]
    assert rows[0][:2] == ["environment steps", "policy"]
    assert rows[1] == ["5,000", "agent", "2.0", "1.0", "1.0 3.0"]
    assert rows[2][:2] == ["0", "zero actions"] and rows[2][-1] == "0.0 0.2"


def test_open_run_has_the_weights_of_the_checkpoint(trained: Path, tiny: Config) -> None:
    run = open_run(trained)
    trainer = Trainer(tiny, trained, make_environment(tiny.environment), build)
    expected = model_of(trainer).state_dict()
    got = run.agent.world_model.state_dict()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert (run.episodes, run.updates) == (trainer.episodes, trainer.learner.updates)
    assert run.environment_steps == trainer.environment_steps == 5 * 4


def test_open_run_changes_nothing_in_the_directory(trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    open_run(trained, {"train": {"device": "cpu"}, "imagination": {"backend": "reference"}})
    assert before == {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}


def test_open_run_takes_another_planner_and_keeps_what_is_not_named(trained: Path) -> None:
    overrides = {"imagination": {"precision": "int8"}, "planner": {"budget_ms": 20.0}}
    run = open_run(trained, overrides)
    assert run.config == open_run(trained).config.with_overrides(overrides)
    assert (run.agent.imagination.precision, run.agent.budget_ms) == ("int8", 20.0)
    kept = open_run(trained).agent
    assert (kept.imagination.precision, kept.budget_ms) == ("fp32", None)
    assert run.agent.planner == kept.planner
    assert kept.exploration_stddev == 0.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model": {"belief_size": 9}},
         "model.belief_size: expected 5, which decided what was learned, got 9"),
        ({"environment": {"task": "walker-walk"}}, "environment.task: expected 'toy-reach', which"),
        ({"train": {"learning_rate": 0.5}}, "train.learning_rate: expected 0.001, which decided"),
        ({"imagination": {"device": "cpu"}}, "imagination: unknown setting .'device'"),
    ],
)  # fmt: skip
def test_open_run_refuses_other_settings_of_what_was_learned(
    trained: Path, overrides: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_run(trained, overrides)


def test_the_environment_of_a_run_must_have_the_actions_that_the_agent_was_trained_in(
    trained: Path,
) -> None:
    run = open_run(trained)
    assert run.actions == BOX and (-run.agent.imagination.low == run.agent.imagination.high).all()
    open_environment(run).close()
    wide = replace(run, spec=replace(run.spec, low=2 * run.spec.low, high=2 * run.spec.high))
    with pytest.raises(ValueError, match=r"environment: expected actions \[-2, 2\] .*got \[-1, 1"):
        open_environment(wide)
    large = replace(run, spec=pixel_spec(16))
    expected = r"expected observations image uint8 \[16, 16, 3\], on which .*got image uint8 \[8, "
    with pytest.raises(ValueError, match=f"environment: {expected}"):
        open_environment(large)


def test_open_run_names_what_is_missing_or_damaged(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run: config.json"):
        open_run(tmp_path)
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="holds no checkpoint yet"):
        open_run(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="checkpoint.pt"):
        open_run(tmp_path)
    with pytest.raises(ValueError, match="device: expected 'cpu' or 'cuda', got 'tpu'"):
        open_run(trained, {"train": {"device": "tpu"}})


def test_evaluation_repeats_the_trainers_own(trained: Path, tiny: Config) -> None:
    run = open_run(trained)
    environment = make_environment(tiny.environment)
    played = play(environment, run.agent, 3, tiny.train.seed)
    trainer = Trainer(tiny, trained, make_environment(tiny.environment), build)
    assert score("agent", played, run.environment_steps) == trainer.evaluate(3)


def test_all_policies_play_the_same_episodes(trained: Path, tiny: Config) -> None:
    environment = make_environment(tiny.environment)
    policies = {"agent": open_run(trained).agent, **baselines(tiny, pixel_spec(8))}
    played = {name: play(environment, policy, 2, 5) for name, policy in policies.items()}
    first = [[e.observation["image"][0] for e in episodes] for episodes in played.values()]
    assert all(np.array_equal(first[0], other) for other in first)
    actions = {name: episodes[0].action[1:] for name, episodes in played.items()}
    assert not actions["zero actions"].any()
    one, other = played["random actions"]
    assert not np.array_equal(one.action, other.action)


def test_untrained_planner_is_the_runs_own_start(tiny: Config, tmp_path: Path) -> None:
    environment = make_environment(tiny.environment)
    fresh = Trainer(tiny, tmp_path, make_environment(tiny.environment), build)
    untrained = baselines(tiny, pixel_spec(8))["untrained planner"]
    played = play(environment, untrained, 2, tiny.train.seed)
    assert score("agent", played) == fresh.evaluate(2)


def test_baselines_act_where_a_runs_updates_cannot_be_made(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    config = changed(tiny, backend="fused", precision="bf16")
    assert "untrained planner" in baselines(config, pixel_spec(8))


def test_fewer_than_one_episode_is_refused(tiny: Config) -> None:
    still = baselines(tiny, pixel_spec(8))["zero actions"]
    with pytest.raises(ValueError, match="episodes: expected a value >= 1, got 0"):
        play(make_environment(tiny.environment), still, 0, 0)


def test_scores_file_says_how_to_repeat_them(trained: Path, tmp_path: Path) -> None:
    run = open_run(trained)
    path = tmp_path / "scores.json"
    write_scores(path, run, 7, [Score("agent", (1.0, 2.0), 9)])
    content = json.loads(path.read_text())
    assert content["evaluation_seed"] == 7 and content["updates"] == run.updates
    assert content["scores"] == [
        {"environment_steps": 9, "policy": "agent", "mean": 1.5, "standard_error": 0.5,
         "returns": [1.0, 2.0]}
    ]  # fmt: skip
    assert list(content)[0] == "environment_steps" == list(content["scores"][0])[0]
    assert content["environment_steps"] == run.environment_steps == 5 * 4
    assert Config.from_dict(content["config"]) == run.config
    assert run.config.imagination.precision is run.config.imagination.variant is None
    chosen = content["imagination"]
    assert (chosen["precision"], chosen["variant"]) == ("fp32", "portable")


def test_context_is_filtered_and_the_rest_is_predicted(trained: Path) -> None:
    model = open_run(trained).agent.world_model
    imagined = imagine_episode(model, random_episode(12), context=2, length=5)
    assert imagined.ahead.tolist() == [0, 0, 1, 2, 3, 0, 0, 1, 2, 3, 0, 0]
    assert imagined.reconstruction.shape == imagined.prediction.shape == (12, 8, 8, 3)
    seen = imagined.ahead == 0
    assert np.array_equal(imagined.prediction[seen], imagined.reconstruction[seen])


def test_prediction_does_not_depend_on_frames_after_the_context(trained: Path) -> None:
    model = open_run(trained).agent.world_model
    with torch.no_grad():  # so that every pixel of a frame moves the posterior
        for parameter in model.parameters():
            parameter.mul_(3.0)
    episode = random_episode(12)
    image = episode.observation["image"].copy()
    image[5:] = 255 - image[5:]
    other = replace(episode, observation={"image": image})
    left, right = (imagine_episode(model, e, context=5, length=50) for e in (episode, other))
    assert np.array_equal(left.prediction, right.prediction)
    assert not np.array_equal(left.reconstruction, right.reconstruction)


def test_prediction_depends_on_the_executed_actions(trained: Path) -> None:
    model = open_run(trained).agent.world_model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    episode = random_episode(12)
    other = replace(episode, action=episode.action.copy())
    other.action[6] *= -1
    left, right = (imagine_episode(model, e, context=5, length=50) for e in (episode, other))
    assert np.array_equal(left.prediction[:6], right.prediction[:6])
    assert not np.array_equal(left.prediction[6:], right.prediction[6:])


@pytest.mark.parametrize(("context", "length"), [(0, 5), (5, 5)])
def test_context_must_fit_the_piece(context: int, length: int, trained: Path) -> None:
    model = open_run(trained).agent.world_model
    with pytest.raises(ValueError, match="context: expected 1 <= context < length"):
        imagine_episode(model, random_episode(), context, length)


def test_video_has_a_frame_per_entry_and_shows_the_real_one(trained: Path, tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3", reason="videos need the train extra")
    episode = random_episode(9)
    episode.observation["image"][:] = (250, 20, 20)
    model = open_run(trained).agent.world_model
    path = tmp_path / "video.mp4"
    assert write_video(path, episode, imagine_episode(model, episode), fps=10) == 9
    frames = imageio.imread(path, plugin="FFMPEG")
    assert len(frames) == 9
    middle = frames[4][40:296, 8:264].reshape(-1, 3).mean(axis=0)
    assert np.allclose(middle, (250, 20, 20), atol=12)


def test_learning_curve_is_drawn_at_any_point_of_a_run(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the train extra")
    plot_learning_curve(trained, tmp_path / "whole.png", "toy")
    lines = (trained / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines[2:] = ['{"collect/return": 5, "evaluate/return": 2}\n']  # of somebody else
    for count in range(4):
        (tmp_path / "metrics.jsonl").write_text("".join(lines[:count]))
        plot_learning_curve(tmp_path, tmp_path / f"{count}.png", "toy")
    sizes = [(tmp_path / name).stat().st_size for name in ("whole.png", "0.png", "1.png")]
    assert all(sizes) and len(set(sizes)) == 3
