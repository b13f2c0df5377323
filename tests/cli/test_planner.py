"""`--planner NAME`: a planner by name, with the defaults of its own settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="training needs the train extra")

from planet.cli import evaluate, main
from planet.cli.export import exported_settings
from planet.cli.options import parse_options, with_planner
from planet.cli.train import parse
from planet.config import (
    CEMConfig,
    Config,
    GradientConfig,
    ICEMConfig,
    MPPIConfig,
    ShootingConfig,
    presets,
)
from planet.config.presets import PRESETS
from planet.experiments.run import open_run

HERE = ["--directory", "here"]
SIZES = [
    "--planner.horizon=2", "--action-size=2", "--model.belief-size=5", "--model.state-size=3",
    "--model.hidden-size=7", "--model.reward-layers=1", "--model.reward-hidden=4",
    "--imagination.backend=reference", "--steps=2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], CEMConfig()),
        (["--planner", "cem"], CEMConfig()),
        (["--planner", "icem"], ICEMConfig()),
        (["--planner=mppi"], MPPIConfig()),
        (["--planner.name", "shooting"], ShootingConfig()),
        (["--planner", "gradient"], GradientConfig()),
        (["--planner", "icem", "--planner", "mppi"], MPPIConfig()),
        (["--planner.keep", "5", "--planner", "icem"], ICEMConfig(keep=5)),
        (["--planner", "icem", "--planner.output=mean"], ICEMConfig(output="mean")),
        (["--planner", "mppi", "--planner.horizon", "5"], MPPIConfig(horizon=5)),
        (["--preset", "small"], presets.small().planner),
        (["--preset", "small", "--planner", "icem"], ICEMConfig()),
        (["--preset", "small", "--planner", "cem"], presets.small().planner),
    ],
    ids=str,
)
def test_the_name_chooses_the_defaults_as_a_preset_does(
    options: list[str], expected: object
) -> None:
    assert parse([*HERE, *options]).planner == expected


def test_what_all_planners_have_stays() -> None:
    planner = CEMConfig(horizon=7, candidates=9, topk=2, low=-0.5, budget_ms=3.0)
    _, config = with_planner("train", ["--planner", "icem"], Config(planner=planner))
    assert config.planner == ICEMConfig(horizon=7, low=-0.5, budget_ms=3.0)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--planner", "hill"], "invalid choice 'hill'"),
        (["--planner"], "argument --planner/--planner.name: expected one argument"),
        (["--planner", "icem", "--planner.spread", "population"], "--planner.spread"),
        (["--planner.keep", "5"], "--planner.keep"),
        (["--planner", "shooting", "--planner.topk", "5"], "--planner.topk"),
        (["--planner", "icem", "--planner.keep", "50"], "keep: expected a value <= 10, got 50"),
        (["--planner", "icem", "--planner.topk", "47"], "topk: expected 1 <= K <= J=46, got 47"),
        (["--planner", "icem", "--planner.topk", "16"], "decay: expected at least 2 K = 32"),
        (["--planner", "mppi", "--planner.temperature", "0"], "temperature: expected a value > 0"),
        (["--planner", "icem", "--planner.momentum", "1"],
         "momentum: expected a value in [0, 1), got 1"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "evaluate", "profile"])
def test_a_wrong_name_or_setting_is_refused_by_name(
    command: str, options: list[str], complaint: str, trained: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    first = HERE if command == "train" else [str(trained)]
    assert main([command, *first, *options]) == 2
    assert complaint in " ".join(capsys.readouterr().err.replace("\u2502", "").split())


def test_a_run_is_acted_in_by_another_planner(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the horizon of the run, which is not the planner's own."""
    options = ["--planner", "icem", "--planner.keep", "2", "--no-video", "--episodes", "1"]
    assert main(["evaluate", str(trained), *options]) == 0
    output = " ".join(capsys.readouterr().out.split())
    horizon = Config.load(trained / "config.json").planner.horizon
    assert horizon != ICEMConfig().horizon
    assert f"name icem, horizon {horizon}," in output and "keep 2" in output


