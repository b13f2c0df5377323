"""Checks the state of a learner before any of it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from planet.errors.listing import listed


def check_learner_state(learner: Mapping[str, Any], model: nn.Module) -> None:
    """Compares names, shapes and types with the model's, and the optimiser with the counter.

    Anybody may have written the state, whose `updates` is an int.

    Raises:
      ValueError: the state belongs to another model, holds values that are not finite, or its
        optimiser made another number of steps than the learner.
    """
    kept, expected = table(learner, "model"), model.state_dict()
    same_names("learner['model']", set(kept), set(expected))
    for name, tensor in expected.items():
        _check_tensor(f"learner['model'][{name!r}]", kept[name], tensor)
    _check_optimizer(learner, list(model.parameters()))


def _check_optimizer(learner: Mapping[str, Any], parameters: list[Tensor]) -> None:
    states = table(table(learner, "optimizer"), "state")
    count = len(parameters) if learner["updates"] else 0  # every update steps every parameter
    same_names("optimizer['state']", set(states), set(range(count)))
    for index, state in states.items():
        where = f"optimizer['state'][{index}]"
        if not isinstance(state, dict):
            raise ValueError(f"{where}: expected a table, got {type(state).__name__}")
        same_names(where, set(state), {"step", "exp_avg", "exp_avg_sq"})
        for name in ("exp_avg", "exp_avg_sq"):
            _check_tensor(f"{where}[{name!r}]", state[name], parameters[index])
        step = state["step"]
        wide = isinstance(step, Tensor) and step.dtype == torch.float64  # as torch's default was
        like = torch.zeros((), dtype=torch.float64 if wide else torch.float32, device="cpu")
        _check_tensor(f"{where}['step']", step, like)
        if (made := int(step)) != (updates := learner["updates"]):
            raise ValueError(f"{where}: the optimiser made {made} steps, the learner {updates}")


def _check_tensor(where: str, tensor: Any, expected: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{where}: expected a tensor, got {type(tensor).__name__}")
    if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
        wanted, got = (f"{list(each.shape)} {each.dtype}" for each in (expected, tensor))
        raise ValueError(f"{where}: expected {wanted}, got {got}")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{where}: expected finite values")


def table(values: Mapping[str, Any], name: str) -> dict[Any, Any]:
    """Returns an entry that must be a table."""
    value = values.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a table, got {type(value).__name__}")
    return value


def same_names(where: str, received: set[Any], expected: set[Any]) -> None:
    """Refuses names that are missing, or that nobody knows."""
    for kind, names in (("missing", expected - received), ("unknown", received - expected)):
        if names:
            raise ValueError(f"{where}: {kind}: {listed(sorted(map(repr, names)))}")
