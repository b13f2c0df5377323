"""Makes gradient steps to be compared: the plain one, which is the reference, and compiled ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from planet.acting.baselines import RandomPolicy
from planet.config import Config
from planet.config.presets import PRESETS
from planet.experiments.run import make_environment
from planet.latent import Gaussian, LatentState, kl_divergence
from planet.noise import STREAM_POSTERIOR, row_seeds
from planet.ops import draws
from planet.protocols import Chunk
from planet.replay import ReplayBuffer
from planet.systems.planet import make_world_model, trained_model
from planet.training.check_environment import check_environment
from planet.training.collect import collect_episode
from planet.training.learner import GradientLearner
from planet.training.loss import SequenceModel, sequence_loss

REFERENCE = "reference"
VARIANTS: dict[str, dict[str, Any]] = {
    REFERENCE: {"backend": "reference"},
    "fused": {"backend": "fused"},
    "fused bf16": {"backend": "fused", "precision": "bf16"},
}
"""Settings of `train` by the name in tables."""
EPISODES = 10
Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """Holds what every variant computes on: settings, and chunks of the toy task in turn."""

    config: Config
    actions: int
    chunks: list[Chunk]

    @staticmethod
    def of(config: Config, count: int) -> Case:
        """Draws chunks from random episodes of the config's task."""
        environment, train = make_environment(config.environment), config.train
        spec = check_environment(environment, config.environment)
        with tempfile.TemporaryDirectory(prefix="gradient_step") as folder:
            replay, policy = ReplayBuffer(Path(folder) / "episodes"), RandomPolicy(spec)
            config = replace(config, train=replace(train, seed_episodes=EPISODES))
            for index in range(EPISODES):
                replay.add(
                    collect_episode(environment, policy, config, index, 1, lambda total: None)
                )
            generator = np.random.default_rng(0)
            sizes = train.batch_size, train.chunk_length
            chunks = [replay.sample(*sizes, generator) for _ in range(count)]
        return Case(config, len(spec.low), chunks)

    def sample(self, *arguments: Any) -> Chunk:
        """Returns the chunks in turn: as much of a replay as an update needs."""
        self.chunks.append(self.chunks.pop(0))
        return self.chunks[-1]


def preset_case(preset: str, count: int) -> Case:
    """Takes the settings of a preset."""
    return Case.of(PRESETS[preset]("toy-reach"), count)


class Step:
    """Makes the gradient steps of one variant, from the same parameters as every other.

    Args:
      case: what it computes on.
      name: of the variant.

    Raises:
      ValueError, ImportError: the variant cannot be had here.
    """

    def __init__(self, case: Case, name: str) -> None:
        train = replace(case.config.train, **VARIANTS[name])
        config = replace(case.config, train=train)
        self.name, self.train = name, train
        self.model = make_world_model(config, case.actions)
        self.trained: SequenceModel = trained_model(self.model, train)
        self.learner = GradientLearner(self.model, self.loss, nobody, train)
        self._chunks = replace(case, chunks=list(case.chunks))

    def loss(self, chunk: Chunk, seeds: Tensor) -> dict[str, Tensor]:
        """Computes the loss's scalars."""
        return sequence_loss(self.trained, chunk, self.train, seeds)

    def __call__(self) -> dict[str, Tensor]:
        """Makes the next update; returns its metrics."""
        return self.learner.update(self._chunks)  # type: ignore[arg-type]

    def gradients(self, chunk: Chunk) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns the loss's scalars, and the gradients by parameter."""
        self.learner.optimizer.zero_grad(set_to_none=True)
        terms = self.loss(chunk, row_seeds(5, chunk.reward.shape[1]))
        terms["total"].backward()
        found = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        return {name: term.detach() for name, term in terms.items()}, found


def nobody(episodes: int) -> Any:
    """Acts: nobody does here."""
    raise AssertionError(f"nothing acts here, after {episodes} episodes neither")


