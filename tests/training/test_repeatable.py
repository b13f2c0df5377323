"""Updates on CUDA repeat bit for bit, as far as a CPU can tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from config.probes import CONV, TINY, chunk, convolutions
from learners import learner_of, replay
from torch.utils._python_dispatch import TorchDispatchMode

from planet.config import Config, TrainConfig
from planet.systems.planet import make_world_model
from planet.training.repeatable import repeatable

# Words in the names of the operators that torch.use_deterministic_algorithms lists for CUDA.
LISTED = (
    "bincount", "bmm", "convolution", "cumsum", "embedding", "gather", "grid_sampler", "histc",
    "index", "interpolate", "median", "nll_loss", "pad", "pool", "put", "repeat_interleave",
    "resize", "scatter", "unpool", "upsample",
)  # fmt: skip
EVERYTHING = {
    "train": {
        "overshooting_distance": 3, "overshooting_weight": 0.5, "overshooting_reward_weight": 0.5,
        "overshooting_observation_weight": 0.5, "global_prior_weight": 0.1,
    }
}  # fmt: skip


@pytest.fixture(autouse=True)
def flags() -> Iterator[None]:
    """Gives cuDNN's flags back, and values before a test that none of them would leave."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = False, True
    yield
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True), "not as before"
    cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def noted() -> Iterator[set[str]]:
    names: set[str] = set()

    class Note(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            names.add(func.name())
            return func(*args, **(kwargs or {}))

    with Note():
        yield names


@pytest.mark.parametrize("config", [CONV, TINY], ids=["conv", "mlp"])
def test_an_update_calls_convolutions_alone_of_what_may_not_repeat(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planet.training.learner.looks_at_once", lambda device: False)  # as on CUDA
    config = config.with_overrides(EVERYTHING)
    learner = learner_of(make_world_model(config, 2), config.train)
    with noted() as names:
        for _ in range(2):
            learner.update(replay(chunk()))
    listed = {name for name in names if any(word in name for word in LISTED)}
    assert listed == {"aten::convolution", "aten::convolution_backward"}


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_run_on_cuda_sets_cudnns_flags_and_gives_them_back(
    deterministic: bool, tmp_path: Any
) -> None:
    train = replace(TINY.train, device="cuda:0", deterministic=deterministic)
    seen = convolutions(replace(TINY, train=train), tmp_path)
    assert seen == {(deterministic, not deterministic)}


def test_flags_are_given_back_after_an_error_and_left_alone_on_a_cpu() -> None:
    cudnn = torch.backends.cudnn
    with pytest.raises(KeyError), repeatable(TrainConfig(device="cuda")):
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        raise KeyError
    with repeatable(TrainConfig()):
        assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
