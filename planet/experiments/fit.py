"""Trains the world model of a run from recorded episodes, without any environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from planet.config import Config
from planet.errors.listing import listed
from planet.experiments.open_loop import OpenLoop, held_out_chunks, open_loop
from planet.experiments.recorded import Recorded
from planet.experiments.recording import Recording
from planet.models import WorldModel
from planet.protocols import Spec
from planet.replay import EpisodeInfo, read_episode
from planet.systems.planet import build
from planet.training.learner import GradientLearner
from planet.training.metrics import read_metrics
from planet.training.progress import Progress
from planet.training.threads import cpu_threads
from planet.training.trainer import Trainer


def fit(
    config: Config,
    directory: Path | str,
    data: Recorded,
    build: Callable[[Config, Spec], GradientLearner] = build,
    progress: Progress | None = None,
) -> OpenLoop:
    """Trains on recorded episodes into a run directory, or continues such a run; then validates.

    The run is one of `planet.training.trainer.Trainer` whose seed episodes are the recorded ones,
    which are copied into it: it makes `train.initial_updates` updates, saves, resumes bit for bit
    and ends by signals as every run does, and whatever opens runs opens it. The errors on the
    episodes that were held out are the last line of its metrics.

    Args:
      config: settings of the run. `train.episodes` and `train.seed_episodes` become the number of
        training episodes, and `train.evaluation_interval` 0.
      directory: of the run.
      data: what to learn from; see `planet.experiments.recorded.open_recorded`.
      build: makes the learner, which trains a `WorldModel`.
      progress: told where training stands.

    Raises:
      ValueError: the settings of the environment are others than the data's, no episode is as long
        as a chunk, or the directory is the data's, or holds another run, or one of other data.
      Whatever `Trainer` and its `run` raise.
    """
    folder, own = data.training[0].path.parent.resolve(), Path(directory).resolve()
    if folder in (own, own / "episodes"):
        raise ValueError(f"directory: expected another one than that of the data, got {directory}")
    config = recorded_run(config, data)
    _check_lengths(data, config.train.chunk_length)
    environment = Recording(data.spec)
    with Trainer(config, directory, environment, build, progress) as trainer:
        _bring(trainer, data.training)
        trainer.run()
        assert isinstance(trainer.learner, GradientLearner)
        model = trainer.learner.model
        if not isinstance(model, WorldModel):
            raise TypeError(f"build: expected one of a WorldModel, got {type(model).__name__}")
        train = config.train
        chunks = held_out_chunks(data.validation, train.chunk_length, train.batch_size)
        with cpu_threads(train.threads):
            result = open_loop(model, chunks, train.seed)
        _note(trainer, result)
    return result


def recorded_run(config: Config, data: Recorded) -> Config:
    """Returns the settings of a run of recorded episodes; see `fit`.

    Raises:
      ValueError: the environment's settings are not those of the data.
    """
    known = data.environment(config.environment)
    for name, value in vars(known).items():
        if value != (got := getattr(config.environment, name)):
            raise ValueError(f"environment.{name}: expected {value!r} as in the data, got {got!r}")
    count = len(data.training)
    train = replace(config.train, episodes=count, seed_episodes=count, evaluation_interval=0)
    return replace(config, train=train)


def _check_lengths(data: Recorded, length: int) -> None:
    for name, infos in (("training", data.training), ("validation", data.validation)):
        longest = max(info.length for info in infos)
        if longest < length:
            raise ValueError(
                f"train.chunk_length: expected at most {longest}, the entries of the longest "
                f"{name} episode, got {length}"
            )


def _bring(trainer: Trainer, infos: Sequence[EpisodeInfo]) -> None:
    """Copies the episodes into a run that begins; compares them with those of one that goes on."""
    if trainer.saved is None:
        trainer.save()  # so that episodes are never without a checkpoint
    missing = () if trainer.episodes else infos
    for index, info in enumerate(missing):
        episode = read_episode(info.path)
        steps = episode.metadata.get("environment_steps", episode.length - 1)
        trainer.replay.add(episode, index)
        trainer.episodes += 1
        trainer.environment_steps += steps if type(steps) is int and steps > 0 else 0
    if missing:
        trainer.save()
    kept = list(trainer.replay.episodes.values())
    pairs = zip(kept, infos, strict=False)
    other = [ours.path.name for ours, theirs in pairs if not _same(ours, theirs)]
    if other or len(kept) != len(infos):
        raise ValueError(
            f"{trainer.directory}: expected the {len(kept)} episodes that the run has, with the "
            f"same validation and seed, got {len(infos)}; others are {listed(other) or 'missing'}"
        )


def _same(ours: EpisodeInfo, theirs: EpisodeInfo) -> bool:
    """Whether a copy, which may be in a newer format, holds what the original does."""
    names = ours.arrays.keys() & theirs.arrays.keys()
    sums = [[info.arrays[name].checksum for name in names] for info in (ours, theirs)]
    return ours.sizes == theirs.sizes and sums[0] == sums[1] and ours.metadata == theirs.metadata


def _note(trainer: Trainer, result: OpenLoop) -> None:
    """Writes the errors as the last line of the metrics, unless it is there."""
    lines = read_metrics(trainer.directory) if trainer.metrics.path.exists() else []
    if not lines or "open_loop/chunks" not in lines[-1]:
        trainer.write(result.metrics())
        trainer.save()
