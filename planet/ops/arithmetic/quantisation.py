"""Specifies the int8 formats of weights, activations, beliefs and states in a product.

With `planet.ops.arithmetic.int8` this is the specification of `precision="int8"`. Only products of
weights and activations are quantised; everything between them is float32.

A number is an integer times a float32 step; a product is an exact integer sum times two steps:

    sum_k W[r, k] x[k]  =  (s_r d) * sum_k w[r, k] q[k]  +  offset * s_r * sum_k w[r, k]

    what          range m                    step             integer                        value
    weight row r  max_k |W[r, k]|            s = m / 127      w = rint(W * (127 / m))        w s
    ReLU output   max_k x                    d = m * (1/255)  q = rint(x * (255 / m))        q d
    ELU output    max_k (x + 1)              d = m * (1/255)  q = rint((x + 1) * (255 / m))  q d - 1
    belief h      max_k |h|                  d = m * (1/127)  q = rint(h * (127 / m))        q d
    state         max_k |s|                  d = m * (1/127)  q = rint(s * (127 / m))        q d

Outputs of a hidden layer have integers 0 to 255, the others -127 to 127. Each candidate has its own
m and d for each vector, taken anew at every step. A kernel may hold a signed q as the byte q + 128
and take 128 times the sum of the weights off again, which is exact.

Exactly:
- m, steps, factors, products and rint are float32; rint rounds to the nearest, ties to even. 1/255
  and 1/127 are float32 constants; m / 127 of a row, 127 / m and 255 / m are float32 divisions.
- m is at least `SMALLEST_RANGE`, so that a row or a vector of zeros needs no case of its own: its
  integers are 0, and no factor overflows.
- Integers are clamped to their range: an ELU may be a rounding below -1.
- The integer sum is below 2^24 for sizes up to 512, so float32 holds it exactly. How the float32
  factors and terms that follow are ordered or fused is free: two implementations differ in last
  bits and, seldom, in an integer next to a tie.
- A candidate with NaN or infinity among the numbers being quantised gets a NaN step. All outputs of
  the product are then NaN, and so is its return; no other candidate is touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.errors.short_repr import short_repr

SMALLEST_RANGE = 2.0**-100
UNSIGNED = 255
SIGNED = 127


@dataclass(frozen=True)
class QuantisedWeight:
    """Holds the rows of a matrix, or of a part of its columns.

    Attributes:
      integers: w, float64 [N, K] of integers in [-127, 127].
      step: s, float32 [N].
    """

    integers: Tensor
    step: Tensor

    __repr__ = short_repr


@dataclass(frozen=True)
class QuantisedVector:
    """Holds the activations of candidates: `integers * step + offset`.

    Attributes:
      integers: q, float64 [..., K] of integers.
      step: d, float32 [..., 1]; NaN for a candidate that was not finite.
      offset: 0, or -1 for ELU outputs.
    """

    integers: Tensor
    step: Tensor
    offset: float = 0.0

    __repr__ = short_repr


def quantise_weight(weight: Tensor) -> QuantisedWeight:
    """Quantises a matrix [N, K], or a part of its columns, row by row."""
    largest = weight.abs().amax(dim=1).clamp(min=SMALLEST_RANGE)
    levels = torch.full_like(largest, SIGNED)
    integers = torch.round(weight * (levels / largest)[:, None])
    return QuantisedWeight(integers.double(), largest / levels)


def quantise_activation(x: Tensor, activation: str) -> QuantisedVector:
    """Quantises outputs [..., K] of a hidden layer with that activation, "relu" or "elu"."""
    lowest = -1.0 if activation == "elu" else 0.0
    above = x - lowest
    range_ = above.amax(dim=-1, keepdim=True).clamp(min=SMALLEST_RANGE)
    return _quantise(above, range_, UNSIGNED, least=0, offset=lowest)


def quantise_signed(x: Tensor) -> QuantisedVector:
    """Quantises beliefs [..., D] or states [..., S]."""
    range_ = x.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST_RANGE)
    return _quantise(x, range_, SIGNED, least=-SIGNED)


def product(weight: QuantisedWeight, x: QuantisedVector) -> Tensor:
    """Returns W x of candidates, float32 [..., N]: an exact integer sum, then the two steps."""
    # Integers below 2^53 are exact in float64, whatever the order of the sum.
    total = F.linear(x.integers, weight.integers).float()
    out = weight.step * x.step * total
    if x.offset:
        out = out + x.offset * (weight.step * weight.integers.sum(dim=1).float())
    return out


def _quantise(
    x: Tensor, range_: Tensor, most: int, least: int, offset: float = 0.0
) -> QuantisedVector:
    """Rounds `x` to integers within [least, most], a step being `range_ / most`."""
    step = range_ * torch.full_like(range_, 1 / most)
    finite = x.isfinite().all(dim=-1, keepdim=True) & range_.isfinite()
    # A tensor, because PyTorch multiplies by a rounded 1 / range_ for `number / range_`.
    factor = torch.full_like(range_, most) / range_
    integers = torch.where(finite, torch.round(x * factor).clamp(least, most), 0.0)
    return QuantisedVector(integers.double(), torch.where(finite, step, torch.nan), offset)
