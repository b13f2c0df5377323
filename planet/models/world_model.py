"""The world model: encoders, latent model, decoders and reward model."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.errors.checks import check_type
from planet.latent import Gaussian, LatentState
from planet.models.decoder import make_decoder
from planet.models.encoder import Encoder
from planet.models.latent_model import LatentModel
from planet.models.model_filter import ModelFilter, embed, inputs
from planet.models.reward import RewardModel
from planet.models.snapshot import filter_arguments, rollout_arguments
from planet.models.vectors import VectorDecoder, VectorEncoder
from planet.protocols import Filtered, Shapes
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights


class WorldModel(nn.Module):
    """Holds everything that is learned (Hafner et al., ICML 2019, Section 3).

    It is the `planet.protocols.Dynamics` that training and open-loop videos imagine with.

    An observation's `image` has networks of its own; all other arrays, float32 vectors, have one
    encoder and one decoder together, under the name `vector`.

    Args:
      config: design, sizes and conventions.
      action_size: A.
      observation: what is observed.

    Raises:
      ValueError: the layers do not fit the image.
    """

    def __init__(self, config: ModelConfig, action_size: int, observation: Shapes) -> None:
        super().__init__()
        self.config, self.action_size = config, action_size
        self.observation = {name: (dtype, tuple(shape)) for name, (dtype, shape) in
                            observation.items()}  # fmt: skip
        vectors = [s for name, (_, s) in self.observation.items() if name != "image"]
        length = sum(map(math.prod, vectors))
        size, _, channels = self.observation.get("image", (None, (0, 0, 0)))[1]
        self.encoders = nn.ModuleDict()
        if channels:
            self.encoders["image"] = Encoder(config, size, channels)
        if length:
            self.encoders["vector"] = VectorEncoder(config, length)
        sizes: list[Any] = [encoder.embedding_size for encoder in self.encoders.values()]
        self.embedding_size: int = sum(sizes)
        self.latent_model = LatentModel(config, action_size, self.embedding_size)
        self.decoders = nn.ModuleDict()
        if channels:
            self.decoders["image"] = make_decoder(config, size, channels)
        if length:
            self.decoders["vector"] = VectorDecoder(config, length)
        self.reward_model = RewardModel(config)
        self._initialise()

    @property
    def device(self) -> torch.device:
        """Tells where the parameters live."""
        return self.latent_model.input.weight.device

    def inputs(self, observation: Mapping[str, Tensor], seeds: Tensor) -> dict[str, Tensor]:
        """Makes network inputs of a chunk's observations.

        Args:
          observation: arrays [T, B, ...] by name.
          seeds: int64 [B], of the images' dither; see `planet.ops.pixels.images`.

        Returns:
          `image`, float32 [T, B, C, h, w], and `vector`, float32 [T, B, V], as far as there are.
        """
        return inputs(observation, seeds, self.config.bit_depth)

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Embeds inputs [..., C, h, w] and [..., V] as [..., E]."""
        return embed(self.encoders, inputs)

    def decode(self, latent: LatentState) -> dict[str, Tensor]:
        """Predicts mean inputs of latents [..., D], [..., S], by the names of `inputs`."""
        features = latent.features
        rows = features.reshape(-1, features.shape[-1])
        decoded = {name: decoder(rows) for name, decoder in self.decoders.items()}
        return {name: x.reshape(*features.shape[:-1], *x.shape[1:]) for name, x in decoded.items()}

    def errors(self, latent: LatentState, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Computes half the squared distance of decoded latents from inputs, [] by name."""
        decoded = self.decode(latent)
        return {
            name: 0.5 * F.mse_loss(decoded[name], x, reduction="sum") for name, x in inputs.items()
        }

    def initial(self, batch: int) -> LatentState:
        """Returns the zero latent before an episode: belief [B, D], state [B, S]."""
        return self.latent_model.initial(batch)

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Advances latents by an action; see `planet.protocols.Dynamics`."""
        return self.latent_model.transition(latent, action)

    def reward(self, latent: LatentState) -> Tensor:
        """Predicts mean rewards [...] of latents, per model step."""
        return self.outcome(latent)[0]

    def outcome(self, latent: LatentState) -> tuple[Tensor, Tensor | None]:
        """Predicts rewards, and logits of going on; see `planet.protocols.ScoredDynamics`."""
        return self.reward_model.outcome(latent.features)

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """Filters a chunk from the zero latent; see `LatentModel.filter_chunk`."""
        return self.latent_model.filter_chunk(embedding, action, noise)

    def rollout_weights(self) -> RolloutWeights:
        """Returns a frozen copy of what the planner needs; later training does not change it."""
        return RolloutWeights(**rollout_arguments(self.latent_model, self.reward_model))

    def filter_weights(self) -> FilterWeights | ModelFilter:
        """Returns a frozen copy of what an agent needs; later training does not change it.

        It is `FilterWeights`, which the compiled core filters by, for the RSSM and the RNN that see
        an image of one picture and nothing else; else a `ModelFilter`.

        Raises:
          TypeError, ValueError: the encoder is another one than was made, and no snapshot has it.
        """
        latent_model, rollout = self.latent_model, self.rollout_weights()
        image = self.observation.get("image", (None, (0,)))[1]
        if len(self.observation) > 1 or image[-1] != 3 or not latent_model.compiled_filter:
            parts = copy.deepcopy((self.encoders, latent_model))
            return ModelFilter(rollout, *parts, self.observation, self.config.bit_depth)
        encoder = check_type("encoder", self.encoders["image"], Encoder)
        return FilterWeights(
            rollout=rollout,
            **filter_arguments(latent_model, encoder),
            image_size=image[0],
            bit_depth=self.config.bit_depth,
        )

    def _initialise(self) -> None:
        if self.config.initializer == "glorot":
            for name, parameter in self.named_parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
                elif "bias" in name:
                    nn.init.zeros_(parameter)
        gru = self.latent_model.gru
        if gru is None:
            return
        with torch.no_grad():
            gates = 2 * self.latent_model.belief_size
            gru.bias_ih[:gates] = self.config.gru_gate_bias
            gru.bias_hh[:gates] = 0.0
