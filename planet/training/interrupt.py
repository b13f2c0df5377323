"""Ends a run by signals: what is being computed is finished first, so that it can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Signals that ask a process to end, with the handler of a program that has none of its own.
_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,  # Ctrl-C
    signal.SIGTERM: signal.SIG_DFL,  # kill, SLURM, docker, systemd
    signal.SIGHUP: signal.SIG_DFL,  # the terminal or the connection is gone
}


class Interrupted(KeyboardInterrupt):
    """Says that a run ended early because it was asked to.

    Attributes:
      signal: what asked: SIGINT, SIGTERM or SIGHUP.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.signal = number

    @property
    def exit_status(self) -> int:
        """Status that a process ends with: 130, 143 or 129."""
        return 128 + self.signal


class StopSwitch:
    """Knows whether a run was asked to end, and whether its state is whole: may be saved.

    Attributes:
      whole: False from the beginning of a change of the state to its end.
    """

    def __init__(self) -> None:
        self.whole = True
        self._number = self._thread = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Marks the thread that changes the state."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = 0

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Leads from one whole state to the next; an exception in between leaves none."""
        self.whole = False
        yield
        self.whole = True

    @property
    def in_handler(self) -> bool:
        """Whether a handler of the running thread may save here."""
        return self.whole and self._thread == threading.get_ident()

    def ask(self, number: int) -> None:
        """Asks the run to end; `number` is the signal that is to be named."""
        self._number = number

    def check(self) -> None:
        """Raises Interrupted if the run was asked to end; once per request."""
        if self._number:
            number, self._number = self._number, 0
            raise Interrupted(number)

    def clear(self) -> None:
        """Forgets a request that came while the run was ending."""
        self._number = 0


@contextmanager
def deferred_signals(
    stop: Callable[[int], None], again: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hands SIGINT, SIGTERM and SIGHUP to a function instead of ending the program.

    A signal inside an optimiser's step would leave half of the parameters updated. Only signals
    whose handler is Python's own are taken over: what the program handles or ignores (nohup) stays
    with the program, and outside the main thread nothing is taken. The former handlers are back
    when the block ends.

    Args:
      stop: called with the signal's number.
      again: called at the second SIGINT, which else raises KeyboardInterrupt at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if number == signal.SIGINT and interrupts > 1:
            if again is None:
                raise KeyboardInterrupt
            again()
        stop(number)

    taken = [number for number, own in _DEFAULTS.items() if signal.getsignal(number) == own]
    try:
        for number in taken:
            signal.signal(number, handle)
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is handle:
                signal.signal(number, _DEFAULTS[number])
