"""Locks a run directory for one trainer; the kernel drops the lock with the process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import stat
import weakref
from contextlib import suppress
from pathlib import Path

from planet.storage.atomic import UNSUPPORTED, named_errors

_LOGGER = logging.getLogger("planet")
_IRREGULAR = (errno.ELOOP, errno.EISDIR, errno.ENXIO)  # of a link, a directory, a socket


class DirectoryInUseError(RuntimeError):
    """Says that another trainer, of this or another process, works in the run directory.

    Attributes:
      path: the lock file.
      owner: who holds it, e.g. "process 4711 on host a".
    """

    def __init__(self, path: Path, owner: str) -> None:
        advice = "wait until it ends, end it, or use another directory"
        super().__init__(f"{path}: the run directory is in use by {owner}; {advice}")
        self.path, self.owner = path, owner


class RunLock:
    """Holds an exclusive `flock` on a file of the run directory until it is released.

    The kernel drops the lock with the process, however that ends, so the file of a dead process is
    no obstacle; the file itself stays, because removing it would let two processes lock two files
    of one name. A forked child does not hold the lock. Where the file system has no locks (some
    NFS and FUSE mounts) a warning says so and nothing is locked.
    """

    def __init__(self, path: Path) -> None:
        """Takes the lock; the directory of `path` must exist.

        Raises:
          DirectoryInUseError: somebody else holds it; nothing has been written then.
          ValueError: there is something else than a regular file of that name.
          OSError: the file cannot be opened.
        """
        self._owner = os.getpid()
        self._descriptor = _open_locked(path)
        _HELD.add(self)
        self._release = weakref.finalize(self, _close, self._descriptor, self._owner)

    @property
    def held(self) -> bool:
        """Whether this process may write to the run directory."""
        return self._release.alive and self._owner == os.getpid()

    def release(self) -> None:
        """Lets others have the directory; nothing happens if that was done before."""
        self._release()


_HELD: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Closes a forked child's copies, which would hold the locks for as long as the child lives."""
    for lock in list(_HELD):
        if lock._release.detach():
            os.close(lock._descriptor)


os.register_at_fork(after_in_child=_leave_to_parent)


def _open_locked(path: Path) -> int:
    """Returns a descriptor of the lock file that is locked, with this process's name in it."""
    # A name that is a link or a pipe must not lead us to write to, or wait for, something else.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno in _IRREGULAR:
                raise _irregular(path) from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _irregular(path)
            _lock(descriptor, path)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, os.pwrite(descriptor, f"{_own_name()}\n".encode(), 0))
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody removed the file between its opening and its locking


def _irregular(path: Path) -> ValueError:
    got = "a link, a directory or a device"
    return ValueError(f"{path}: expected a regular file, got {got}; remove it")


def _lock(descriptor: int, path: Path) -> None:
    try:
        with named_errors(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DirectoryInUseError(path, _owner(descriptor)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, *UNSUPPORTED):
            raise
        _LOGGER.warning(
            "%s: this file system has no locks (%s); see to it that no other process trains here",
            path, error.strerror,
        )  # fmt: skip


def _own_name() -> str:
    return f"process {os.getpid()} on host {socket.gethostname()}"


def _owner(descriptor: int) -> str:
    """Names the holder of the lock, as it wrote itself into the file."""
    name = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    if name == _own_name():
        return f"another Trainer of this {name} (Trainer.close() frees it)"
    return name if name.isprintable() and name else "a process that did not write its name"


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _close(descriptor: int, owner: int) -> None:
    if owner == os.getpid():
        with suppress(OSError):  # of file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a child still has a copy
    os.close(descriptor)