def test_a_run_does_not_go_on_with_another_planner(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--directory", str(trained), "--planner", "icem"]) == 1
    assert "planner.name was 'cem', now 'icem'" in capsys.readouterr().err


# ---- Side by side --------------------------------------------------------------------------------


def test_planners_are_profiled_with_their_rollouts_and_samples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = ["--compare", "cem,icem,mppi,shooting", "--planner.candidates=20", "--planner.topk=4"]
    assert main(["profile", *SIZES, "--planner.iterations=3", *named]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("rollouts ", "samples "))]
    # As many as fit side by side, then the others.
    assert sum((row[1:] for row in rows[::2]), []) == ["60", "120", "3,072", "1,000"]
    assert sum((row[1:] for row in rows[1::2]), []) == ["120", "240", "6,144", "2,000"]
    assert max(map(len, lines)) <= 80


def test_work_that_is_alike_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--planner.candidates=20", "--planner.topk=4", "--planner.iterations=3"]
    assert main(["profile", *SIZES, *few, "--compare", "cem,int8"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "rollouts 60, samples 120" in output
    assert output.count("rollouts 60") == 1


@pytest.mark.parametrize(
    ("compare", "complaint"),
    [
        ("cem,cem", "compare: expected different planners, got 'cem,cem'"),
        ("cem,fp32", "compare: expected different planners"),
        ("icem+mppi", "joined by + where they are of different settings, got 'icem+mppi'"),
        (
            "cem,hill",
            "compare: expected names of cem, icem, mppi, shooting, gradient, fused, reference,",
        ),
    ],
)
def test_wrong_comparisons_are_refused(
    compare: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *SIZES, "--compare", compare]) == 1
    assert complaint in capsys.readouterr().err


def test_a_planner_and_an_arithmetic_are_joined(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *SIZES, "--compare", "icem,icem+int8,int8+shooting"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "icem+int8" in output and "int8+shooting" in output


def test_overrides_of_a_name_choose_its_defaults_too() -> None:
    start = Config(planner=CEMConfig(horizon=7, candidates=9, topk=2))
    assert start.with_overrides({"planner": {"name": "icem", "keep": 1}}) == replace(
        start, planner=ICEMConfig(horizon=7, keep=1)
    )
    assert start.with_overrides({"planner": {"name": "cem", "topk": 1}}) == replace(
        start, planner=CEMConfig(horizon=7, candidates=9, topk=1)
    )
    with pytest.raises(ValueError, match=r"planner.name: expected one of \['cem', .*got 'hill'"):
        start.with_overrides({"planner": {"name": "hill"}})
    with pytest.raises(ValueError, match=r"planner: unknown setting \['spread'\]"):
        start.with_overrides({"planner": {"name": "icem", "spread": "population"}})


@pytest.mark.parametrize("option", ["--planner", "--planner.name"])
def test_a_run_may_be_called_as_its_planner_is(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, horizon in (("icem", 3), ("other", 5)):
        Path(name).mkdir()
        config = Config().with_overrides({"planner": {"horizon": horizon}})
        config.save(Path(name) / "config.json")
    options = parse_options("evaluate", [option, "icem", "other"], evaluate._default)
    assert options.run_dir == Path("other") and options.planner == ICEMConfig(horizon=5)


@pytest.mark.parametrize("name", ["v0.5", "v1.0", "v1.5"])
def test_a_preset_may_bring_a_task_of_its_own(name: str) -> None:
    options = parse([f"--preset={name}", "--directory", "runs/a"])
    assert options.config() == PRESETS[name]() and options.task == "cartpole-swingup"
    assert (
        parse([f"--preset={name}", "--task", "cup-catch", "--directory", "x"]).task == "cup-catch"
    )


def test_export_refuses_plans_of_which_more_than_one_action_is_executed(trained: Path) -> None:
    run = open_run(trained, {"planner": {"execute": 2}})
    assert run.agent.execute == 2
    with pytest.raises(ValueError, match=r"planner\.execute: expected 1, as agents in C\+\+ .* 2"):
        exported_settings(run)
