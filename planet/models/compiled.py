"""Computes the world model for gradient steps on CPUs by compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from planet.config import ModelConfig
from planet.latent import Gaussian, LatentState
from planet.models.decoder import ConvDecoder
from planet.models.encoder import Encoder
from planet.models.world_model import WorldModel
from planet.ops.equations import outcome
from planet.ops.filter import filter_chunk
from planet.ops.fused import instruction_set
from planet.ops.network import Network, linear
from planet.protocols import Filtered


class CompiledModel:
    """Computes what `sequence_loss` asks of a world model, with gradients, in float32 on a CPU.

    The world model is the specification and holds the parameters; results differ by roundings. The
    recurrence of filters without a belief, and of encoders, runs by PyTorch's operators.

    Args:
      model: on a CPU.
      precision: of the image decoder's products, "fp32" or "bf16": factors and results of the
        latter are rounded to bfloat16, sums are float32.

    Raises:
      ImportError: the extension is missing.
    """

    def __init__(self, model: WorldModel, precision: str = "fp32") -> None:
        instruction_set()  # fails early
        self._model, self._precision = model, precision
        activation = model.config.activation
        self._encoders = {
            name: Network(_layers(module), activation, True, _side(module))
            for name, module in model.encoders.items()
        }
        latent_model = model.latent_model
        self._prior = Network([latent_model.prior_hidden, latent_model.prior_head], activation)
        self._reward = Network(_layers(model.reward_model), activation)
        self._decoders = {
            name: _decoder(module, activation) for name, module in model.decoders.items()
        }

    @property
    def config(self) -> ModelConfig:
        """Returns the model's settings."""
        return self._model.config

    def inputs(self, observation: Mapping[str, Tensor], seeds: Tensor) -> dict[str, Tensor]:
        """See `WorldModel.inputs`."""
        return self._model.inputs(observation, seeds)

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """See `WorldModel.embed`."""
        parts = [self._embed(name, inputs[name]) for name in self._encoders]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """See `LatentModel.filter_chunk`."""
        model = self._model.latent_model
        if not model.compiled_filter:
            return model.filter_chunk(embedding, action, noise)
        _, weight = model.posterior_weights()
        share = linear(embedding.flatten(0, 1), weight, model.posterior_hidden.bias)
        share = share.reshape(*embedding.shape[:2], -1)
        drawn = noise if model.stochastic else torch.zeros_like(noise)
        belief, state, mean, stddev = filter_chunk(model, share, action, drawn)
        stddev = stddev if model.stochastic else torch.zeros_like(stddev)
        return Filtered(LatentState(belief, state), self._prior_at(belief), Gaussian(mean, stddev))

    def errors(self, latent: LatentState, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `WorldModel.errors`."""
        features = latent.features.flatten(0, -2)
        return {name: self._error(name, features, inputs[name]) for name in self._decoders}

    def reward(self, latent: LatentState) -> Tensor:
        """See `WorldModel.reward`."""
        return self.outcome(latent)[0]

    def outcome(self, latent: LatentState) -> tuple[Tensor, Tensor | None]:
        """See `WorldModel.outcome`."""
        features = latent.features
        head = self._reward(features.flatten(0, -2))
        return outcome(head.reshape(*features.shape[:-1], -1))

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """See `WorldModel.transition`."""
        return self._model.transition(latent, action)

    def _embed(self, name: str, x: Tensor) -> Tensor:
        if name == "vector":
            return self._encoders[name](x.flatten(0, -2)).reshape(*x.shape[:-1], -1)
        flat = self._encoders[name](_rows(x))
        pixels = flat.reshape(len(flat), -1, self.config.encoder_channels[-1])
        return pixels.transpose(1, 2).reshape(*x.shape[:-3], -1)  # as a flattened [channels, h, w]

    def _error(self, name: str, features: Tensor, target: Tensor) -> Tensor:
        if name == "image" and self._precision == "bf16":  # oneDNN's, forward and backward
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                decoded = self._model.decoders[name](features)
            call: Any = _HalfSquaredDistance.apply
            error: Tensor = call(decoded.view(target.shape), target)
            return error
        first, decoder = self._decoders[name]
        features = features if first is None else first(features)
        return decoder.error(features, _rows(target) if name == "image" else target.flatten(0, -2))

    def _prior_at(self, belief: Tensor) -> Gaussian:
        model = self._model.latent_model
        output = self._prior(belief.flatten(0, -2)).reshape(*belief.shape[:-1], -1)
        return model.gaussian(output)


def _decoder(module: nn.Module, activation: str) -> tuple[Network | None, Network]:
    """Describes a decoder, and what comes before it: a convolutional one's input, not activated."""
    layers = _layers(module)
    if isinstance(module, ConvDecoder):
        return Network(layers[:1], activation), Network(layers[1:], activation)
    return None, Network(layers, activation)


def _side(module: nn.Module) -> int:
    return module.image_size if isinstance(module, Encoder) else 1


def _rows(image: Tensor) -> Tensor:
    """Lays images [..., C, h, w] out as rows [N, h * w * C], channels last."""
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
