"""Ctrl-C between steps: what is being computed is finished first, so that it can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Holds Ctrl-C back until the next call of the function that it yields.

    A Ctrl-C inside an optimiser's step would leave half of the parameters updated. Outside the
    main thread, or where the program handles SIGINT itself, nothing is held back.

    Yields:
      A function to call where the state is complete; it raises KeyboardInterrupt after a Ctrl-C.
    """
    pressed = threading.Event()

    def check() -> None:
        if pressed.is_set():
            pressed.clear()
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check
        return
    signal.signal(signal.SIGINT, lambda number, frame: pressed.set())
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
