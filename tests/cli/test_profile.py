"""`planet profile`: of a run, of an untrained agent, and of several planners side by side."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("pyperf", reason="files of profiles need the train extra")

import planet
from planet.cli import main
from planet.cli.profile import ProfileOptions
from planet.errors import advice
from planet.ops import fused
from planet.profiling.file import load_profile

SIZES = [
    "--planner.horizon=2", "--planner.candidates=20", "--planner.iterations=3", "--planner.topk=2",
    "--action-size=2", "--model.belief-size=5", "--model.state-size=3", "--model.hidden-size=7",
    "--model.reward-layers=1", "--model.reward-hidden=4",
]  # fmt: skip
REFERENCE = ("--imagination.backend", "reference")
needs_fused = pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)


def test_profile_of_an_untrained_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    options = [*REFERENCE, "--train.threads=1", "--steps", "8", "--json", str(path)]
    assert main(["profile", *SIZES, "--batch-size=2", *options]) == 0
    comparison = load_profile(path)
    profile = comparison.first
    assert profile.steps == 8 and profile.run is None
    assert profile.plan == {
        "horizon": 2, "candidates": 20, "iterations": 3, "topk": 2, "rollouts": 60, "samples": 120,
        "batch_size": 2, "belief_size": 5, "state_size": 3, "hidden_size": 7, "action_size": 2,
        "reward_hidden": [4], "pixels": 64,
    }  # fmt: skip
    assert profile.compute["backend"] == "reference" and profile.compute["threads"] == 1
    assert comparison.source["version"] == planet.__version__
    assert comparison.source["command"].startswith("planet profile --planner.horizon=2")
    output = " ".join(capsys.readouterr().out.split())  # lines end where the machine's facts do
    assert "p99 needs 368 steps" in output and "candidates 20" in output
    assert str(path) in output and "p50" in output


def test_profile_of_a_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["profile", str(trained), "--steps=8", "--planner.candidates=12", f"--json={path}"]
    assert main(arguments) == 0
    profile = load_profile(path).first
    names = [stage.name for stage in profile.stages]
    assert names[0] == "act" and names[-3:] == ["around", "render", "environment"]
    assert profile.plan["candidates"] == 12 and profile.plan["topk"] == 3
    assert profile.run is not None and profile.run["task"] == "toy-reach"
    output = capsys.readouterr().out
    assert max(map(len, output.partition("\nwritten to")[0].splitlines())) <= 80


def test_paced_steps_are_counted_by_their_deadlines(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*REFERENCE, "--steps", "6", "--paced", "--rate", "1000"]
    assert main(["profile", *SIZES, *options]) == 0
    output = capsys.readouterr().out
    assert "every step starts with a period" in " ".join(output.split())
    assert "late start" in output and "missed" in output


def test_profile_refuses_a_size_that_the_run_decides(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, complaint in (
        ("--model.belief-size", "model.belief_size: expected 5, which decided what was learned"),
        ("--batch-size", "batch_size: only for an untrained agent"),
    ):
        assert main(["profile", str(trained), option, "9"]) == 1
        assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "complaint"),
    [("--steps", "steps"), ("--planner.horizon", "horizon"), ("--batch-size", "batch_size"),
     ("--planner.candidates", "candidates")],
)  # fmt: skip
def test_profile_refuses_zero(
    option: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *REFERENCE, option, "0"]) in (1, 2)
    assert complaint in capsys.readouterr().err


# ---- Earlier files, limits, traces ---------------------------------------------------------------


def test_a_profile_is_compared_with_an_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "before.json"
    command = ["profile", *SIZES, *REFERENCE, "--steps", "8"]
    assert main([*command, "--json", str(path)]) == 0
    capsys.readouterr()
    assert main([*command, "--against", str(path)]) == 0
    output = capsys.readouterr().out
    (act,) = (line for line in output.splitlines() if line.startswith("act p50"))
    assert act.split()[-1] in ("faster", "slower", "undecided")
    assert max(map(len, output.splitlines())) <= 80


def test_an_earlier_profile_of_other_work_is_refused_before_anything_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "before.json"
    assert main(["profile", *SIZES, *REFERENCE, "--steps", "2", "--json", str(path)]) == 0
    monkeypatch.setattr("planet.cli.profile.measure_session", lambda *_: pytest.fail("timed"))
    command = ["profile", *SIZES, *REFERENCE, "--against", str(path)]
    assert main([*command, "--planner.horizon=3"]) == 1
    assert "against: expected the file's sizes, got others: horizon 2, now 3" in (
        capsys.readouterr().err
    )
    path.write_text("{}")
    assert main(command) == 1
    assert f"{path}: expected a profile" in capsys.readouterr().err


def test_a_p99_above_the_limit_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["profile", *SIZES, *REFERENCE, "--steps", "368", "--fail-over-ms"]
    assert main([*command, "1e-6"]) == 1
    captured = capsys.readouterr()
    assert "planet profile: the p99 of act is " in captured.err
    assert "above 1e-06 ms" in captured.err and "p50" in captured.out
    assert main([*command, "1e9"]) == 0
    assert capsys.readouterr().err == ""


def test_a_trace_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.json"
    options = [*REFERENCE, "--steps", "2", "--batch-size", "2", "--trace", str(path)]
    assert main(["profile", *SIZES, *options]) == 0
    assert json.loads(path.read_text())["planet"]["steps"] == 10
    assert f"traced into {path}" in capsys.readouterr().out


def test_a_trace_of_a_run_is_written(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    assert main(["profile", str(trained), "--steps", "2", "--trace", str(path)]) == 0
    assert json.loads(path.read_text())["planet"]["steps"] == 10


# ---- Several planners ----------------------------------------------------------------------------


@needs_fused
def test_planners_are_compared_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"json": tmp_path / "profile.json", "plot": tmp_path / "latency.png"}
    files = [f"--{name}={path}" for name, path in paths.items()]
    options = ["--compare", "reference,fused", "--rate", "1000", "--steps", "6", *files]
    assert main(["profile", *SIZES, *options]) == 0
    comparison = load_profile(paths["json"])
    assert list(comparison.profiles) == ["reference", "fused"]
    for name, profile in comparison.profiles.items():
        assert profile.compute["backend"] == name
        assert (profile.rate_hz, profile.steps) == (1000.0, 6)
    output = capsys.readouterr().out
    for text in ("missed", "faster", str(paths["json"]), str(paths["plot"])):
        assert text in output
    assert paths["plot"].read_bytes()[:4] == b"\x89PNG"


@needs_fused
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_precision_is_compared_or_its_absence_explained(
    precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planners = f"reference,fused,{precision}"
    status = main(["profile", *SIZES, "--compare", planners, "--steps", "2"])
    captured = capsys.readouterr()
    if precision in fused.served_precisions("cpu"):
        assert status == 0
        assert re.search(rf"{precision} +backend fused, precision {precision}", captured.out)
    else:
        assert status == 1
        assert f"precision: {precision!r} needs" in captured.err


@needs_fused
def test_planners_of_a_run_are_compared_on_its_steps(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    options = ["--compare", "fused,reference", "--steps", "6", "--json", str(path)]
    assert main(["profile", str(trained), *options]) == 0
    comparison = load_profile(path)
    assert list(comparison.profiles) == ["fused", "reference"]
    for profile in comparison.profiles.values():
        assert profile.run is not None and profile.run["task"] == "toy-reach"
        assert {"act", "filter", "plan", "render"} < {stage.name for stage in profile.stages}
    assert "p50 by stage" in capsys.readouterr().out


def test_a_budget_is_kept_and_its_iterations_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*REFERENCE, "--planner.budget-ms", "0.001", "--steps", "3"]
    assert main(["profile", *SIZES, *options]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "budget ms 0.001" in output
    assert "iterations 1 to 1, median 1" in output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--compare", "fused,slow"],
         "compare: expected names of cem, icem, mppi, shooting, gradient, fused, reference, "
         "fp32, int8, fp16, bf16, portable, persistent, separated by commas, or joined by + where "
         "they are of different settings, got 'slow'"),
        (["--compare", "fused,fused"], "compare: expected different planners, got 'fused,fused'"),
        (["--compare", "fused,fp32"], "compare: expected different planners"),
        (["--compare", ""], "compare: expected names of"),
        (["--compare", "fp32+int8"], "different settings, got 'fp32+int8'"),
        (["--rate", "0"], "rate: expected a value > 0, got 0.0"),
        (["--paced"], "rate: expected control steps per second, which paced steps need"),
        (["--fail-over-ms", "40"],
         "steps: expected a value >= 368, which the p99 of fail_over_ms takes, got 2"),
        (["--fail-over-ms", "0"], "fail_over_ms: expected a value > 0, got 0.0"),
        (["--against", "missing.json"], "missing.json"),
        (["--trace", "missing/trace.json"], "trace: expected a file in a folder that exists"),
        (["--json", "missing/profile.json"], "json: expected a file in a folder that exists"),
        (["--plot", "missing/latency.png"], "plot: expected a file in a folder that exists"),
        (["--plot", "latency.txt"], "plot: expected a name that ends in ."),
        (["--json", "same", "--trace", "./same"], "trace: expected another file than json, got"),
        (["--train.device", "tpu"], "device: expected 'cpu' or 'cuda', got 'tpu'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_is_timed(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("planet.cli.profile.measure_session", lambda *_: pytest.fail("timed"))
    assert main(["profile", *SIZES, "--steps", "2", *options]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "package"), [("json", "pyperf"), ("against", "pyperf"), ("plot", "matplotlib")]
)
def test_a_file_without_its_package_names_the_extra(
    option: str, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n == package else find(n))
    assert main(["profile", *SIZES, f"--{option}", str(tmp_path / "latency.png")]) == 1
    error = capsys.readouterr().err
    assert f"--{option} needs {package}" in error
    assert f"install it with: {advice.install_extra()}" in error


def test_threads_are_set_for_the_profile_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    options = [*REFERENCE, "--train.threads", str(before + 1), "--steps", "2"]
    assert main(["profile", *SIZES, *options]) == 0
    assert f"threads {before + 1}" in capsys.readouterr().out
    assert torch.get_num_threads() == before


def test_help_of_profile_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--help"]) == 0
    text = capsys.readouterr().out
    for option in dataclasses.fields(ProfileOptions):
        assert f"--{option.name}".replace("_", "-") in text or option.name == "run_dir"
