"""Acting sees what training sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeAgent
from small_models import frame, make_model
from torch import Tensor

from planet.config import TrainConfig
from planet.models.pixels import preprocess
from planet.noise import row_seeds
from planet.protocols import Chunk
from planet.training.loss import sequence_loss

SIZE, A = 8, 2


def test_acting_and_training_filter_alike(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acted episode, replayed as a chunk with its dither and noise, gives the same latents.

    The dither is drawn per time step by the agent and at once by the loss; both are given to the
    same function, and what the encoder makes of the pictures is compared as well.
    """
    model = make_model()
    agent = make_agent(model=model)
    steps = 4
    pictures = [frame(t) for t in range(steps)]
    seen: dict[str, list[Tensor]] = {"dither": [], "noise": [], "embedding": [], "belief": []}

    def images(observation: Tensor, dither: Tensor) -> Tensor:
        seen["dither"].append(dither)
        return preprocess(observation, 5, dither)

    filter_step, embed = model.rssm.filter, model.embed

    def keep_noise(latent: Any, action: Tensor, embedding: Tensor, noise: Tensor) -> Any:
        seen["noise"].append(noise)
        after = filter_step(latent, action, embedding, noise)
        seen["belief"].append(after.belief)
        return after

    def keep_embedding(image: Tensor) -> Tensor:
        embedding = embed(image)
        seen["embedding"].append(embedding.detach())
        return embedding

    monkeypatch.setattr(model, "images", images)
    monkeypatch.setattr(model, "embed", keep_embedding)
    monkeypatch.setattr(model.rssm, "filter", keep_noise)
    agent.reset(3)
    actions = [np.zeros(A, np.float32)]
    actions += [agent.act(picture, explore=True) for picture in pictures]
    chunk = Chunk(
        {"image": torch.from_numpy(np.stack(pictures))[:, None]},
        torch.from_numpy(np.stack(actions[:-1]))[:, None],
        torch.zeros(steps, 1),
    )
    dither, noise = torch.stack(seen["dither"]), torch.stack(seen["noise"])
    acted = torch.stack(seen["embedding"])
    monkeypatch.setattr(torch, "rand", lambda *shape, **kwargs: dither.reshape(shape))
    monkeypatch.setattr(torch, "randn", lambda *shape, **kwargs: noise.reshape(shape))
    seen["embedding"].clear()
    filtered: list[Any] = []
    filter_chunk = model.rssm.filter_chunk

    def keep_filtered(*arguments: Tensor) -> Any:
        filtered.append(filter_chunk(*arguments))
        return filtered[0]

    monkeypatch.setattr(model.rssm, "filter_chunk", keep_filtered)
    sequence_loss(model, chunk, TrainConfig(), torch.Generator())
    torch.testing.assert_close(seen["embedding"][0], acted)
    torch.testing.assert_close(filtered[0].latent.belief, torch.stack(seen["belief"]))
    assert agent.latent is not None
    torch.testing.assert_close(filtered[0].latent.state[-1], agent.latent.state)


def test_dither_is_uniform_and_new_at_every_step(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent()
    seen: list[Tensor] = []

    def images(observation: Tensor, dither: Tensor) -> Tensor:
        seen.append(dither)
        return preprocess(observation, 5, dither)

    monkeypatch.setattr(agent.world_model, "images", images)
    agent.reset(row_seeds(0, 16))
    for _ in range(2):
        agent.act(frame(0, 16))
    assert seen[0].shape == (16, SIZE, SIZE, 3)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0][0], seen[0][1])
    both = torch.stack(seen)
    assert both.min() >= 0
    assert both.max() <= 1
    assert abs(both.mean() - 0.5) < 0.02
    assert abs(both.std() - 12**-0.5) < 0.02
