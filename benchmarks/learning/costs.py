"""Counts what designs of the latent model and overshooting cost an update.

    python benchmarks/learning/costs.py [--rounds 5] [--output FILE]

Times updates of the preset `small` in every design, from 32x32 pictures and from vectors of 17
numbers, and of the RSSM with overshooting, in processor time of one thread: least of rounds by
turns, on random numbers. Counts the bytes that the graph of an update of `paper` holds after its
forward pass, on the device "meta", where nothing is computed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS, circumstances

from planet.config import Config, TrainConfig
from planet.config.presets import paper, small
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.protocols import Chunk, Policy, Shapes, image_spec
from planet.systems.planet import make_world_model, trained_model
from planet.training.learner import GradientLearner
from planet.training.loss import sequence_loss

Overrides = Mapping[str, Mapping[str, Any]]

ACTIONS = 6
VECTORS: Shapes = {"vector": (np.float32, (17,))}
DESIGNS: dict[str, Overrides] = {
    "RSSM": {},
    "SSM": {"model": {"transition": "ssm"}},
    "RNN": {"model": {"stochastic": False}},
    "encoder, ssm": {"model": {"transition": "ssm", "posterior": "encoder"}},
    "encoder, rssm": {"model": {"posterior": "encoder"}},
}


def overshooting(distance: int, observations: bool) -> dict[str, dict[str, Any]]:
    """Returns settings of `train` with overshooting of latents and rewards, or observations too."""
    train = {"overshooting_distance": distance, "overshooting_weight": 1.0,
             "overshooting_reward_weight": 1.0}  # fmt: skip
    return {"train": train | ({"overshooting_observation_weight": 1.0} if observations else {})}


OVERSHOOTING = {
    f"{distance}, {'observations too' if observations else 'latents and rewards'}": overshooting(
        distance, observations
    )
    for distance in (12, 50)
    for observations in (False, True)
}


def make_chunk(train: TrainConfig, shapes: Shapes, device: str = "cpu") -> Chunk:
    """Draws a chunk of random numbers of the settings' length and batch size."""
    size, random = (train.chunk_length, train.batch_size), torch.Generator().manual_seed(0)
    observation = {
        name: (torch.rand(*size, *shape, generator=random) * 255).to(
            torch.uint8 if np.dtype(dtype) == np.uint8 else torch.float32
        )
        for name, (dtype, shape) in shapes.items()
    }
    action = torch.rand(*size, ACTIONS, generator=random) * 2 - 1
    reward = torch.rand(*size, generator=random)
    return Chunk(observation, action, reward, torch.zeros(size, dtype=torch.bool)).to(device)


class Repeated:
    """A replay that has one chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def sample(self, *arguments: Any) -> Chunk:
        """Returns it."""
        return self._chunk


def make_learner(config: Config, shapes: Shapes) -> GradientLearner:
    """Makes the learner of the settings; nothing acts."""
    model, train = make_world_model(config, ACTIONS, shapes), config.train
    trained = trained_model(model, train)

    def loss(chunk: Chunk, seeds: Tensor) -> dict[str, Tensor]:
        return sequence_loss(trained, chunk, train, seeds)

    def policy(episodes: int) -> Policy:
        raise AssertionError("nothing acts here")

    return GradientLearner(model, loss, policy, train)


def update_ms(configs: Mapping[str, Config], shapes: Shapes, rounds: int) -> dict[str, float]:
    """Times updates by turns; returns the least processor time of each in milliseconds."""
    learners = {name: make_learner(config, shapes) for name, config in configs.items()}
    replays = {name: Repeated(make_chunk(config.train, shapes)) for name, config in configs.items()}
    least = dict.fromkeys(learners, float("inf"))
    for number in range(rounds + 1):  # the first warms up
        for name, learner in learners.items():
            began = time.process_time()
            learner.update(replays[name])  # type: ignore[arg-type]
            seconds = time.process_time() - began
            least[name] = min(least[name], 1e3 * seconds) if number else least[name]
    return {name: round(value, 1) for name, value in least.items()}


def graph_bytes(train: TrainConfig, kept: bool = False) -> int:
    """Counts what the graph of an update of `paper` holds after the forward pass.

    Args:
      train: settings of overshooting.
      kept: keep the activations of decoded predictions, rather than make them again.
    """
    shapes, held = image_spec(64), {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage._cdata] = storage.nbytes(), storage  # alive, so that no other has its address
        return tensor

    model = WorldModel(paper().model, ACTIONS, shapes).to("meta")
    chunk, seeds = make_chunk(train, shapes, "meta"), row_seeds(0, train.batch_size).to("meta")
    plain = mock.patch("planet.training.overshooting.recomputed", lambda function: function())
    with plain if kept else mock.MagicMock(), saved_tensors_hooks(note, lambda tensor: tensor):
        total = sequence_loss(model, chunk, train, seeds)["total"]
    assert total.requires_grad
    return sum(size for size, _ in held.values())


def measure(rounds: int) -> dict[str, Any]:
    """Measures everything."""
    base = small("toy-reach")  # in whose pictures nothing is hidden from an encoder
    designs = {name: base.with_overrides(changes) for name, changes in DESIGNS.items()}
    over = {name: base.with_overrides(changes) for name, changes in OVERSHOOTING.items()}
    train = paper().train
    graphs = {"0": graph_bytes(train)}
    for distance in (2, 50):
        for observations in (False, True):
            settings = replace(train, **overshooting(distance, observations)["train"])
            what = f"{distance}, {'observations too' if observations else 'latents and rewards'}"
            graphs[what] = graph_bytes(settings)
        graphs[f"{distance}, activations kept"] = graph_bytes(settings, kept=True)
    return {
        "update_cpu_ms": {
            "pictures": update_ms(designs, image_spec(base.environment.image_size), rounds),
            "vectors": update_ms(designs, VECTORS, rounds),
            "overshooting": update_ms(over, image_spec(base.environment.image_size), rounds),
        },
        "graph_gb": {name: round(1e-9 * size, 2) for name, size in graphs.items()},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "costs.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(options.rounds) | {"circumstances": circumstances()}
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
