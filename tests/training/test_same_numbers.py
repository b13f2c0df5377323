"""The numbers of training: 300 updates and a planned episode, bit for bit as they were stored.

They change when the order or number of random draws does, or an equation, or the order in which
PyTorch's operators are called. To store new ones on purpose:

    cd tests && python training/test_same_numbers.py
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
STORED = HERE.parent / "golden" / "training.json"
ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
"""Variables that PyTorch and MKL read when they are loaded."""


def numbers(directory: Path) -> dict[str, Any]:
    """Takes those of a run in a process of its own, since PyTorch chooses what computes once."""
    path = os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, str(HERE / "same_numbers.py"), str(directory / "run")],
        capture_output=True, text=True, env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {"torch": torch.__version__.partition("+")[0], **found}


def test_training_has_the_numbers_that_it_had(tmp_path: Path) -> None:
    stored = json.loads(STORED.read_text())
    version = torch.__version__.partition("+")[0]
    if version != stored["torch"] or platform.machine() != "x86_64":
        pytest.skip(
            f"stored numbers are torch {stored['torch']}'s on x86-64, here is {version} on "
            f"{platform.machine()}"
        )
    found = numbers(tmp_path)
    for expected, got in zip(stored["metrics"], found["metrics"], strict=True):
        assert got == expected
    assert found == stored


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        STORED.write_text(json.dumps(numbers(Path(folder)), indent=1) + "\n")
