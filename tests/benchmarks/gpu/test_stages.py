"""The stages of a GPU run, where there is no GPU: each runs to its end on small sizes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
from gpu import device_tests, facts, first_run, train_slice, update_probe
from gpu.runner import Stage
from gpu.stage_lists import LISTS, NO_GPU, NO_PERSISTENT, TOTALS, stages_of
from ops.fused_support import needs_extension

from planet.diagnostics.doctor import render_test
from planet.replay.pieces import numpys
from planet.training.metrics import METRICS_NAME
from planet.training.repeatable import repeatable

GPU = Path(__file__).parents[3] / "benchmarks" / "gpu"
EVERY = {stage.command[1:]: stage for which in LISTS for stage in stages_of(which, "cpu")}
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
slow = pytest.mark.slow


def stand_in(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# ---- Lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", LISTS)
def test_limits_fit_the_minutes_that_a_gpu_is_lent_for(which: str) -> None:
    stages = stages_of(which, "cuda")
    assert sum(stage.limit for stage in stages) <= TOTALS[which]
    assert TOTALS["first"] <= 300 - 15
    assert TOTALS["second"] <= 330 - 15
    assert len({stage.name for stage in stages}) == len(stages)
    assert sum(stage.limit for stage in stages_of(which, "cuda", 2.0)) <= 2 * TOTALS[which]


@pytest.mark.parametrize("which", LISTS)
def test_what_needs_a_gpu_or_persistent_kernels_can_be_switched_off(which: str) -> None:
    first, *others = stages_of(which, "cuda")
    assert first.switch is not None
    assert first.switch.variable == NO_GPU
    assert all(NO_GPU in stage.unless for stage in others)
    for stage in others:
        if stage.name.startswith("persistent"):
            assert stage.switch is not None
            assert stage.switch.variable == NO_PERSISTENT
        named = "persistent" in stage.command
        assert named == (NO_PERSISTENT in stage.unless)
    names = [stage.name for stage in others]
    assert names.index("smoke") < names.index("persistent")


def test_the_list_can_be_seen_without_running_it() -> None:
    done = processes.python(GPU / "stages.py", "second", "--list", "--only", "smoke", "sweep")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["smoke", "sweep", "all"]
    wrong = processes.python(GPU / "stages.py", "first", "--only", "no", status=2)
    assert "--only: expected some of facts, first_run, smoke" in wrong.stderr


@needs_extension
def test_a_stand_in_for_a_gpu_is_called_one() -> None:
    done = processes.python(GPU / "facts.py", "--device", "cpu")
    assert done.stdout.splitlines()[-1] == "stand-in: this processor, no GPU"


def test_a_tool_that_says_nothing_costs_no_other_fact(tmp_path: Path) -> None:
    answers = {"echo one; echo version 2": "version 2", "echo one": "one", ":": None}
    for script, expected in answers.items():
        assert facts.tool_version(stand_in(tmp_path / "tool", script), "--version") == expected
    assert facts.tool_version(str(tmp_path / "missing")) is None
    (tmp_path / "tool").write_bytes(b"\x7fELF of another machine")
    assert facts.tool_version(str(tmp_path / "tool")) is None


# ---- Runs ----------------------------------------------------------------------------------------


@without_gpu
@slow
def test_without_a_gpu_torch_says_why_and_nothing_else_is_tried(tmp_path: Path) -> None:
    words = ("first", "--out", tmp_path, "--patience", 90)
    done = processes.python(GPU / "stages.py", *words, status=1)
    first, *others = (tmp_path / "summary.txt").read_text().splitlines()
    assert first.split()[:5] == ["facts", "FAILED:", "exit", "status", "3"]
    assert "  no GPU: " in first
    why = first.partition("  no GPU: ")[2]
    assert len(others) == len(LISTS["first"]) - 1
    assert all(f"skipped: {NO_GPU}: no GPU: {why[:40]}" in line for line in others)
    assert len(done.stdout) < 12_000
    results = json.loads((tmp_path / "results.json").read_text())
    assert why in results["stages"]["facts"]["results"]["obstacle"]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that need a GPU's tools, without what they need."""
    options = 'while :; do case $1 in --*) shift 2 ;; *) exec "$@" ;; esac; done'
    monkeypatch.setenv("PLANET_SANITIZER", stand_in(tmp_path / "sanitizer", options))
    figures = 'case $1 in "") echo clusters ;; *) echo "{\\"active_clusters\\": 31}" ;; esac'
    monkeypatch.setenv("PLANET_FIRST_RUN", stand_in(tmp_path / "first_run", figures))
    results = {
        "stages": {"tests": {"results": {"outcomes": {"a": ["passed", 1]}, "begun": [], "due": []}}}
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    monkeypatch.setenv("PLANET_AGAIN", str(tmp_path / "results.json"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@needs_extension
@slow
@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("stage", EVERY.values(), ids=lambda stage: stage.name)
def test_every_stage_ends_on_the_cpu_and_leaves_its_figures(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    needed = {"render": ("dm_control", "OpenGL"), "train": ("gymnasium", "tyro")}
    if any(importlib.util.find_spec(module) is None for module in needed.get(stage.name, ())):
        pytest.skip("needs the train extra")
    if stage.name == "render" and "error" in (found := render_test()):
        pytest.skip(str(found["error"]))
    path, program = tmp_path / "out.json", stage.command[1]
    names = {"{json}": str(path), "{device}": "cpu"}
    words = [names.get(word, word) for word in stage.command[1:]]
    monkeypatch.setenv(NO_PERSISTENT, "tried elsewhere")
    if Path(program).name == "device_tests.py":  # pytest within pytest
        out = processes.python(*words).stdout
    else:
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(program, run_name="__main__")
        out = capfd.readouterr().out
        assert ended.value.code == 0, out
    assert out.strip().splitlines()[-1]
    if stage.name != "tests_again":  # for which there is nothing to do
        assert {"date", "command", "commit", "machine"} <= set(json.loads(path.read_text()))


# ---- Programs ------------------------------------------------------------------------------------


def test_a_sanitizer_that_does_not_sum_up_has_checked_nothing(tmp_path: Path) -> None:
    summary = "echo '========= ERROR SUMMARY: 0 errors'"
    for script, status, said in (
        (summary, 0, "nothing found"),
        (f"{summary}; exit 9", 9, "FOUND errors"),
        ("echo Device not supported", 1, "CHECKED NOTHING"),
        ("exit 4", 4, "CHECKED NOTHING"),
    ):
        program = stand_in(tmp_path / "sanitizer", script)
        variables = os.environ | {"PLANET_SANITIZER": program}
        done = processes.python(GPU / "sanitizer.py", "memcheck", env=variables, status=status)
        assert f"memcheck: {said}" in done.stdout.splitlines()[-1]


def test_a_sanitizer_that_is_missing_is_said(tmp_path: Path) -> None:
    variables = os.environ | {"PLANET_SANITIZER": str(tmp_path / "none")}
    done = processes.python(GPU / "sanitizer.py", "memcheck", status=1, env=variables)
    assert "none on PATH; it comes with the CUDA toolkit" in done.stdout


@without_gpu
@slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_the_first_run_compiles_and_reports_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "first_run.json"
    processes.python(GPU / "first_run.py", "--build-only")  # its warnings are errors
    processes.python(GPU / "first_run.py", "--output", path, status=1)
    sections = json.loads(path.read_text())["sections"]
    assert {"clusters", "distributed_shared", "l2_ingest", "graph_replay"} <= set(sections)
    assert all(section["error"] for section in sections.values())


def test_a_section_that_hangs_costs_itself_alone(tmp_path: Path) -> None:
    program = stand_in(
        tmp_path / "program",
        "case $1 in hangs) echo '{\"ns\": 5}'; echo '{\"cut'; sleep 60 ;;\n"
        "works) echo '{\"ns\": 5}' ;;\n"
        'fails) echo \'{"ns": 5}\'; echo \'{"error": "no memory"}\'; exit 1 ;; esac',
    )
    seconds = {"hangs": 1.0, "works": 1800.0, "fails": 1800.0}
    results = {n: first_run.run_section(Path(program), n, s) for n, s in seconds.items()}
    assert results["hangs"] == {"figures": [{"ns": 5}], "error": "did not end within 1 s"}
    assert results["works"] == {"figures": [{"ns": 5}]}
    assert results["fails"] == {"figures": [{"ns": 5}], "error": "no memory"}


SUITE = """
import os
import pytest

def test_passes(): pass
def test_fails(): assert 1 == 2
def test_is_skipped(): pytest.skip("why")

@pytest.fixture
def broken():
    yield
    raise ValueError("after")

def test_breaks(broken): pass
"""


def test_every_test_that_waits_for_a_gpu_is_run_on_one() -> None:
    tests, waits = GPU.parents[1] / "tests", r"@needs_gpu|DEVICES\)|skipif\(not torch\.cuda\.is_av"
    lone = re.compile(r"skipif\(not torch\.cuda\.is_avail.*\)\n(?:@.*\n)*def (\w+)")
    found = 0
    for path in sorted(tests.rglob("test_*.py")):
        text, name = path.read_text(), path.relative_to(tests).as_posix()
        if path != Path(__file__) and re.search(waits, text):
            found += 1
            assert name.startswith(device_tests.WHERE), name
            assert all("cuda" in f"{name} {test}" for test in lone.findall(text)), name
    assert found >= 8


@pytest.mark.parametrize("workers", [0, 2])
def test_outcomes_of_tests_are_written_and_those_that_did_not_pass_are_found_again(
    tmp_path: Path, workers: int
) -> None:
    if workers:
        pytest.importorskip("xdist", reason="workers are pytest-xdist's")
    suite, broken = tmp_path / "test_of_all_kinds.py", tmp_path / "test_unreadable.py"
    suite.write_text(SUITE)
    broken.write_text("import what_is_not_there\n")
    output = tmp_path / "tests.json"
    code = f"""
import sys, pytest
from pathlib import Path
from gpu.device_tests import Recorder
recorder = Recorder(Path({str(output)!r}), {{"date": "today"}})
words = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", {str(tmp_path)!r}]
words += ["-n", "{workers}"] if {workers} else []
status = pytest.main(words, plugins=[recorder])
assert recorder.due == recorder.begun == set()
recorder.begun.add("ops/test_that_hangs.py::test_hangs")
recorder.due.add("ops/test_that_hangs.py::test_comes_after_it")
recorder.write()
"""
    processes.python("-c", code, env=processes.variables(), cwd=tmp_path)
    content: dict[str, Any] = json.loads(output.read_text())
    outcomes = {name.rpartition("::")[2]: kind for name, (kind, _) in content["outcomes"].items()}
    assert outcomes == {
        "test_passes": "passed", "test_fails": "failed", "test_is_skipped": "skipped",
        "test_breaks": "failed", "test_unreadable.py": "failed",
    }  # fmt: skip
    assert any("assert 1 == 2" in text for text in content["why"].values())
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"stages": {"tests": {"results": content}}}))
    again = {
        name.rpartition("::")[2].rpartition("/")[2] for name in device_tests.not_passed(results)
    }
    unknown = {"test_hangs", "test_comes_after_it"}
    assert again == {"test_fails", "test_breaks", "test_unreadable.py"} | unknown
    for nothing in (None, {"outcomes": {}, "begun": [], "due": []}):  # ended too early
        results.write_text(json.dumps({"stages": {"tests": {"results": nothing}}}))
        assert device_tests.not_passed(results) == list(device_tests.WHERE)


def test_updates_are_probed_as_training_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cudnn, seen = torch.backends.cudnn, [False]

    def on_cuda(train: Any) -> Any:
        return repeatable(replace(train, device="cuda"))

    monkeypatch.setattr(update_probe, "reads_ahead", lambda device: True)  # as on CUDA
    monkeypatch.setattr(update_probe, "pinned", numpys)
    monkeypatch.setattr(update_probe, "repeatable", on_cuda)
    measure = update_probe.measure

    def note(*given: Any) -> Any:
        seen.append(cudnn.deterministic)
        return measure(*given)

    monkeypatch.setattr(update_probe, "measure", note)
    for words, deterministic in (([], True), (["--fastest"], False)):
        output = tmp_path / "update.json"
        words = ["update_probe.py", "--device", "cpu", "--quick", "--output", str(output), *words]
        monkeypatch.setattr(sys, "argv", words)
        assert update_probe.main() == 0
        found = json.loads(output.read_text())
        assert {*update_probe.PARTS, "unwaited", "profile"} <= set(found)
        assert (found["deterministic"], seen[-1]) == (deterministic, deterministic)


def test_seconds_of_training_come_from_metrics_that_are_still_written(tmp_path: Path) -> None:
    assert train_slice.stage_seconds(tmp_path)["planned_seconds"] == []
    lines = [
        {"environment_steps": 4, "updates": 0, "episodes": 1, "collect/seconds": 1.0,
         "collect/steps": 2, "collect/planned": 0},
        {"environment_steps": 4, "updates": 10, "episodes": 1, "train/seconds_per_update": 0.5},
        {"environment_steps": 9, "updates": 10, "episodes": 2, "collect/seconds": 3.0,
         "collect/steps": 2, "collect/planned": 1},
    ]  # fmt: skip
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / METRICS_NAME).write_text(text + '{"environment_st')
    found = train_slice.stage_seconds(tmp_path)
    assert found["random_seconds"] == [1.0]
    assert found["ms_per_planned_step"] == 1500.0
    assert found["ms_per_update"] == 500.0
    assert found["learn_seconds"] == 5.0


def test_a_card_s_name_is_fit_for_a_file() -> None:
    from circumstances import short_name

    assert short_name("NVIDIA H100 80GB HBM3") == "h100_80gb_hbm3"
