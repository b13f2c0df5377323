"""The GPU suite where there is no GPU: it says so, goes on, and does not pass."""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import processes
import pytest
import torch
from gpu import first_run
from ops.fused_support import needs_extension

GPU = Path(__file__).parents[3] / "benchmarks" / "gpu"
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
pytestmark = pytest.mark.slow


run = partial(processes.run, env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"})


@without_gpu
def test_stages_that_need_a_gpu_are_skipped_and_the_suite_fails(tmp_path: Path) -> None:
    patient = ("env", "TOTAL=1800", "PATIENCE=90")
    run(*patient, "bash", GPU / "suite.sh", tmp_path, "facts", "smoke", "plans", status=1)
    summary = (tmp_path / "summary.txt").read_text()
    assert "facts          passed" in summary
    for name in ("smoke", "plans"):
        assert f"{name:14} skipped: no GPU" in summary
    assert "builds for 90a-real" in (tmp_path / "suite.log").read_text()
    assert "first_run" not in summary  # it was not named


@without_gpu
def test_a_suite_that_runs_out_of_time_says_so(tmp_path: Path) -> None:
    done = run("env", "TOTAL=0", "bash", GPU / "suite.sh", tmp_path, "facts", status=1)
    assert "facts          skipped: out of time" in done.stdout


@needs_extension
def test_the_smoke_test_passes_on_the_cpu() -> None:
    done = run(sys.executable, GPU / "smoke.py", "--device", "cpu")
    assert "0 wrong of 42 comparisons with the reference on cpu" in done.stdout


def test_sanitizers_that_are_missing_are_said(tmp_path: Path) -> None:
    if shutil.which("compute-sanitizer"):
        pytest.skip("compute-sanitizer is there")
    done = run("bash", GPU / "sanitizers.sh", tmp_path, status=1)
    assert "no compute-sanitizer on PATH" in done.stdout


@without_gpu
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_the_first_run_compiles_and_reports_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "first_run.json"
    run(sys.executable, GPU / "first_run.py", "--output", path, status=1)
    sections = json.loads(path.read_text())["sections"]
    assert {"clusters", "distributed_shared", "l2_ingest", "graph_replay"} <= set(sections)
    assert all(section["error"] for section in sections.values())


def test_a_section_that_hangs_costs_itself_alone(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/sh\n"
        "case $1 in hangs) sleep 60 ;; works) echo '{\"ns\": 5}' ;;\n"
        'fails) echo \'{"ns": 5}\'; echo \'{"error": "no memory"}\'; exit 1 ;; esac\n'
    )
    program.chmod(0o755)
    seconds = {"hangs": 1.0, "works": 1800.0, "fails": 1800.0}
    results = {n: first_run.run_section(program, n, limit) for n, limit in seconds.items()}
    assert results["hangs"] == {"figures": [], "error": "did not end within 1 s"}
    assert results["works"] == {"figures": [{"ns": 5}]}
    assert results["fails"] == {"figures": [{"ns": 5}], "error": "no memory"}
