"""Shows TensorBoard the curves of a run, made anew from its metrics whenever it goes on.

All points are in one file, `tensorboard/events.out.tfevents.<seconds>.planet`. It is written whole
beside the last one, which is then emptied, and its name sorts behind all others: so a TensorBoard
that watches the folder comes to the end of the last file, turns to the new one, and drops what it
knew, since that starts with a restart at step 0. It would never leave a file that was removed while
it read it, so emptied ones stay for a day.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from planet.storage.atomic import atomic_write, remove_temporaries

# A point over a counter: the counter's value, then values by the curve's name.
Points = tuple[int, Mapping[str, float]]
_ANY = re.compile(r"events\.out\.tfevents\.(\d{10,12})\..*", re.DOTALL)
_DAY = 86_400  # seconds
_OWN = re.compile(r"events\.out\.tfevents\.\d{10,12}\.planet")


class EventFile:
    """Writes a file of curves, and further points to its end.

    Attributes:
      foreign: names of event files in the folder that others wrote; they are left alone.
    """

    def __init__(self, folder: Path, points: Iterable[Points]) -> None:
        """Writes a file with the points so far, and empties the files of earlier openings.

        Raises:
          ValueError: `folder` is a symbolic link, which may lead to another run's files.
          OSError: the folder or the file cannot be written.
          Exception: TensorBoard cannot be imported, whatever that raises.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._records = Event, Summary, RecordWriter
        if folder.is_symlink():
            raise ValueError(f"{folder}: expected a folder of the run's own, got a symbolic link")
        folder.mkdir(exist_ok=True)
        remove_temporaries(folder)
        names = {name: match for name in os.listdir(folder) if (match := _ANY.fullmatch(name))}
        seconds = max([int(time.time()), *(int(match[1]) + 1 for match in names.values())])
        path = folder / f"events.out.tfevents.{seconds:010d}.planet"
        with atomic_write(path) as file:
            self._write(file, Event(wall_time=time.time(), file_version="brain.Event:2"))
            start = SessionLog(status=SessionLog.START)
            self._write(file, Event(wall_time=time.time(), step=0, session_log=start))
            for step, values in points:
                self._write(file, self._point(step, values))
        self.foreign = sorted(name for name in names if not _OWN.fullmatch(name))
        for name in names:
            if _OWN.fullmatch(name):
                _empty(folder / name)
        self._path = path

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Appends the values of several curves at one step.

        Raises:
          OSError: the file is gone or cannot be written.
        """
        with open(self._path, "r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            self._write(file, self._point(step, values))

    def _point(self, step: int, values: Mapping[str, float]) -> Any:
        items = [self._summary.Value(tag=name, simple_value=v) for name, v in values.items()]
        return self._event(wall_time=time.time(), step=step, summary=self._summary(value=items))

    def _write(self, file: BinaryIO, event: Any) -> None:
        self._records(file).write(event.SerializeToString())


def _empty(path: Path) -> None:
    """Empties a file, or removes one that was emptied long ago; links are not followed."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return
    if found.st_size:
        os.truncate(path, 0)
    elif found.st_mtime < time.time() - _DAY:
        path.unlink()
