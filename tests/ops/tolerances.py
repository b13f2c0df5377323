"""Holds the one table of tolerances. A row is loosened only with a reason written beside it.

Returns are compared by `returns_error`: the largest difference over max(rms return, 1e-2). Returns
are sums of rewards of both signs, so an element-wise relative error would punish cancellation, and
the planner only cares about differences between the returns of one problem.
"""

from __future__ import annotations

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.protocols import Plan

FLOOR = 1e-2  # of the rms return: below it, rewards are too small to rank candidates by

# Largest `returns_error` of float32 against float64, or of two float32 backends, by weight scale
# (1 is PyTorch's default initialisation). float32 rounds at 6e-8; 200 to 300 terms per dot product
# and 12 recurrent steps leave 1e-7 to 1.5e-6, measured on 72 random models of the presets' sizes.
# Where rewards cancel to a thirtieth of their terms, float32 itself passes 2e-6 (1 of 72 models, 13
# of 3,000 small ones with few candidates). So these rows are for models that a test names; random
# ones have the bound of `ops.error_bound`, of which the 3,000 reach a tenth at most.
RETURNS = {
    1.0: 2e-6,
    2.0: 2e-6,
    # Gains above one: errors grow from step to step, as in trained models. At 3 the dynamics are
    # close to chaotic: PyTorch's own float32 is off by 1e-6 to 4e-5, so that this row is for models
    # where it was checked (the golden ones), not for any random seed.
    3.0: 1e-5,
}

# int8 against another writing of int8, by `int8_errors`. Sums differ in their last bits; where an
# activation lies that close to a tie of rint, its integer falls to the other side: 1/255 of the
# largest in one of some 200 activations. So most candidates agree as float32 does, and the others
# differ by a part of int8's own error (1e-2 to 4e-2). Measured on 288 random models of the presets'
# sizes, rssm and ssm, ReLU and ELU, scales 1 and 2: median up to 1.1e-6, rms up to 9.1e-3.
INT8_MEDIAN = 2e-6
INT8_RMS = 2e-2

# int8 against float32 for default-scale weights: rms difference over the candidates' stddev. It is
# 7e-3 to 2.3e-2 in the median of 12 models of each kind, 3.6e-2 at most.
INT8_TO_FLOAT32 = 5e-2

# fp16 and bf16 against float64, by gain (weight scale): the relative L2 error of returns, and how
# many of the 100 best of 1,000 candidates must be among the 100 best. Operands are rounded at
# 4.9e-4 and 3.9e-3; rewards average that over 200 to 300 terms and 12 steps. Measured on 36 random
# models of the presets' sizes (rssm and ssm, ReLU and ELU), by gain: fp16 up to 7.7e-4, 1.1e-3 and
# 1.7e-2 with 99, 99 and 98 elites, bf16 up to 4.4e-3, 1.2e-2 and 1.1e-1 with 98, 97 and 84. At
# gain 3 the dynamics are close to chaotic, and float32 itself is off by up to 1e-5.
HALF_L2 = {
    "fp16": {1.0: 2e-3, 2.0: 2e-3, 3.0: 4e-2},
    "bf16": {1.0: 1.5e-2, 2.0: 1.5e-2, 3.0: 2.5e-1},
}
HALF_ELITES = {"fp16": {1.0: 97, 2.0: 97, 3.0: 95}, "bf16": {1.0: 90, 2.0: 90, 3.0: 75}}

# bf16 on CPUs at the paper's size and default scale against float64: the relative L2 error of
# returns over that of the specification, how many of the 100 best of 1,000 are so in both, and the
# correlation of all ranks. The L2 itself is a model's: an error that all candidates share is part
# of it. On 12 random models the specification's is 2.8e-4 to 4.8e-3, below 1.2e-3 for half of them,
# with 99 elites and ranks of 0.99997 at least; kernels agree with it to 3 %.
BF16_OVER_FORMAT = 1.1
BF16_ELITES = 98
BF16_RANKS = 0.999

# fp16 or bf16 against another writing of the same, by `half_errors`. Sums differ in their last
# bits, 1e-7 of their terms; where one lies that close to a tie its operand falls to the other side,
# by 2^-11 (fp16) or 2^-8 (bf16) of itself. A step rounds some 900 operands of the paper's model, so
# in fp16 (2e-4 of them flip) most candidates are touched, in bf16 one in five. Therefore the median
# is a sharp test in bf16, and in fp16 for small models and few steps; there it is float32's own
# error. A rounding that is missing, or made where none belongs, moves every candidate by 1e-5.
HALF_MEDIAN = 2e-6
# What the flips leave at full size, as rms over rms returns; gains 1 and 2. Measured on the 24
# models above: fp16 up to 5.3e-4, bf16 up to 1.1e-3: half and a tenth of the error of rounding.
HALF_RMS = {"fp16": 1e-3, "bf16": 3e-3}

