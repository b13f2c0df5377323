"""Computes the model's equations in plain PyTorch, float32; planning and training share them.

`planet.ops.reference` rolls them out; the modules in `planet.models` call them in every training
step. What follows the products has functions of its own (`gru_update`, `gaussian`), because
`planet.ops.arithmetic.int8` replaces the products alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.latent import Gaussian, LatentState
from planet.weights.filter_weights import FilterWeights
from planet.weights.parameters import RecurrentParameters, TransitionParameters


def activate(x: Tensor, activation: str) -> Tensor:
    """Applies ReLU or ELU (alpha 1), by name."""
    return F.relu(x) if activation == "relu" else F.elu(x)


def gru_cell(
    x: Tensor,
    belief: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> Tensor:
    """Steps a gated recurrent unit, reset after the hidden product (`torch.nn.GRUCell`).

    r, z = sigmoid(W_i x + b_i + W_h h + b_h); n = tanh(W_in x + b_in + r (W_hn h + b_hn));
    h' = (1 - z) n + z h. Cho et al. (EMNLP 2014) with the reset of cuDNN.

    Args:
      x: [..., M].
      belief: h, [..., D].
      weight_ih: [3D, M], gate order r, z, n.
      weight_hh: [3D, D].
      bias_ih: [3D].
      bias_hh: [3D].

    Returns:
      h', [..., D].
    """
    return gru_update(F.linear(x, weight_ih, bias_ih), F.linear(belief, weight_hh, bias_hh), belief)


def gru_update(from_x: Tensor, from_h: Tensor, belief: Tensor) -> Tensor:
    """Computes h' [..., D] of `gru_cell` from its two products' sums [..., 3D] and h [..., D]."""
    reset_x, update_x, new_x = from_x.chunk(3, dim=-1)
    reset_h, update_h, new_h = from_h.chunk(3, dim=-1)
    return gru_blend(reset_x + reset_h, update_x + update_h, new_x, new_h, belief)


def gru_blend(
    reset: Tensor, update: Tensor, new_x: Tensor, new_h: Tensor, belief: Tensor
) -> Tensor:
    """Computes h' of `gru_cell`; everything is [..., D].

    Args:
      reset: its sigmoid is r.
      update: its sigmoid is z.
      new_x: W_in x + b_in.
      new_h: W_hn h + b_hn.
      belief: h.
    """
    new = torch.tanh(new_x + torch.sigmoid(reset) * new_h)
    return new + torch.sigmoid(update) * (belief - new)


def gaussian_head(
    hidden: Tensor, weight: Tensor, bias: Tensor, min_stddev: float, stddev: str = "add"
) -> Gaussian:
    """Computes `gaussian` [..., S] of [mean, raw] = W hidden + b.

    Args:
      hidden: [..., M].
      weight: W, [2S, M], rows of the mean first.
      bias: b, [2S].
      min_stddev: smallest stddev.
      stddev: "add" or "clamp", see `gaussian`.
    """
    return gaussian(F.linear(hidden, weight, bias), min_stddev, stddev)


def gaussian(output: Tensor, min_stddev: float, stddev: str = "add") -> Gaussian:
    """Makes a Gaussian [..., S] of `output` [..., 2S], mean and raw stddev.

    stddev="add": softplus(raw) + min_stddev; "clamp": max(softplus(raw), min_stddev), where NaN
    stays NaN.
    """
    mean, raw = output.chunk(2, dim=-1)
    positive = F.softplus(raw)
    if stddev == "clamp":
        return Gaussian(mean, positive.clamp(min=min_stddev))
    return Gaussian(mean, positive + min_stddev)


def input_layer(parameters: TransitionParameters, state: Tensor, action: Tensor) -> Tensor:
    """Computes the input layer x = act(W_in [s, a] + b_in).

    Args:
      parameters: of the transition.
      state: [..., S] at t-1.
      action: [..., A], the one that leads from t-1 to t.

    Returns:
      x, [..., M].
    """
    x = torch.cat([state, action], dim=-1)
    x = F.linear(x, parameters.input_weight, parameters.input_bias)
    return activate(x, parameters.activation)


def next_belief(parameters: RecurrentParameters, latent: LatentState, action: Tensor) -> Tensor:
    """Follows the deterministic path h_t = f(h_{t-1}, s_{t-1}, a_{t-1}); Hafner et al., Sec. 3.

    Args:
      parameters: of the transition.
      latent: belief [..., D], state [..., S] at t-1.
      action: [..., A], the one that leads from t-1 to t.

    Returns:
      Belief at t, [..., D].
    """
    return gru_cell(
        input_layer(parameters, latent.state, action), latent.belief,
        parameters.gru_weight_ih, parameters.gru_weight_hh,
        parameters.gru_bias_ih, parameters.gru_bias_hh,
    )  # fmt: skip


def prior(parameters: TransitionParameters, belief: Tensor) -> Gaussian:
    """Computes p(s_t | h_t), which reads the new belief (official code's `future_rnn`).

    Args:
      parameters: of the transition.
      belief: [..., D] at t; without a deterministic path x = `input_layer`, [..., M].

    Returns:
      Gaussian over [..., S] at t.
    """
    hidden = F.linear(belief, parameters.prior_hidden_weight, parameters.prior_hidden_bias)
    hidden = activate(hidden, parameters.activation)
    head = parameters.prior_weight, parameters.prior_bias
    return gaussian_head(hidden, *head, parameters.min_stddev, parameters.stddev)


def filtered(
    weights: FilterWeights, latent: LatentState, action: Tensor, image: Tensor, noise: Tensor
) -> LatentState:
    """Advances latents by an action, and samples q(s_t | h_t, o_t) of an image.

    Args:
      weights: of the whole model.
      latent: belief [B, D], state [B, S] at t-1.
      action: [B, A], the one that leads from t-1 to t.
      image: [B, 3, h, w] at t, as `planet.ops.pixels` makes them.
      noise: standard normal [B, S].

    Returns:
      Latent at t.
    """
    rollout, x = weights.rollout, image
    belief = next_belief(cast(RecurrentParameters, rollout), latent, action)
    layers = zip(
        weights.encoder_weights, weights.encoder_biases, weights.encoder_strides, strict=True
    )
    for weight, bias, stride in layers:
        x = activate(F.conv2d(x, weight, bias, stride), rollout.activation)
    features = torch.cat([belief, x.flatten(1)], dim=-1)
    hidden = F.linear(features, weights.posterior_hidden_weight, weights.posterior_hidden_bias)
    hidden = activate(hidden, rollout.activation)
    head = weights.posterior_weight, weights.posterior_bias
    posterior = gaussian_head(hidden, *head, rollout.min_stddev, rollout.stddev)
    return LatentState(belief, posterior.sample(noise))


def reward_head(
    features: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> Tensor:
    """Computes a multilayer perceptron of belief and state, linear at the end.

    Args:
      features: [..., D+S], belief first.
      weights: the first [N, D+S], the last [1, N] or [2, N].
      biases: one vector per weight.
      activation: "relu" or "elu", of the hidden layers.

    Returns:
      [..., 1], rewards; or [..., 2], rewards and logits of going on.
    """
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        features = activate(F.linear(features, weight, bias), activation)
    return F.linear(features, weights[-1], biases[-1])


def reward(
    features: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> Tensor:
    """Computes the mean of p(r_t | h_t, s_t), the first row of `reward_head`.

    Returns:
      [...], in environment reward units per model step.
    """
    return outcome(reward_head(features, weights, biases, activation))[0]


def outcome(head: Tensor) -> tuple[Tensor, Tensor | None]:
    """Splits what `reward_head` gave: rewards [...], and logits of going on [...] or None."""
    return head[..., 0], head[..., 1] if head.shape[-1] == 2 else None
