"""Acting sees what training sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeAgent, latent_of
from small_models import frame, make_model

from planet.acting.seen import check_observation
from planet.config import TrainConfig
from planet.noise import row_seeds
from planet.ops import reference
from planet.protocols import Chunk
from planet.training import loss

SIZE, A = 8, 2


def calls_of(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of a method from now on, each with its arguments, as they were, and its result."""
    calls, method = [], getattr(owner, name)

    def call(*arguments: Any) -> Any:
        kept = [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]
        calls.append((*kept, method(*arguments)))
        return calls[-1][-1]

    monkeypatch.setattr(owner, name, call)
    return calls


def test_acting_and_training_filter_alike(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acted episode, replayed as a chunk with its dither and noise, gives the same latents.

    An agent has a seed per time step and the loss has one per row, so the agent's are given to the
    function that both call.
    """
    model = make_model()
    agent = make_agent(model=model, backend="reference")
    steps = 4
    pictures = [frame(t) for t in range(steps)]
    images, filtered = (calls_of(reference, name, monkeypatch) for name in ("images", "filtered"))
    agent.reset(3)
    actions = [np.zeros(A, np.float32)]
    actions += [agent.act(picture, explore=True) for picture in pictures]
    chunk = Chunk(
        {"image": torch.from_numpy(np.stack(pictures))[:, None]},
        torch.from_numpy(np.stack(actions[:-1]))[:, None],
        torch.zeros(steps, 1),
        torch.zeros(steps, 1, dtype=torch.bool),
    )
    of_step, make_inputs = [seeds for _, seeds, *_ in images], model.inputs

    def inputs_of_steps(
        observation: dict[str, torch.Tensor], seeds: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        pieces = zip(observation["image"][:, None], of_step, strict=True)
        return {"image": torch.cat([make_inputs({"image": x}, s)["image"] for x, s in pieces])}

    monkeypatch.setattr(model, "inputs", inputs_of_steps)
    noise = torch.stack([noise for *_, noise, _ in filtered], dim=1)  # [B, T, S]
    monkeypatch.setattr(loss.draws, "normals", lambda *counter, **where: noise)
    chunks = calls_of(model.latent_model, "filter_chunk", monkeypatch)
    loss.sequence_loss(model, chunk, TrainConfig(), row_seeds(0, 1))
    latent = chunks[0][-1].latent
    torch.testing.assert_close(latent.belief, torch.stack([call[-1].belief for call in filtered]))
    torch.testing.assert_close(latent.state[-1], latent_of(agent).state)


def test_dither_is_uniform_and_new_at_every_step(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent(backend="reference")
    images = calls_of(reference, "images", monkeypatch)
    agent.reset(row_seeds(0, 16))
    for _ in range(2):
        agent.act(frame(0, 16))
    levels = torch.from_numpy(frame(0, 16) >> 3).movedim(-1, -3)  # 5 bits
    seen = [(image[0] + 0.5) * 32 - levels for *_, image in images]
    assert seen[0].shape == (16, 3, SIZE, SIZE)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0][0], seen[0][1])
    both = torch.stack(seen)
    assert both.min() > 0
    assert both.max() < 1
    assert abs(both.mean() - 0.5) < 0.02
    assert abs(both.std() - 12**-0.5) < 0.02


def test_numbers_beyond_float32_are_refused_before_a_step() -> None:
    """As finite float64 ones that would become infinite."""
    expected = {"speed": (np.dtype(np.float32), (2,))}
    for value in (np.nan, 1e300):
        with pytest.raises(ValueError, match="observation: expected finite numbers of float32"):
            check_observation({"speed": np.array([value, 0.0])}, expected, 1)
