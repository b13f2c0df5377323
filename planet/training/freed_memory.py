"""Keeps the memory that an update frees for the next one."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_BLOCK = 32 << 20  # bytes; older glibc refuses more
_MOST_KEPT = 1 << 30  # bytes


def keep_freed_memory() -> None:
    """Lets glibc keep what is freed instead of giving it back to the system.

    Every update allocates and frees the same tensors. Where they are given back in between, the
    next update finds their pages anew: up to thousands of page faults, some ms of system time. The
    thresholds are the process's and stay. Other allocators have none, and nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):  # no such library, no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
