"""Finds the device that a run computes on, and what it can do."""

from __future__ import annotations

import torch

from planet.config import Config
from planet.errors.listing import short


def available_device(config: Config) -> torch.device:
    """Returns the device of the settings.

    Raises:
      ValueError: it is unknown or not there; the message says in a sentence what is missing.
    """
    name = config.train.device
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {name!r}") from error
    if device.type == "cuda":
        _require_cuda(device)
    else:
        _require_numbers(device)
    return device


def require_bf16() -> None:
    """Raises ValueError unless the processor multiplies bfloat16."""
    if not torch.cpu._is_avx512_bf16_supported():  # AMX comes with it
        raise ValueError(
            "train.precision: 'bf16' needs a processor that multiplies it (AVX512-BF16 or AMX); "
            "expected 'fp32'"
        )


def _require_numbers(device: torch.device) -> None:
    """Tries devices that torch knows and may not have: mps, xpu, meta, ..."""
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        why = f"cannot be computed on here ({short(error)}); expected 'cpu' or 'cuda'"
        raise ValueError(f"device: '{device}' {why}") from error


def _require_cuda(device: torch.device) -> None:
    count = torch.cuda.device_count()
    if torch.version.cuda is None:
        why = f"torch {torch.__version__} was built without CUDA; install a torch with CUDA "
        why += "(https://pytorch.org), or use device 'cpu'"
    elif not torch.cuda.is_available():
        why = f"torch {torch.__version__} sees no GPU or no driver that runs CUDA "
        why += f"{torch.version.cuda} (`nvidia-smi` shows both); expected 'cpu'"
    elif device.index is not None and device.index >= count:
        why = "expected one of " + ", ".join(f"'cuda:{index}'" for index in range(count))
    else:
        return
    raise ValueError(f"device: '{device}' is not available, {why}")
