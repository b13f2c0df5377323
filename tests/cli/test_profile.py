"""`planet profile`: of a run, of a bare planner, and of several planners side by side."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built

pytest.importorskip("tyro", reason="the command line needs the train extra")

from planet import build_info
from planet.cli import main
from planet.cli.profile import ProfileOptions
from planet.errors import advice

SIZES = [
    "--planner.horizon=2", "--planner.candidates=20", "--planner.iterations=3", "--planner.topk=2",
    "--action-size=2", "--model.belief-size=5", "--model.state-size=3", "--model.hidden-size=7",
    "--model.reward-layers=1", "--model.reward-hidden=4",
]  # fmt: skip
REFERENCE = ("--imagination.backend", "reference")
needs_fused = pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)


def test_profile_of_a_bare_planner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    options = [*REFERENCE, "--train.threads=1", "--steps", "4", "--json", str(path)]
    assert main(["profile", *SIZES, "--batch-size=2", *options]) == 0
    content = json.loads(path.read_text())
    assert list(content["stages"]) == ["plan"] and content["steps"] == 4
    assert content["plan"] == {
        "horizon": 2, "candidates": 20, "iterations": 3, "topk": 2, "batch_size": 2,
        "belief_size": 5, "state_size": 3, "hidden_size": 7, "action_size": 2, "reward_hidden": [4],
    }  # fmt: skip
    assert content["compute"]["backend"] == "reference" and content["compute"]["threads"] == 1
    assert content["run"] is None
    output = capsys.readouterr().out
    assert "p99" in output and "candidates 20" in output and str(path) in output


def test_profile_of_a_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["profile", str(trained), "--steps=8", "--planner.candidates=12", f"--json={path}"]
    assert main(arguments) == 0
    content = json.loads(path.read_text())
    assert list(content["stages"]) == ["render", "filter", "plan", "environment", "total"]
    keys = ["p50_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms", "jitter_ms", "stddev_ms"]
    for stage in content["stages"].values():
        assert list(stage) == keys
        assert 0 <= stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"] <= stage["max_ms"]
    means = [stage["mean_ms"] for stage in content["stages"].values()]
    assert means[-1] == pytest.approx(sum(means[:-1]))
    assert content["plan"]["candidates"] == 12 and content["plan"]["topk"] == 3
    assert content["run"]["task"] == "toy-reach"


def test_profile_refuses_a_size_that_the_run_decides(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, complaint in (
        ("--model.belief-size", "model.belief_size: expected 5, which decided what was learned"),
        ("--batch-size", "batch_size: only for a bare planner"),
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


# ---- Several planners ----------------------------------------------------------------------------


@needs_fused
def test_planners_are_compared_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"json": tmp_path / "profile.json", "plot": tmp_path / "latency.png"}
    files = [f"--{name}={path}" for name, path in paths.items()]
    options = ["--compare", "reference,fused", "--rate", "1000", "--steps", "4", *files]
    assert main(["profile", *SIZES, *options]) == 0
    content = json.loads(paths["json"].read_text())
    assert list(content["planners"]) == ["reference", "fused"]
    assert (content["speedup_over"], content["rate_hz"]) == ("reference", 1000.0)
    for name, planner in content["planners"].items():
        assert planner["compute"]["backend"] == name
        assert 0.0 <= planner["missed"] <= 1.0
    assert content["planners"]["reference"]["speedup"] == {"plan": 1.0}
    output = capsys.readouterr().out
    for text in ("jitter", "missed", "faster", str(paths["json"]), str(paths["plot"])):
        assert text in output
    assert paths["plot"].read_bytes()[:4] == b"\x89PNG"


@needs_fused
def test_int8_is_compared_or_its_absence_explained(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["profile", *SIZES, "--compare", "fused,int8", "--steps", "2"])
    captured = capsys.readouterr()
    if build_info()["int8"]:
        assert status == 0
        assert "int8     device cpu, backend fused, precision int8" in captured.out
    else:
        assert status == 1
        assert "precision: 'int8' needs" in captured.err


@needs_fused
def test_planners_of_a_run_are_compared_on_its_steps(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    options = ["--compare", "fused,reference", "--steps", "5", "--json", str(path)]
    assert main(["profile", str(trained), *options]) == 0
    content = json.loads(path.read_text())
    assert list(content["planners"]) == ["fused", "reference"]
    for planner in content["planners"].values():
        stages = ["render", "filter", "plan", "environment", "total"]
        assert list(planner["stages"]) == stages
        assert list(planner["speedup"]) == ["filter", "plan", "total"]
    assert content["run"]["task"] == "toy-reach"
    assert "environment all" in capsys.readouterr().out


def test_a_budget_is_kept_and_its_iterations_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*REFERENCE, "--planner.budget-ms", "0.001", "--steps", "3"]
    assert main(["profile", *SIZES, *options]) == 0
    output = capsys.readouterr().out
    assert "budget ms 0.001" in output
    assert "iterations 1 to 1, median 1" in output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--compare", "fused,slow"],
         "compare: expected names of fused, reference, fp32, int8, fp16, bf16, portable, "
         "persistent, separated by commas, or joined by + where they are of different settings, "
         "got 'slow'"),
        (["--compare", "fused,fused"], "compare: expected different planners, got 'fused,fused'"),
        (["--compare", "fused,fp32"], "compare: expected different planners"),
        (["--compare", ""], "compare: expected names of"),
        (["--compare", "fp32+int8"], "different settings, got 'fp32+int8'"),
        (["--rate", "0"], "rate: expected a value > 0, got 0.0"),
        (["--json", "missing/profile.json"], "json: expected a file in a folder that exists"),
        (["--plot", "missing/latency.png"], "plot: expected a file in a folder that exists"),
        (["--plot", "latency.txt"], "plot: expected a name that ends in ."),
        (["--train.device", "tpu"], "device: expected 'cpu' or 'cuda', got 'tpu'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_is_timed(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("planet.profiling.measure._timed", lambda *_: pytest.fail("timed"))
    assert main(["profile", *SIZES, "--steps", "2", *options]) == 1
    assert complaint in capsys.readouterr().err


def test_a_picture_without_matplotlib_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    assert main(["profile", *SIZES, "--plot", str(tmp_path / "latency.png")]) == 1
    error = capsys.readouterr().err
    assert "--plot needs matplotlib" in error
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
