"""Computes the world model for gradient steps on CPUs by compiled kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from planet.config import ModelConfig
from planet.latent import Gaussian, LatentState
from planet.models.decoder import ConvDecoder
from planet.models.world_model import WorldModel
from planet.ops.equations import gaussian
from planet.ops.filter import filter_chunk
from planet.ops.fused import instruction_set
from planet.ops.network import Network, linear
from planet.protocols import Filtered


class CompiledModel:
    """Computes what `sequence_loss` asks of a world model, with gradients, in float32 on a CPU.

    The world model is the specification and holds the parameters; results differ by roundings.

    Args:
      model: on a CPU.
      precision: of the decoder's products, "fp32" or "bf16": factors and results of the latter are
        rounded to bfloat16, sums are float32.

    Raises:
      ImportError: the extension is missing.
    """

    def __init__(self, model: WorldModel, precision: str = "fp32") -> None:
        instruction_set()  # fails early
        self._model, self._precision = model, precision
        rssm, decoder, activation = model.rssm, model.decoder, model.config.activation
        self._encoder = Network(_layers(model.encoder), activation, True, model.image_size)
        self._prior = Network([rssm.prior_hidden, rssm.prior_head], activation)
        self._reward = Network(_layers(model.reward_model), activation)
        layers = _layers(decoder)
        # What comes before a convolutional decoder's layers has no activation.
        first = 1 if isinstance(decoder, ConvDecoder) else 0
        self._features = Network(layers[:first], activation) if first else None
        self._decoder = Network(layers[first:], activation)

    @property
    def config(self) -> ModelConfig:
        """Returns the model's settings."""
        return self._model.config

    def images(self, observation: Tensor, seeds: Tensor) -> Tensor:
        """See `WorldModel.images`."""
        return self._model.images(observation, seeds)

    def embed(self, image: Tensor) -> Tensor:
        """See `WorldModel.embed`."""
        *shape, channels, height, width = image.shape
        flat = self._encoder(_rows(image))
        pixels = flat.reshape(len(flat), -1, self.config.encoder_channels[-1])
        return pixels.transpose(1, 2).reshape(*shape, -1)  # as a flattened [channels, h, w]

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """See `RSSM.filter_chunk`."""
        rssm = self._model.rssm
        hidden = rssm.posterior_hidden
        weight = hidden.weight[:, rssm.belief_size :]
        share = linear(embedding.flatten(0, 1), weight, hidden.bias)
        share = share.reshape(*embedding.shape[:2], -1)
        belief, state, mean, stddev = filter_chunk(rssm, share, action, noise)
        return Filtered(LatentState(belief, state), self._prior_at(belief), Gaussian(mean, stddev))

    def image_error(self, latent: LatentState, image: Tensor) -> Tensor:
        """See `WorldModel.image_error`."""
        if self._precision == "bf16":  # oneDNN's, forward and backward
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                decoded = self._model.decode(latent)
            call: Any = _HalfSquaredDistance.apply
            error: Tensor = call(decoded, image)
            return error
        features = latent.features.flatten(0, -2)
        if self._features is not None:
            features = self._features(features)
        return self._decoder.error(features, _rows(image))

    def reward(self, latent: LatentState) -> Tensor:
        """See `WorldModel.reward`."""
        features = latent.features
        return self._reward(features.flatten(0, -2)).reshape(features.shape[:-1])

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """See `WorldModel.transition`."""
        return self._model.transition(latent, action)

    def _prior_at(self, belief: Tensor) -> Gaussian:
        rssm = self._model.rssm
        output = self._prior(belief.flatten(0, -2)).reshape(*belief.shape[:-1], -1)
        return gaussian(output, rssm.min_stddev, rssm.stddev)


def _rows(image: Tensor) -> Tensor:
    """Lays images [..., 3, h, w] out as rows [N, h * w * 3], channels last."""
    return image.movedim(-3, -1).flatten(0, -4).flatten(1)


def _layers(module: nn.Module) -> list[nn.Linear | nn.Conv2d | nn.ConvTranspose2d]:
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


class _HalfSquaredDistance(torch.autograd.Function):
    """Computes sum((x - y)^2) / 2 in float32 for bfloat16 x, with fewer passes than `mse_loss`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        difference = x - y
        ctx.save_for_backward(difference)
        return 0.5 * difference.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return (difference * gradient).to(torch.bfloat16), None
