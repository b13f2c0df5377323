"""Tells torch.compile and torch.export how to trace the ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

F = TypeVar("F", bound=Callable[..., Any])


def constant(function: F) -> F:
    """Marks a function whose result a trace keeps, and which it does not look into.

    It is `torch.compiler.assume_constant_result`, without the import of the whole compiler.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor is more than a shape: not one that is only traced."""
    return not torch.compiler.is_compiling() and not isinstance(tensor, FakeTensor)


@constant
def _exporting() -> bool:
    """Asks for real: traced by torch.compile, torch 2.11 has it that it exports."""
    return torch.compiler.is_exporting()


def may_be_kept(tensor: object) -> bool:
    """Whether a result outlives its call: torch.compile computes it, torch.export does not."""
    return not _exporting() and not isinstance(tensor, FakeTensor)
