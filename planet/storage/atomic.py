"""Replaces files so that a reader sees the old content or the new one, never a part.

Everything that planet writes goes through `atomic_write`, except for lines that are appended to a
file; everything that it reads whole goes through `read_file`. An error names the file.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\.planet-[0-9a-f]{16}\.tmp")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # of a file system
_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


@contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` and renames it to `path` when the block succeeds.

    The data reach the disk before the rename, and the rename before the block ends, so after a
    power cut the name holds the complete old or the complete new content. A symbolic link stays,
    and the file that it leads to is replaced or made. An existing file's mode is kept, and its
    owner where the process may; a new file gets the mode that the umask leaves.

    A process that is killed leaves its temporary file, whose name nobody can foresee; see
    `remove_temporaries`.

    Args:
      path: file to create or replace; its directory must exist.

    Yields:
      The temporary file, open for writing bytes.

    Raises:
      ValueError: `path` is there and no regular file.
      OSError: the directory is missing, the disk is full, ...; it names `path`, which is as it was
        before.
    """
    path = Path(path)
    target = replaceable(path)
    temporary = temporary_beside(target)
    with named_errors(path, temporary):
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            old = os.lstat(target) if target.exists() else None
            descriptor = os.open(temporary, _CREATE, 0o666 if old is None else 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if old is not None:
                        _take_over(descriptor, old)
                    yield file
                    file.flush()
                    os.fsync(descriptor)
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            with _where_supported():
                os.fsync(directory)  # makes the rename durable
        finally:
            os.close(directory)


def make_directory(path: Path | str) -> None:
    """Makes a directory, and those above it, unless it exists.

    Raises:
      ValueError: there is something else of that name; the message names it.
      OSError: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        kind = _kind(os.lstat(path).st_mode)
        raise ValueError(f"{path}: expected a directory, got {kind}") from None


def temporary_beside(path: Path) -> Path:
    """Returns a name that nobody can foresee, in the same directory; see `remove_temporaries`."""
    return path.parent / f".planet-{secrets.token_hex(8)}.tmp"


def replaceable(path: Path | str) -> Path:
    """Checks that `path` can be written; call it before work that would be lost.

    Args:
      path: a file that is to be created or replaced.

    Returns:
      The path behind all symbolic links, of a regular file or of nothing yet.

    Raises:
      ValueError: `path` is there and no regular file.
      OSError: its directory is missing, is no directory or cannot be written, or links lead round
        in a circle; the error names `path`.
    """
    target = Path(os.path.realpath(path))
    with named_errors(path):
        try:
            mode = os.lstat(target).st_mode
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
        else:
            if stat.S_ISLNK(mode):  # realpath gives up where links lead round in a circle
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            _check_regular(path, mode)
        if not os.access(target.parent, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the directory of the file cannot be written")
    return target


def read_file(path: Path | str) -> bytes:
    """Reads a whole regular file; a named pipe or a device does not hold it up.

    Raises:
      ValueError: `path` is no regular file.
      OSError: it cannot be opened or read; the error names it.
    """
    with named_errors(path), open_regular(path) as file:
        return file.read()


def open_regular(path: Path | str) -> BinaryIO:
    """Opens a regular file for reading; a named pipe or a device is not opened at all.

    Raises:
      ValueError: `path` is no regular file.
      OSError: it cannot be opened.
    """
    _check_regular(path, os.stat(path).st_mode)
    return open(path, "rb")


@contextmanager
def named_errors(path: Path | str, *others: Path) -> Iterator[None]:
    """Lets an OSError of the block name a file; errors of open files carry no name.

    Args:
      path: the file that the block works on.
      others: names that stand for it, whose errors are to name `path` as well.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # such an error shows its text alone
            raise OSError(f"{path}: {error}") from error
        unnamed = error.filename is None or isinstance(error.filename, int)
        if unnamed or os.fspath(error.filename) in map(os.fspath, others):
            error.filename = os.fspath(path)
            del error.filename2  # None would be shown: "a -> None"
        raise


def is_temporary(name: str) -> bool:
    """Tells whether `atomic_write` gives such names to its temporary files."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_temporaries(directory: Path | str) -> list[str]:
    """Removes what killed processes left of files that they were writing.

    Only a directory's sole writer may do so: it would take a living writer's file away.

    Args:
      directory: whose temporary files go; files that others made are left alone.

    Returns:
      The names of the removed files.
    """
    with os.scandir(directory) as entries:
        found = [e.name for e in entries if e.is_file(follow_symlinks=False)]
    names = sorted(filter(is_temporary, found))
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
    return names


def _check_regular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: expected a regular file, got {_kind(mode)}")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def _take_over(descriptor: int, old: os.stat_result) -> None:
    """Gives a file the mode and the owner of the one that it will replace."""
    mode = stat.S_IMODE(old.st_mode)
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) and not _give(descriptor, old):
        # What the old group was allowed must not pass to the new one.
        mode = mode & ~0o6070 | (mode & 0o007) << 3
    with suppress(PermissionError), _where_supported():
        os.fchmod(descriptor, mode)


def _give(descriptor: int, old: os.stat_result) -> bool:
    """Gives the file to the old owner and group; False where the group had to change."""
    for owner in (old.st_uid, -1):
        try:
            os.fchown(descriptor, owner, old.st_gid)
        except OSError:
            continue
        return True
    return False


@contextmanager
def _where_supported() -> Iterator[None]:
    """Lets a call fail that the file system (CIFS, FUSE) does not support."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
