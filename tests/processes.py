"""Runs programs as tests need it: to their end, as text, with the exit status that is expected."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

GUARD = 1800.0  # seconds; ends what hangs


def run(
    *command: object, status: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs a command; with None any exit status is as good."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, encoding="utf-8", timeout=GUARD, **options
    )
    assert status in (done.returncode, None), done.stdout[-4000:] + done.stderr[-8000:]
    return done


python = partial(run, sys.executable)


def variables(**changed: str) -> dict[str, str]:
    """Returns those of this process, its module path among them, and what differs."""
    path = os.pathsep.join(entry or "." for entry in sys.path)
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | changed
