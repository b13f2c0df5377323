"""The device that a run computes on."""

from __future__ import annotations

import torch

from planet.config import Config
from planet.errors.listing import short


def available_device(config: Config) -> torch.device:
    """The device of the settings.

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
