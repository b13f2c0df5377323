"""Makes results without values, for `torch.compile` and `torch.export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from planet.ops import extension

_C: Any = extension.module


def _pack_weights(
    tensors: list[Tensor], sizes: list[int], isa: int | None, precision: int
) -> Tensor:
    return tensors[0].new_empty(_C.packed_bytes(sizes, isa, precision), dtype=torch.uint8)


def _repack_weights(packed: Tensor, *rest: object) -> None:
    """Has no result."""


def _rollout_returns(
    packed: Tensor, sizes: list[int], min_stddev: float, isa: int | None, precision: int,
    belief: Tensor, state: Tensor, actions: Tensor, *rest: object,
) -> Tensor:  # fmt: skip
    return actions.new_empty(actions.shape[1], actions.shape[2])


def _refit(
    actions: Tensor, returns: Tensor, topk: int, *rest: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    horizon, batch, _, size = actions.shape
    mean = actions.new_empty(horizon, batch, size)
    elites = actions.new_empty(batch, topk, dtype=torch.int64)
    return mean, torch.empty_like(mean), elites, returns.new_empty(batch)


def _cem_plan(
    packed: Tensor, sizes: list[int], min_stddev: float, isa: int | None, precision: int,
    belief: Tensor, state: Tensor, mean: Tensor, *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    (horizon, batch, size), keep = mean.shape, rest[-4]
    done = torch.empty((), dtype=torch.int64, device="cpu")
    return (
        torch.empty_like(mean), torch.empty_like(mean), mean.new_empty(batch),
        mean.new_empty(batch, size), mean.new_empty(horizon, batch, keep, size), done,
    )  # fmt: skip


def _normals(seeds: Tensor, candidates: int, dims: int, *rest: Any) -> Tensor:
    return seeds.new_empty(len(seeds), candidates, dims, dtype=torch.float32)


def _images(observation: Tensor, *rest: object) -> Tensor:
    return torch.empty_like(observation, dtype=torch.float32)


def _pack_filter(
    tensors: list[Tensor], rollout: list[Tensor], encoder: list[int], sizes: list[int], isa: int
) -> Tensor:
    return rollout[0].new_empty(_C.packed_filter_bytes(encoder, sizes, isa), dtype=torch.uint8)


def _filter_step(
    packed: Tensor, encoder: list[int], sizes: list[int], min_stddev: float, isa: int,
    frames: Tensor, seeds: Tensor, action: Tensor, belief: Tensor, state: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(belief), torch.empty_like(state)


OPS: dict[str, Callable[..., Any]] = {
    "pack_weights": _pack_weights, "pack_weights_": _repack_weights, "pack_filter": _pack_filter,
    "filter_step": _filter_step, "rollout_returns": _rollout_returns, "refit": _refit,
    "cem_plan": _cem_plan, "normals": _normals, "images": _images,
}  # fmt: skip
"""By the name of the op."""

if _C is not None:
    for name, fake in OPS.items():
        torch.library.register_fake(f"planet::{name}", fake)
