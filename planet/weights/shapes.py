"""Holds the one table of a snapshot's tensors: their names, layouts and shapes.

Checks, weight files, random weights and packing read it. Its order is that of weight files and of
the ops `pack_weights` and `pack_filter`. C++ has its own, csrc/model_tensors.h, which the tests of
weight files and ops hold to this one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

MAX_SIZE = 512
MAX_REWARD_LAYERS = 4
MAX_ENCODER_LAYERS = 16
MAX_CHANNELS = 4096
MAX_IMAGE_SIZE = 1024
MAX_STRIDE = 2**31 - 1
_RECURRENT = {
    "input_weight": "[M, S+A]",
    "input_bias": "[M]",
    "gru_weight_ih": "[3D, M]",
    "gru_weight_hh": "[3D, D]",
    "gru_bias_ih": "[3D]",
    "gru_bias_hh": "[3D]",
    "prior_hidden_weight": "[M, D]",
    "prior_hidden_bias": "[M]",
    "prior_weight": "[2S, M]",
    "prior_bias": "[2S]",
}
GRU_TENSORS = tuple(name for name in _RECURRENT if name.startswith("gru_"))


@dataclass(frozen=True)
class Sizes:
    """Holds sizes of a model that can be planned with, each from 1 to 512.

    Attributes:
      belief: D; 0 without a deterministic path (transition="ssm").
      state: S.
      action: A.
      hidden: M.
      reward: widths N of the reward's hidden layers, up to three.
      continuation: whether the last reward layer gives the logit of going on, too.
    """

    belief: int
    state: int
    action: int
    hidden: int
    reward: tuple[int, ...]
    continuation: bool = False

    @property
    def reward_rows(self) -> tuple[int, ...]:
        """Rows of every reward matrix: the hidden widths, then 1, or 2 with continuation."""
        return *self.reward, 1 + self.continuation


@dataclass(frozen=True)
class EncoderSizes:
    """Holds sizes of an encoder of square frames, a stack of convolutions without padding.

    Attributes:
      image: pixels per side of a frame, 1 to 1024.
      bits: that are kept of a colour channel, 1 to 8.
      channels: of each layer, up to 16 of 1 to 4096.
      kernels: pixels per side, likewise.
      strides: pixels, 1 to 2^31 - 1.
    """

    image: int
    bits: int
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]

    def layers(self) -> list[tuple[int, int, int]]:
        """Lists channels, kernel and stride of every layer."""
        return list(zip(self.channels, self.kernels, self.strides, strict=True))

    def sides(self) -> list[int]:
        """Lists the pixels per side of the frame and of every layer's map.

        Raises:
          ValueError: a layer leaves no pixel.
        """
        sides = [self.image]
        for i, (_, kernel, stride) in enumerate(self.layers()):
            if not 1 <= kernel <= sides[-1]:
                raise ValueError(
                    f"encoder_weights[{i}]: expected a kernel of 1 to {sides[-1]} pixels, which "
                    f"its input has per side, got {kernel}"
                )
            sides.append((sides[-1] - kernel) // stride + 1)
        return sides

    def embedding(self) -> int:
        """Returns E, the numbers of the last map."""
        return (self.channels or (3,))[-1] * self.sides()[-1] ** 2

    def shapes(self, sizes: Sizes) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Lists layout and shape of encoder and posterior by name, in the order of weight files."""
        table: dict[str, tuple[str, tuple[int, ...]]] = {}
        channels = 3
        for i, (out, kernel, _) in enumerate(self.layers()):
            table[f"encoder_weights[{i}]"] = "[C', C, k, k]", (out, channels, kernel, kernel)
            table[f"encoder_biases[{i}]"] = "[C']", (out,)
            channels = out
        width, state = sizes.belief + self.embedding(), sizes.state
        return table | {
            "posterior_hidden_weight": ("[M, D+E]", (sizes.hidden, width)),
            "posterior_hidden_bias": ("[M]", (sizes.hidden,)),
            "posterior_weight": ("[2S, M]", (2 * state, sizes.hidden)),
            "posterior_bias": ("[2S]", (2 * state,)),
        }


def layouts(transition: str, reward_layers: int, continuation: bool = False) -> dict[str, str]:
    """Lists every tensor's name with its layout in letters, as "[M, S+A]".

    Args:
      transition: "rssm" or "ssm".
      reward_layers: number of the reward's matrices; the last one has one row.
      continuation: the last one has two, reward and logit of going on.
    """
    table, columns = dict(_RECURRENT), "D+S"
    if transition == "ssm":
        table, columns = {k: v for k, v in table.items() if k not in GRU_TENSORS}, "S"
        table["prior_hidden_weight"] = "[M, M]"
    for i in range(reward_layers):
        rows = "N" if i + 1 < reward_layers else "2" if continuation else "1"
        table[f"reward_weights[{i}]"] = f"[{rows}, {columns}]"
        table[f"reward_biases[{i}]"] = f"[{rows}]"
        columns = "N"
    return table


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Lists every tensor's name with its shape; a model without a belief is an ssm."""
    letters = {"D": sizes.belief, "S": sizes.state, "A": sizes.action, "M": sizes.hidden}
    table = {
        name: tuple(_length(length, letters) for length in layout.split(","))
        for name, layout in layouts("rssm" if sizes.belief else "ssm", 0).items()
    }
    columns = sizes.belief + sizes.state
    for i, rows in enumerate(sizes.reward_rows):
        table[f"reward_weights[{i}]"] = rows, columns
        table[f"reward_biases[{i}]"] = (rows,)
        columns = rows
    return table


def arguments(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Makes arguments of `RolloutWeights` of tensors by name: reward layers become lists."""
    return _with_lists(tensors, "reward_weights", "reward_biases")


def filter_arguments(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Makes arguments of `FilterWeights` of encoder and posterior, likewise."""
    return _with_lists(tensors, "encoder_weights", "encoder_biases")


def _with_lists(tensors: Mapping[str, Tensor], *lists: str) -> dict[str, Any]:
    out: dict[str, Any] = {name: x for name, x in tensors.items() if "[" not in name}
    for name in lists:
        out[name] = [x for layer, x in tensors.items() if layer.startswith(name)]
    return out


def _length(text: str, letters: Mapping[str, int]) -> int:
    """Computes a length such as "3D" or "S+A"."""
    terms = re.findall(r"(\d*)([A-Z])", text)
    return sum(int(factor or 1) * letters[letter] for factor, letter in terms)
