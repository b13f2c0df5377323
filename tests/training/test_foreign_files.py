"""Files of a run that are another run's, were changed, or are somebody's invention."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import NEWEST, make_trainer, refused

from planet.config import Config
from planet.experiments.run import open_run
from planet.storage.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (NEWEST, r"checkpoint\.pt: the run was started with other settings: train\.seed was 9"),
        ("metrics.jsonl", r"metrics\.jsonl: .*they were changed since it was saved"),
        ("episodes/episode-000002.planet", r"episode-000002\.planet \(another episode than"),
        ("config.json", r"config\.json: the run was started with other settings: train\.seed"),
    ],
)
def test_a_file_of_another_run_is_refused_by_name(
    tiny: Config, run: Path, other: Path, name: str, message: str
) -> None:
    shutil.copy(other / name, run / name)
    refused(tiny, run, message)


def test_a_reader_does_not_mix_two_runs(run: Path, other: Path) -> None:
    shutil.copy(other / NEWEST, run / NEWEST)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: .*train\.seed was 9, now 0"):
        open_run(run)


def test_one_changed_digit_in_the_metrics_and_one_bit_of_an_episode_are_named(
    tiny: Config, run: Path
) -> None:
    metrics, episode = run / "metrics.jsonl", run / "episodes" / "episode-000000.planet"
    for path in (metrics, episode):
        data = bytearray(path.read_bytes())
        place = len(data) // 2 if path == episode else data.index(b"1")
        data[place] ^= 2
        good = path.read_bytes()
        path.write_bytes(data)
        refused(tiny, run, path.name)
        path.write_bytes(good)
    make_trainer(tiny, run).close()


def test_settings_that_are_none_are_named(tiny: Config, run: Path) -> None:
    for text in ("", "[]", '{"model": {}}'):
        (run / "config.json").write_text(text)
        refused(tiny, run, r"config\.json: ")
        with pytest.raises(ValueError, match=r"config\.json: "):
            open_run(run)


MADE_UP: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no checkpoint of a run: sections": lambda s: s.pop("lines"),
    "sections, as of another release.*unknown": lambda s: s.update(members=3),
    "learner: expected a table, got list": lambda s: s.update(learner=[]),
    "updates: expected an int, got float": lambda s: s["learner"].update(updates=float("nan")),
    "updates: expected a value >= 0, got -1": lambda s: s["learner"].update(updates=-1),
    "episodes: expected an int, got bool": lambda s: s.update(episodes=True),
    "lines: expected a value <= .*, got 1000": lambda s: s.update(lines=10**30),
    "evaluated after 9 of 4": lambda s: s.update(evaluated=9),
    "actions: expected finite bounds": lambda s: s["actions"]["low"].append(0.0),
    "observation: expected dtype uint8": lambda s: s["observation"].update(image=["int8", [1]]),
    "observation: expected an array": lambda s: s["observation"].clear(),
    "low: expected a list of floats": lambda s: s["actions"].update(low=[True]),
    "99 updates; 4 episodes allow 10": lambda s: s["learner"].update(updates=99),
    "names: expected different ones of the first 3": lambda s: (
        s.update(episodes=3, evaluated=2) or s["learner"].update(updates=7)
    ),
    "sums: expected finite numbers": lambda s: s.update(sums={"total": float("inf")}),
    "names: expected a list of strs": lambda s: s["replay"].update(names=[1]),
    "names: expected different ones of": lambda s: s["replay"].update(
        names=s["replay"]["names"] * 2
    ),
    "different ones of the first 4": lambda s: s["replay"].update(names=["../../etc/passwd"]),
    "differ from section to section": lambda s: s["replay"]["checksums"].pop(),
    "config: train: missing": lambda s: s["config"]["train"].pop("seed"),
    r"learner\['model'\]: missing: 'reward": lambda s: s["learner"]["model"].popitem(),
    "expected a tensor, got int": lambda s: s["learner"]["model"].update(
        {"latent_model.input.weight": 1}
    ),
    r"expected \[7, 5\] .*, got \[2\]": lambda s: s["learner"]["model"].update(
        {"latent_model.input.weight": torch.zeros(2)}
    ),
    "expected finite values": lambda s: s["learner"]["model"]["latent_model.input.weight"].fill_(
        float("nan")
    ),
    "optimizer: expected a table": lambda s: s["learner"].pop("optimizer"),
    "the optimiser made 11 steps, the learner 10": lambda s: s["learner"]["optimizer"]["state"][0][
        "step"
    ].add_(1),
    r"optimizer\['state'\]: unknown: 99": lambda s: s["learner"]["optimizer"]["state"].update(
        {99: {}}
    ),
    r"optimizer\['state'\]: missing: 0, 1, 10 and": lambda s: s["learner"]["optimizer"].update(
        state={}
    ),
    r"unknown: 'x{76}\.\.\.$": lambda s: s.update({"x" * 100_000: 1}),
}


@pytest.mark.parametrize("message", MADE_UP)
def test_made_up_content_is_one_named_error(tiny: Config, run: Path, message: str) -> None:
    state = load_checkpoint(run / NEWEST)
    MADE_UP[message](state)
    save_checkpoint(run / NEWEST, state)
    refused(tiny, run, rf"checkpoint\.pt: .*{message}", CheckpointError)
    if not message.startswith("config"):
        with pytest.raises(CheckpointError, match=message):
            open_run(run)
