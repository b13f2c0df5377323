"""Whole runs on the toy task: schedule, replay, what is not finite, evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import Recorder, changed, finished, make_trainer, model_of, timeless, toy

from planet.acting.agent import Agent
from planet.config import Config
from planet.protocols import Chunk, NonFiniteError, Policy, Replay
from planet.replay import ReplayBuffer, read_episode
from planet.storage.checkpoint import load_checkpoint
from planet.training.seeds import environment_seed, evaluation_seeds
from planet.training.trainer import Trainer

# ---- Schedule ----------------------------------------------------------------------------------


def test_schedule_is_algorithm_1(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    trainer.run()
    lines = timeless(tmp_path)
    # 2 seed episodes, 4 updates, then 3 times: an episode and 3 updates; evaluations at 0, 2 and 3.
    kinds = [
        "seed" if line.get("collect/planned") == 0
        else "planned" if line.get("collect/planned") == 1
        else "evaluate" if "evaluate/return" in line
        else "train"
        for line in lines
    ]  # fmt: skip
    expected = ["seed", "seed", "train", "evaluate", "planned", "train"]
    expected += ["planned", "train", "evaluate", "planned", "train", "evaluate"]
    assert kinds == expected
    assert [line["updates"] for line in lines] == [0, 0, 4, 4, 4, 7, 7, 10, 10, 10, 13, 13]
    assert [line["episodes"] for line in lines] == [1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5]
    assert [line["line"] for line in lines] == list(range(1, 13))
    assert trainer.learner.updates == 4 + 3 * 3
    assert trainer.episodes == len(trainer.replay.episodes) == 5


@pytest.mark.parametrize(("initial", "per_episode"), [(0, 0), (0, 2), (5, 0)])
def test_number_of_updates_is_initial_plus_c_per_planned_episode(
    tiny: Config, tmp_path: Path, initial: int, per_episode: int
) -> None:
    config = changed(
        tiny, initial_updates=initial, updates_per_episode=per_episode, evaluation_interval=0
    )
    trainer = make_trainer(config, tmp_path)
    trainer.run()
    assert trainer.learner.updates == initial + per_episode * 3


def test_training_lines_are_means_of_at_most_100_updates(tiny: Config, tmp_path: Path) -> None:
    config = changed(
        tiny, episodes=2, initial_updates=130, batch_size=1, chunk_length=2, evaluation_interval=0
    )
    trainer = make_trainer(config, tmp_path)
    values: list[float] = []
    update = trainer.learner.update

    def keep(replay: Replay) -> Mapping[str, torch.Tensor]:
        result = update(replay)
        values.append(result["total"].item())
        return result

    trainer.learner.update = keep  # type: ignore[method-assign]
    trainer.run()
    lines = [line for line in timeless(tmp_path) if "train/total" in line]
    assert [line["updates"] for line in lines] == [100, 130]
    assert lines[0]["train/total"] == pytest.approx(np.mean(values[:100]))
    assert lines[1]["train/total"] == pytest.approx(np.mean(values[100:]))


def test_metadata_tells_random_from_planned_episodes(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    trainer.run()
    kept = [read_episode(p).metadata for p in sorted((tmp_path / "episodes").glob("*.planet"))]
    assert [metadata["source"] for metadata in kept] == ["random"] * 2 + ["agent"] * 3
    assert {metadata["task"] for metadata in kept} == {"toy-reach"}
    assert [m["seed"] for m in kept] == [environment_seed(0, k, False) for k in range(5)]


def test_random_collection_depends_on_nothing_that_is_learned(tiny: Config, tmp_path: Path) -> None:
    """Equal episodes whatever was learned between them, and an evaluation that is the agent's."""
    runs = {
        "often": changed(tiny, collect="random", updates_per_episode=3, learning_rate=0.1),
        "once": changed(tiny, collect="random", seed_episodes=5, initial_updates=13),
    }
    seen: list[Agent] = []
    for name, config in runs.items():
        with make_trainer(config, tmp_path / name) as trainer:
            watch_policies(trainer, seen.append)
            trainer.run()
            assert trainer.learner.updates == 13
    lines = {name: timeless(tmp_path / name) for name in runs}
    collected = {name: [line for line in lines[name] if "collect/return" in line] for name in runs}
    for often, once in zip(collected["often"], collected["once"], strict=True):
        assert often["collect/planned"] == once["collect/planned"] == 0
        assert often["collect/return"] == once["collect/return"]
    paths = zip(*(sorted((tmp_path / name / "episodes").iterdir()) for name in runs), strict=True)
    for often, once in (map(read_episode, pair) for pair in paths):
        assert np.array_equal(often.action, once.action)
        assert often.metadata == once.metadata and once.metadata["source"] == "random"
    assert len(seen) == 3 + 1  # of the evaluations: at 2, 4 and 5 episodes, and at 5
    assert [line["episodes"] for line in lines["once"] if "evaluate/return" in line] == [5]


def test_exploration_ramp_ends_at_its_minimum(tiny: Config, tmp_path: Path) -> None:
    noise = {"exploration_stddev": 0.5, "exploration_min_stddev": 0.1, "exploration_ramp": 4}
    config = changed(tiny, episodes=7, evaluation_interval=0, updates_per_episode=0, **noise)
    trainer = make_trainer(config, tmp_path)
    seen: list[float] = []
    watch_policies(trainer, lambda agent: seen.append(agent.exploration_stddev))
    trainer.run()
    assert seen == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


