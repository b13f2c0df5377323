"""Describes a fixed set of episodes: what a model is trained on, checked on, and would act in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.config import EnvironmentConfig
from planet.errors.listing import listed
from planet.errors.scalars import check_between, check_float
from planet.errors.short_repr import short_repr
from planet.protocols import Spec
from planet.replay import CorruptEpisodeError, EpisodeInfo, ReplayBuffer, episode_paths, read_chunk
from planet.replay.episode import OWN
from planet.training.seeds import VALIDATION

UNNAMED = "recorded"
"""Stands for the task where episodes name none, or several."""

Bound = float | Sequence[float] | None


@dataclass(frozen=True)
class Recorded:
    """Holds recorded episodes, split into two.

    Attributes:
      training: headers of the episodes to learn from.
      validation: headers of those that are held out, one or more.
      spec: arrays of the observations, and the box of the actions.
      task: the one that all episodes name in their metadata, else "recorded".
    """

    training: tuple[EpisodeInfo, ...]
    validation: tuple[EpisodeInfo, ...]
    spec: Spec
    task: str

    __repr__ = short_repr

    def environment(self, config: EnvironmentConfig) -> EnvironmentConfig:
        """Returns settings of a task with the sizes and kinds of these observations.

        Frames are taken as rendered at their size, unless the settings have that size and another
        `render_size`. Actions are repeated as all episodes say in their metadata, if they do.
        """
        repeat = _agreed([*self.training, *self.validation], "action_repeat")
        if type(repeat) is int and repeat > 0:
            config = replace(config, action_repeat=repeat)
        shapes = {name: shape for name, (_, shape) in self.spec.observation.items()}
        if "image" not in shapes:
            return replace(config, observe="vectors", frames=1)
        size, _, channels = shapes["image"]
        if size != config.image_size:
            config = replace(config, image_size=size, render_size=size)
        observe: Any = "both" if len(shapes) > 1 else "pixels"
        return replace(config, observe=observe, frames=channels // 3)


def open_recorded(
    directory: Path | str,
    *,
    validation: float = 0.1,
    seed: int = 0,
    low: Bound = None,
    high: Bound = None,
) -> Recorded:
    """Opens recorded episodes, verifying every checksum, and splits them.

    Args:
      directory: of episode files, as `planet replay import` makes it, or of a run.
      validation: share of the episodes that are held out, at least one of them.
      seed: decides which.
      low: smallest actions, a number or A of them; None: `action_low` of the metadata where all
        episodes have the same, else -1 as everywhere in the DM Control Suite.
      high: largest actions, likewise; `action_high`, else 1.

    Raises:
      FileNotFoundError: there are no episodes.
      CorruptEpisodeError: one is damaged.
      ValueError: there is one alone, their arrays differ, frames are no squares, or an action lies
        outside the box.
    """
    check_between("validation", check_float("validation", validation), 0, 1)
    folder = episode_paths(directory)[0].parent
    buffer = ReplayBuffer(folder)
    if buffer.skipped:
        name, reason = next(iter(buffer.skipped.items()))
        raise CorruptEpisodeError(folder / name, reason)
    infos = list(buffer.episodes.values())
    if len(infos) < 2:
        raise ValueError(f"{folder}: expected 2 episodes or more, one to validate on, got 1")
    spec = _spec(infos, low, high)
    held = max(1, min(len(infos) - 1, round(validation * len(infos))))
    order = np.random.default_rng([seed, VALIDATION]).permutation(len(infos))
    out = {int(index) for index in order[:held]}
    tasks = {task for info in infos if isinstance(task := info.metadata.get("task", UNNAMED), str)}
    return Recorded(
        training=tuple(info for index, info in enumerate(infos) if index not in out),
        validation=tuple(info for index, info in enumerate(infos) if index in out),
        spec=spec,
        task=tasks.pop() if len(tasks) == 1 else UNNAMED,
    )


def _spec(infos: list[EpisodeInfo], low: Bound, high: Bound) -> Spec:
    sizes = infos[0].sizes
    observation = {name: size for name, size in sorted(sizes.items()) if name not in OWN}
    if "image" in observation and len({*observation["image"][1][:2]}) > 1:
        shape = list(observation["image"][1])
        raise ValueError(f"image: expected squares as frames, got {shape} in {infos[0].path}")
    (size,) = sizes["action"][1]
    bounds = [
        _bound("low", low, "action_low", -1.0, infos, size),
        _bound("high", high, "action_high", 1.0, infos, size),
    ]
    if (bounds[0] > bounds[1]).any():
        raise ValueError(f"low: expected none above high={bounds[1]}, got {bounds[0]}")
    for info in infos:
        action = read_chunk(info, 0, info.length)["action"][1:]
        outside = np.argwhere((action < bounds[0]) | (action > bounds[1]))
        if len(outside):
            t, a = outside[0]
            raise ValueError(
                f"{info.path}: expected actions from {bounds[0][a]:g} to {bounds[1][a]:g}, got "
                f"{action[t, a]:g} at index {t + 1}, dimension {a}; give the box as low and high"
            )
    return Spec({n: (np.dtype(d), shape) for n, (d, shape) in observation.items()}, *bounds)


def _bound(
    name: str, given: Bound, key: str, default: float, infos: list[EpisodeInfo], size: int
) -> npt.NDArray[np.float32]:
    """Returns what is given, or all episodes say, or the default, as float32 [A]."""
    said = _agreed(infos, key)
    if given is None and said is not None:
        name, given = f"metadata[{key!r}] of {infos[0].path}", said
    try:
        array = np.asarray(default if given is None else given, np.float32)
        bound: npt.NDArray[np.float32] = np.broadcast_to(array, (size,)).copy()
        if np.isfinite(bound).all():
            return bound
    except (TypeError, ValueError):
        pass
    expected = f"a finite number, or {size} of them"
    raise ValueError(f"{name}: expected {expected}, got {listed([given])}")


def _agreed(infos: Sequence[EpisodeInfo], key: str) -> Any:
    """Returns what the metadata of all episodes say alike; None where they do not."""
    first, *others = [info.metadata.get(key) for info in infos]
    return first if all(value == first for value in others) else None
