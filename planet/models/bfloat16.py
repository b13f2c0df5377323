"""Multiplies in bfloat16 where float32 is not needed: the decoder's products in updates on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def bfloat16_products() -> Iterator[None]:
    """Runs a block whose float32 matrix products and convolutions on CPUs are oneDNN's in bfloat16.

    Operands are rounded to bfloat16, sums are float32. The setting is the process's; the one from
    before comes back.
    """
    onednn: Any = torch.backends.mkldnn
    kinds = onednn.matmul, onednn.conv
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "bf16"
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def error_in_bfloat16(decoder: nn.Module, features: Tensor, image: Tensor) -> Tensor:
    """Computes half the squared distance of decoded images from `image`, products in bfloat16.

    Args:
      decoder: of `planet.models.decoder`.
      features: [N, D+S].
      image: [N, 3, h, w]; it gets no gradient.

    Returns:
      [].
    """
    error: Tensor = _Error.apply(decoder, features, image, *decoder.parameters())  # type: ignore[no-untyped-call]
    return error


class _Error(torch.autograd.Function):
    """Computes the gradients at once, so that their products are in the same block."""

    @staticmethod
    def forward(
        ctx: Any, decoder: nn.Module, features: Tensor, image: Tensor, *parameters: Tensor
    ) -> Tensor:
        with torch.enable_grad(), bfloat16_products():
            leaf = features.detach().requires_grad_()
            error = 0.5 * nn.functional.mse_loss(decoder(leaf), image, reduction="sum")
            gradients = torch.autograd.grad(error, [leaf, *parameters])
        ctx.save_for_backward(*gradients)
        return error.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        features, *parameters = (gradient * upstream for gradient in ctx.saved_tensors)
        return (None, features, None, *parameters)
