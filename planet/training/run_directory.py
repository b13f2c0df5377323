"""Puts a run's directory into the hands of one trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from planet.config import Config
from planet.errors.listing import listed
from planet.protocols import Learner, NonFiniteError, Spec
from planet.replay import ReplayBuffer, episode_name
from planet.storage.atomic import make_directory, remove_temporaries, replaceable
from planet.storage.checkpoint import save_checkpoint
from planet.training.checkpointing import Checkpoints
from planet.training.lock import RunLock
from planet.training.metrics import METRICS_NAME, MetricsWriter
from planet.training.run_config import check_config, write_config
from planet.training.run_state import RunState, check_spec, load_learner


class RunDirectory:
    """Holds settings, checkpoints, episodes and metrics of a run, locked against other trainers.

    Attributes:
      lock: on the directory, until it is released.
      checkpoints: the newest one and the one before it.
      state: what the run goes on from; None: it starts.
      replay: its episodes.
      metrics: its lines.
    """

    def __init__(
        self,
        directory: Path,
        config: Config,
        spec: Spec,
        learner: Learner,
        *,
        accept_losses: bool = False,
    ) -> None:
        """Locks the directory, checks that its files belong together, and opens them.

        Arguments and errors are those of `planet.training.trainer.Trainer`: `spec` is of its
        environment, and `learner`, made from these settings, goes on from the checkpoint.
        """
        directory = directory.absolute()  # whatever changes the working directory later
        self._bad_batch, self._train = directory / "bad_batch.pt", config.train
        make_directory(directory)
        self.lock = RunLock(directory / "run.lock")
        self.checkpoints = Checkpoints(directory)
        try:
            self.state = self._open(directory, config, spec, learner, accept_losses)
        except BaseException:
            self.lock.release()
            raise

    @contextmanager
    def kept_batches(self) -> Iterator[None]:
        """Saves the batch of an update that was not finite; the block's error then says where."""
        try:
            yield
        except NonFiniteError as error:
            batch = {**vars(error.batch), "observation": dict(error.batch.observation)}
            batch |= {"config": asdict(self._train), "update": error.update}
            kept = f"is saved in {self._bad_batch}"
            try:
                save_checkpoint(self._bad_batch, batch)
            except (OSError, TypeError, ValueError) as failure:  # must not hide why the run ends
                kept = f"cannot be saved ({failure})"
            where = f", the batch {kept} and the last checkpoint is unchanged"
            raise NonFiniteError(error.term, error.update, error.batch, where) from error

    def _open(
        self, directory: Path, config: Config, spec: Spec, learner: Learner, losses: bool
    ) -> RunState | None:
        """Writes nothing before everything is checked."""
        settings, train = directory / "config.json", config.train
        self.checkpoints.check_replaceable()
        if settings.exists():
            check_config(settings, Config.load(settings), config)
        path, state = self.checkpoints.load() or (self.checkpoints.newest, None)
        if state is None:
            _check_fresh(directory)
        else:
            check_config(path, state.config, config)
            check_spec(path, state.spec, spec)
            load_learner(path, learner, state)
        self.replay = ReplayBuffer(
            directory / "episodes",
            sampling=train.sampling,
            recent_draws=train.recent_draws,
            recent_share=train.recent_share,
            names=state.replay["names"] if state else [],
        )
        replaceable(self.replay.directory / episode_name(0))  # the folder can be written
        if state is not None:
            self.replay.load_state_dict(state.replay, accept_losses=losses)
        self.metrics = MetricsWriter(directory)
        lines, checksum = (state.lines, state.metrics_checksum) if state else (0, None)
        self.metrics.go_back(lines, checksum, accept_losses=losses)
        write_config(settings, config)
        for folder in (directory, self.replay.directory):
            remove_temporaries(folder)
        return state


def _check_fresh(directory: Path) -> None:
    """Refuses to start a run over one that lost its checkpoint."""
    metrics = directory / METRICS_NAME
    found = sorted(path.name for path in (directory / "episodes").glob("episode-*.planet"))
    if metrics.exists() and metrics.stat().st_size:
        found.append(metrics.name)
    if found:
        raise FileNotFoundError(
            f"{directory / 'checkpoint.pt'} is missing, and so is the one before it, but "
            f"{listed(found)} of a run are there; put it back, or use another directory"
        )
