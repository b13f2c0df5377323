"""Holds `FilterWeights`, the frozen snapshot of a whole agent: what filters and what is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from planet.errors.checks import check_device, check_dims, check_shape, check_type
from planet.errors.scalars import check_int
from planet.errors.short_repr import short_repr
from planet.protocols import Shapes, image_spec
from planet.weights.rollout_weights import RolloutWeights, own
from planet.weights.shapes import (
    MAX_CHANNELS,
    MAX_ENCODER_LAYERS,
    MAX_IMAGE_SIZE,
    MAX_STRIDE,
    EncoderSizes,
    filter_arguments,
)

_POSTERIOR = (
    "posterior_hidden_weight",
    "posterior_hidden_bias",
    "posterior_weight",
    "posterior_bias",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterWeights:
    """Holds everything that turns camera frames into latents, copied once and checked once.

    The encoder is a stack of convolutions without padding, each followed by the activation of
    `rollout`; its last map, flattened as [channels, h, w], is the embedding. The posterior of
    Hafner et al. (ICML 2019), Section 3, is q = act(W_q [h', embedding] + b_q),
    [mean, raw] = W_s q + b_s, with the stddev of `rollout`.

    A snapshot is immutable: changing the source tensors later has no effect.

    Attributes:
      rollout: transition and reward, which planning reads; transition="rssm". Its state, belief and
        hidden sizes S, D and M are the posterior's.
      encoder_weights: up to 16 of [C', C, k, k], the first with C = 3.
      encoder_biases: [C'] each.
      encoder_strides: pixels, 1 to 2^31 - 1, one per layer.
      posterior_hidden_weight: [M, D+E], columns of the belief first.
      posterior_hidden_bias: [M].
      posterior_weight: [2S, M], rows of the mean first, then of the raw stddev.
      posterior_bias: [2S].
      image_size: pixels per side of a frame, 1 to 1024.
      bit_depth: bits that are kept of a colour channel, 1 to 8.

    Raises:
      TypeError: an argument is of another type.
      ValueError: a shape, device, size or value disagrees; the message names the argument, what was
        expected and what came.
    """

    rollout: RolloutWeights
    encoder_weights: Sequence[Tensor]
    encoder_biases: Sequence[Tensor]
    encoder_strides: Sequence[int]
    posterior_hidden_weight: Tensor
    posterior_hidden_bias: Tensor
    posterior_weight: Tensor
    posterior_bias: Tensor
    image_size: int
    bit_depth: int = 5
    # Backends keep the layout that they packed for this snapshot here; it lives as long as we do.
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        rollout = check_type("rollout", self.rollout, RolloutWeights)
        if rollout.transition != "rssm":
            raise ValueError(
                f"rollout: expected transition='rssm', got {rollout.transition!r}, whose filter is "
                "not available yet"
            )
        for name in ("encoder_weights", "encoder_biases", "encoder_strides"):
            value = getattr(self, name)
            if isinstance(value, Tensor) or not isinstance(value, Sequence):
                raise TypeError(f"{name}: expected a sequence, got {type(value).__name__}")
        for name in ("encoder_weights", "encoder_biases"):
            owned = tuple(own(f"{name}[{i}]", v) for i, v in enumerate(getattr(self, name)))
            object.__setattr__(self, name, owned)
        checked = tuple(
            check_int(f"encoder_strides[{i}]", stride, 1, MAX_STRIDE)
            for i, stride in enumerate(self.encoder_strides)
        )
        object.__setattr__(self, "encoder_strides", checked)
        for name in _POSTERIOR:
            object.__setattr__(self, name, own(name, getattr(self, name)))
        size = check_int("image_size", self.image_size, 1, MAX_IMAGE_SIZE)
        object.__setattr__(self, "image_size", size)
        object.__setattr__(self, "bit_depth", check_int("bit_depth", self.bit_depth, 1, 8))
        self._check_encoder()
        self._check_tensors()

    def __getstate__(self) -> dict[str, Any]:
        """Pickles and copies without what a backend packed on this machine."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Checks what a pickle holds as a new snapshot's arguments are checked."""
        names = {f.name for f in fields(self) if f.init}
        if unknown := sorted(set(state) - names - {"_cache"}):
            raise ValueError(f"weights: expected a pickle with {sorted(names)}, got {unknown}")
        FilterWeights.__init__(self, **{k: v for k, v in state.items() if k != "_cache"})

    @property
    def encoder(self) -> EncoderSizes:
        """Channels, kernels and strides of the encoder, and the frame's size and bits."""
        return EncoderSizes(
            image=self.image_size,
            bits=self.bit_depth,
            channels=tuple(weight.shape[0] for weight in self.encoder_weights),
            kernels=tuple(weight.shape[2] for weight in self.encoder_weights),
            strides=tuple(self.encoder_strides),
        )

    @property
    def device(self) -> torch.device:
        """Tells where all the tensors live."""
        return self.rollout.device

    @property
    def observation(self) -> Shapes:
        """Says what is observed."""
        return image_spec(self.image_size)

    @property
    def form(self) -> object:
        """Tells snapshots of other computations apart; equal ones differ in numbers alone."""
        return self.encoder

    def copied(self) -> FilterWeights:
        """Returns a copy with tensors of its own."""
        return replace(self, rollout=replace(self.rollout))

    def to(self, device: torch.device | str) -> FilterWeights:
        """Returns the snapshot on `device` (itself when it is there already)."""
        if torch.device(device) == self.device:
            return self
        own = self.named_tensors(rollout=False)
        moved = filter_arguments({name: tensor.to(device) for name, tensor in own.items()})
        return replace(self, rollout=self.rollout.to(device), **moved)

    def named_tensors(self, rollout: bool = True) -> dict[str, Tensor]:
        """Lists every tensor by name in the order of weight files: encoder, posterior.

        Args:
          rollout: whether those of `rollout` come before them.
        """
        named = self.rollout.named_tensors() if rollout else {}
        layers = zip(self.encoder_weights, self.encoder_biases, strict=True)
        for i, (weight, bias) in enumerate(layers):
            named |= {f"encoder_weights[{i}]": weight, f"encoder_biases[{i}]": bias}
        return named | {name: getattr(self, name) for name in _POSTERIOR}

    def _check_encoder(self) -> None:
        layers = len(self.encoder_weights)
        if layers > MAX_ENCODER_LAYERS:
            raise ValueError(
                f"encoder_weights: expected at most {MAX_ENCODER_LAYERS} layers, got {layers}"
            )
        for name in ("encoder_biases", "encoder_strides"):
            if (count := len(getattr(self, name))) != layers:
                raise ValueError(f"{name}: expected one per layer ({layers}), got {count}")
        for i, weight in enumerate(self.encoder_weights):
            name = f"encoder_weights[{i}]"
            check_dims(name, weight, "[C', C, k, k]")
            channels = weight.shape[0]
            if not 1 <= channels <= MAX_CHANNELS:
                raise ValueError(f"{name}: expected 1 <= C' <= {MAX_CHANNELS}, got {channels}")

    def _check_tensors(self) -> None:
        table = self.encoder.shapes(self.rollout.sizes)
        for name, tensor in self.named_tensors(rollout=False).items():
            layout, shape = table[name]
            check_shape(name, tensor, shape, layout)
            check_device(name, tensor, self.device, "rollout")
            if count := int((~torch.isfinite(tensor)).sum()):
                raise ValueError(f"{name}: expected finite values, got {count} NaN or infinite")
