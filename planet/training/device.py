"""Where a run computes, and what is served there."""

from __future__ import annotations

import torch

from planet.config import Config, PlannerConfig


def available_device(config: Config) -> torch.device:
    """The device of the settings.

    Raises:
      ValueError: it is unknown or not there, or the planner does not serve it.
    """
    name = config.train.device
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device: {name!r} is not available, torch {torch.__version__} sees no CUDA device; "
            "expected 'cpu'"
        )
    if device.type != "cpu":
        _refuse_what_needs_the_cpu(config.planner, name)
    return device


def _refuse_what_needs_the_cpu(planner: PlannerConfig, device: str) -> None:
    for name, value, expected in (
        ("backend", "fused", "reference"), ("precision", "int8", "fp32"),
    ):  # fmt: skip
        if getattr(planner, name) == value:
            raise ValueError(
                f"{name}: {value!r} plans on the CPU only for now; expected {expected!r} with "
                f"device {device!r}"
            )
    if planner.budget_ms is not None:
        raise ValueError(
            f"budget_ms: plans on the CPU only keep a budget; expected None with device "
            f"{device!r}, got {planner.budget_ms}"
        )