# What the approximate sigmoid, tanh and softplus of fp16 and bf16 on CUDA devices leave besides, by
# `half_errors`: tanh may be off by 2^-11, as much as a rounding to fp16, and flips more of them.
# Measured with every function off by the most it may, up or down by a hash: rms over rms returns on
# 16 models of the paper's size, gains 1 and 2, up to 5.7e-4 in fp16 and 3.4e-3 in bf16 (off to one
# side 9.6e-4 and 3.4e-3); median on 600 small models up to 1.1e-3 and 2.9e-3. Towards float64 it
# adds 4 % to fp16's error at gain 1, 20 % at gains 2 and 3, and nothing to bf16's: HALF_L2 holds.
HALF_FUNCTIONS = {"fp16": 2e-3, "bf16": 5e-3}

# fp32 on CUDA devices (products of operands in two fp16 parts each) against float64, relative L2 by
# gain; the largest error has to hold RETURNS besides. Measured in the emulator, whose matrix units
# cut off what they add as those of GPUs do: 1e-7 to 4e-7 at gains 1 and 2.
FP32_CLASS = {1.0: 2e-6, 2.0: 2e-6, 3.0: 2e-5}

# How much less than float64's plans half-precision plans may return, over the returns' magnitudes,
# in the mean over models and judged by the float64 model. A plan may settle elsewhere, and then
# it is better as often as worse: bf16's worst of 30 models lost 4.7 %, its best won as much.
HALF_REGRET = {"fp16": 0.01, "bf16": 0.03}

# The filter of a chunk and its gradients against float64, relative L2 of each tensor. Measured on
# the tests' models and the presets' with T = B = 50: up to 1.2e-6, and as much in PyTorch.
FILTER = 3e-6

# A filter step against float64, by `latent_error`, for weights of default scale and twice that.
# Measured on the tests' models and the paper's: compiled up to 1.9e-7 and 4.4e-7, PyTorch up to
# 2.4e-7 and 5.9e-7; on 1,500 random small models of default scale 1.7e-7 and 1.1e-7. At three times
# the scale errors grow from layer to layer: 1.9e-6 and 1.6e-6.
FILTER_STEP = 1e-6

# Networks and their gradients against float64, relative L2 of each tensor. Measured on the tests'
# stacks with ELU: up to 2.5e-6, and 3.3e-6 in PyTorch, where shares of a bias's gradient cancel.
NETWORK = 6e-6

# Terms and gradients of a compiled gradient step against the plain one, relative L2 of each tensor.
# Measured up to 1.2e-6 on the tests' models and 6.7e-6 on `small` with 400 images, where PyTorch's
# gradients of the encoder are 5e-6 from float64 and the compiled ones 2e-6.
STEP = 1e-5

# The same with the decoder's products in bfloat16, which rounds factors and results by up to 2^-9.
# Measured up to 9.2e-3: two to five roundings on the way to a gradient.
BF16_STEP = 3e-2

# Normals against float64: the contract's bound, absolute + relative. The radius goes through a
# logarithm, where float32 kernels lose two or three units in the last place near u = 1.
NORMAL_ABSOLUTE = 4e-7
NORMAL_RELATIVE = 4e-7

# Mean and stddev of a refit from the same actions: float64 sums, rounded to float32 once; the
# float64 sums may differ in their last bits, so a rounding may fall to the neighbouring float32.
REFIT_RELATIVE = 1.2e-7

# Mean and stddev of a plan with equal elites: an average of actions in [-1, 1], each off by the
# error of a normal, 4e-7 for values below 1 and less inside an average (1e-7 measured over up to
# four iterations, which add the errors of mean and stddev).
PLAN_ABSOLUTE = 1e-6


def returns_error(got: Tensor, expected: Tensor) -> float:
    """Computes max |got - expected| / max(rms(expected), 1e-2), all in float64."""
    expected = expected.double()
    rms = expected.square().mean().sqrt().item()
    return (got.double() - expected).abs().max().item() / max(rms, FLOOR)


