"""Profiles as files of pyperf."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profiles import profile_of, stage_of

from planet.profiling import Comparison
from planet.profiling.conditions import Conditions, State
from planet.profiling.file import load_profile, save_profile

pyperf = pytest.importorskip("pyperf", reason="files of profiles need the train extra")

SOURCE = {
    "version": "0.1.0", "commit": "0123abc-dirty", "date": "2026-11-28 04:00:00+00:00",
    "command": "planet profile --steps 40",
}  # fmt: skip


def some_profile(scale: float = 1.0, seed: int = 0) -> Any:
    times = scale * np.random.default_rng(seed).lognormal(3.0, 0.05, (40, 2)).round(3)
    act = stage_of(*times.sum(1), cpu=list(0.9 * times.sum(1)))
    rounds = ((stage_of(*times[:, 0] / 2, name="rollouts"),),) * 2
    return profile_of(
        act, stage_of(*times[:, 0], name="plan"), stage_of(*[0.0] * 40, name="around"),
        rounds=rounds, rate_hz=10.0, starts=tuple(0.1 * i for i in range(40)),
        lateness=(0.05,) * 40, preemptions=(0, 1) * 20, run={"task": "toy-reach"},
    )  # fmt: skip


def some_comparison() -> Comparison:
    conditions = Conditions(State(1.0, 0.5, None, 2.0), State(9.0, 0.7, None, 2.0), 2, 4, ("a",))
    return Comparison({"fused": some_profile(), "int8": some_profile(0.5)}, conditions, SOURCE)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(some_comparison(), path)
    found = load_profile(path)
    expected = some_comparison()
    assert (found.conditions, found.source) == (expected.conditions, SOURCE)
    assert list(found.profiles) == ["fused", "int8"]
    for name, profile in expected.profiles.items():
        own = found.profiles[name]
        assert replace(own, stages=(), rounds=()) == replace(profile, stages=(), rounds=())
        pairs = [*zip(own.stages, profile.stages, strict=True)]
        pairs += zip(own.rounds[1], profile.rounds[1], strict=True)
        for one, other in pairs:
            assert one.name == other.name
            assert one.milliseconds == pytest.approx(other.milliseconds, abs=2e-6)
            assert one.cpu_milliseconds == pytest.approx(other.cpu_milliseconds, abs=2e-6)


def test_a_benchmark_of_pyperf_is_a_stage_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(some_comparison(), path)
    suite = pyperf.BenchmarkSuite.load(str(path))
    names = [f"{name} {s}" for name in ("fused", "int8") for s in ("act", "plan", "around")]
    assert suite.get_benchmark_names() == names
    act = suite.get_benchmark("int8 act")
    times = some_comparison().profiles["int8"].act.milliseconds
    assert act.get_values() == pytest.approx([value / 1e3 for value in times])
    metadata = act.get_metadata()
    assert (metadata["planet_version"], metadata["planet_commit"]) == ("0.1.0", "0123abc-dirty")
    assert (metadata["command"], metadata["unit"]) == (SOURCE["command"], "second")
    assert metadata["cpu_count"] >= 1


def test_the_samples_stand_beside_what_sums_them_up(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(Comparison({"": some_profile()}), path)
    document = json.loads(path.read_text())["planet"]
    planner = document["planners"][""]
    assert planner["summary"]["act"]["p99_ms"] is None  # of forty steps
    assert planner["summary"]["act"]["p50_interval_ms"][0] < planner["summary"]["act"]["p50_ms"]
    assert len(planner["cpu_seconds"]["plan"]) == len(planner["iterations"]) == 40
    assert len(planner["rounds"][1]["rollouts"]["seconds"]) == 40
    assert (document["warmup"], document["run"], planner["missed"]) == (5, {"task": "toy-reach"}, 0)
    assert document["warnings"] and document["conditions"] is None


@pytest.mark.parametrize("command", ["stats", "hist", "compare_to"])
def test_pyperf_works_on_it(command: str, tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for scale, file in enumerate(files, 1):
        save_profile(Comparison({"": some_profile(scale)}), file)
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", command, *map(str, files)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "act" in done.stdout
    if command == "compare_to":
        assert "2.00x slower" in done.stdout


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": "1.0", "benchmarks": []}', '{"planet": 3}', "\udcff",
     "[" * 100_000],
)  # fmt: skip
def test_other_files_are_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"other.json: expected a profile as `planet profile"):
        load_profile(path)


def test_files_of_pyperf_itself_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(some_comparison(), path)
    whole = json.loads(path.read_text())
    damages: list[Any] = [
        lambda d: d.pop("planet"),
        lambda d: d["planet"].update(format=2),
        lambda d: d["planet"]["planners"]["int8"]["cpu_seconds"]["plan"].pop(),
        lambda d: d["planet"]["planners"]["int8"]["cpu_seconds"].update(other=[1.0]),
        lambda d: d["planet"]["planners"]["int8"].pop("iterations"),
        lambda d: d["planet"]["planners"]["int8"]["cpu_seconds"].pop("act"),
        lambda d: d["planet"]["planners"]["int8"].update(plan="horizon"),
        lambda d: d["planet"]["planners"]["int8"].update(compute=None),
        lambda d: d["planet"].update(source=None),
        lambda d: d["planet"].update(machine=7),
        lambda d: d["planet"].update(planners=[]),
        lambda d: d["planet"].update(run={}),
        lambda d: d["planet"].update(run=[]),
        lambda d: d["planet"]["conditions"].update(other=1),
    ]
    for damage in damages:
        content = json.loads(json.dumps(whole))
        damage(content)
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="profile.json: expected a profile"):
            load_profile(path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"absent.json"):
        load_profile(tmp_path / "absent.json")
