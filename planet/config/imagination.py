"""Settings of imagined rollouts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from planet.config.checks import check_positive, check_types

Precision = Literal["fp32", "int8", "fp16", "bf16"]
Variant = Literal["portable", "persistent"]


@dataclass(frozen=True)
class ImaginationConfig:
    """Says how the model is rolled out while planning, whatever the planner.

    None is decided where an imagination is made, by `planet.planning.make_imagination`. A run's
    settings keep it, so a run that goes on elsewhere decides anew.

    With the fused backend int8 takes a CPU with AVX512-VNNI, fp16 a CUDA device, and bf16 either a
    CUDA device or a CPU with AMX or AVX512-BF16; fp32 runs on all, the reference in all of them.
    """

    backend: Literal["fused", "reference"] = "fused"  # the code that computes rollouts [O]
    precision: Precision | None = None  # of products; None: fp16 of fused on CUDA, else fp32 [O]
    variant: Variant | None = None  # of the fused CUDA kernels; None: by card, sizes, planner [O]
    state_noise: bool = True  # stochastic models: sample the prior in rollouts [P Alg. 2]
    discount: float = 1.0  # per model step [P; G at its first commit: 0.99]

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(self, "discount")
        check_kernels(self.backend, self.variant)

    def on(self, device: str) -> ImaginationConfig:
        """Names what is open by the kind of device alone, "cpu" or "cuda".

        The precision is fp16 for the fused backend on CUDA, where only the halves keep the pace of
        control; else fp32: no CPU decides on a coarser one by itself. The variant is portable.
        """
        usual: Precision = "fp16" if (self.backend, device) == ("fused", "cuda") else "fp32"
        precision, variant = self.precision or usual, self.variant or "portable"
        return replace(self, precision=precision, variant=variant)


def check_kernels(backend: str, variant: str | None) -> None:
    """Raises ValueError unless the backend has variants, or the portable one is asked for."""
    if backend != "fused" and variant not in (None, "portable"):
        raise ValueError(f"variant: expected 'portable' with backend={backend!r}, got {variant!r}")
