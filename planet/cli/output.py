"""Prints without standing in the way: what cannot be written is dropped, and the work goes on."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO


class ClosedStream(io.TextIOBase):
    """Stands for a standard stream that the caller closed: drops what libraries print."""

    def write(self, text: str, /) -> int:
        """Drops the text."""
        return len(text)


def say(text: str) -> bool:
    """Prints a line on the standard output; returns whether that worked."""
    return _write(sys.stdout, text)


def complain(text: str) -> bool:
    """Prints a line on the standard error; returns whether that worked."""
    return _write(sys.stderr, text)


def prepare_streams() -> None:
    """Makes the standard streams take all texts.

    Characters that a stream's encoding lacks, as in names of files, are escaped. Streams that the
    caller closed (`>&-`), for which Python has None, are replaced. Their descriptors become the
    null device: the next file to be opened would take a closed stream's number, and what a library
    prints would end up in it.
    """
    sys.stdout = ClosedStream() if sys.stdout is None else sys.stdout
    sys.stderr = ClosedStream() if sys.stderr is None else sys.stderr
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one


def settle_streams() -> bool:
    """Empties the buffers of the standard streams; returns whether that worked.

    What cannot be written any more goes to the null device: Python writes it once more at exit,
    and a failure there would replace the exit status by 120.
    """
    out, err = _settle(sys.stdout), _settle(sys.stderr)
    return out and err


def print_line(stream: TextIO, text: str) -> None:
    """Prints a line at once.

    Raises:
      OSError: the stream cannot be written, or the caller closed it.
    """
    if isinstance(stream, ClosedStream):
        raise OSError(errno.EBADF, "the caller closed the stream")
    print(text, file=stream, flush=True)


def _write(stream: TextIO, text: str) -> bool:
    try:
        print_line(stream, text)
    except (OSError, ValueError):  # ValueError: the stream was closed
        return False
    return True


def _settle(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # a stream without a descriptor, as in tests
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
        return False
    return True
