"""first.sh and second.sh: they end in time, end what they began and keep what was written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu.bundle import manifest
from processes import run

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow

PLANET = """
def build_info():
    return {"extension": True, "cuda": {"compiled": True, "architectures": "90a-real"}}
"""
Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts alone, and a bundle for it."""
    root = tmp_path / "check out"
    gpu = root / "benchmarks" / "gpu"
    shutil.copytree(ROOT / "benchmarks/gpu/bundle", gpu / "bundle")
    for name in ("first.sh", "second.sh", "with_bundle.sh"):
        shutil.copy2(ROOT / "benchmarks/gpu" / name, gpu)
    (root / "planet" / "ops").mkdir(parents=True)
    shutil.copy2(ROOT / "planet/ops/fingerprint.py", root / "planet/ops")
    shutil.copy2(ROOT / "CMakeLists.txt", root)
    (root / "planet" / "__init__.py").write_text(PLANET)
    for build in ("wheels", "jitter"):
        (root / "gpu_bundle" / build).mkdir(parents=True)
        name = root / "gpu_bundle" / build / "planet_rl-0-py3-none-any.whl"
        with zipfile.ZipFile(name, "w") as wheel:
            wheel.writestr("planet/_C.abi3.so", "")
    manifest.write(root / "gpu_bundle", root, {"commit": "abc1234"})
    return root


@pytest.fixture
def start(checkout: Path, tmp_path: Path) -> Start:
    """Starts a script with stages of the test's own."""

    def with_stages(
        script: str, stages: str, *options: str, status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        (checkout / "benchmarks/gpu/stages.py").write_text(stages)
        settings = {"PYTHON": sys.executable, "OUT": str(tmp_path / "out"), **variables}
        command = ("bash", checkout / "benchmarks/gpu" / script, *options)
        return run(*command, env=os.environ | settings, cwd=checkout, status=status)

    return with_stages


def test_stages_get_what_the_bundle_has(start: Start, tmp_path: Path) -> None:
    stages = """
import os, sys
import planet
print(sys.argv[1:], planet.__file__, os.environ["PLANET_JITTER_SITE"])
print("checked" if "PLANET_CHECKED_SITE" in os.environ else "not checked")
sys.exit(7)
"""
    done = start("second.sh", stages, "--only", "facts", status=7)
    assert "['second', '--out', " in done.stdout and "'--only', 'facts'" in done.stdout
    assert "site/planet/__init__.py" in done.stdout and "not checked" in done.stdout
    told = (tmp_path / "out/start.txt").read_text()
    assert "unpacked in" in told and "built for 90a-real" in told and "exit status 7" in told
    assert "PROBLEM" not in told


def test_what_hangs_is_ended_with_its_descendants(start: Start, tmp_path: Path) -> None:
    stages = f"""
import pathlib, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "10000"], start_new_session=True)
pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))
time.sleep(10000)
"""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/summary.txt").write_text("facts passed\n")
    start("first.sh", stages, status=124, LIMIT="12")
    assert "ENDED by the watchdog" in (tmp_path / "out/start.txt").read_text()
    assert (tmp_path / "out/summary.txt").read_text() == "facts passed\n"
    written = tmp_path / "child"
    assert not written.exists() or not Path("/proc", written.read_text(), "exe").exists()


def test_without_a_bundle_it_is_said_and_stages_run_all_the_same(
    start: Start, tmp_path: Path
) -> None:
    done = start("first.sh", "print('stages')", str(tmp_path / "nothing"))
    assert "PROBLEM: manifest.json there is no bundle in" in done.stdout
    assert "FAILED: nor does the checkout build" in done.stdout
    assert "stages" in done.stdout


def test_a_python_that_is_not_there_is_named(start: Start) -> None:
    done = start("first.sh", "", status=1, PYTHON="python-of-nobody")
    assert "no python-of-nobody on PATH" in done.stdout
