"""Trades memory for time: a function's activations are made again for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def recomputed(function: Callable[[], Tensor]) -> Tensor:
    """Calls a function, and once more when the backward pass first needs what it computed.

    Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost" (2016), as
    `torch.utils.checkpoint` has it, whose first call imports PyTorch's compiler for 8 s. What is
    made again goes as the backward pass uses it.

    Args:
      function: gives the same bits whenever it is called; draws nothing from torch's generators.

    Returns:
      Its result; gradients are the same bits as without.
    """
    places, made = count(), dict[int, Tensor]()

    def restore(place: int) -> Tensor:
        if place not in made:
            order = count()

            def keep(tensor: Tensor) -> None:
                made[next(order)] = tensor.detach()

            with torch.enable_grad(), saved_tensors_hooks(keep, _refuse):
                function()
        return made.pop(place)

    with saved_tensors_hooks(lambda tensor: next(places), restore):
        return function()


def _refuse(saved: object) -> Tensor:
    raise AssertionError("the second call's graph is never walked")