def errors(step: Step, reference: Step, chunk: Chunk) -> dict[str, Any]:
    """Relative errors of a variant's terms and gradients, at the reference's parameters."""
    step.model.load_state_dict(reference.model.state_dict())
    (terms, found), (true_terms, true) = step.gradients(chunk), reference.gradients(chunk)
    each = {name: relative(found[name], gradient) for name, gradient in true.items()}
    worst = max(each, key=lambda name: each[name])
    whole = [torch.cat([g.flatten() for g in grads.values()]) for grads in (found, true)]
    return {
        "terms": max(relative(terms[name], term) for name, term in true_terms.items()),
        "gradients": each[worst], "worst": worst, "whole_gradient": relative(*whole),
    }  # fmt: skip


def relative(found: Tensor, expected: Tensor) -> float:
    """Distance in shares of the expected's length; 0 where both are nothing."""
    distance = (found.double() - expected.double()).norm().item()
    return distance / expected.double().norm().item() if distance else 0.0


def pieces(step: Step, chunk: Chunk) -> dict[str, Call]:
    """The parts of a step, forward and backward, each alone on inputs that are there."""
    trained, model = step.trained, step.model
    steps, batch = chunk.reward.shape
    seeds = row_seeds(5, batch)

    def images() -> Tensor:
        return trained.images(chunk.observation["image"], seeds)

    def noise() -> Tensor:
        return draws.normals(seeds, steps, model.config.state_size, stream=STREAM_POSTERIOR)

    image, drawn = images(), noise().transpose(0, 1).contiguous()
    with torch.no_grad():
        embedding = leaf(trained.embed(image))
        filtered = trained.filter_chunk(embedding, chunk.action, drawn)
    latent = LatentState(leaf(filtered.latent.belief), leaf(filtered.latent.state))
    posterior, prior = leaves(filtered.posterior), leaves(filtered.prior)

    def encoder() -> None:
        backward(trained.embed(image))

    def scan() -> None:
        found = trained.filter_chunk(embedding, chunk.action, drawn)
        ends = found.latent, found.posterior, found.prior
        backward(*(tensor for pair in ends for tensor in vars(pair).values()))

    def divergences() -> None:
        kl = kl_divergence(posterior, prior)
        standard = Gaussian(torch.zeros_like(drawn), torch.ones_like(drawn))
        backward(kl.clamp(min=step.train.free_nats).mean(), kl.mean().detach())
        kl_divergence(filtered.posterior, standard).mean()

    found = {
        "dither and images": images,
        "posterior noise": noise,
        "encoder": encoder,
        "scan and priors": scan,
        "decoder and loss": lambda: backward(trained.image_error(latent, image)),
        "reward": lambda: backward(F.mse_loss(trained.reward(latent), chunk.reward)),
        "divergences": divergences,
        "norm, clipping, Adam": optimiser(step, chunk),
    }
    return {name: partial(fresh, step, call) for name, call in found.items()}


def fresh(step: Step, call: Call) -> None:
    """Calls without gradients from before, as a step begins."""
    step.learner.optimizer.zero_grad(set_to_none=True)
    call()


def optimiser(step: Step, chunk: Chunk) -> Call:
    """Norm, clipping and Adam on gradients that are there, at a learning rate of 0."""
    gradients = list(step.gradients(chunk)[1].values())
    finite = torch.ones((), dtype=torch.bool)

    def call() -> None:
        for parameter, gradient in zip(step.model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.get_total_norm(gradients)
        step.learner._step(norm, 0.0, finite)

    return call


def backward(*ends: Tensor) -> None:
    """Differentiates the sum of all that has a gradient."""
    ends = tuple(end for end in ends if end.requires_grad)
    torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])


def leaf(tensor: Tensor) -> Tensor:
    """Makes an input whose gradient is asked for."""
    return tensor.detach().clone().requires_grad_()


def leaves(gaussian: Gaussian) -> Gaussian:
    """Makes inputs of both parts."""
    return Gaussian(leaf(gaussian.mean), leaf(gaussian.stddev))


def operations(call: Call) -> int:
    """Counts the operations of products and convolutions; a multiply-add is two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
