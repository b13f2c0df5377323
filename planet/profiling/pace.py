"""Starts steps at a control rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_LONGEST = 3600.0  # seconds at once; systems refuse to sleep for eons


class Pace:
    """Divides time into periods, at whose beginnings steps start.

    A step that is still running when its period ends has missed its deadline; the next one starts
    with the first period that begins after it.

    Args:
      rate_hz: periods per second.
      clock: seconds.
      sleep: waits for so many seconds.
    """

    def __init__(
        self,
        rate_hz: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period = 1.0 / rate_hz
        self._clock, self._sleep = clock, sleep
        self._origin = clock()
        self._count = 0

    def wait(self) -> float:
        """Sleeps until the next period begins; returns how many seconds later it really is."""
        passed = (self._clock() - self._origin) / self._period
        self._count = max(self._count + 1, math.ceil(passed))
        begin = self._origin + self._count * self._period
        while (left := begin - self._clock()) > 0:
            self._sleep(min(left, _LONGEST))
        return -left
