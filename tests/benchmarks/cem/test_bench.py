"""The benchmark's commands run, and write what they promise."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from baselines.torch_cem import COMPILED
from cem.cases import PRECISIONS, TOLERANCES, TORCH
from cem.ceilings import peak
from cem.sampling import Samples, interleave
from cem.table import finalists
from ops.fused_support import needs_extension
from processes import python

CEM = Path(__file__).parents[3] / "benchmarks" / "cem"
pytestmark = pytest.mark.slow


def run(script: str, *arguments: object) -> str:
    return python(CEM / script, *arguments, env=os.environ | {"OMP_NUM_THREADS": "1"}).stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs the quick sizes on one thread: the table, and then the sweep into the same file."""
    path = tmp_path_factory.mktemp("bench") / "cem.json"
    arguments = ("--quick", "--threads", 1, "--no-compile", "--output", path)
    shown = run("bench.py", "--table", *arguments)
    assert "torch fp32: the fastest form" in shown
    assert "instruction set " in shown
    table = json.loads(path.read_text())["table"]
    run("bench.py", "--sweep", *arguments)
    assert json.loads(path.read_text())["table"] == table  # one part leaves the other
    return path


@needs_extension
def test_the_table_has_every_promised_figure(results: Path) -> None:
    table = json.loads(results.read_text())["table"]
    assert {"date", "command", "machine", "load_after", "size", "peak_memory"} <= set(table)
    assert {"processor", "cores", "build", "load_before"} <= set(table["machine"])
    column: dict[str, Any] = table["paper"]["1"]
    for name in ("torch fp32 / fp32", "fp32 / sgemm rate", "refit share"):
        assert set(column[name]) == {"median_of_paired_ratios", "ratio_of_minima"}
        assert min(column[name].values()) > 0
    assert column["rounds"] >= 30
    timed = set(column["errors"])
    assert set(column["heats"]["times"]) | set(column["heats"]["missing"]) == {
        name for name, (form, _) in TORCH.items() if form not in COMPILED
    }
    for precision, name in column["fastest"].items():
        assert TORCH[name][1] == precision
        assert name in timed
        assert timed & set(PRECISIONS) == set(PRECISIONS) - set(column["missing"])
    precisions = {name: TORCH[name][1] if name in TORCH else name for name in timed}
    for name, precision in precisions.items():
        assert set(column["times"][name]) == {"median_ms", "min_ms", "p95_ms"}
        assert column["errors"][name] < TOLERANCES[precision]
        assert 0.5 < column["elite_overlaps"][name] <= 1
    ceilings = table["ceilings"]["1"]
    assert peak(ceilings, "fp32") or "missing" in ceilings
    rated = {name for name, precision in precisions.items() if peak(ceilings, precision)}
    assert {f"{name} share of peak" for name in rated} == {
        key for key in column if key.endswith("share of peak")
    }
    assert "torch fp32 / fp32" in table["small"]["1"]
    assert table["others"]["1"]["reference / fp32"]["ratio_of_minima"] > 0
    rows = table["instruction_sets"]["1"]["rows"]
    build = table["machine"]["build"]
    runs = [name for name in build["kernels"]["fp32"] if name in build["isas"]]
    assert {f"{name} fp32" for name in runs} < set(rows)
    memory = table["peak_memory"]["problems"]["1"]
    assert memory["fp32"]["extra_mb"] >= 0


@needs_extension
def test_what_is_not_installed_is_said(results: Path) -> None:
    others = json.loads(results.read_text())["table"]["others"]["1"]
    assert "torchrl" in others["times"] or "torchrl" in others["missing"]


@needs_extension
def test_every_axis_is_swept(results: Path) -> None:
    points = json.loads(results.read_text())["sweep"]["points"]
    axes = {point["axis"] for point in points}
    assert axes == {"candidates", "problems", "horizon", "action", "reward head"}
    for point in points:
        assert {"fp32", *point["fastest"].values()} <= set(point["ms_per_iteration"])


@needs_extension
def test_the_picture_is_drawn_from_the_results(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "cem.png"
    run("plot.py", "--input", results, "--output", picture)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.stat().st_size < 300_000


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_a_core_has_ceilings() -> None:
    from cem.ceilings import KERNELS, ceilings, peak

    measured = ceilings(1, 0.01)
    operations = measured["giga_operations_per_second"]
    assert set(operations) <= {name for names in KERNELS.values() for name in names}
    assert min(operations.values(), default=1) > 0
    for precision, names in KERNELS.items():
        rates = [operations[name] for name in names if name in operations]
        assert peak(measured, precision) == max(rates, default=None)
    assert measured["gigabytes_per_second"]["memory"] > 0


def test_rounds_alternate_in_order_and_ratios_are_of_neighbours() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    assert interleave(calls, 0.0, least=2, warm_up=1).rounds == 2
    assert order == ["a", "b", "a", "b", "b", "a"]
    samples = Samples({"a": [3.0, 8.0, 100.0], "b": [1.0, 4.0, 10.0]})
    ratios = {"median_of_paired_ratios": 3.0, "ratio_of_minima": 3.0}
    assert samples.ratio("a", "b") == ratios
    assert samples.fastest(["a", "b"]) == "b"
    assert samples.summary("b")["median_ms"] == 4000.0


def test_forms_near_the_fastest_of_their_precision_are_timed_on() -> None:
    wall = {"eager": [2.0, 1.1], "packed": [1.0, 4.0], "jit": [1.3, 1.3], "eager bf16": [1.4, 1.5]}
    fastest = {"fp32": "packed", "bf16": "eager bf16"}
    assert finalists(Samples(wall), fastest) == ("eager", "packed", "eager bf16")


def test_torchrl_computes_the_same_returns() -> None:
    pytest.importorskip("torchrl")
    from baselines.torchrl_cem import TorchRLCEM
    from random_weights import PRESET_SIZES, make_problem

    from planet.ops import reference

    problem = make_problem(PRESET_SIZES["small"], batch=2, activation="elu")
    actions, noise = problem.actions(4, 20), problem.noise(4, 20)
    planner = TorchRLCEM(problem.weights)
    expected = problem.returns(reference, actions, noise)
    torch.testing.assert_close(planner.rollout(problem.latent, actions, noise), expected)
    settings = {"horizon": 4, "candidates": 20, "topk": 5, "iterations": 2}
    assert planner.plan(problem.latent, **settings).shape == (2, 6)
