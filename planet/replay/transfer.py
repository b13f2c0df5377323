"""Brings episodes out of a run into files of numpy, and from such files into a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from planet.errors.listing import listed
from planet.replay.buffer import ReplayBuffer
from planet.replay.episode_file import read_episode
from planet.replay.episode_folder import episode_name, episode_paths
from planet.replay.episode_info import Sizes, check_same_sizes, sizes_of
from planet.replay.npz import NpzError, read_npz, write_npz
from planet.storage.atomic import make_directory

_NUMBERED = re.compile(r"episode-(\d+)\.npz")


@dataclass(frozen=True)
class Imported:
    """Holds what became of files of numpy.

    Attributes:
      files: the episode file of every one.
      without_terminated: those that did not say whether the task ended itself.
    """

    files: Mapping[Path, Path]
    without_terminated: tuple[Path, ...]


def export_episodes(directory: Path | str, target: Path | str) -> list[Path]:
    """Writes every episode of a run as `episode-000012.npz`; see `planet.replay.npz.write_npz`.

    Args:
      directory: of the run, or of episode files.
      target: folder of the npz files, made if it does not exist.

    Raises:
      FileNotFoundError: there are no episodes.
      FileExistsError: a file would be replaced; nothing has been written then.
      CorruptEpisodeError: an episode is damaged.
    """
    sources, target = episode_paths(directory), Path(target)
    made = [target / f"{path.stem}.npz" for path in sources]
    _refuse_existing(made)
    make_directory(target)
    for source, path in zip(sources, made, strict=True):
        write_npz(path, read_episode(source))
    return made


def import_episodes(
    source: Path | str, folder: Path | str, observations: Collection[str] | None = None
) -> Imported:
    """Makes episode files, which `ReplayBuffer` opens, of the npz files of a folder.

    `episode-000012.npz` becomes episode 12; files of other names follow the last number in order of
    their names. Every file is read and checked before the first one is written.

    Args:
      source: folder of the npz files; see `planet.replay.npz.read_npz`.
      folder: of the episodes, made if it does not exist; episodes in it stay.
      observations: names of the arrays that are observations; None: all that are left.

    Raises:
      FileNotFoundError: there are no npz files.
      FileExistsError: an episode would be replaced.
      ValueError: a file is no episode, or its arrays are others than those of the rest.
    """
    source, folder = Path(source), Path(folder)
    paths = sorted(source.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{source} holds no files *.npz")
    silent = _checked(paths, observations)
    buffer = ReplayBuffer(folder) if folder.is_dir() else None
    start = buffer.next_index if buffer else 0
    numbers = _numbers(paths, start)
    made = {
        path: folder / episode_name(number) for path, number in zip(paths, numbers, strict=True)
    }
    _refuse_existing(made.values())
    buffer = buffer or ReplayBuffer(folder)
    for path, number in zip(paths, numbers, strict=True):
        buffer.add(read_npz(path, observations)[0], number)
    return Imported(made, silent)


def _checked(paths: list[Path], observations: Collection[str] | None) -> tuple[Path, ...]:
    """Reads every file once; returns those without `terminated`."""
    silent, first = [], Sizes()
    for path in paths:
        episode, told = read_npz(path, observations)
        sizes = sizes_of(episode)
        try:
            check_same_sizes(first or sizes, paths[0], sizes, path.name)
        except ValueError as error:
            raise NpzError(path, str(error)) from None
        first = first or sizes
        silent += [] if told else [path]
    return tuple(silent)


def _numbers(paths: list[Path], start: int) -> list[int]:
    """Returns the index of every file's episode; those without one come last."""
    found = [_NUMBERED.fullmatch(path.name) for path in paths]
    named = [int(match[1]) for match in found if match]
    if doubled := sorted({number for number in named if named.count(number) > 1}):
        raise ValueError(f"episode {doubled[0]}: expected one file, got {named.count(doubled[0])}")
    free = iter(range(max([start - 1, *named]) + 1, 2**63))
    return [int(match[1]) if match else next(free) for match in found]


def _refuse_existing(paths: Collection[Path]) -> None:
    if existing := [path.name for path in paths if os.path.lexists(path)]:
        folder = next(iter(paths)).parent
        raise FileExistsError(
            f"{folder} holds {listed(existing)}; expected a folder in which nothing is replaced"
        )
