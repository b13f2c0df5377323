"""Acting sees what training sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeAgent, latent_of
from small_models import frame, make_model

from planet.config import TrainConfig
from planet.noise import row_seeds
from planet.protocols import Chunk
from planet.training.loss import sequence_loss

SIZE, A = 8, 2


def calls_of(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of a method from now on, each with its arguments and its result."""
    calls, method = [], getattr(owner, name)

    def call(*arguments: Any) -> Any:
        calls.append((*arguments, method(*arguments)))
        return calls[-1][-1]

    monkeypatch.setattr(owner, name, call)
    return calls


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
    images, embedded = (calls_of(model, name, monkeypatch) for name in ("images", "embed"))
    filtered = calls_of(model.rssm, "filter", monkeypatch)
    agent.reset(3)
    actions = [np.zeros(A, np.float32)]
    actions += [agent.act(picture, explore=True) for picture in pictures]
    chunk = Chunk(
        {"image": torch.from_numpy(np.stack(pictures))[:, None]},
        torch.from_numpy(np.stack(actions[:-1]))[:, None],
        torch.zeros(steps, 1),
    )
    dither = torch.stack([dither for _, dither, _ in images])
    noise = torch.stack([noise for *_, noise, _ in filtered])
    monkeypatch.setattr(torch, "rand", lambda *shape, **kwargs: dither.reshape(shape))
    monkeypatch.setattr(torch, "randn", lambda *shape, **kwargs: noise.reshape(shape))
    chunks = calls_of(model.rssm, "filter_chunk", monkeypatch)
    sequence_loss(model, chunk, TrainConfig(), torch.Generator())
    *acted, learned = [embedding for _, embedding in embedded]
    torch.testing.assert_close(learned, torch.stack(acted))
    latent = chunks[0][-1].latent
    torch.testing.assert_close(latent.belief, torch.stack([call[-1].belief for call in filtered]))
    torch.testing.assert_close(latent.state[-1], latent_of(agent).state)


def test_dither_is_uniform_and_new_at_every_step(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent()
    images = calls_of(agent.world_model, "images", monkeypatch)
    agent.reset(row_seeds(0, 16))
    for _ in range(2):
        agent.act(frame(0, 16))
    seen = [dither for _, dither, _ in images]
    assert seen[0].shape == (16, SIZE, SIZE, 3)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0][0], seen[0][1])
    both = torch.stack(seen)
    assert both.min() >= 0
    assert both.max() <= 1
    assert abs(both.mean() - 0.5) < 0.02
    assert abs(both.std() - 12**-0.5) < 0.02
