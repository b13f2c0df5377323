"""Updates and interrupted runs end in the same bits: on the CPU, and on a GPU if there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from acting.captures import DEVICES
from conftest import FUSED_MISSING, fused_is_built
from gpu.update_probe import ACTIONS, fill
from toy_runs import Recorder, changed, finished, make_trainer, outcome

from planet.config import Config
from planet.config.presets import PRESETS
from planet.protocols import Spec
from planet.systems.planet import build
from planet.training.repeatable import repeatable


@pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)
@pytest.mark.parametrize("device", DEVICES)
def test_a_run_that_was_interrupted_ends_in_the_same_bits(
    device: str, tiny: Config, tmp_path: Path
) -> None:
    config = changed(tiny, device=device).with_overrides({"imagination": {"backend": "fused"}})
    recorder = Recorder()
    with make_trainer(config, tmp_path / "whole", recorder) as trainer:
        trainer.run()
    expected, calls = outcome(tmp_path / "whole"), len(recorder.calls)
    for call in (calls // 3, calls // 2, 4 * calls // 5):
        directory = tmp_path / f"interrupted {call}"
        interrupted = make_trainer(config, directory, Recorder(call))
        with interrupted as trainer, pytest.raises(KeyboardInterrupt):
            trainer.run()
        assert finished(config, directory) == expected


@pytest.mark.parametrize("device", DEVICES)
def test_updates_of_the_paper_s_model_repeat(device: str, tmp_path: Path) -> None:
    config, cuda = PRESETS["paper"]("cheetah-run"), device == "cuda"
    sizes = {"batch_size": 50, "chunk_length": 50} if cuda else {"batch_size": 2, "chunk_length": 3}
    config = changed(config, device=device, **sizes)
    replay, box = fill(tmp_path, config, 2, 60), np.ones(ACTIONS, np.float32)
    spec = Spec({"image": (np.dtype(np.uint8), (64, 64, 3))}, -box, box)

    def updated() -> list[torch.Tensor]:
        learner = build(config, spec)
        with repeatable(config.train):
            for _ in range(3):
                learner.update(replay)
        return [parameter.detach().cpu() for parameter in learner.model.parameters()]

    first, second = updated(), updated()
    assert all(map(torch.equal, first, second))
    assert all(parameter.isfinite().all() for parameter in first)
