"""Signals while `planet train` runs: one ends it with a checkpoint, a second Ctrl-C at once."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from planet.training.interrupt import deferred_signals

_STDERR = 2


@contextmanager
def ending_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Lets SIGINT, SIGTERM and SIGHUP end a run, and a second SIGINT end the process at once.

    An environment may hang in a library where Python runs no handlers. So the kernel is told to
    forget the handler of SIGINT when it calls it: the second one ends the process by itself, unless
    Python got to run its handler in between, which sets itself up again. `stop` is `Trainer.stop`.
    """

    def first(number: int) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
            _call_once()
        stop(number)
        if number == signal.SIGINT:
            _notify("\nstopping after this step; Ctrl-C once more ends at once\n")

    own = signal.getsignal(signal.SIGINT)
    with deferred_signals(first, _end_at_once):
        if signal.getsignal(signal.SIGINT) is not own:  # else it is the program's, or ignored
            _call_once()
        yield


def _end_at_once() -> None:
    """Leaves without cleaning up, which might hang as well; files are replaced, never half."""
    _notify("\nended at once; the last checkpoint stays\n")
    os._exit(128 + signal.SIGINT)


def _call_once() -> None:
    """Makes the kernel reset SIGINT to its default, the end, when it calls the present handler."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "sysv_signal"):  # glibc's signal with the semantics of System V
        for function in (libc.signal, libc.sysv_signal):
            function.argtypes, function.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        libc.sysv_signal(signal.SIGINT, libc.signal(signal.SIGINT, None))


def _notify(text: str) -> None:
    """Writes to the standard error, which must not block or fail in a handler."""
    with suppress(OSError, ValueError):
        if select.select([], [_STDERR], [], 0)[1]:
            os.write(_STDERR, text.encode())
