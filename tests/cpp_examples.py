"""Builds the C++ package and its examples as examples/cpp/README.md says, once for all tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from functools import partial
from pathlib import Path

import processes
import pytest
from conftest import PATH, ROOT

COMPILER = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
ANY_PROCESSOR = {k: v for k, v in os.environ.items() if k != "PLANET_CPU_ISA"} | {"PATH": PATH}
run = partial(processes.run, env=ANY_PROCESSOR)


@pytest.fixture(scope="session")
def installed(built_core: Path) -> Path:
    """The prefix of the installed package, beside which the examples are built."""
    prefix, examples = (built_core.with_name(f"planet-cpp-{name}") for name in ("prefix", "built"))
    with open(built_core.with_name("planet-cpp-lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker builds, the others wait
        if not (examples / "robot").exists():
            run("cmake", "--install", built_core, "--prefix", prefix)
            source = ROOT / "examples" / "cpp"
            run("cmake", "-S", source, "-B", examples, f"-DCMAKE_PREFIX_PATH={prefix}")
            run("cmake", "--build", examples, "--parallel", "2")
    return prefix


@pytest.fixture(scope="session")
def examples(installed: Path) -> Path:
    """The folder of the programs, `plan` and `robot`."""
    return installed.with_name("planet-cpp-built")
