"""Tests selection and refit on the device, against a stable sort."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ops.cuda.support import Device
from ops.tolerances import REFIT_RELATIVE, close
from torch import Tensor

from planet.ops import fused, reference

NAN, INF = float("nan"), float("inf")
# J, K, B, H, A; emulated runs those with J below 5,000
SIZES = [
    (1, 1, 1, 1, 1), (2, 1, 3, 2, 1), (31, 31, 2, 1, 6), (32, 7, 1, 12, 6), (33, 32, 3, 2, 17),
    (255, 100, 1, 2, 2), (257, 256, 2, 1, 3), (1000, 100, 1, 12, 6), (1001, 1, 3, 2, 38),
    (1024, 1024, 1, 1, 2), (2049, 1025, 1, 1, 1), (10_000, 1000, 1, 12, 6),
    (10_000, 100, 64, 12, 6),    (100_001, 5000, 2, 1, 1),
]  # fmt: skip
RETURNS = {
    "distinct": lambda x: x,
    "ties": lambda x: (x * 3).round() / 3,
    "signed zeros": lambda x: torch.where(x > 0, 0.0, -0.0),
    "all equal": lambda x: torch.full_like(x, 1.5),
    "infinities and NaN": lambda x: (
        x.masked_fill(x > 1, INF).masked_fill(x < -1, -INF).masked_fill(x.abs() < 0.3, NAN)
    ),
    "mostly NaN": lambda x: x.masked_fill(x < 1.2, NAN),
    "all NaN": lambda x: torch.full_like(x, NAN),
    "denormal": lambda x: x * 1e-40,
}


def check(
    device: Device, actions: Tensor, returns: Tensor, topk: int, spread: str,
    temperature: float | None = None,
) -> None:  # fmt: skip
    """Elites exactly those of a stable sort; sums to float32's last bit."""
    how: dict[str, Any] = {"topk": topk, "spread": spread, "temperature": temperature}
    expected = reference.refit(actions, returns, **how)
    got = fused.refit(device.to(actions), device.to(returns), **how)
    assert got.elites.cpu().equal(expected.elites)
    assert got.best.cpu().view(torch.int32).equal(expected.best.view(torch.int32)) or (
        expected.best.isnan().equal(got.best.cpu().isnan())
        and got.best.cpu().nan_to_num(0).equal(expected.best.nan_to_num(0))
    )
    # The device sums in another order, so a rounding may fall to the neighbouring float32.
    for name in ("mean", "stddev"):
        assert close(getattr(got, name).cpu(), getattr(expected, name), 1e-9, REFIT_RELATIVE), name


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_elites_are_those_of_a_stable_sort(
    device: Device, size: tuple[int, ...], seed: int
) -> None:
    candidates, topk, batch, horizon, action = size
    if device.emulated and candidates > 5000:
        pytest.skip("too large for the emulator")
    generator = torch.Generator().manual_seed(seed)
    actions = torch.rand(horizon, batch, candidates, action, generator=generator) * 2 - 1
    kinds = list(RETURNS.values())[: 5 if device.emulated and candidates > 300 else None]
    for kind in kinds:
        returns = kind(torch.randn(batch, candidates, generator=generator))
        check(device, actions, returns, topk, "population")
        if topk > 1 and not device.emulated:
            check(device, actions, returns, topk, "mean_absolute")


def test_the_mean_absolute_spread(device: Device, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.rand(3, 2, 40, 2, generator=generator)
    check(device, actions, torch.randn(2, 40, generator=generator), 7, "mean_absolute")


@pytest.mark.parametrize("kind", RETURNS)
def test_weighed_elites(device: Device, kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.rand(3, 2, 70, 2, generator=generator) * 2 - 1
    returns = RETURNS[kind](torch.randn(2, 70, generator=generator))
    for topk in (1, 33, 70):
        for temperature in (0.02, 1.0, 50.0):
            check(device, actions, returns, topk, "population", temperature)


def test_what_is_not_contiguous_is_served(device: Device) -> None:
    generator = torch.Generator().manual_seed(1)
    actions = torch.rand(2, 40, 3, 2, generator=generator).transpose(1, 2)[..., :1]
    returns = torch.randn(40, 6, generator=generator).t()[::2]
    check(device, actions, returns, 9, "population")
