"""Calls of the op `control_step`: its arguments by name, as its schema has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from random_filters import TINY_ENCODER, inputs_for, make_filter
from random_weights import TINY
from torch import Tensor

from planet.latent import LatentState
from planet.noise import STREAM_EXPLORATION, mix_seed
from planet.ops import fused
from planet.ops.checks import OUTPUTS as OUTPUT
from planet.ops.checks import PRECISIONS, SPREADS
from planet.ops.draws import normals
from planet.ops.kernels import KERNELS, CpuKernels
from planet.protocols import Plan
from planet.weights.filter_weights import FilterWeights
from planet.weights.shapes import EncoderSizes, Sizes

OUTPUTS = (
    "next_belief", "next_state", "mean", "stddev", "best_return", "kept", "planned", "next_action",
    "finite",
)  # fmt: skip
OVER_TIME = "past_mean", "past_kept", "mean", "stddev", "kept"


@dataclass(frozen=True)
class StepCall:
    """A snapshot, and arguments of `torch.ops.planet.control_step` in their order."""

    weights: FilterWeights
    precision: str
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def run(self, **changes: Any) -> int:
        """Runs the op, with the packs of the instruction set in use."""
        arguments = self.arguments | packs(self.weights, self.precision) | changes
        done: int = torch.ops.planet.control_step(*arguments.values())
        return done

    def outputs(self) -> dict[str, Tensor]:
        return {name: self[name].clone() for name in OUTPUTS}

    def rows(self, rows: slice | list[int]) -> StepCall:
        """The call of some rows, with outputs and a workspace of their own."""
        batch = len(self["steps"][rows])
        new: dict[str, Any] = {}
        for name, value in self.arguments.items():
            if not isinstance(value, Tensor) or name in ("workspace", "spans"):
                new[name] = value
            elif name in OVER_TIME:
                new[name] = value[:, rows].clone()
            else:
                new[name] = value[rows].clone() if len(value) == len(self["steps"]) else value
        new["workspace"] = workspace(self.weights, self.precision, self.horizon, batch, new)
        return StepCall(self.weights, self.precision, new)

    @property
    def horizon(self) -> int:
        return int(self["mean"].shape[0])

    def apart(self) -> dict[str, Tensor]:
        """Filters, plans and explores by the ops one after the other, and by PyTorch."""
        given = self.arguments
        pairs = zip(given["episode_seeds"].tolist(), given["steps"].tolist(), strict=True)
        seeds = torch.tensor([mix_seed(*pair) for pair in pairs])
        latent = fused.filter_step(
            self.weights, LatentState(given["belief"], given["state"]), given["action"],
            given["frames"], seeds,
        )  # fmt: skip
        mean, kept = self.start()
        names = (
            "low", "high", "topk", "iterations", "epsilon", "state_noise", "discount", "mix",
            "momentum", "temperature",
        )  # fmt: skip
        counts = given["candidates"]
        plan: Plan = fused.cem_plan(
            self.weights.rollout, latent, mean, given["first_stddev"].repeat(self.horizon, 1, 1),
            seed=seeds, candidates=counts if len(counts) > 1 else counts[0],
            spread=SPREADS[given["spread"]], precision=self.precision, kept=kept,
            keep=kept.shape[2], output=OUTPUT[given["output"]],
            **{name: given[name] for name in names},
        )  # fmt: skip
        action = plan.action
        if given["exploration_stddev"] is not None:
            noise = normals(seeds, 1, action.shape[1], stream=STREAM_EXPLORATION)[:, 0]
            half = ((given["high"].double() - given["low"].double()) / 2).float()
            moved = action + torch.tensor(given["exploration_stddev"]) * noise * half
            action = torch.clamp(moved, given["low"], given["high"])
        parts = latent.belief, latent.state, plan.best_return[:, None], action, *plan.mean
        finite = torch.cat(parts, dim=1).isfinite().all(dim=1).to(torch.uint8)
        planned = plan.mean, plan.stddev, plan.best_return, plan.kept, plan.action
        got = latent.belief, latent.state, *planned, action, finite
        return dict(zip(OUTPUTS, got, strict=True))

    def start(self) -> tuple[Tensor, Tensor]:
        """The mean and the kept sequences that the plan begins with, entry by entry."""
        given, last = self.arguments, self.horizon - 1
        mean, kept = given["past_mean"].clone(), given["past_kept"].clone()
        for t in range(self.horizon):
            for b, steps in enumerate(given["steps"].tolist()):
                warm = given["shift"] and steps
                mean[t, b], kept[t, b] = given["first_mean"][b], torch.nan
                if warm and t < last:
                    mean[t, b] = given["past_mean"][t + 1, b]
                    kept[t, b] = given["past_kept"][t + 1, b]
                elif warm and given["shift"] == 1:
                    mean[t, b] = given["past_mean"][last, b]
        return mean, kept


def packs(weights: FilterWeights, precision: str) -> dict[str, Any]:
    kernels = KERNELS["cpu"]
    assert isinstance(kernels, CpuKernels)
    filter_packed, _ = kernels.filter_model(weights)
    packed, *_ = kernels.model(weights.rollout, precision)
    return {"filter_packed": filter_packed, "packed": packed, "isa": kernels.isa()}


def bytes_of(
    weights: FilterWeights, precision: str, horizon: int, batch: int, candidates: int, topk: int,
    threads: int | None = None, *, keep: int = 0, mixed: bool = False,
) -> int:  # fmt: skip
    kernels = KERNELS["cpu"]
    assert isinstance(kernels, CpuKernels)
    sizes = kernels.model(weights.rollout, precision)[1]
    size: int = fused._C.control_step_workspace(
        kernels.filter_model(weights)[1], sizes, kernels.isa(), PRECISIONS.index(precision),
        horizon, batch, candidates, topk, keep, mixed, threads or torch.get_num_threads(),
    )  # fmt: skip
    return size


def workspace(
    weights: FilterWeights, precision: str, horizon: int, batch: int, given: dict[str, Any],
    threads: int = 8,
) -> Tensor:  # fmt: skip
    """Memory that is enough for every instruction set in use and so many threads."""
    numbers = max(given["candidates"]), given["topk"], threads
    more = {"keep": given["past_kept"].shape[2], "mixed": given["mix"] is not None}
    size = bytes_of(weights, precision, horizon, batch, *numbers, **more)
    return torch.full((size,), 0xA5, dtype=torch.uint8)


def make_call(
    sizes: Sizes = TINY, encoder: EncoderSizes = TINY_ENCODER, batch: int = 2, horizon: int = 4,
    precision: str = "fp32", *, spans: int | None = None, seed: int = 0,
    how: dict[str, Any] | None = None, keep: int = 0, **changes: Any,
) -> StepCall:  # fmt: skip
    """A random call whose outputs hold NaN; bounds and stddev are others in every row.

    Row 0 is in its first step, the others in later ones.
    """
    weights = make_filter(sizes, encoder, seed=seed, **how or {})
    given, generator = inputs_for(weights, batch, seed), torch.Generator().manual_seed(seed + 7)
    kernels = KERNELS["cpu"]
    assert isinstance(kernels, CpuKernels)
    shape = batch, sizes.action
    low = -torch.rand(shape, generator=generator) - 0.1
    high = torch.rand(shape, generator=generator) * 1.5
    model = kernels.model(weights.rollout, precision)
    arguments: dict[str, Any] = {
        "filter_packed": None, "encoder": kernels.filter_model(weights)[1], "packed": None,
        "sizes": model[1], "min_stddev": model[2], "isa": None, "precision": model[4],
        "frames": given.observation, "episode_seeds": given.seeds,
        "steps": torch.arange(batch) * 1000, "action": given.action,
        "belief": given.latent.belief, "state": given.latent.state,
        "past_mean": torch.rand(horizon, *shape, generator=generator) - 0.5,
        "past_kept": torch.randn(horizon, batch, keep, sizes.action, generator=generator),
        "low": low, "high": high, "first_mean": (low + high) / 2, "first_stddev": (high - low) / 2,
        "candidates": [40], "topk": 6, "iterations": 3, "spread": 0, "epsilon": 1e-6,
        "state_noise": True, "discount": 1.0, "budget_ms": None, "mix": None, "momentum": 0.0,
        "temperature": None, "output": 0, "shift": 0, "exploration_stddev": 0.3,
    } | changes  # fmt: skip
    outputs = (sizes.belief,), (sizes.state,)
    arguments |= {
        name: torch.full((batch, *rest), torch.nan)
        for name, rest in zip(("next_belief", "next_state"), outputs, strict=True)
    }
    arguments["mean"] = torch.full((horizon, *shape), torch.nan)
    arguments["stddev"] = torch.full((horizon, *shape), torch.nan)
    arguments["best_return"] = torch.full((batch,), torch.nan)
    arguments["kept"] = torch.full((horizon, batch, keep, sizes.action), torch.nan)
    arguments["planned"] = torch.full(shape, torch.nan)
    arguments["next_action"] = torch.full(shape, torch.nan)
    arguments["finite"] = torch.full((batch,), 9, dtype=torch.uint8)
    arguments["workspace"] = workspace(weights, precision, horizon, batch, arguments)
    table = None if spans is None else torch.full((1 + spans, 5), -7, dtype=torch.int64)
    return StepCall(weights, precision, arguments | {"spans": table})


def equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Whether they are bit for bit, NaN where NaN is expected."""
    assert got.keys() == expected.keys()
    pairs = ((got[name], expected[name]) for name in got)
    return all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in pairs)
