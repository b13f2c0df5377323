"""Takes a snapshot's tensors out of the modules of torch that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

_ACTIVATIONS = {"relu": "ReLU", "elu": "ELU"}


def linear_tensors(name: str, module: object) -> tuple[Tensor, Tensor]:
    """Takes weight and bias of the linear layer that was given as the argument `name`.

    Raises:
      TypeError: `module` is no `torch.nn.Linear`.
      ValueError: it has no bias.
    """
    if not isinstance(module, nn.Linear):
        raise TypeError(f"{name}: expected torch.nn.Linear, got {type(module).__name__}")
    _check_bias(name, module.bias is not None)
    return module.weight, module.bias


def gru_tensors(module: object) -> dict[str, Tensor]:
    """Takes the tensors of a GRU by their names in a snapshot; there are none of None.

    Raises:
      TypeError: `module` is no GRU.
      ValueError: it has no bias, several layers or two directions.
    """
    if module is None:
        return {}
    if not isinstance(module, (nn.GRUCell, nn.GRU)):
        expected = "torch.nn.GRUCell, torch.nn.GRU of one layer, or None"
        raise TypeError(f"gru: expected {expected}, got {type(module).__name__}")
    whole = isinstance(module, nn.GRU)
    if whole and (module.num_layers != 1 or module.bidirectional):
        raise ValueError(
            "gru: expected one layer in one direction, got "
            f"num_layers={module.num_layers}, bidirectional={module.bidirectional}"
        )
    _check_bias("gru", module.bias)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {f"gru_{name}": getattr(module, f"{name}_l0" if whole else name) for name in names}


def reward_tensors(modules: object) -> dict[str, list[Tensor]]:
    """Takes weights and biases of the reward's linear layers.

    Raises:
      TypeError, ValueError: as `linear_tensors`, or `modules` is no sequence.
    """
    if not isinstance(modules, Iterable):
        got = type(modules).__name__
        raise TypeError(f"reward: expected a sequence of torch.nn.Linear, got {got}")
    layers = [linear_tensors(f"reward[{i}]", module) for i, module in enumerate(modules)]
    return {"reward_weights": [w for w, _ in layers], "reward_biases": [b for _, b in layers]}


def encoder_tensors(modules: Iterable[nn.Module], activation: str) -> dict[str, list[Any]]:
    """Takes weights, biases and strides of an encoder's convolutions.

    Raises:
      TypeError: `modules` are not `torch.nn.Conv2d`, each followed by the activation, and a
        `torch.nn.Flatten`.
      ValueError: a convolution has padding, dilation, groups, strides that differ or no bias.
    """
    layers: list[Any] = list(modules)
    kinds = [type(layer).__name__ for layer in layers]
    expected = ["Conv2d", _ACTIVATIONS[activation]] * (len(layers) // 2) + ["Flatten"]
    if kinds != expected:
        raise TypeError(f"encoder: expected layers {expected}, got {kinds}")
    out: dict[str, list[Any]] = {f"encoder_{name}": [] for name in ("weights", "biases", "strides")}
    for i, layer in enumerate(layers[:-1:2]):
        plain = {"stride": layer.stride[:1] * 2, "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        for name, value in plain.items():
            if (got := getattr(layer, name)) != value:
                raise ValueError(f"encoder[{i}]: expected {name} {value}, got {got}")
        _check_bias(f"encoder[{i}]", layer.bias is not None)
        parts = layer.weight, layer.bias, layer.stride[0]
        for found, part in zip(out.values(), parts, strict=True):
            found.append(part)
    return out


def _check_bias(name: str, present: Any) -> None:
    if not present:
        raise ValueError(f"{name}: expected a bias, got bias=False; a bias of zeros is the same")
