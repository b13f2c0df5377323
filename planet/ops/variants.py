"""Which CUDA kernels run a plan; a choice beside the ops, whose signatures all devices share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from planet.config import ImaginationConfig, choices
from planet.ops.tracing import constant

VARIANTS = choices(ImaginationConfig, "variant")  # in the order of csrc/cem.h
"""portable: a rollout and a refit per iteration; every device and size.

persistent: one launch per plan, its weights resident on the chip; compute capability 9.0 and newer,
models that fit, few problems. Results agree with portable within the precision's tolerance.
"""

_chosen: ContextVar[str] = ContextVar("planet_cuda_variant", default="portable")


@contextmanager
def cuda_variant(name: str) -> Iterator[None]:
    """Plans of the fused backend on CUDA devices run this variant inside the `with` block.

    The choice belongs to the current thread or task (a context variable). Nothing is chosen by
    itself: a plan that a variant does not serve is refused.

    Args:
      name: one of `VARIANTS`; without a block "portable".

    Raises:
      ValueError: there is no such variant.
    """
    check_variant(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@constant
def chosen_variant() -> str:
    """The variant of plans made here and now; torch.compile keeps that of its trace."""
    return _chosen.get()


def check_variant(name: str) -> None:
    """Checks that there is such a variant."""
    if name not in VARIANTS:
        raise ValueError(f"variant: expected one of {list(VARIANTS)}, got {name!r}")
