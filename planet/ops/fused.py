"""The three ops in the compiled core: the reference's signatures, its results within a tolerance.

The only module that knows `planet._C`. It can be imported without the extension; every function
then raises ImportError and says how to build it. A snapshot's weights are packed for the
instruction set in use on first use and kept with the snapshot. Threads are torch's
(`torch.set_num_threads`); results do not depend on their number. A process forked from one that has
imported planet plans on a single thread.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.noise import Noise, resolve_seeds
from planet.ops.checks import (
    PRECISIONS,
    SPREADS,
    bounds,
    check_cem_plan,
    check_refit,
    check_rollout,
)
from planet.ops.results import Plan, Refit
from planet.weights import RolloutWeights

_C: Any = None
_IMPORT_ERROR: ImportError | None = None
try:
    _C = importlib.import_module("planet._C")
except ImportError as error:
    _IMPORT_ERROR = error


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

    Arguments, result and errors are those of `planet.ops.reference.rollout_returns`; CPU tensors.

    Raises:
      ImportError: the extension is missing.
      ValueError: precision="int8" and the instruction set in use has no int8 kernels.
    """
    _require_extension()
    check_rollout(weights, latent, actions, noise, discount, precision)
    _require_cpu("rollout_returns", weights.device)
    seeds, iteration, particle = None, 0, 0
    if isinstance(noise, Noise):
        seeds = noise.seeds(actions.shape[1], actions.device)
        iteration, particle, noise = noise.iteration, noise.particle, None
    returns: Tensor = torch.ops.planet.rollout_returns(
        *_model(weights, precision),
        latent.belief.contiguous(),
        latent.state.contiguous(),
        actions.contiguous(),
        None if noise is None else noise.contiguous(),
        None if seeds is None else seeds.contiguous(),
        iteration,
        particle,
        float(discount),
    )
    return returns


@torch.no_grad()
def refit(
    actions: Tensor,
    returns: Tensor,
    *,
    topk: int,
    spread: str = "population",
    epsilon: float = 1e-6,
) -> Refit:
    """Fits the action distribution to the K best candidates (Algorithm 2 of Hafner et al., 2019).

    Arguments, result and errors are those of `planet.ops.reference.refit`; CPU tensors, and CUDA
    tensors where the CUDA kernels were built.

    Raises:
      ImportError: the extension is missing.
    """
    _require_extension()
    check_refit(actions, returns, topk, spread, epsilon)
    if actions.device.type == "cuda" and not _C.build_info()["cuda"]["compiled"]:
        raise ValueError(
            f"actions: backend='fused' was built without CUDA, got tensors on {actions.device}; "
            "reinstall planet from source with the CUDA toolkit on PATH, or use "
            "backend='reference'"
        )
    if actions.device.type not in ("cpu", "cuda", "meta"):
        raise ValueError(f"actions: expected a tensor on cpu or cuda, got {actions.device}")
    mean, stddev, elites, best = torch.ops.planet.refit(
        actions.contiguous(), returns.contiguous(), topk, SPREADS.index(spread), float(epsilon)
    )
    return Refit(mean, stddev, elites, best)


@torch.no_grad()
def cem_plan(
    weights: RolloutWeights,
    latent: LatentState,
    mean: Tensor,
    stddev: Tensor,
    *,
    seed: int | Tensor,
    candidates: int,
    topk: int,
    iterations: int,
    first_iteration: int = 0,
    low: float | Tensor = -1.0,
    high: float | Tensor = 1.0,
    spread: str = "population",
    epsilon: float = 1e-6,
    state_noise: bool = True,
    discount: float = 1.0,
    precision: str = "fp32",
    budget_ms: float | None = None,
) -> Plan:
    """Plans with the cross-entropy method in the latent space of the model, all iterations at once.

    Arguments, result and errors are those of `planet.ops.reference.cem_plan`; CPU tensors.

    Raises:
      ImportError: the extension is missing.
      ValueError: precision="int8" and the instruction set in use has no int8 kernels.
      KeyboardInterrupt: Ctrl-C came during the plan; it is noticed between iterations.
    """
    _require_extension()
    check_cem_plan(
        weights, latent, mean, stddev, candidates, topk, iterations, first_iteration,
        low, high, spread, epsilon, state_noise, discount, precision, budget_ms,
    )  # fmt: skip
    _require_cpu("cem_plan", weights.device)
    lower, upper = bounds(low, high, mean)
    _check_memory(mean, candidates)
    mean, stddev, best, done = torch.ops.planet.cem_plan(
        *_model(weights, precision),
        latent.belief.contiguous(),
        latent.state.contiguous(),
        mean.contiguous(),
        stddev.contiguous(),
        resolve_seeds(seed, mean.shape[1], mean.device).contiguous(),
        lower.contiguous(),
        upper.contiguous(),
        candidates,
        topk,
        iterations,
        first_iteration,
        SPREADS.index(spread),
        float(epsilon),
        bool(state_noise),
        float(discount),
        budget_ms,
    )
    _C.raise_interrupt()
    return Plan(mean[0].clone(), mean, stddev, best, iterations if budget_ms is None else int(done))


