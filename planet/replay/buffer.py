"""Keeps all episodes of a run on disk, and draws training chunks from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from planet.config import TrainConfig, choices
from planet.errors.checks import check_choice
from planet.errors.listing import listed
from planet.errors.scalars import check_between, check_float, check_int
from planet.protocols import Chunk
from planet.replay.episode import Episode
from planet.replay.episode_file import CorruptEpisodeError, verify_episode, write_episode
from planet.replay.episode_folder import episode_index, episode_name
from planet.replay.episode_info import EpisodeInfo, Sizes, check_same_sizes, sizes_of
from planet.replay.pieces import Pieces
from planet.replay.sampling import draw_recent, draw_uniform
from planet.storage.atomic import make_directory

_LOGGER = logging.getLogger("planet")


class LostEpisodesError(ValueError):
    """Episodes that a run has learned from are missing, damaged, or others than they were."""

    def __init__(self, directory: Path, reasons: Mapping[str, str]) -> None:
        super().__init__(
            f"{directory}: expected the episodes that were saved, lost {len(reasons):,}: "
            f"{_reasons(reasons)}; restore them, or give --accept-losses (accept_losses=True)"
        )
        self.reasons = dict(reasons)


class ReplayBuffer:
    """Keeps episodes as files of one directory; memory holds their headers only.

    Sampling draws the starts of B chunks of T entries with replacement; a chunk never leaves its
    episode.

    - "uniform": every chunk start of the whole buffer is equally likely, so an episode weighs as
      much as it has starts, its length - T + 1.
    - "recent": google-research/planet's default loader (tools/numpy_episodes.py `recent_loader`,
      commit c04226b). During the `recent_draws` draws after an addition, each draw takes, with
      probability `recent_share`, an episode added since the last refresh, else one of the rest; the
      episode and then its start are uniform. After that a refresh makes the new episodes part of
      the rest. (The original shuffles exactly 500 + 500 draws.)

    Only one process at a time may write to the directory.

    Attributes:
      directory: where the episode files are.
      sampling: as it was given.
      episodes: headers by file name, in order of the episode's index.
      skipped: why a file was left out, by file name.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        sampling: str = "uniform",
        recent_draws: int = 1000,
        recent_share: float = 0.5,
        names: Iterable[str] | None = None,
    ) -> None:
        """Opens a directory, verifying every checksum; creates it if it does not exist.

        Args:
          directory: where the episode files are.
          sampling: "uniform" or "recent".
          recent_draws: draws after an addition that prefer new episodes; for "recent".
          recent_share: probability of a new episode in these draws, 0 to 1; for "recent".
          names: the episode files to use, e.g. those a checkpoint knows; None uses all. Others
            in the directory are ignored, and overwritten when their index comes up again.

        Raises:
          ValueError: an argument is out of range, or the episodes' arrays differ in name or size.
        """
        check_int("recent_draws", recent_draws, 1)
        check_between("recent_share", check_float("recent_share", recent_share), 0, 1)
        check_choice("sampling", sampling, choices(TrainConfig, "sampling"))
        self.directory, self.sampling = Path(directory), sampling
        self.episodes: dict[str, EpisodeInfo] = {}
        self.skipped: dict[str, str] = {}
        self._recent_draws, self._recent_share = recent_draws, recent_share
        self._recent: set[str] = set()
        self._draws = 0  # since the last addition
        self._too_short: set[tuple[str, int]] = set()  # names, for chunks of a length; reported
        make_directory(self.directory)
        found = (name for name in os.listdir(self.directory) if name.endswith(".planet"))
        self._scan(sorted(found) if names is None else names)
        if self.skipped and names is None:  # lost names are load_state_dict's to report
            _LOGGER.warning(
                "%d files in %s are left out: %s",
                len(self.skipped), self.directory, _reasons(self.skipped),
            )  # fmt: skip

    @property
    def total_frames(self) -> int:
        """Number of frames on disk, reset frames included."""
        return sum(info.length for info in self.episodes.values())

    @property
    def most_steps(self) -> int:
        """Steps of the longest episode; 0 without any."""
        return max((info.length - 1 for info in self.episodes.values()), default=0)

    @property
    def total_bytes(self) -> int:
        """Size of all episode files."""
        return sum(info.file_bytes for info in self.episodes.values())

    @property
    def next_index(self) -> int:
        """Returns the index `add` takes by default: one more than any known file's."""
        indices = map(episode_index, (*self.episodes, *self.skipped))
        return max((index for index in indices if index is not None), default=-1) + 1

    def add(self, episode: Episode, index: int | None = None) -> Path:
        """Writes an episode to disk and makes it available for sampling; returns the file's path.

        A file of this `index` is replaced atomically; None takes `next_index`.

        Raises:
          ValueError: an array's name, dtype or size is not the buffer's, or index is negative.
          OSError: the file cannot be written.
        """
        name = episode_name(self.next_index if index is None else check_int("index", index, 0))
        path = self.directory / name
        self._check_sizes(name, sizes_of(episode))
        self.episodes[name] = write_episode(path, episode)
        self.skipped.pop(name, None)
        self._sort()
        self._recent.add(name)
        self._draws = 0
        return path

    def sample(self, batch_size: int, length: int, generator: np.random.Generator) -> Chunk:
        """Draws a batch of chunks; the generator alone decides which.

        Episodes shorter than a chunk are not sampled, and named in a warning once.

        Args:
          batch_size: B.
          length: T, entries per chunk.
          generator: source of randomness; the same state and episodes give the same batch.

        Returns:
          Arrays [T, B, ...] as `planet.protocols.Chunk` has them.

        Raises:
          ValueError: batch_size or length is below 1, or no episode is as long as a chunk.
          CorruptEpisodeError: a file was cut short or removed since it was opened.
        """
        return self.draw(batch_size, length, generator).read()

    def draw(
        self, batch_size: int, length: int, generator: np.random.Generator, *, ahead: bool = False
    ) -> Pieces:
        """Chooses the pieces of a batch; see `sample` and `planet.protocols.Replay`.

        Raises:
          ValueError: batch_size or length is below 1, or no episode is as long as a chunk.
        """
        check_int("batch_size", batch_size, 1)
        check_int("length", length, 1)
        if not isinstance(generator, np.random.Generator):
            raise TypeError(
                f"generator: expected numpy.random.Generator, got {type(generator).__name__}"
            )
        state = self._recent, self._draws
        drawn = self._draw(batch_size, length, generator)
        if ahead:
            self._recent, self._draws = state
        return Pieces(drawn, length)

    def refresh(self) -> None:
        """Ends the preference of "recent" for the episodes added so far."""
        self._recent = set()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint must keep: which episodes there are, and the recent draws.

        `ReplayBuffer(directory, names=state["names"])` and `load_state_dict` go on from it exactly.
        """
        return {
            "names": list(self.episodes),
            "checksums": [info.checksum for info in self.episodes.values()],
            "recent": sorted(self._recent),
            "draws": self._draws,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, accept_losses: bool = False) -> None:
        """Restores the recent draws of a `state_dict`, and checks that its episodes are there.

        Raises:
          LostEpisodesError: an episode is missing, damaged, or another one than it was; with
            `accept_losses` that is a warning, and the buffer goes on without it.
        """
        lost = {name: self.skipped.get(name, "not opened") for name in state["names"]
                if name not in self.episodes}  # fmt: skip
        for name, checksum in zip(state["names"], state["checksums"], strict=True):
            if name not in lost and self.episodes[name].checksum != checksum:
                lost[name] = "another episode than the one that was saved"
        if lost:
            error = LostEpisodesError(self.directory, lost)
            if not accept_losses:
                raise error
            _LOGGER.warning("%s: training goes on without them", error)
            for name in lost:
                self.episodes.pop(name, None)
        self._recent = set(state["recent"]) & set(self.episodes)
        self._draws = int(state["draws"])

    def _scan(self, names: Iterable[str]) -> None:
        for name in names:
            if episode_index(name) is None:
                self.skipped[name] = "the name is not episode-<six digits>.planet"
                continue
            try:
                info = verify_episode(self.directory / name)
            except CorruptEpisodeError as error:
                self.skipped[name] = error.reason
            except OSError as error:
                self.skipped[name] = error.strerror or str(error)
            else:
                self._check_sizes(name, info.sizes)
                self.episodes[name] = info
        self._sort()

    def _report_short(self, length: int, short: Iterable[str]) -> None:
        new = [name for name in short if (name, length) not in self._too_short]
        if new:
            self._too_short.update((name, length) for name in new)
            _LOGGER.warning(
                "%d episodes in %s are shorter than a chunk of %d and not sampled: %s",
                len(new), self.directory, length, listed(new),
            )  # fmt: skip

    def _draw(
        self, batch_size: int, length: int, generator: np.random.Generator
    ) -> list[tuple[EpisodeInfo, int]]:
        """Chooses an episode and a start for every row of a batch."""
        infos = list(self.episodes.values())
        starts = np.array([max(0, info.length - length + 1) for info in infos], np.int64)
        if not starts.any():
            raise ValueError(
                f"length: expected an episode of at least {length} entries in {self.directory}, "
                f"got {len(infos)} episodes, all shorter"
            )
        self._report_short(length, (infos[row].path.name for row in np.flatnonzero(starts == 0)))
        if self.sampling == "uniform":
            rows, offsets = draw_uniform(starts, batch_size, generator)
        else:
            if self._draws >= self._recent_draws:
                self.refresh()
            recent = np.array([name in self._recent for name in self.episodes], np.bool_)
            rows, offsets = draw_recent(starts, recent, self._recent_share, batch_size, generator)
            self._draws += batch_size
        return [(infos[row], int(offset)) for row, offset in zip(rows, offsets, strict=True)]

    def _sort(self) -> None:
        """Puts the episodes in order of their index, which is in as many digits as it needs."""
        self.episodes = {
            name: self.episodes[name] for name in sorted(self.episodes, key=lambda n: (len(n), n))
        }

    def _check_sizes(self, name: str, sizes: Sizes) -> None:
        other = next((info for key, info in self.episodes.items() if key != name), None)
        if other is not None:
            check_same_sizes(other.sizes, other.path, sizes, name)


def _reasons(reasons: Mapping[str, str]) -> str:
    return listed(f"{name} ({reason})" for name, reason in reasons.items())
