"""Measures how well a world model predicts without seeing: errors by distance, on held-out chunks.

t            0 ... C-1         C ... T-1
the model    filters o[t]      predicts by the prior alone from the actions: distance t - C + 1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from planet.latent import Gaussian, LatentState
from planet.models import WorldModel
from planet.noise import STREAM_POSTERIOR, STREAM_STATE, mix_seed, row_seeds
from planet.ops import draws
from planet.ops.dynamics import imagine
from planet.protocols import Chunk
from planet.replay import EpisodeInfo, Pieces
from planet.training.divergence import divergence
from planet.training.seeds import VALIDATION

CONTEXT = 5  # entries that are filtered first, as in the videos


@dataclass(frozen=True)
class OpenLoop:
    """Holds prediction errors by distance.

    Attributes:
      chunks: how many were predicted.
      distances: 1, 2, 4, ... steps without an observation.
      means: by name, one per distance. image: squared error per pixel and colour, both from -1/2
        to 1/2; vector: squared error per number, as `planet.models.vectors` compresses it; reward:
        squared error; divergence: see `planet.training.divergence`, for most designs
        KL(posterior || prior), nats.
      standard_errors: of the means, by the spread between chunks; 0 for one chunk.
    """

    chunks: int
    distances: tuple[int, ...]
    means: dict[str, tuple[float, ...]]
    standard_errors: dict[str, tuple[float, ...]]

    def metrics(self) -> dict[str, float]:
        """Names the numbers as lines of metrics do: `open_loop/image_4` is that of distance 4."""
        found: dict[str, float] = {"open_loop/chunks": self.chunks}
        for name, means in self.means.items():
            rows = zip(self.distances, means, self.standard_errors[name], strict=True)
            for distance, mean, error in rows:
                found[f"open_loop/{name}_{distance}"] = mean
                found[f"open_loop/{name}_{distance}_standard_error"] = error
        return found

    def table(self) -> str:
        """Writes a line per distance."""
        lines = ["distance" + "".join(f"  {name:>10}      +- s.e." for name in self.means)]
        for row, distance in enumerate(self.distances):
            cells = (
                f"  {means[row]:10.4g}  {self.standard_errors[name][row]:10.2g}"
                for name, means in self.means.items()
            )
            lines.append(f"{distance:8}" + "".join(cells))
        return "\n".join(lines)


def held_out_chunks(
    episodes: Iterable[EpisodeInfo], length: int, batch_size: int
) -> Iterator[Chunk]:
    """Reads episodes piece by piece, without overlap, in batches of at most `batch_size` rows.

    What is left at the end of an episode is not read. Raises as `planet.replay.Pieces.read`.
    """
    starts = [
        (info, start) for info in episodes for start in range(0, info.length - length + 1, length)
    ]
    for first in range(0, len(starts), batch_size):
        yield Pieces(starts[first : first + batch_size], length).read()


def open_loop(
    model: WorldModel, chunks: Iterable[Chunk], seed: int, context: int = CONTEXT
) -> OpenLoop:
    """Averages prediction errors over chunks.

    Args:
      model: the world model.
      chunks: [T, B, ...], one or more, T >= 2.
      seed: of dither and noise; those of a row derive from it and from how many rows came before.
      context: C, entries that are filtered at the start of every chunk; at most T - 1 are.

    Raises:
      ValueError: there are no chunks, or `context` is below 1.
    """
    if context < 1:
        raise ValueError(f"context: expected a value >= 1, got {context}")
    found: list[dict[str, Tensor]] = []
    rows = 0
    for chunk in chunks:
        steps, batch = chunk.reward.shape
        seeds = row_seeds(mix_seed(seed, VALIDATION), rows + batch)[rows:].to(model.device)
        start = min(context, steps - 1)
        found.append(chunk_errors(model, chunk.to(model.device), seeds, start))
        rows += batch
    if not found:
        raise ValueError("chunks: expected one or more, got none")
    values = {
        name: torch.cat([errors[name] for errors in found], dim=1).double().cpu().numpy()
        for name in found[0]
    }
    spread = {name: x.std(1, ddof=min(1, rows - 1)) / np.sqrt(rows) for name, x in values.items()}
    return OpenLoop(
        chunks=rows,
        distances=_distances(steps - start),
        means={name: tuple(x.mean(1).tolist()) for name, x in values.items()},
        standard_errors={name: tuple(x.tolist()) for name, x in spread.items()},
    )


@torch.no_grad()
def chunk_errors(model: WorldModel, chunk: Chunk, seeds: Tensor, context: int) -> dict[str, Tensor]:
    """Computes the errors of every row by name, [distances, B]; see `OpenLoop`.

    Args:
      model: the world model.
      chunk: [T, B, ...], on the model's device.
      seeds: int64 [B], of the rows. Dither and posterior noise are those of a loss; the noise of
        the imagined state at time t is the normals of `STREAM_STATE` for candidate t.
      context: C, 1 to T - 1.
    """
    steps, states = len(chunk.reward), model.config.state_size
    noise = [
        draws.normals(seeds, steps, states, stream=stream).transpose(0, 1).contiguous()
        for stream in (STREAM_POSTERIOR, STREAM_STATE)
    ]
    inputs = model.inputs(chunk.observation, seeds)
    filtered = model.filter_chunk(model.embed(inputs), chunk.action, noise[0])
    start = LatentState(filtered.latent.belief[context - 1], filtered.latent.state[context - 1])
    latents, priors = imagine(model, start, chunk.action[context:], noise[1][context:])
    ahead = [distance - 1 for distance in _distances(steps - context)]
    there = [context + index for index in ahead]
    latent = LatentState(latents.belief[ahead], latents.state[ahead])
    prior = Gaussian(priors.mean[ahead], priors.stddev[ahead])
    posterior = Gaussian(filtered.posterior.mean[there], filtered.posterior.stddev[there])
    errors = {
        name: (decoded - inputs[name][there]).square().flatten(2).mean(dim=2)
        for name, decoded in model.decode(latent).items()
    }
    return errors | {
        "reward": (model.reward(latent) - chunk.reward[there]).square(),
        "divergence": divergence(model.config, posterior, prior),
    }


def _distances(most: int) -> tuple[int, ...]:
    """Returns 1, 2, 4, ... up to `most`."""
    return tuple(1 << power for power in range(most.bit_length()))
