"""The world model: encoder, RSSM, decoder and reward model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.config import ModelConfig
from planet.errors.checks import check_type
from planet.latent import Gaussian, LatentState
from planet.models.decoder import make_decoder
from planet.models.encoder import Encoder
from planet.models.reward import RewardModel
from planet.models.rssm import RSSM
from planet.ops.pixels import images
from planet.protocols import Filtered
from planet.weights.filter_weights import FilterWeights
from planet.weights.modules import encoder_tensors
from planet.weights.rollout_weights import RolloutWeights


class WorldModel(nn.Module):
    """Holds everything that is learned (Hafner et al., ICML 2019, Section 3).

    It is the `planet.protocols.Dynamics` that training and open-loop videos imagine with.

    Args:
      config: sizes and conventions.
      action_size: A.
      image_size: pixels per side of an observation.
    """

    def __init__(self, config: ModelConfig, action_size: int, image_size: int) -> None:
        super().__init__()
        self.config = config
        self.action_size = action_size
        self.image_size = image_size
        self.encoder = Encoder(config, image_size)
        self.rssm = RSSM(config, action_size, self.encoder.embedding_size)
        self.decoder = make_decoder(config, image_size)
        self.reward_model = RewardModel(config)
        self._initialise()

    @property
    def device(self) -> torch.device:
        """Tells where the parameters live."""
        return self.rssm.input.weight.device

    def images(self, observation: Tensor, seeds: Tensor) -> Tensor:
        """Makes network inputs of observations; see `planet.ops.pixels.images`."""
        return images(observation, seeds, self.config.bit_depth)

    def embed(self, image: Tensor) -> Tensor:
        """Embeds images [..., 3, h, w] as [..., E]."""
        flat = self.encoder(image.reshape(-1, *image.shape[-3:]))
        embedding: Tensor = flat.reshape(*image.shape[:-3], -1)
        return embedding

    def decode(self, latent: LatentState) -> Tensor:
        """Predicts mean images [..., 3, h, w] of latents [..., D], [..., S]."""
        features = latent.features
        flat = self.decoder(features.reshape(-1, features.shape[-1]))
        image: Tensor = flat.reshape(*features.shape[:-1], *flat.shape[1:])
        return image

    def image_error(self, latent: LatentState, image: Tensor) -> Tensor:
        """Computes half the squared distance of decoded latents from images [..., 3, h, w]: []."""
        return 0.5 * F.mse_loss(self.decode(latent), image, reduction="sum")

    def initial(self, batch: int) -> LatentState:
        """Returns the zero latent before an episode: belief [B, D], state [B, S]."""
        return self.rssm.initial(batch)

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        """Advances latents by an action; see `planet.protocols.Dynamics`."""
        return self.rssm.transition(latent, action)

    def reward(self, latent: LatentState) -> Tensor:
        """Predicts mean rewards [...] of latents, per model step."""
        predicted: Tensor = self.reward_model(latent.features)
        return predicted

    def filter_chunk(self, embedding: Tensor, action: Tensor, noise: Tensor) -> Filtered:
        """Filters a chunk from the zero latent; see `RSSM.filter_chunk`."""
        return self.rssm.filter_chunk(embedding, action, noise)

    def rollout_weights(self) -> RolloutWeights:
        """Returns a frozen copy of what the planner needs; later training does not change it."""
        rssm = self.rssm
        return RolloutWeights.from_modules(
            input=rssm.input,
            gru=rssm.gru,
            prior_hidden=rssm.prior_hidden,
            prior=rssm.prior_head,
            reward=self.reward_model.layers,
            activation=rssm.activation,
            stddev=rssm.stddev,
            min_stddev=rssm.min_stddev,
        )

    def filter_weights(self) -> FilterWeights:
        """Returns a frozen copy of what an agent needs; later training does not change it.

        Raises:
          TypeError, ValueError: the encoder is another one than was made, and no snapshot has it.
        """
        rssm = self.rssm
        layers = check_type("encoder", self.encoder, Encoder).layers
        return FilterWeights(
            rollout=self.rollout_weights(),
            **encoder_tensors(layers, rssm.activation),
            posterior_hidden_weight=rssm.posterior_hidden.weight,
            posterior_hidden_bias=rssm.posterior_hidden.bias,
            posterior_weight=rssm.posterior_head.weight,
            posterior_bias=rssm.posterior_head.bias,
            image_size=self.image_size,
            bit_depth=self.config.bit_depth,
        )

    def _initialise(self) -> None:
        if self.config.initializer == "glorot":
            for name, parameter in self.named_parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
                elif "bias" in name:
                    nn.init.zeros_(parameter)
        with torch.no_grad():
            gates = 2 * self.rssm.belief_size
            self.rssm.gru.bias_ih[:gates] = self.config.gru_gate_bias
            self.rssm.gru.bias_hh[:gates] = 0.0