def watch_policies(trainer: Trainer, seen: Callable[[Agent], None]) -> None:
    """Shows every agent that is to act, from now on."""
    policy = trainer.learner.policy

    def keep(episodes: int) -> Policy:
        chosen = policy(episodes)
        if isinstance(chosen, Agent):
            seen(chosen)
        return chosen

    trainer.learner.policy = keep  # type: ignore[method-assign]


def test_agent_plans_with_the_newest_weights(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(changed(tiny, evaluation_interval=0), tmp_path)
    snapshots: list[torch.Tensor] = []

    def keep(agent: Agent) -> None:
        newest = model_of(trainer).latent_model.input_weight
        assert torch.equal(agent.weights.rollout.input_weight, newest)
        snapshots.append(newest.detach().clone())

    watch_policies(trainer, keep)
    trainer.run()
    assert len(snapshots) == 3
    assert not torch.equal(snapshots[0], snapshots[1])


# ---- Replay settings ---------------------------------------------------------------------------


def test_sampling_settings_reach_the_replay(tiny: Config, tmp_path: Path) -> None:
    config = changed(tiny, sampling="recent", recent_draws=17)
    replay = make_trainer(config, tmp_path).replay
    assert (replay.sampling, replay._recent_draws) == ("recent", 17)
    assert replay.directory == tmp_path / "episodes"
    assert make_trainer(tiny, tmp_path / "other").replay.sampling == "uniform"


# ---- Not finite --------------------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Spoils the batch of this number, counted from 1."""
    sample, seen = ReplayBuffer.sample, 0

    def poisoned(self: ReplayBuffer, *arguments: Any) -> Chunk:
        nonlocal seen
        seen += 1
        chunk = sample(self, *arguments)
        if seen == number:
            chunk.reward[1, 1] = float("nan")
        return chunk

    monkeypatch.setattr(ReplayBuffer, "sample", poisoned)


def test_a_bad_batch_that_cannot_be_saved_does_not_hide_why_the_run_ends(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1)
    (tmp_path / "bad_batch.pt").mkdir()
    with pytest.raises(NonFiniteError, match=r"^reward is .* batch cannot be saved \(.*directory"):
        make_trainer(tiny, tmp_path).run()


def test_bad_batch_stops_the_run_and_keeps_the_last_checkpoint(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny, tmp_path)
    poison(monkeypatch, 9)  # within the second planned episode's updates
    with pytest.raises(NonFiniteError, match="^reward is not finite"):
        trainer.run()
    assert trainer.learner.updates == 8
    assert all(tensor.isfinite().all() for tensor in model_of(trainer).parameters())
    batch = load_checkpoint(tmp_path / "bad_batch.pt")
    assert torch.isnan(batch["reward"]).sum() == 1
    kept = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (kept["episodes"], kept["learner"]["updates"]) == (3, 7)
    monkeypatch.undo()
    trainer.close()
    assert finished(tiny, tmp_path) == finished(tiny, tmp_path / "undisturbed")


# ---- Evaluation --------------------------------------------------------------------------------


def test_evaluation_seeds_are_never_training_seeds() -> None:
    for run_seed in (0, 1, 2**63 - 1):
        training = {environment_seed(run_seed, k, evaluation=False) for k in range(3000)}
        evaluation = {environment_seed(run_seed, k, evaluation=True) for k in range(3000)}
        assert not training & evaluation
        assert len(training) == len(evaluation) == 3000
        assert all(0 <= seed < 2**31 for seed in training | evaluation)
        assert not any(seed % 2 for seed in training)  # so runs of other seeds are disjoint, too
        assert all(seed % 2 for seed in evaluation)
    assert evaluation_seeds(5, 3)[0] == environment_seed(5, 3, evaluation=True)


def test_evaluation_starts_from_its_own_seeds_without_noise(tiny: Config, tmp_path: Path) -> None:
    environment = toy()
    seeds: list[int] = []
    reset = environment.reset

    def keep(*, seed: int | None = None, options: Any = None) -> Any:
        seeds.append(seed or 0)
        return reset(seed=seed, options=options)

    environment.reset = keep  # type: ignore[method-assign]
    trainer = make_trainer(tiny, tmp_path, environment=environment)
    first = trainer.evaluate(3)
    assert seeds == [environment_seed(0, k, evaluation=True) for k in range(3)]
    noisy = make_trainer(changed(tiny, exploration_stddev=100.0), tmp_path / "noisy")
    assert noisy.evaluate(3) == first


def test_evaluation_does_not_change_training(tiny: Config, tmp_path: Path) -> None:
    results = []
    for interval in (0, 1, 2):
        config = changed(tiny, evaluation_interval=interval)
        _, *learned = finished(config, tmp_path / str(interval))
        results.append(learned)
    assert results[0] == results[1] == results[2]


def test_evaluation_is_reported_with_its_standard_error(tiny: Config, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = make_trainer(changed(tiny, evaluation_episodes=3), tmp_path, recorder)
    trainer.run()
    score = trainer.evaluate(3)
    last = [line for line in timeless(tmp_path) if "evaluate/return" in line][-1]
    assert (last["evaluate/return"], len(score.returns)) == (score.mean, 3)
    assert last["evaluate/standard_error"] == score.standard_error
    assert recorder.messages[-1].startswith("5 episodes, 13 updates: return ")
    assert recorder.messages[-1].endswith("over 3 episodes")


def test_run_seed_decides_everything(tiny: Config, tmp_path: Path) -> None:
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(results))  # global generators have no part in it
        np.random.seed(len(results))  # noqa: NPY002
        results.append(finished(changed(tiny, seed=seed), tmp_path / name))
    assert results[0] == results[1]
    assert all(one != other for one, other in zip(results[0], results[2], strict=True))
