"""Computes feed-forward networks and their gradients by the compiled CPU kernels.

Encoder, decoders and heads are stacks of `torch.nn.Conv2d`, `ConvTranspose2d` and `Linear` with one
activation between them. The modules are the specification, and this gives the same numbers up to
rounding; the parameters stay the modules' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from planet.errors.checks import check_choice
from planet.ops.fused import instruction_set

MOST_LAYERS = 16  # kMaxNetworkLayers of csrc/network.h
Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class Network:
    """Describes a stack of layers on square maps of pixels.

    Args:
      layers: the modules, whose parameters count at every call.
      activation: "relu" or "elu", after every layer but the last.
      activated: whether it follows the last layer as well.
      side: pixels per side of the first layer's inputs; linear layers see one pixel.

    Raises:
      ValueError: there is no such activation, there are too many layers, or a layer has what the
        kernels do not compute.
    """

    def __init__(
        self, layers: Sequence[Layer], activation: str, activated: bool = False, side: int = 1
    ) -> None:
        check_choice("activation", activation, ["relu", "elu"])
        if not 1 <= len(layers) <= MOST_LAYERS:
            raise ValueError(
                f"layers: backend='fused' computes 1 to {MOST_LAYERS} layers of a network, got "
                f"{len(layers)}; use backend='reference'"
            )
        self._layers = layers
        self._numbers = [int(activation == "elu"), int(activated), *_sizes(layers, side)]

    def __call__(self, x: Tensor) -> Tensor:
        """Computes outputs [N, outputs] of rows [N, inputs], channels last, float32."""
        return self._apply(x, None)

    def error(self, x: Tensor, target: Tensor) -> Tensor:
        """Computes half the squared distance of the outputs from `target` [N, outputs]: [].

        The outputs are not made. The target gets no gradient.
        """
        return self._apply(x, target.contiguous()).reshape(())

    def _apply(self, x: Tensor, target: Tensor | None) -> Tensor:
        weights = [layer.weight for layer in self._layers]
        biases = [layer.get_parameter("bias") for layer in self._layers]
        return _apply(self._numbers, x, target, weights, biases)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Computes W x + b for rows [N, K] of x, a weight [M, K] and a bias [M]: [N, M]."""
    numbers = [0, 0, 0, *weight.shape, 1, 1, 1, 1]
    return _apply(numbers, x, None, [weight], [bias])


def _sizes(layers: Sequence[Layer], side: int) -> list[int]:
    """Lists the layers' sizes as the ops take them."""
    numbers: list[int] = []
    for layer in layers:
        _check(layer)
        if isinstance(layer, nn.Linear):
            if side > 1:  # whose order of features would be another
                raise ValueError(f"layers: expected a linear layer on one pixel, got side {side}")
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


def _check(layer: Layer) -> None:
    """Raises ValueError for a layer that the kernels would compute otherwise."""
    expected: dict[str, Any] = {}
    if not isinstance(layer, nn.Linear):
        kernel, stride = layer.kernel_size[0], layer.stride[0]
        expected = {"kernel_size": (kernel, kernel), "stride": (stride, stride), "groups": 1}
        expected |= {"padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0)}
    for name, value in expected.items():
        if (got := getattr(layer, name)) != value:
            raise ValueError(f"layers: expected {name} {value}, got {got}")
    if layer.bias is None:
        raise ValueError("layers: expected layers with a bias, got one without")


def _apply(
    numbers: list[int], x: Tensor, target: Tensor | None, weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> Tensor:  # fmt: skip
    isa = instruction_set()
    parameters = (tensor.contiguous() for tensor in (*weights, *biases))
    call: Any = _Network.apply
    out: Tensor = call(x.contiguous(), target, numbers, isa, *parameters)
    return out


class _Network(torch.autograd.Function):
    """Keeps the layers' outputs for the backward pass, as PyTorch's operators do."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor | None, numbers: list[int], isa: int,
        *parameters: Tensor,
    ) -> Tensor:  # fmt: skip
        count = len(parameters) // 2
        weights, biases = list(parameters[:count]), list(parameters[count:])
        y: Tensor
        op = torch.ops.planet.network_forward
        y, kept = op(x, weights, biases, numbers, target, isa)
        ctx.save_for_backward(x, kept, *weights)
        ctx.settings = numbers, isa
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph: expected False, compiled networks are differentiable once, got "
                "True; use backend='reference'"
            )
        x, kept, *weights = ctx.saved_tensors
        numbers, isa = ctx.settings
        wanted: bool = ctx.needs_input_grad[0]
        op = torch.ops.planet.network_backward
        of_x, flat = op(gradient.contiguous(), x, weights, numbers, kept, wanted, isa)
        outputs = zip(weights, numbers[2::7], strict=True)
        widths = [w.shape[1 if transposed else 0] for w, transposed in outputs]
        sizes = [weight.numel() for weight in weights]
        pieces = flat.split([*sizes, *widths])
        of_weights = (piece.view_as(w) for piece, w in zip(pieces, weights, strict=False))
        return (of_x if wanted else None, None, None, None, *of_weights, *pieces[len(sizes) :])
