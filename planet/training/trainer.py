"""The trainer: Algorithm 1 of the paper on a fixed schedule, resumable at any point."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from planet.agent import Agent
from planet.atomic import remove_temporaries
from planet.checkpoint import load_checkpoint, save_checkpoint
from planet.config import Config
from planet.models import WorldModel
from planet.noise import mix_seed
from planet.replay import Episode, ReplayBuffer
from planet.training import seeds
from planet.training.action_box import ActionBox
from planet.training.check_environment import check_environment
from planet.training.collect import Environment, agent_policy, random_policy, run_episode
from planet.training.device import available_device
from planet.training.environment_steps import action_repeat, kept_steps
from planet.training.interrupt import deferred_interrupt
from planet.training.learner import Learner
from planet.training.metrics import MetricsWriter
from planet.training.progress import Progress, Silent
from planet.training.run_config import keep_config
from planet.training.threads import cpu_threads


def make_world_model(config: Config, action_size: int) -> WorldModel:
    """A freshly initialised world model on the device of the settings; decided by the seed.

    Raises:
      ValueError: the device is unknown or not there, or the planner does not serve it.
    """
    device = available_device(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_seed(config.train.seed, seeds.INITIAL))
        model = WorldModel(config.model, action_size, config.environment.image_size)
    return model.to(device)


class Trainer:
    """Trains a PlaNet agent into a run directory, or continues one.

    Hafner et al. (ICML 2019), Algorithm 1: S random seed episodes; then, until enough episodes are
    collected: C gradient steps on chunks of experience, one episode collected by the planner with
    exploration noise. The schedule depends on the settings alone, never on time or returns.

    The directory holds `config.json`, `metrics.jsonl` (and TensorBoard files), `episodes/` and
    `checkpoint.pt`. All randomness derives from (seed, counters): an interrupted run continues to
    the metrics of an uninterrupted one.

    Args:
      config: settings; a directory that exists must hold equal ones, except for `episodes`,
        `device`, `threads`, the planner's backend and the intervals of evaluation and checkpoints.
      directory: of the run.
      environment: a `gymnasium.Env` with uint8 observations [h, w, 3] and a bounded Box of actions;
        see `planet.training.check_environment`.
      progress: told where training stands.
      accept_losses: go on although episodes or lines of metrics that the checkpoint counts on are
        lost; the run is then another one.

    Attributes:
      environment_steps: control steps of all collected episodes; see `environment_steps.py`.

    Raises:
      TypeError, ValueError: the environment's spaces or the directory's settings disagree with
        `config`, or the planner cannot be had here; nothing has been written then.
      ImportError: the planner's backend is missing.
    """

    def __init__(
        self,
        config: Config,
        directory: Path | str,
        environment: Environment,
        progress: Progress | None = None,
        *,
        accept_losses: bool = False,
    ) -> None:
        self.config = config
        self.directory = Path(directory)
        self.environment = environment
        self.progress: Progress = progress or Silent()
        self.actions = check_environment(environment, config.environment.image_size)
        model = make_world_model(config, self.actions.size)
        self.agent = Agent(model, self.actions.planner(config.planner, model.device))
        self.agent.planner.try_out(self.agent.weights)
        self.directory.mkdir(parents=True, exist_ok=True)
        keep_config(self.directory / "config.json", config)
        self.learner = Learner(model, config.train)
        self.episodes = self.environment_steps = 0
        self._lines = 0  # of metrics; the checkpoint's number is where a resumed run goes on
        self._evaluated = -1  # number of episodes at the last evaluation
        self._count = 0  # updates since the last line of training metrics
        self._sums: dict[str, float] = {}  # of the metrics of these updates
        self._check_interrupt: Callable[[], None] = lambda: None
        self._buffer_state: dict[str, Any] | None = None
        self._metrics_checksum: int | None = None  # of the lines that the checkpoint counts on
        if self.checkpoint_path.exists():
            self._load()
        train = config.train
        self.replay = ReplayBuffer(
            self.directory / "episodes",
            train.chunk_length,
            sampling=train.sampling,
            recent_draws=train.recent_draws,
            recent_share=train.recent_share,
            names=self._buffer_state["names"] if self._buffer_state else [],
        )
        if self._buffer_state:
            self.replay.load_state_dict(self._buffer_state, accept_losses=accept_losses)
        self.metrics = MetricsWriter(self.directory)
        self.metrics.go_back(self._lines, self._metrics_checksum, accept_losses=accept_losses)
        for folder in (self.directory, self.replay.directory):
            remove_temporaries(folder)

    @property
    def checkpoint_path(self) -> Path:
        """Where the run's state is kept."""
        return self.directory / "checkpoint.pt"

    @property
    def world_model(self) -> WorldModel:
        """What is trained."""
        return self.learner.model

    def run(self) -> None:
        """Trains until `config.train.episodes` episodes are collected and learned from.

        Raises:
          NonFiniteError: a loss term or gradient is NaN or infinite.
          EpisodeError: the environment fails or breaks its promises.
          KeyboardInterrupt: after a checkpoint was written.
        """
        with cpu_threads(self.config.train.threads), deferred_interrupt() as self._check_interrupt:
            try:
                self._collect_seed_episodes()
                self._alternate()
            except KeyboardInterrupt:
                self.progress.finish()
                self.save()
                raise

    def save(self) -> None:
        """Replaces the checkpoint atomically."""
        self.metrics.sync()
        save_checkpoint(
            self.checkpoint_path,
            {
                "config": self.config.to_dict(),
                "action_size": self.actions.size,
                "actions": self.actions.to_dict(),
                "learner": self.learner.state_dict(),
                "episodes": self.episodes,
                "evaluated": self._evaluated,
                "environment_steps": self.environment_steps,
                "lines": self._lines,
                "metrics_checksum": self.metrics.checksum,
                "sums": self._sums,
                "count": self._count,
                "replay": self.replay.state_dict(),
            },
        )

    def evaluate(self, episodes: int) -> list[float]:
        """Returns of episodes without exploration noise, on seeds that training never uses."""
        self.agent.update_weights()
        returns: list[float] = []
        steps = self._steps_per_episode()
        for index in range(episodes):
            self.progress.start(f"evaluate {index + 1}/{episodes}", steps)
            start, seed = seeds.evaluation_seeds(self.config.train.seed, index)
            policy = agent_policy(self.agent, seed, explore=False)
            name = f"evaluation episode {index + 1}"
            episode = run_episode(
                self.environment, policy, start, on_step=self._show_reward, name=name
            )
            self.progress.finish()
            returns.append(episode.total_reward)
        return returns

    def _alternate(self) -> None:
        """Learns and collects by turns, until there are enough episodes."""
        train = self.config.train
        while True:
            self._learn(self._updates_due())
            self._evaluate_if_due()
            last = self.episodes >= train.episodes
            if last or self._planned() % train.checkpoint_interval == 0:
                self.save()
            if last:
                return
            self._collect_planned()

    def _collect_seed_episodes(self) -> None:
        train = self.config.train
        if self.episodes >= train.seed_episodes:
            return
        self.progress.start("seed episodes", train.seed_episodes)
        for _ in range(self.episodes):
            self.progress.advance()
        while self.episodes < train.seed_episodes:
            seed = mix_seed(mix_seed(train.seed, seeds.RANDOM), self.episodes)
            policy = random_policy(self.actions, seed)
            episode = self._collect(policy, "random")
            self._advance(episode_return=episode.total_reward)
        self.progress.finish()
        self.save()

    def _collect_planned(self) -> None:
        train = self.config.train
        self.agent.update_weights()
        self.agent.exploration_stddev = self._exploration_stddev()
        seed = mix_seed(mix_seed(train.seed, seeds.AGENT), self.episodes)
        policy = agent_policy(self.agent, seed, explore=True)
        stage = f"collect episode {self.episodes + 1}/{train.episodes}"
        self.progress.start(stage, self._steps_per_episode())
        self._collect(policy, "agent")
        self.progress.finish()

    def _collect(self, policy: Any, source: str) -> Episode:
        start = seeds.environment_seed(self.config.train.seed, self.episodes, evaluation=False)
        began = time.perf_counter()
        settings = self.config.environment
        repeat = action_repeat(settings, self.environment)
        metadata = {"source": source, "task": settings.task, "action_repeat": repeat}
        on_step = self._show_reward if source == "agent" else None
        name = f"episode {self.episodes + 1}"
        episode = run_episode(self.environment, policy, start, metadata, on_step, name)
        self.replay.add(episode, self.episodes)
        self.episodes += 1
        self.environment_steps += int(episode.metadata["environment_steps"])
        seconds = time.perf_counter() - began
        self._write(
            {"collect/return": episode.total_reward, "collect/steps": episode.length - 1,
             "collect/planned": int(source == "agent")},
            {"collect/seconds": seconds},
        )  # fmt: skip
        return episode

    def _learn(self, due: int) -> None:
        train = self.config.train
        if self.learner.updates >= due:
            return
        first = self.learner.updates
        began = time.perf_counter()
        self.progress.start(f"learn from {self.episodes} episodes", due - first)
        start = self._count
        while self.learner.updates < due:
            batch = [train.seed, seeds.BATCH, self.learner.updates]
            chunk = self.replay.sample(train.batch_size, np.random.default_rng(batch))
            values = self.learner.update(
                chunk.to(self.world_model.device), self.directory / "bad_batch.pt"
            )
            self._sums = {name: self._sums.get(name, 0.0) + values[name] for name in values}
            self._count += 1
            if self.learner.updates % 100 == 0 or self.learner.updates == due:
                seconds = (time.perf_counter() - began) / (self._count - start)
                means = {f"train/{name}": total / self._count for name, total in self._sums.items()}
                self._write(means, {"train/seconds_per_update": seconds})
                self._sums, self._count = {}, 0
                start, began = 0, time.perf_counter()
            self._advance(loss=values["total"], kl=values["kl"])
        self.progress.finish()

    def _evaluate_if_due(self) -> None:
        train = self.config.train
        interval = train.evaluation_interval
        if not interval or self._evaluated == self.episodes:
            return
        if self._planned() % interval and self.episodes < train.episodes:
            return
        returns = self.evaluate(train.evaluation_episodes)
        self._evaluated = self.episodes
        mean = float(np.mean(returns))
        error = float(np.std(returns, ddof=1) / len(returns) ** 0.5) if len(returns) > 1 else 0.0
        self._write({"evaluate/return": mean, "evaluate/standard_error": error}, {})
        self.progress.message(
            f"{self.episodes} episodes, {self.learner.updates} updates: "
            f"return {mean:.1f} +- {error:.1f} over {len(returns)} episodes"
        )

    def _planned(self) -> int:
        """Episodes collected by the planner so far."""
        return self.episodes - self.config.train.seed_episodes

    def _updates_due(self) -> int:
        train = self.config.train
        return train.initial_updates + train.updates_per_episode * self._planned()

    def _exploration_stddev(self) -> float:
        train = self.config.train
        if not train.exploration_ramp:
            return train.exploration_stddev
        share = min(1.0, self._planned() / train.exploration_ramp)
        return (1.0 - share) * train.exploration_stddev + share * train.exploration_min_stddev

    def _steps_per_episode(self) -> int:
        lengths = [info.length - 1 for info in self.replay.episodes.values()]
        return max(lengths, default=0)

    def _show_reward(self, total: float) -> None:
        self._advance(episode_return=total)

    def _advance(self, **values: float) -> None:
        """Ends a step, where the state is complete: an interrupted run goes on from here."""
        self.progress.advance(**values)
        self._check_interrupt()

    def _write(self, values: dict[str, float], times: dict[str, float]) -> None:
        self._lines += 1
        counters = {
            "environment_steps": self.environment_steps,  # the first is TensorBoard's axis
            "updates": self.learner.updates,
            "episodes": self.episodes,
            "line": self._lines,
        }
        self.metrics.write(counters, {**values, **times})

    def _load(self) -> None:
        state = load_checkpoint(self.checkpoint_path, self.config.train.device)
        trained = kept_actions(state)
        if trained != self.actions:
            raise ValueError(
                f"environment: expected actions {trained}, in which {self.checkpoint_path} was "
                f"trained, got {self.actions}"
            )
        self.learner.load_state_dict(state["learner"])
        self.episodes = int(state["episodes"])
        self._evaluated = int(state["evaluated"])
        self._lines = int(state["lines"])
        self._metrics_checksum = state.get("metrics_checksum")  # 0.1.0 kept none
        self._sums, self._count = dict(state["sums"]), int(state["count"])
        self._buffer_state = state["replay"]
        repeat = action_repeat(self.config.environment, self.environment)
        self.environment_steps = kept_steps(state, self.directory, repeat)


def kept_actions(state: dict[str, Any]) -> ActionBox:
    """The box of actions of a checkpoint; those of 0.1.0 knew only [-1, 1]."""
    if "actions" in state:
        return ActionBox.from_dict(state["actions"])
    return ActionBox.unit(int(state["action_size"]))