def int8_errors(got: Tensor, expected: Tensor) -> tuple[float, float]:
    """Computes median |difference| / max(rms, 1e-2), and rms difference / candidates' stddev.

    A mistake in the arithmetic moves every candidate, so the median; a flipped integer moves one.
    """
    expected = expected.double()
    error = (got.double() - expected).abs()
    rms = expected.square().mean().sqrt().item()
    stddev = expected.std(dim=-1).square().mean().sqrt().item() or 1.0  # all candidates equal
    return error.median().item() / max(rms, FLOOR), error.square().mean().sqrt().item() / stddev


def relative_l2(got: Tensor, expected: Tensor) -> float:
    """rms difference over max(rms(expected), 1e-2), all in float64; NaN is below no bound."""
    expected = expected.double()
    rms = expected.square().mean().sqrt().item()
    return (got.double() - expected).square().mean().sqrt().item() / max(rms, FLOOR)


def tensor_error(got: Tensor, expected: Tensor) -> float:
    """Computes the relative L2 error of a tensor; where zeros are expected, its norm."""
    assert got.shape == expected.shape
    norm = expected.double().norm().item()
    return (got.double() - expected.double()).norm().item() / (norm or 1.0)


def latent_error(got: LatentState, expected: LatentState) -> float:
    """Computes the larger rms difference of belief and state, each over max(rms(expected), 1).

    A state is of order one, as are the terms that may cancel in it.
    """
    pairs = (got.belief, expected.belief), (got.state, expected.state)
    scales = [max(x.double().square().mean().sqrt().item(), 1.0) for _, x in pairs]
    errors = [(a.double() - b.double()).square().mean().sqrt().item() for a, b in pairs]
    return max(error / scale for error, scale in zip(errors, scales, strict=True))


def half_errors(got: Tensor, expected: Tensor) -> tuple[float, float]:
    """Computes median and rms of |difference|, over max(rms return, 1e-2)."""
    expected = expected.double()
    error, rms = got.double() - expected, expected.square().mean().sqrt().item()
    scale = max(rms, FLOOR)
    return error.abs().median().item() / scale, error.square().mean().sqrt().item() / scale


def bf16_bounds(fused: bool = True) -> tuple[float, float]:
    """Bounds median and rms of `half_errors` against another writing of bf16.

    Args:
      fused: whether one is of the compiled core, which approximates tanh, sigmoid and softplus.
        What that leaves is judged by tests/csrc/test_rounded.cpp: its oracle has the same ones.
    """
    if fused:
        # The second where the rewards of small models cancel: up to 7.7e-3 in the tests.
        return HALF_FUNCTIONS["bf16"], 4 * HALF_FUNCTIONS["bf16"]
    return HALF_MEDIAN, HALF_RMS["bf16"]


def common_elites(got: Tensor, expected: Tensor, topk: int = 100) -> int:
    """Counts the K best candidates that are so in both; the fewest over the problems."""
    best = [x.double().topk(topk, dim=-1).indices.tolist() for x in (got, expected)]
    return min(len(set(a) & set(b)) for a, b in zip(*best, strict=True))


def rank_correlation(got: Tensor, expected: Tensor) -> float:
    """Computes Spearman's coefficient over the candidates; the least over the problems."""
    ranks = [x.double().argsort(dim=-1).argsort(dim=-1).double() for x in (got, expected)]
    ranks = [(x - x.mean(dim=-1, keepdim=True)) / x.std(dim=-1, keepdim=True) for x in ranks]
    return (ranks[0] * ranks[1]).sum(dim=-1).min().item() / (got.shape[-1] - 1)


def gap(returns: Tensor, topk: int) -> float:
    """Finds the smallest gap between returns K and K+1, in units of `returns_error`.

    Two backends must choose the same elites only where the gap exceeds their tolerance.
    """
    order = returns.double().sort(dim=-1, descending=True).values
    rms = returns.double().square().mean().sqrt().clamp(min=FLOOR)
    return ((order[:, topk - 1] - order[:, topk]) / rms).min().item()


def close(got: Tensor, expected: Tensor, absolute: float, relative: float = 0.0) -> bool:
    """Whether |got - expected| <= absolute + relative * |expected| everywhere."""
    return torch.allclose(got.double(), expected.double(), rtol=relative, atol=absolute)


def same_plan(a: Plan, b: Plan, rows: slice = slice(None)) -> bool:
    """Whether they are equal bit for bit; b may be some rows of a."""
    return (
        torch.equal(a.mean[:, rows], b.mean)
        and torch.equal(a.stddev[:, rows], b.stddev)
        and torch.equal(a.action[rows], b.action)
        and torch.equal(a.best_return[rows], b.best_return)
        and torch.equal(a.kept[:, rows], b.kept)
        and a.iterations == b.iterations
    )
