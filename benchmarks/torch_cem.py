"""The cross-entropy method in PyTorch, as fast as it gets: the baseline of all speed claims.

No Philox and no checks: `torch.randn` draws, `inference_mode`, weights transposed once, the GRU's
gates accumulated by `addmm`, in-place activations, no concatenations (belief, state and action lie
side by side in one buffer). `form` chooses eager PyTorch or the TorchScript of the same step. That
`rollout` returns what `planet.ops.reference` does for the same actions and noise is tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.latent import LatentState
from planet.weights import RolloutWeights

FORMS = ("eager", "jit")


def _step(
    features: Tensor,
    noise: Tensor,
    belief_size: int,
    state_size: int,
    elu: bool,
    min_stddev: float,
    transition: list[Tensor],
    reward_weights: list[Tensor],
    reward_biases: list[Tensor],
) -> Tensor:
    """Advances belief and state in `features` [N, D+S+A] by a model step; rewards [N, 1]."""
    w_in, b_in, w_x, b_x, w_gates, w_new, b_new, w_hidden, b_hidden, w_prior, b_prior = transition
    belief = features[:, :belief_size]
    state = features[:, belief_size : belief_size + state_size]
    x = torch.addmm(b_in, features[:, belief_size:], w_in)
    x = F.elu_(x) if elu else x.relu_()
    gates = torch.addmm(b_x, x, w_x)
    both = gates[:, : 2 * belief_size].addmm_(belief, w_gates).sigmoid_()
    new = torch.addmm(b_new, belief, w_new)
    new = torch.addcmul(gates[:, 2 * belief_size :], both[:, :belief_size], new).tanh_()
    belief.copy_(torch.lerp(new, belief, both[:, belief_size:]))
    hidden = torch.addmm(b_hidden, belief, w_hidden)
    hidden = F.elu_(hidden) if elu else hidden.relu_()
    prior = torch.addmm(b_prior, hidden, w_prior)
    stddev = F.softplus(prior[:, state_size:]).add_(min_stddev)
    state.copy_(torch.addcmul(prior[:, :state_size], stddev, noise))
    out = features[:, : belief_size + state_size]
    last = len(reward_weights) - 1
    for i in range(last):
        out = torch.addmm(reward_biases[i], out, reward_weights[i])
        out = F.elu_(out) if elu else out.relu_()
    return torch.addmm(reward_biases[last], out, reward_weights[last])


@dataclass(frozen=True)
class Outcome:
    """Result of `TorchCEM.plan`: mean, stddev [H, B, A] and best return [B]."""

    mean: Tensor
    stddev: Tensor
    best_return: Tensor


class TorchCEM:
    """A planner for one snapshot of weights."""

    def __init__(self, weights: RolloutWeights, form: str = "eager") -> None:
        """Transposes the weights; with form="jit" compiles the step with TorchScript."""
        if form not in FORMS:
            raise ValueError(f"form: expected one of {list(FORMS)}, got {form!r}")
        self.weights = weights
        self._step = torch.jit.script(_step) if form == "jit" else _step
        d = weights.belief_size

        def transposed(weight: Tensor) -> Tensor:
            return weight.t().contiguous()

        # The hidden biases of the gates join the input's; the new gate's stays apart.
        bias_x = weights.gru_bias_ih.clone()
        bias_x[: 2 * d] += weights.gru_bias_hh[: 2 * d]
        self._transition = [
            transposed(weights.input_weight),
            weights.input_bias,
            transposed(weights.gru_weight_ih),
            bias_x,
            transposed(weights.gru_weight_hh[: 2 * d]),
            transposed(weights.gru_weight_hh[2 * d :]),
            weights.gru_bias_hh[2 * d :].contiguous(),
            transposed(weights.prior_hidden_weight),
            weights.prior_hidden_bias,
            transposed(weights.prior_weight),
            weights.prior_bias,
        ]
        self._reward_weights = [transposed(weight) for weight in weights.reward_weights]
        self._reward_biases = list(weights.reward_biases)

    @torch.inference_mode()
    def rollout(self, latent: LatentState, actions: Tensor, noise: Tensor) -> Tensor:
        """Returns [B, J] of actions [H, B, J, A] and standard normals [H, B, J, S]."""
        weights = self.weights
        horizon, batch, candidates, size = actions.shape
        d, s = weights.belief_size, weights.state_size
        features = actions.new_empty(batch, candidates, d + s + size)
        features[..., :d] = latent.belief[:, None]
        features[..., d : d + s] = latent.state[:, None]
        features = features.view(batch * candidates, d + s + size)
        actions = actions.reshape(horizon, batch * candidates, size)
        noise = noise.reshape(horizon, batch * candidates, s)
        total = actions.new_zeros(batch * candidates, 1)
        for t in range(horizon):
            features[:, d + s :] = actions[t]
            total += self._step(
                features, noise[t], d, s, weights.activation == "elu", weights.min_stddev,
                self._transition, self._reward_weights, self._reward_biases,
            )  # fmt: skip
        return total.view(batch, candidates)

    @torch.inference_mode()
    def plan(
        self,
        latent: LatentState,
        *,
        horizon: int,
        candidates: int,
        topk: int,
        iterations: int,
        low: float = -1.0,
        high: float = 1.0,
        epsilon: float = 1e-6,
    ) -> Outcome:
        """Plans from mean 0 and stddev 1 with fresh random numbers."""
        batch, size = latent.belief.shape[0], self.weights.action_size
        mean, stddev = torch.zeros(horizon, batch, size), torch.ones(horizon, batch, size)
        best = torch.empty(batch)
        for _ in range(iterations):
            actions = torch.randn(horizon, batch, candidates, size)
            actions.mul_(stddev[:, :, None]).add_(mean[:, :, None]).clamp_(low, high)
            noise = torch.randn(horizon, batch, candidates, self.weights.state_size)
            returns = self.rollout(latent, actions, noise)
            values, elites = returns.topk(topk, dim=1, sorted=False)
            index = elites[None, :, :, None].expand(horizon, -1, -1, size)
            variance, mean = torch.var_mean(actions.gather(2, index), dim=2, correction=0)
            stddev = variance.add_(epsilon).sqrt_()
            best = values.amax(dim=1)
        return Outcome(mean, stddev, best)
