"""Computes the ops in plain PyTorch, on any device.

This file is the specification: the compiled kernels are tested against it. It is made of the
equations that training uses too (`planet.ops.equations`); other precisions replace the products
(`planet.ops.arithmetic.int8`, `planet.ops.arithmetic.half`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.noise import (
    STREAM_POSTERIOR,
    STREAM_STATE,
    Noise,
    horizon_normals,
    normals,
    resolve_seeds,
)
from planet.ops.arithmetic.float32 import Float32Model
from planet.ops.arithmetic.half import HalfModel
from planet.ops.arithmetic.int8 import Int8Model
from planet.ops.bounds import Bound
from planet.ops.checks import (
    CEMSettings,
    check_cem_plan,
    check_filter_step,
    check_refit,
    check_rollout,
)
from planet.ops.equations import filtered
from planet.ops.loop import cem_loop, fit
from planet.ops.pixels import images
from planet.ops.results import Refit
from planet.protocols import Plan, ScoredDynamics
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights


@torch.no_grad()
def filter_step(
    weights: FilterWeights,
    latent: LatentState,
    action: Tensor,
    observation: Tensor,
    seeds: Tensor,
) -> LatentState:
    """Advances latents by the executed action, and samples the posterior of the newest frame.

    Hafner et al. (ICML 2019), Section 3: h' = f(h, s, a), s' ~ q(s' | h', o). The dither of the
    frame and the normals of the sample are those of each row's seed, streams 4 and 3.

    Args:
      weights: snapshot of a model.
      latent: belief [B, D], state [B, S] after the previous frame; zeros before the first.
      action: [B, A], executed since then; zeros before the first.
      observation: the newest frame, uint8 [B, h, w, 3].
      seeds: of the step, int64 [B].

    Returns:
      Latent after the frame.

    Raises:
      TypeError, ValueError: a type, shape, dtype or device disagrees; the message names the
        argument, what was expected and what came.
    """
    check_filter_step(weights, latent, action, observation, seeds)
    seeds = seeds.reshape(observation.shape[0])
    image = images(observation[None], seeds, weights.bit_depth)[0]
    noise = normals(seeds, 1, weights.rollout.state_size, stream=STREAM_POSTERIOR)[:, 0]
    with torch.autocast(action.device.type, enabled=False):
        return filtered(weights, latent, action, image, noise)


@torch.no_grad()
def rollout_returns(
    weights: RolloutWeights,
    latent: LatentState,
    actions: Tensor,
    noise: Noise | Tensor | None,
    *,
    discount: float = 1.0,
    precision: str = "fp32",
) -> Tensor:
    """Sums predicted rewards along imagined rollouts of every candidate.

    Hafner et al. (ICML 2019), Section 3 (RSSM prior) and Algorithm 2 (score R of a candidate), with
    H reward terms: reward t is read after the model has advanced with actions[t].

        latent --actions[0]--> (h,s) --actions[1]--> (h,s) ... --actions[H-1]--> (h,s)
                                 |                     |                           |
                              reward 0              reward 1                  reward H-1

    With transition="ssm" there is no h: D = 0, and beliefs are tensors of width 0. With
    `weights.continuation` a logit c_k of going on is read beside every reward k, and reward t
    counts prod_{k<t} sigmoid(c_k) times: the first one in full.

    Args:
      weights: snapshot of transition and reward parameters.
      latent: start; belief [B, D], state [B, S] shared by a problem's candidates, or
        [B, J, D], [B, J, S].
      actions: [H, B, J, A], one per model step (= R environment steps), used as they are.
      noise: `Noise`, or standard normals [H, B, J, S], or None to follow the prior mean.
      discount: factor per model step; return = sum over t of discount**t * reward_t.
      precision: of the products: "fp32"; "int8", "fp16" or "bf16", which
        `planet.ops.arithmetic` specifies.

    Returns:
      [B, J], in environment reward units.

    Raises:
      TypeError, ValueError: a type, shape, dtype, device or value disagrees; the message names the
        argument, what was expected and what came.
    """
    discount = check_rollout(weights, latent, actions, noise, discount, precision)
    # Inside a caller's autocast the products would silently be bfloat16 or float16.
    with torch.autocast(actions.device.type, enabled=False):
        candidates = actions.shape[2]
        start = LatentState(
            _per_candidate(latent.belief, candidates), _per_candidate(latent.state, candidates)
        )
        return _returns(weights, precision, start, actions, noise, discount)


def differentiable_returns(
    weights: RolloutWeights,
    latent: LatentState,
    actions: Tensor,
    noise: Noise | Tensor | None,
    discount: float,
) -> Tensor:
    """Sums rewards as `rollout_returns` does in float32, for gradients; nothing is checked."""
    with torch.autocast(actions.device.type, enabled=False):
        candidates = actions.shape[2]
        # What inference mode made is in no gradient's graph, but a copy is.
        parts = latent.belief, latent.state
        belief, state = (x.clone() if x.is_inference() else x for x in parts)
        start = LatentState(_per_candidate(belief, candidates), _per_candidate(state, candidates))
        if isinstance(noise, Noise):
            noise = horizon_normals(
                noise.seeds(actions.shape[1], actions.device), actions.shape[0], candidates,
                state.shape[-1], stream=STREAM_STATE, iteration=noise.iteration,
                particle=noise.particle,
            )  # fmt: skip
        return _sum_rewards(Float32Model(weights), start, actions, noise, discount)


def _returns(
    weights: RolloutWeights,
    precision: str,
    start: LatentState,
    actions: Tensor,
    noise: Noise | Tensor | None,
    discount: float,
) -> Tensor:
    rollout = start, actions, noise, discount
    if precision in ("fp32", "int8"):
        model = Float32Model(weights) if precision == "fp32" else Int8Model(weights)
        return _sum_rewards(model, *rollout)
    half = HalfModel(weights, precision)
    returns = _sum_rewards(half, *rollout)
    if precision == "fp16" and half.outside.any():
        returns = torch.where(half.outside, _sum_rewards(Float32Model(weights), *rollout), returns)
    return returns


def _sum_rewards(
    dynamics: ScoredDynamics,
    here: LatentState,
    actions: Tensor,
    noise: Noise | Tensor | None,
    discount: float,
) -> Tensor:
    horizon, batch, candidates, _ = actions.shape
    seeds = noise.seeds(batch, actions.device) if isinstance(noise, Noise) else None
    total = actions.new_zeros(batch, candidates)
    weight = 1.0
    going: Tensor | float = 1.0
    for t in range(horizon):
        belief, gaussian = dynamics.transition(here, actions[t])
        if isinstance(noise, Noise):
            assert seeds is not None
            draw = normals(
                seeds, candidates, here.state.shape[-1], stream=STREAM_STATE,
                time=t, iteration=noise.iteration, particle=noise.particle,
            )  # fmt: skip
            state = gaussian.sample(draw)
        else:
            state = gaussian.mean if noise is None else gaussian.sample(noise[t])
        here = LatentState(belief, state)
        reward, logit = dynamics.outcome(here)
        total = total + weight * going * reward
        if logit is not None:
            going = going * torch.sigmoid(logit)
        weight *= discount
    return total


@torch.no_grad()
def refit(
    actions: Tensor,
    returns: Tensor,
    *,
    topk: int,
    spread: str = "population",
    epsilon: float = 1e-6,
    temperature: float | None = None,
) -> Refit:
    """Fits the action distribution to the K best candidates (Algorithm 2 of Hafner et al., 2019).

    Elites are ranked by descending return; NaN ranks last and ties go to the lower index.

    Args:
      actions: [H, B, J, A].
      returns: [B, J].
      topk: K, 1 to J.
      spread: "population": sqrt(mean((a - mu)^2) + epsilon), the official code's; or
        "mean_absolute": sum |a - mu| / (K - 1), as Algorithm 2 is printed.
      epsilon: added to the population variance.
      temperature: elites weigh as softmax((R - max R) / temperature), as in model predictive path
        integral control (Williams et al., 2017); a NaN return weighs nothing unless all are, and
        infinite ones share all the weight. None: all weigh alike. Needs spread="population".

    Returns:
      Refit with mean, stddev [H, B, A], elites [B, K] by rank and best [B].

    Raises:
      TypeError, ValueError: as `rollout_returns`.
    """
    topk, epsilon, temperature = check_refit(actions, returns, topk, spread, epsilon, temperature)
    fitted = fit(actions, returns, topk, spread, epsilon, temperature)
    return Refit(fitted.mean.float(), fitted.stddev.float(), fitted.elites, fitted.best)


@torch.no_grad()
def cem_plan(
    weights: RolloutWeights,
    latent: LatentState,
    mean: Tensor,
    stddev: Tensor,
    *,
    seed: int | Tensor,
    candidates: int | Sequence[int],
    topk: int,
    iterations: int,
    first_iteration: int = 0,
    low: Bound = -1.0,
    high: Bound = 1.0,
    spread: str = "population",
    epsilon: float = 1e-6,
    state_noise: bool = True,
    discount: float = 1.0,
    precision: str = "fp32",
    budget_ms: float | None = None,
    variant: str = "portable",
    mix: Tensor | None = None,
    kept: Tensor | None = None,
    keep: int = 0,
    momentum: float = 0.0,
    temperature: float | None = None,
    output: str = "mean",
) -> Plan:
    """Plans with the cross-entropy method, or a relative, in the latent space of the model.

    Algorithm 2 of Hafner et al. (ICML 2019). Each iteration draws J action sequences
    clip(mean + stddev * normal, low, high), scores them with `rollout_returns` and refits mean and
    stddev to the K best with `refit`. `iterations=2` equals `iterations=1` followed by
    `iterations=1, first_iteration=1` bit for bit, `kept` handed on. Normals that are mixed along
    time and elites that join later iterations are those of Pinneri et al. (2020).

    Args:
      weights: snapshot of transition and reward parameters.
      latent: start, as in `rollout_returns`.
      mean: [H, B, A], of the first iteration's action distribution.
      stddev: [H, B, A].
      seed: int (see `row_seeds`) or int64 tensor [B].
      candidates: J, 1 or more; or one number for each iteration.
      topk: K, 1 to the smallest J.
      iterations: I, 1 or more.
      first_iteration: number of the first iteration; only the random numbers depend on it.
      low: smallest action: a float, or [A] or [B, A] as a list, a numpy array or a tensor (which
        must be where the weights are); of any real dtype, rounded to the nearest float32. Checked
        element by element unless on another device than the CPU, which is not waited for.
      high: largest action, likewise; low = high fixes an action.
      spread: see `refit`.
      epsilon: see `refit`.
      state_noise: sample the prior (True) or follow its mean.
      discount: see `rollout_returns`.
      precision: see `rollout_returns`.
      budget_ms: stop after the last iteration that fits into this many milliseconds (at least one
        is run); CPU only.
      variant: of the fused backend's CUDA kernels, one of `planet.ops.checks.VARIANTS`; a plan that
        a variant does not serve is refused.
      mix: [H, H]; actions at t are made with normals sum_u mix[t, u] * normal[u]. None: as drawn.
      kept: [H, B, E, A], sequences that join the first iteration's candidates, clipped. NaN entries
        are open: they are drawn, without `mix`. A sequence that is open in its first step is none:
        it scores NaN. None: there are none.
      keep: E, 0 to K: so many of an iteration's best join the next one's candidates, behind them,
        and are scored again. Needs one start per problem.
      momentum: share of the distribution before in a refit's, 0 to below 1.
      temperature: see `refit`.
      output: "mean": the plan's action is that of the last mean; "best": of the last iteration's
        best candidate.

    Returns:
      Plan.

    Raises:
      TypeError, ValueError: as `rollout_returns`.
    """
    given = CEMSettings(
        candidates, topk, iterations, first_iteration, spread, epsilon, state_noise, discount,
        precision, budget_ms, variant, keep, momentum, temperature, output,
    )  # fmt: skip
    low, high, given = check_cem_plan(weights, latent, mean, stddev, low, high, mix, kept, given)
    if variant != "portable":
        raise ValueError(f"variant: expected 'portable' with backend='reference', got {variant!r}")

    def score(actions: Tensor, noise: Noise) -> Tensor:
        drawn = noise if given.state_noise else None
        how: Any = {"discount": given.discount, "precision": precision}
        return rollout_returns(weights, latent, actions, drawn, **how)

    seeds = resolve_seeds(seed, mean.shape[1], mean.device)
    return cem_loop(score, mean, stddev, low, high, seeds, given, mix, kept)


def _per_candidate(x: Tensor, candidates: int) -> Tensor:
    return x if x.dim() == 3 else x[:, None].expand(-1, candidates, -1)
