"""Keeps a run's newest checkpoint, and the one before for when the newest is damaged."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import torch

from planet.storage.atomic import atomic_write, named_errors, replaceable, temporary_beside
from planet.storage.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from planet.training.run_state import RunState

_LOGGER = logging.getLogger("planet")


class Checkpoints:
    """Loads and saves the checkpoints of a run directory.

    Attributes:
      newest: `checkpoint.pt`.
      previous: `checkpoint.previous.pt`; older than the newest.
    """

    def __init__(self, directory: Path) -> None:
        self.newest = directory / "checkpoint.pt"
        self.previous = directory / "checkpoint.previous.pt"
        self._newest_is_intact = False

    def load(self, device: torch.device | str = "cpu") -> tuple[Path, RunState] | None:
        """Reads the newest checkpoint; where it is damaged or missing, the previous one, aloud.

        A checkpoint whose bytes are those that were written is never passed over, be it of another
        release or not of a run at all: what it holds might be worth more than what is older.

        Returns:
          The file and its content, tensors on `device`; None where there is neither.

        Raises:
          CheckpointError: there is no checkpoint that can be used; the message names the files.
        """
        self._newest_is_intact = False
        try:
            state = _read(self.newest, device)
        except FileNotFoundError:
            if not os.path.lexists(self.previous):
                return None
            return self._fall_back("is missing", device)
        except CheckpointError as error:
            if not error.damaged or not os.path.lexists(self.previous):
                raise
            return self._fall_back(error.reason, device)
        self._newest_is_intact = True
        return self.newest, state

    def save(self, state: RunState) -> None:
        """Replaces the newest checkpoint, which becomes the previous one unless it was damaged.

        Wherever the process is killed, both files are complete, old or new.

        Raises:
          OSError: the checkpoint cannot be written; the former ones stay.
        """
        spare = self._link_newest() if self._newest_is_intact else None
        try:
            payload = state.to_payload()
            RunState.from_payload(self.newest, payload)  # what could not be read is not written
            save_checkpoint(self.newest, payload)
        except BaseException:
            if spare is not None:  # the second name would keep the old content on a full disk
                with suppress(OSError):
                    spare.unlink()
            raise
        self._newest_is_intact = True
        if spare is not None:
            with named_errors(self.previous, spare):
                os.replace(spare, self._previous_target())

    def _fall_back(self, reason: str, device: torch.device | str) -> tuple[Path, RunState]:
        try:
            state = _read(self.previous, device)
        except CheckpointError as error:
            both = f"{reason}, and {self.previous}: {error.reason}"
            raise CheckpointError(self.newest, both) from error
        _LOGGER.warning(
            "%s: %s; %s is used instead: %d episodes, %d updates",
            self.newest, reason, self.previous, state.episodes, state.updates,
        )  # fmt: skip
        return self.previous, state

    def check_replaceable(self) -> None:
        """Checks that both files can be replaced, before anything is computed.

        Raises:
          ValueError: one of them is there and no regular file, or links lead from both to one.
          OSError: its directory cannot be written.
        """
        if replaceable(self.newest) == replaceable(self.previous):
            raise ValueError(f"{self.previous}: expected a file of its own, got {self.newest}")

    def _previous_target(self) -> Path:
        """Follows the symbolic links of the previous checkpoint, which stay."""
        return Path(os.path.realpath(self.previous))

    def _link_newest(self) -> Path | None:
        """Gives the newest checkpoint a second name, which is to become the previous one."""
        spare = temporary_beside(self._previous_target())
        try:
            os.link(os.path.realpath(self.newest), spare)
        except OSError:  # a file system without hard links, or a link to another one
            with suppress(FileNotFoundError):
                content = self.newest.read_bytes()
                with atomic_write(self.previous) as file:
                    file.write(content)
            return None
        return spare


def _read(path: Path, device: torch.device | str) -> RunState:
    return RunState.from_payload(path, load_checkpoint(path, device))
