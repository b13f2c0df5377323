"""Networks for tests: stacks of layers, inputs, and PyTorch's own writing of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.ops.network import Layer, Network

Make = Callable[[], list[Layer]]

# Layers and the side of the first one's inputs. Channels are no multiples of a tile's; sides have
# remainders; kernels are smaller than strides, equal, larger, 1.
STACKS: dict[str, tuple[Make, int]] = {
    "linear": (lambda: [nn.Linear(37, 50), nn.Linear(50, 1), nn.Linear(1, 9)], 1),
    "one-layer": (lambda: [nn.Linear(1, 1)], 1),
    "convolution": (
        lambda: [nn.Conv2d(3, 5, 4, 2), nn.Conv2d(5, 33, 3, 1), nn.Conv2d(33, 7, 1, 2)], 16,
    ),
    "remainder": (lambda: [nn.Conv2d(1, 6, 2, 3), nn.Conv2d(6, 1, 2, 2)], 10),
    "wide": (lambda: [nn.Conv2d(17, 19, 3, 3)], 11),
    "transposed": (
        lambda: [
            nn.ConvTranspose2d(20, 18, 3, 1), nn.ConvTranspose2d(18, 5, 2, 3),
            nn.ConvTranspose2d(5, 3, 4, 2),
        ], 1,
    ),
    "transposed-small-kernel": (
        lambda: [nn.ConvTranspose2d(3, 4, 1, 2), nn.ConvTranspose2d(4, 1, 5, 2)], 2,
    ),
}  # fmt: skip
ROWS = (1, 3, 16, 17, 48, 49, 130)


@dataclass
class Case:
    """A network with random parameters.

    Integral ones are whole or half numbers, and so are its inputs: float32 computes with them
    exactly, so that ReLU's kinks fall as in float64.
    """

    stack: str
    activation: str = "elu"
    activated: bool = False
    integral: bool = False

    def __post_init__(self) -> None:
        make, self.side = STACKS[self.stack]
        torch.manual_seed(7)
        self.layers = make()
        if self.integral:
            for layer in self.layers:
                layer.weight.data = torch.randint(-1, 2, layer.weight.shape).float()
                bias = layer.get_parameter("bias")
                bias.data = torch.randint(-3, 4, bias.shape) / 2
        self.network = Network(self.layers, self.activation, self.activated, self.side)
        first = self.layers[0]
        channels = first.in_features if isinstance(first, nn.Linear) else first.in_channels
        self.inputs = channels * self.side**2
        self.outputs = plain(self, torch.zeros(1, self.inputs)).shape[1]

    @property
    def parameters(self) -> list[Tensor]:
        return [p for layer in self.layers for p in layer.parameters()]

    def in_float64(self) -> Case:
        other = copy.deepcopy(self)
        for layer in other.layers:
            layer.double()
        return other

    def values(self, rows: int, features: int, seed: int) -> Tensor:
        torch.manual_seed(seed)
        if self.integral:
            return torch.randint(-1, 2, (rows, features)).float()
        return torch.randn(rows, features)

    def given(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, a target, and gradients of the outputs."""
        sizes = self.inputs, self.outputs, self.outputs
        x, target, upstream = (self.values(rows, n, seed) for seed, n in enumerate(sizes))
        return x, target, upstream


def plain(case: Case, x: Tensor) -> Tensor:
    """Computes the outputs, rows channels last, by PyTorch's modules in their dtype."""
    activation = F.elu if case.activation == "elu" else F.relu
    maps = not isinstance(case.layers[0], nn.Linear)
    if maps:
        x = x.unflatten(1, (case.side, case.side, -1)).movedim(-1, 1)
    for i, layer in enumerate(case.layers):
        x = layer(x)
        if case.activated or i + 1 < len(case.layers):
            x = activation(x)
    return x.movedim(1, -1).flatten(1) if maps else x


def compiled(case: Case, x: Tensor) -> Tensor:
    return case.network(x)


def plain_error(case: Case, x: Tensor, target: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(plain(case, x), target.to(x.dtype), reduction="sum")


def compiled_error(case: Case, x: Tensor, target: Tensor) -> Tensor:
    return case.network.error(x, target)


def results(
    case: Case, rows: int, function: Callable[[Case, Tensor], Tensor] = compiled,
    error: Callable[[Case, Tensor, Tensor], Tensor] = compiled_error,
) -> list[Tensor]:  # fmt: skip
    """Outputs, their gradients, and, of networks without a last activation, the same of the error.

    Gradients are of the inputs and of every parameter.
    """
    x, target, upstream = case.given(rows)
    dtype = case.layers[0].weight.dtype
    x = x.to(dtype).requires_grad_()
    outputs = function(case, x)
    found = [outputs.detach()]
    found += torch.autograd.grad(outputs, [x, *case.parameters], upstream.to(dtype))
    if not case.activated:
        distance = error(case, x, target)
        found += [distance.detach(), *torch.autograd.grad(distance * 0.25, [x, *case.parameters])]
    return found
