"""Filters observations by a model's own modules, where the compiled core has no filter."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.models.latent_model import LatentModel
from planet.models.vectors import join_vectors
from planet.noise import STREAM_POSTERIOR, normals
from planet.ops.pixels import images
from planet.protocols import Shapes
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights


@dataclass(frozen=True, eq=False)
class ModelFilter:
    """Holds a frozen copy of what an agent needs of a model: a snapshot beside `FilterWeights`.

    The modules compute, by PyTorch's operators; plans are made of `rollout` as ever.

    Attributes:
      rollout: transition and reward, which planning reads.
      encoders: of image and vectors, by name.
      latent_model: transition and posterior.
      observation: dtypes and shapes of the arrays that are observed, by name.
      bit_depth: bits that are kept of a colour channel, 1 to 8.
    """

    rollout: RolloutWeights
    encoders: nn.ModuleDict
    latent_model: LatentModel
    observation: Shapes
    bit_depth: int

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for module in (self.encoders, self.latent_model):
            module.requires_grad_(False)
        for name, tensor in self.named_tensors().items():
            if count := int((~torch.isfinite(tensor)).sum()):
                raise ValueError(f"{name}: expected finite values, got {count} NaN or infinite")

    @property
    def device(self) -> torch.device:
        """Tells where all the tensors live."""
        return self.rollout.device

    @property
    def form(self) -> object:
        """Tells snapshots of other computations apart; equal ones differ in numbers alone."""
        model = self.latent_model
        design = model.stochastic, model.encodes, model.activation, model.min_stddev
        layers = self.encoders.modules()
        strides = [layer.stride for layer in layers if isinstance(layer, nn.Conv2d)]
        return self.observation, self.bit_depth, *design, strides

    def to(self, device: torch.device | str) -> ModelFilter:
        """Returns the snapshot on `device` (itself when it is there already)."""
        if torch.device(device) == self.device:
            return self
        rollout, (encoders, model) = self.rollout.to(device), self._modules()
        return replace(
            self, rollout=rollout, encoders=encoders.to(device), latent_model=model.to(device)
        )

    def copied(self) -> ModelFilter:
        """Returns a copy with tensors of its own."""
        rollout, (encoders, model) = replace(self.rollout), self._modules()
        return replace(self, rollout=rollout, encoders=encoders, latent_model=model)

    def _modules(self) -> tuple[nn.ModuleDict, LatentModel]:
        return copy.deepcopy((self.encoders, self.latent_model))

    def named_tensors(self) -> dict[str, Tensor]:
        """Lists every tensor by name."""
        named = dict(self.rollout.named_tensors())
        for part in ("encoders", "latent_model"):
            parameters = getattr(self, part).named_parameters()
            named |= {f"{part}.{name}": tensor.detach() for name, tensor in parameters}
        return named

    @torch.no_grad()
    def filter_step(
        self, latent: LatentState, action: Tensor, observation: Mapping[str, Tensor], seeds: Tensor
    ) -> LatentState:
        """Advances latents by an action, and corrects them by the newest observation.

        Random numbers are those of `planet.ops.reference.filter_step`.

        Args:
          latent: belief [B, D], state [B, S] after the observation before; zeros before the first.
          action: [B, A], executed since then; zeros before the first.
          observation: arrays [B, ...] by name.
          seeds: of the step, int64 [B].

        Returns:
          Latent after the observation.
        """
        newest = {name: array[None] for name, array in observation.items()}
        size = self.rollout.state_size
        noise = normals(seeds, 1, size, stream=STREAM_POSTERIOR).transpose(0, 1)
        with torch.autocast(action.device.type, enabled=False):
            embedding = embed(self.encoders, inputs(newest, seeds, self.bit_depth))
            filtered = self.latent_model.filter_chunk(embedding, action[None], noise, latent)
        return LatentState(filtered.latent.belief[0], filtered.latent.state[0])


AgentWeights = FilterWeights | ModelFilter
"""A frozen copy of what an agent needs of a model."""


def inputs(observation: Mapping[str, Tensor], seeds: Tensor, bit_depth: int) -> dict[str, Tensor]:
    """Makes network inputs of arrays [T, B, ...] by name; see `WorldModel.inputs`."""
    made = {}
    if "image" in observation:
        made["image"] = images(observation["image"], seeds, bit_depth)
    if len(observation) > len(made):
        made["vector"] = join_vectors(observation)
    return made


def embed(encoders: nn.ModuleDict, inputs: Mapping[str, Tensor]) -> Tensor:
    """Embeds inputs [..., C, h, w] and [..., V] by their encoders as [..., E], side by side."""
    parts = []
    for name, encoder in encoders.items():
        x = inputs[name]
        own = 3 if name == "image" else 1
        parts.append(encoder(x.reshape(-1, *x.shape[-own:])).reshape(*x.shape[:-own], -1))
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
