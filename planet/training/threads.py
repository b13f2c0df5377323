"""Chooses how many CPU threads a run computes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Runs a block on `count` threads of torch, which the planner shares; 0 leaves their number.

    Networks as small as those of the `small` preset gain little from a second thread, and on busy
    cores its waiting costs many times the work: seconds per gradient step instead of milliseconds.
    """
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
