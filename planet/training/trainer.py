"""Trains by Algorithm 1 of the paper, on a fixed schedule, resumable at any point."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from planet.config import Config
from planet.protocols import Learner, NonFiniteError, Spec
from planet.replay import Episode
from planet.training import schedule
from planet.training.check_environment import check_environment
from planet.training.collapse import collapse_watch
from planet.training.collect import Environment, collect_episode, try_out
from planet.training.environment_steps import action_repeat
from planet.training.freed_memory import keep_freed_memory
from planet.training.interrupt import StopSwitch, deferred_signals
from planet.training.means import Means, seem_finite, shown_values
from planet.training.progress import Progress, guarded
from planet.training.repeatable import repeatable
from planet.training.run_directory import RunDirectory
from planet.training.run_state import RunState
from planet.training.score import Score, play, score
from planet.training.stages import Stages
from planet.training.threads import cpu_threads

_LOGGER = logging.getLogger("planet")


class Trainer:
    """Trains a learner into a run directory, or continues a run.

    Hafner et al. (ICML 2019), Algorithm 1: S random seed episodes; then, until enough episodes are
    collected: C updates on chunks of experience, one episode collected by the learner's policy with
    exploration. The schedule depends on the settings alone, never on time or returns.

    The directory holds `config.json`, `metrics.jsonl` (and TensorBoard files), `episodes/`,
    `checkpoint.pt` and the checkpoint before it. All randomness derives from (seed, counters): an
    interrupted run continues to the metrics of an uninterrupted one. That is so bit for bit on one
    device, backend, machine and release of PyTorch, on CUDA as long as `train.deterministic` is on;
    a run that goes on on another is a valid one, with other roundings. A directory belongs to one
    trainer from its making to its `close`, or until its process ends.

    Args:
      config: settings; a directory that exists must hold equal ones, except for `episodes`,
        `device`, `threads`, `deterministic`, both backends and the intervals of evaluation and
        checkpoints.
      directory: of the run.
      environment: a `gymnasium.Env` that shows an image, vectors or both, and has a bounded Box of
        actions; see `planet.training.check_environment`.
      build: makes the learner for the environment, e.g. `planet.systems.planet.build`.
      progress: told where training stands; when it fails, training goes on without it.
      accept_losses: go on although episodes or lines of metrics that the checkpoint counts on are
        lost; the run is then another one.

    Attributes:
      learner: what is trained.
      episodes: collected so far.
      environment_steps: control steps of all collected episodes; see `environment_steps.py`.

    Raises:
      TypeError, ValueError: the environment's spaces or the directory's content disagree with
        `config`, the directory's files are damaged or do not belong together, or the learner or its
        policy cannot be had here; nothing has been written then.
      FileNotFoundError: the directory holds a run whose checkpoint, metrics or episodes are gone.
      DirectoryInUseError: another trainer works in the directory.
      ImportError: a backend is missing, the imagination's or that of updates.
    """

    def __init__(
        self,
        config: Config,
        directory: Path | str,
        environment: Environment,
        build: Callable[[Config, Spec], Learner],
        progress: Progress | None = None,
        *,
        accept_losses: bool = False,
    ) -> None:
        self.config = config
        self.directory = Path(directory)
        self.environment = environment
        self.progress = guarded(progress)
        self._stages = Stages(self.progress)
        self.spec = check_environment(environment, config.environment)
        self._repeat = action_repeat(config.environment, environment)
        self.learner = build(config, self.spec)
        try_out(self.learner.policy(config.train.seed_episodes), self.spec)
        self.episodes = self.environment_steps = self._lines = 0  # the last: of metrics
        self._evaluated = -1  # number of episodes at the last evaluation
        self._means = Means(collapse_watch())  # of the updates since the last line of metrics
        self._saved: tuple[int, ...] | None = None  # counters of the newest checkpoint
        self._switch = StopSwitch()
        self._files = RunDirectory(
            self.directory, config, self.spec, self.learner, accept_losses=accept_losses
        )
        self.replay, self.metrics = self._files.replay, self._files.metrics
        if self._files.state:
            self._restore(self._files.state, accept_losses)

    @property
    def saved(self) -> tuple[int, int] | None:
        """Returns episodes and updates of the newest checkpoint; None without one."""
        return (self._saved[0], self._saved[1]) if self._saved else None

    def run(self) -> None:
        """Trains until `config.train.episodes` episodes are collected and learned from.

        In the main thread of a program without handlers of its own, SIGINT (Ctrl-C), SIGTERM and
        SIGHUP do what `stop` does, and a second SIGINT raises KeyboardInterrupt at once. Whatever
        exception ends the run, its state is saved if it is whole: one that comes out of the middle
        of a gradient step, as from a handler of the program's own, leaves the last checkpoint.

        Raises:
          NonFiniteError: an update was not finite; its batch is saved.
          EpisodeError: the environment fails or breaks its promises.
          Interrupted: a KeyboardInterrupt that tells the signal; a checkpoint was written.
        """
        self._check_usable()
        keep_freed_memory()
        train, running = self.config.train, self._switch.running()
        self._stages.expect(schedule.work(train, *self._counters()[:3]))
        with cpu_threads(train.threads), repeatable(train), running, deferred_signals(self.stop):
            try:
                if self._saved is None:  # so that episodes are never without a checkpoint
                    self.save()
                self._collect_seed_episodes()
                self._alternate()
            except BaseException as error:
                self._leave(error)
                raise
        self._switch.check()  # the last step may have been the one

    def stop(self, number: int = signal.SIGINT) -> None:
        """Asks `run` to save and to raise Interrupted after the step that it is in.

        For signal handlers and other threads. Called by a handler, it saves at once if the state is
        whole, so that a step that never ends costs nothing. The exception names `number`.
        """
        self._switch.ask(number)
        if self._switch.in_handler:
            try:
                self._checkpoint()
            except Exception as error:  # the end of the step is the next chance, and reports it
                _LOGGER.warning("no checkpoint yet: %s", error)

    def save(self) -> None:
        """Replaces the checkpoint atomically; the former one is kept beside it.

        Raises:
          RuntimeError: the trainer is closed, or an exception left its state between two steps.
          NonFiniteError: an update since the last line of metrics was not finite.
        """
        self._check_usable()
        self._switch.whole, whole = False, True  # for handlers
        try:
            self._read()
            self.metrics.sync()
            self._files.checkpoints.save(self._state())
            self._saved = self._counters()
        except NonFiniteError:
            whole = False
            raise
        finally:
            self._switch.whole = whole

    def close(self) -> None:
        """Lets others have the run's directory; what was not saved is lost."""
        self._files.lock.release()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def evaluate(self, episodes: int) -> Score:
        """Scores the policy without exploration, on seeds that training never uses."""
        learned = max(self.episodes, self.config.train.seed_episodes)  # never the random one
        played = play(
            self.environment, self.learner.policy(learned), episodes, self.config.train.seed,
            self._stages, f"agent of {self.episodes} episodes",
            steps=self.replay.most_steps, on_step=self._switch.check,
        )  # fmt: skip
        return score("agent", played, self.environment_steps)

    def _leave(self, error: BaseException) -> None:
        """Saves what is whole when an exception ends the run; only then reports."""
        if self._switch.whole:
            try:
                self._checkpoint()
            except Exception as failure:
                if not isinstance(error, Exception):
                    raise  # being saved is what an interrupt promises
                _LOGGER.warning("no checkpoint was written: %s", failure)
        elif not isinstance(error, NonFiniteError):  # which says so itself
            episodes, updates = self.saved or (0, 0)
            _LOGGER.warning(
                "%s: the run ended in the middle of a step, which is not saved; the checkpoint "
                "holds %d episodes, %d updates", self._files.checkpoints.newest, episodes, updates,
            )  # fmt: skip
        self.progress.finish()
        if isinstance(error, Exception):
            # Workers of the environment may die of the same Ctrl-C; that is not the reason.
            self._switch.check()
        self._switch.clear()

    def _alternate(self) -> None:
        """Learns and collects by turns, until there are enough episodes."""
        train = self.config.train
        while True:
            self._learn(schedule.updates_due(train, self.episodes))
            if schedule.evaluation_due(train, self.episodes, self._evaluated):
                self._report_evaluation()
            if schedule.checkpoint_due(train, self.episodes):
                self._checkpoint()
            if schedule.finished(train, self.episodes):
                return
            self._collect_later()

    def _collect_seed_episodes(self) -> None:
        train = self.config.train
        if self.episodes >= train.seed_episodes:
            return
        self._stages.start("seed episodes", train.seed_episodes, "random", several=True)
        for _ in range(self.episodes):
            self.progress.advance()
        while self.episodes < train.seed_episodes:
            # The bar counts these episodes, not their steps.
            episode = self._collect(lambda total: self._switch.check())
            self._advance(episode_return=episode.total_reward)
        self._stages.finish()
        self._checkpoint()

    def _collect_later(self) -> None:
        stage = f"collect episode {self.episodes + 1}/{self.config.train.episodes}"
        part = schedule.next_part(self.config.train, self.episodes)
        self._stages.start(stage, self.replay.most_steps, part)
        self._collect(lambda total: self._advance(episode_return=total))
        self._stages.finish()

    def _collect(self, on_step: Callable[[float], None]) -> Episode:
        """Plays an episode with exploration and keeps it."""
        policy = self.learner.policy(schedule.collector(self.config.train, self.episodes))
        began = time.perf_counter()
        episode = collect_episode(
            self.environment, policy, self.config, self.episodes, self._repeat, on_step
        )
        with self._switch.changing():
            self.replay.add(episode, self.episodes)
            self.episodes += 1
            self.environment_steps += int(episode.metadata["environment_steps"])
            self.write(
                {"collect/return": episode.total_reward, "collect/steps": episode.length - 1,
                 "collect/planned": int(episode.metadata["source"] == "agent"),
                 "collect/seconds": time.perf_counter() - began}
            )  # fmt: skip
        return episode

    def _learn(self, due: int) -> None:
        if self.learner.updates >= due:
            return
        train, count = self.config.train, due - self.learner.updates
        self._stages.start(f"learn from {self.episodes} episodes", count, "update", several=True)
        self._means.begin()
        while self.learner.updates < due:
            with self._switch.changing():
                with self._files.kept_batches():
                    metrics = self.learner.update(self.replay)
                self._means.add(metrics)
                shown = shown_values(metrics)
                line = schedule.line_due(train, self.episodes, self.learner.updates)
                if line or not seem_finite(metrics):
                    self._read()
                if line:
                    means = self._means.take()
                    shown = shown or shown_values(means)  # on a device that is not waited for
                    self.write({f"train/{name}": mean for name, mean in means.items()})
            _, saved = self.saved or (0, 0)
            if schedule.checkpoint_due_between(train, self.learner.updates, saved):
                self._checkpoint()
            self._advance(**shown)
        self._stages.finish()

    def _read(self) -> None:
        """Reads the metrics of the last updates; the one that was not finite is named here."""
        with self._files.kept_batches():
            self.learner.state_dict()
        self._means.read()

    def _report_evaluation(self) -> None:
        result = self.evaluate(self.config.train.evaluation_episodes)
        mean, error = result.mean, result.standard_error
        with self._switch.changing():
            self._evaluated = self.episodes
            self.write({"evaluate/return": mean, "evaluate/standard_error": error})
        self.progress.message(
            f"{self.episodes} episodes, {self.learner.updates} updates: "
            f"return {mean:.1f} +- {error:.1f} over {len(result.returns)} episodes"
        )

    def _advance(self, **values: float) -> None:
        """Ends a step, where the state is whole: an interrupted run goes on from here."""
        self._stages.advance(**values)
        self._switch.check()

    def write(self, values: dict[str, float]) -> None:
        """Appends a line of metrics, which stays if a checkpoint follows; see `MetricsWriter`."""
        self._lines += 1
        counters = {  # the first is TensorBoard's axis
            "environment_steps": self.environment_steps, "updates": self.learner.updates,
            "episodes": self.episodes, "line": self._lines,
        }  # fmt: skip
        self.metrics.write(counters, values)

    def _restore(self, state: RunState, losses: bool) -> None:
        self.episodes, self.environment_steps = state.episodes, state.environment_steps
        self._evaluated, self._lines = state.evaluated, state.lines
        self._means.sums, self._means.count = dict(state.sums), state.count
        if state.config == self.config and not losses:  # a checkpoint counts on nothing lost
            self._saved = self._counters()

    def _state(self) -> RunState:
        return RunState(
            config=self.config, spec=self.spec, learner=self.learner.state_dict(),
            episodes=self.episodes, environment_steps=self.environment_steps,
            evaluated=self._evaluated, lines=self._lines, metrics_checksum=self.metrics.checksum,
            sums=self._means.sums, count=self._means.count, replay=self.replay.state_dict(),
        )  # fmt: skip

    def _counters(self) -> tuple[int, ...]:
        """Lists what changes with every step; episodes and updates first."""
        return self.episodes, self.learner.updates, self._evaluated, self._lines

    def _checkpoint(self) -> None:
        """Saves unless the newest checkpoint holds this state."""
        if self._counters() != self._saved:
            self.save()

    def _check_usable(self) -> None:
        where = f"{self.directory}: this trainer"
        if not self._files.lock.held:
            raise RuntimeError(f"{where} is closed, or was made by another process; make one here")
        if not self._switch.whole:
            raise RuntimeError(f"{where} was left in the middle of a step; close it, make another")