def _require_extension() -> None:
    if _C is None:
        raise ImportError(
            f"backend='fused' needs planet's compiled extension ({_IMPORT_ERROR}). Build it with "
            "`pip install .` in the source folder (a C++20 compiler is needed), or use "
            "backend='reference'."
        ) from _IMPORT_ERROR


def _require_cpu(op: str, device: torch.device) -> None:
    if device.type != "cpu":
        raise ValueError(
            f"weights: backend='fused' has no {op} kernel for {device}; use tensors on the cpu "
            "(weights.to('cpu')), or backend='reference'"
        )


def _check_memory(mean: Tensor, candidates: int) -> None:
    """Refuses plans that cannot be held: returns and ranks [B, J]; actions are not kept."""
    needed = mean.shape[1] * candidates * (4 + 8)
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise ValueError(
            f"candidates: expected a plan that fits into {present >> 20} MiB of memory, got "
            f"{needed >> 20} MiB for J={candidates} and mean {list(mean.shape)} [H, B, A]"
        )


def _model(weights: RolloutWeights, precision: str) -> tuple[Tensor, list[int], float, int, int]:
    """The ops' first arguments: packed weights, sizes, min_stddev, instruction set, precision."""
    isa: int = _C.isa()
    if precision == "int8" and not _C.has_int8():
        raise ValueError(
            "precision: 'int8' needs the instruction set 'avx512vnni', got "
            f"{_C.isa_name()!r} (this processor runs {', '.join(_C.build_info()['isas'])}); "
            "use precision='fp32'"
        )
    key = f"packed for cpu instruction set {isa} in {precision}"
    kind = PRECISIONS.index(precision)
    if key not in weights._cache:
        weights._cache[key] = torch.ops.planet.pack_weights(
            _tensors(weights), _sizes(weights), isa, kind
        )
    return weights._cache[key], _sizes(weights), float(weights.min_stddev), isa, kind


def _sizes(weights: RolloutWeights) -> list[int]:
    return [
        weights.belief_size,
        weights.state_size,
        weights.action_size,
        weights.hidden_size,
        int(weights.activation == "elu"),
        *(weight.shape[0] for weight in weights.reward_weights),
    ]


def _tensors(weights: RolloutWeights) -> list[Tensor]:
    """In the order of `pack_weights`; without the GRU's if there is none."""
    reward = zip(weights.reward_weights, weights.reward_biases, strict=True)
    tensors = [
        weights.input_weight,
        weights.input_bias,
        weights.gru_weight_ih,
        weights.gru_weight_hh,
        weights.gru_bias_ih,
        weights.gru_bias_hh,
        weights.prior_hidden_weight,
        weights.prior_hidden_bias,
        weights.prior_weight,
        weights.prior_bias,
        *(tensor for layer in reward for tensor in layer),
    ]
    return [tensor for tensor in tensors if tensor is not None]


def _fake_rollout_returns(
    packed: Tensor, sizes: list[int], min_stddev: float, kernel: int, precision: int,
    belief: Tensor, state: Tensor,
    actions: Tensor, *rest: object,
) -> Tensor:  # fmt: skip
    return actions.new_empty(actions.shape[1], actions.shape[2])


def _fake_refit(
    actions: Tensor, returns: Tensor, topk: int, spread: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    horizon, batch, _, size = actions.shape
    mean = actions.new_empty(horizon, batch, size)
    elites = actions.new_empty(batch, topk, dtype=torch.int64)
    return mean, torch.empty_like(mean), elites, returns.new_empty(batch)


def _fake_cem_plan(
    packed: Tensor, sizes: list[int], min_stddev: float, kernel: int, precision: int,
    belief: Tensor, state: Tensor,
    mean: Tensor, *rest: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    done = mean.new_empty((), dtype=torch.int64)
    return torch.empty_like(mean), torch.empty_like(mean), mean.new_empty(mean.shape[1]), done


if _C is not None:  # the outputs' shapes, for torch.compile and torch.export
    torch.library.register_fake("planet::rollout_returns", _fake_rollout_returns)
    torch.library.register_fake("planet::refit", _fake_refit)
    torch.library.register_fake("planet::cem_plan", _fake_cem_plan)
