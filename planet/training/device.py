"""Where a run computes, and what is served there."""

from __future__ import annotations

import torch

from planet.config import Config, PlannerConfig
from planet.listing import short


def available_device(config: Config) -> torch.device:
    """The device of the settings.

    Raises:
      ValueError: it is unknown or not there, or the planner does not serve it; the message says in
        a sentence what is missing.
    """
    name = config.train.device
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {name!r}") from error
    if device.type == "cuda":
        _require_cuda(device)
    _require_planner(config.planner, device)
    if device.type != "cuda":
        _require_numbers(device)
    return device


def _require_numbers(device: torch.device) -> None:
    """Tries devices that torch knows and may not have: mps, xpu, meta, ..."""
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device: '{device}' cannot be computed on here ({short(error)}); expected 'cpu' or "
            "'cuda'"
        ) from error


def _require_cuda(device: torch.device) -> None:
    if torch.version.cuda is None:
        raise ValueError(
            f"device: '{device}' is not available, torch {torch.__version__} was built without "
            "CUDA; install a torch with CUDA (https://pytorch.org), or use device 'cpu'"
        )
    if not torch.cuda.is_available():
        raise ValueError(
            f"device: '{device}' is not available, torch {torch.__version__} sees no GPU or no "
            f"driver that runs CUDA {torch.version.cuda} (`nvidia-smi` shows both); expected 'cpu'"
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ValueError(
            f"device: '{device}' is not available, expected one of "
            + ", ".join(f"'cuda:{index}'" for index in range(count))
        )


def _require_planner(planner: PlannerConfig, device: torch.device) -> None:
    where = f"with device '{device}'"
    fused = planner.backend == "fused"
    if fused and device.type not in ("cpu", "cuda"):
        raise ValueError(f"backend: 'fused' plans on cpu and cuda; expected 'reference' {where}")
    if planner.precision == "int8" and device.type != "cpu":
        raise ValueError(
            f"precision: 'int8' plans on the CPU only; expected 'fp32', 'fp16' or 'bf16' {where}"
        )
    if planner.precision in ("fp16", "bf16") and fused and device.type != "cuda":
        raise ValueError(
            f"precision: {planner.precision!r} plans on CUDA devices only; expected 'fp32' or "
            f"'int8' {where}"
        )
    if planner.variant == "persistent" and device.type != "cuda":
        raise ValueError(f"variant: 'persistent' plans on CUDA devices only; expected None {where}")
    if planner.budget_ms is not None and device.type != "cpu":
        raise ValueError(
            f"budget_ms: plans on the CPU only keep a budget; expected None {where}, got "
            f"{planner.budget_ms}"
        )
