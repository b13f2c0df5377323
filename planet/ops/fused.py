"""Calls the ops of the compiled core: the reference's signatures, results within a tolerance.

Without the extension every function raises ImportError and says what helps
(`planet.ops.extension`). A snapshot's weights are packed on first use and kept with the snapshot
(`planet.ops.kernels`).

On the CPU threads are torch's (`torch.set_num_threads`); results do not depend on their number. A
process forked from one that has imported planet plans on a single thread.

On CUDA devices the ops are enqueued on the tensors' device and its current stream and return at
once. They can be captured into a CUDA graph, with seeds as tensors and after a first plan with the
same weights.

torch.compile and torch.export trace the ops without a graph break. What is known of the machine
when they trace is fixed: instruction set, and the packed weights if there are any. Without
an earlier plan an exported program packs them at every call. An int seed fixes B; with a tensor of
seeds it may be dynamic. Values of traced bounds are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.noise import STREAM_POSTERIOR, Noise
from planet.ops import draws, extension
from planet.ops import fakes as fakes  # registers them
from planet.ops.bounds import Bound
from planet.ops.checks import (
    OUTPUTS,
    SPREADS,
    CEMSettings,
    check_cem_plan,
    check_filter_step,
    check_refit,
    check_rollout,
)
from planet.ops.equations import filtered
from planet.ops.kernels import KERNELS, SERVED, CpuKernels, CudaKernels, sizes
from planet.ops.pixels import images
from planet.ops.results import Refit
from planet.protocols import Plan
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights

_C: Any = extension.module


@torch.no_grad()
def filter_step(
    weights: FilterWeights,
    latent: LatentState,
    action: Tensor,
    observation: Tensor,
    seeds: Tensor,
) -> LatentState:
    """Advances latents by the executed action, and samples the posterior of the newest frame.

    Arguments, result and errors are those of `planet.ops.reference.filter_step`. On CUDA devices
    the products are PyTorch's.

    Raises:
      ImportError: the extension is missing.
      ValueError: the device is not served.
    """
    _require_extension()
    check_filter_step(weights, latent, action, observation, seeds)
    kernels = _kernels("weights", "filter_step", weights.device)
    rollout, seeds = weights.rollout, seeds.reshape(observation.shape[0]).contiguous()
    if isinstance(kernels, CpuKernels):
        packed, encoder = kernels.filter_model(weights)
        parts = observation, seeds, action, latent.belief, latent.state
        belief, state = kernels.call(
            "filter_step", packed, encoder, sizes(rollout), rollout.min_stddev, kernels.isa(),
            *(part.contiguous() for part in parts),
        )  # fmt: skip
        return LatentState(belief, state)
    image = images(observation[None], seeds, weights.bit_depth)[0]
    noise = draws.normals(seeds, 1, rollout.state_size, stream=STREAM_POSTERIOR)[:, 0]
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

    Arguments, result and errors are those of `planet.ops.reference.rollout_returns`.

    Raises:
      ImportError: the extension is missing.
      ValueError: the device or the precision is not served: "int8" is for CPUs with AVX512-VNNI,
        "fp16" for CUDA devices, "bf16" for these and for CPUs with AMX or AVX512-BF16.
    """
    _require_extension()
    discount = check_rollout(weights, latent, actions, noise, discount, precision)
    kernels = _kernels("weights", "rollout_returns", weights.device)
    seeds, iteration, particle = None, 0, 0
    if isinstance(noise, Noise):
        seeds = kernels.seeds(noise.seed, actions.shape[1], actions.device)
        iteration, particle, noise = noise.iteration, noise.particle, None
    returns: Tensor = kernels.call(
        "rollout_returns",
        *kernels.model(weights, precision),
        latent.belief.contiguous(), latent.state.contiguous(), actions.contiguous(),
        None if noise is None else noise.contiguous(), seeds, iteration, particle, discount,
    )  # fmt: skip
    return returns


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

    Arguments, result and errors are those of `planet.ops.reference.refit`.

    Raises:
      ImportError: the extension is missing.
    """
    _require_extension()
    checked = check_refit(actions, returns, topk, spread, epsilon, temperature)
    topk, epsilon, temperature = checked
    mean, stddev, elites, best = _kernels("actions", "refit", actions.device).call(
        "refit",
        actions.contiguous(), returns.contiguous(), topk, SPREADS.index(spread), epsilon,
        temperature,
    )  # fmt: skip
    return Refit(mean, stddev, elites, best)


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
    """Plans in the latent space of the model, all iterations at once.

    Arguments, result and errors are those of `planet.ops.reference.cem_plan`.

    Raises:
      ImportError: the extension is missing.
      ValueError: the device, the precision (see `rollout_returns`) or the variant is not
        served, or an int seed is given while a CUDA graph is captured.
      torch.OutOfMemoryError: the device has too little free memory.
      KeyboardInterrupt: Ctrl-C came during a plan on the CPU; it is noticed between iterations.
    """
    _require_extension()
    given = CEMSettings(
        candidates, topk, iterations, first_iteration, spread, epsilon, state_noise, discount,
        precision, budget_ms, variant, keep, momentum, temperature, output,
    )  # fmt: skip
    low, high, given = check_cem_plan(weights, latent, mean, stddev, low, high, mix, kept, given)
    kernels = _kernels("weights", "cem_plan", weights.device)
    written = mix is not None or given.keep > 0
    kernels.check_memory(mean, max(given.candidates) + given.keep, written)
    chosen = kernels.variant(variant)
    mean, stddev, best, action, kept, done = kernels.call(
        "cem_plan",
        *kernels.model(weights, precision),
        latent.belief.contiguous(), latent.state.contiguous(),
        mean.contiguous(), stddev.contiguous(),
        kernels.seeds(seed, mean.shape[1], mean.device),
        low.contiguous(), high.contiguous(),
        _counts(given.candidates), given.topk, given.iterations, given.first_iteration,
        SPREADS.index(spread), given.epsilon, given.state_noise, given.discount, given.budget_ms,
        chosen,
        None if mix is None else mix.contiguous(), None if kept is None else kept.contiguous(),
        given.keep, given.momentum, given.temperature, OUTPUTS.index(output),
    )  # fmt: skip
    iterations = given.iterations if given.budget_ms is None else int(done)
    return Plan(action, mean, stddev, best, iterations, kept)


@torch.no_grad()
def repack(kept: RolloutWeights, weights: RolloutWeights) -> None:
    """Packs a snapshot into the memory of what was packed for another of the same form.

    A captured CUDA graph reads it there. `kept` is nobody's snapshot but the caller's, who has
    waited for the graphs that read it.
    """
    _kernels("weights", "repack", weights.device).repack(kept, weights)


def persistent_clusters(weights: RolloutWeights, *, precision: str, topk: int) -> int:
    """Counts the clusters of four blocks that the weights' device runs at once in persistent plans.

    A cluster scores 32 candidates at a time.

    Raises:
      ImportError: the extension is missing.
      ValueError: the device or the variant is not served; the message says why.
    """
    _require_extension()
    kernels = _kernels("weights", "persistent_clusters", weights.device)
    kernels.variant("persistent")
    return int(kernels.call("persistent_clusters", *kernels.model(weights, precision), topk))


def served_precisions(device: torch.device | str) -> tuple[str, ...]:
    """Returns the precisions that are computed in on a kind of device, by this build and machine.

    Raises:
      ImportError: the extension is missing.
    """
    _require_extension()
    kind = torch.device(device).type
    served = SERVED[kind]["precision"]
    return tuple(name for name in served if kind != "cpu" or name in _C.precisions())


def instruction_set() -> int:
    """Returns the number of the instruction set that CPU kernels are of.

    Raises:
      ImportError: the extension is missing.
    """
    _require_extension()
    isa = KERNELS["cpu"].isa()
    assert isa is not None
    return isa


def _counts(candidates: tuple[int, ...]) -> list[int]:
    """Lists candidates for the op: one number where every iteration has the same."""
    return list(candidates if len(set(candidates)) > 1 else candidates[:1])


def _require_extension() -> None:
    if _C is None:
        raise ImportError(
            f"backend='fused' needs planet's compiled extension: {extension.missing()}, or use "
            "backend='reference'"
        )


def _kernels(name: str, op: str, device: torch.device) -> CpuKernels | CudaKernels:
    """Returns the kernels for the device of the argument `name`."""
    if op == "refit" and device.type == "meta":
        return KERNELS["cpu"]  # shapes alone; without a model no kernel has to be known
    if device.type not in KERNELS:
        raise ValueError(
            f"{name}: backend='fused' has no {op} kernel for {device}; use tensors on cpu or cuda, "
            "or backend='reference'"
        )
    kernels = KERNELS[device.type]
    kernels.check(name, device)
    return kernels
