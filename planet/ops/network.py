"""Computes feed-forward networks and their gradients by the compiled CPU kernels.

Encoder, decoders and heads are stacks of `torch.nn.Conv2d`, `ConvTranspose2d` and `Linear` with one
activation between them. The modules are the specification, and this gives the same numbers up to
rounding; the parameters stay the modules' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from planet.ops.extension import instruction_set

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


@dataclass(frozen=True)
class Network:
    """Describes a stack of layers on square maps of pixels.

    Attributes:
      layers: the modules, whose parameters count at every call.
      activation: "relu" or "elu", after every layer but the last.
      activated: whether it follows the last layer as well.
      side: pixels per side of the first layer's inputs; linear layers see one pixel.
    """

    layers: Sequence[Layer]
    activation: str
    activated: bool = False
    side: int = 1

    def numbers(self) -> list[int]:
        """Lists the sizes as the ops take them."""
        numbers, side = [int(self.activation == "elu"), int(self.activated)], self.side
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                numbers += [0, layer.out_features, layer.in_features, 1, 1, 1, 1]
                continue
            kernel, stride = layer.kernel_size[0], layer.stride[0]
            transposed = isinstance(layer, nn.ConvTranspose2d)
            before = side
            side = (side - 1) * stride + kernel if transposed else (side - kernel) // stride + 1
            channels = layer.in_channels, layer.out_channels
            small, large = channels if transposed else channels[::-1]
            numbers += [int(transposed), small, large, *sorted((before, side)), kernel, stride]
        return numbers

    def __call__(self, x: Tensor) -> Tensor:
        """Computes outputs [N, outputs] of rows [N, inputs], channels last, float32."""
        return self._apply(x, None)

    def error(self, x: Tensor, target: Tensor) -> Tensor:
        """Computes half the squared distance of the outputs from `target` [N, outputs]: [].

        The outputs are not made. The target gets no gradient.
        """
        return self._apply(x, target).reshape(())

    def _apply(self, x: Tensor, target: Tensor | None) -> Tensor:
        weights = [_four(layer.weight) for layer in self.layers]
        biases = [layer.bias for layer in self.layers]
        isa = instruction_set()
        out: Tensor = _Network.apply(x, target, self.numbers(), isa, *weights, *biases)
        return out


def _four(weight: Tensor) -> Tensor:
    return weight if weight.dim() == 4 else weight[:, :, None, None]


class _Network(torch.autograd.Function):
    """Keeps the layers' outputs for the backward pass, as PyTorch's operators do."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor | None, numbers: list[int], isa: int, *parameters: Tensor
    ) -> Tensor:
        count = len(parameters) // 2
        weights, biases = list(parameters[:count]), list(parameters[count:])
        op = torch.ops.planet.network_forward
        y, kept = op(x, weights, biases, numbers, target, isa)
        ctx.save_for_backward(x, kept, *weights)
        ctx.numbers, ctx.isa = numbers, isa
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kept, *weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad[0]
        op = torch.ops.planet.network_backward
        of_x, flat = op(gradient.contiguous(), x, weights, ctx.numbers, kept, wanted, ctx.isa)
        sizes = [weight.numel() for weight in weights]
        widths = [w.shape[1 if t else 0] for w, t in zip(weights, ctx.numbers[2::7], strict=True)]
        pieces = flat.split([*sizes, *widths])
        of_weights = (piece.view_as(w) for piece, w in zip(pieces, weights, strict=False))
        return (of_x if wanted else None, None, None, None, *of_weights, *pieces[len(sizes) :])
