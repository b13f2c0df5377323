"""Settings that are left open: device, card, sizes and planner decide, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from planet.config import ImaginationConfig
from planet.ops import fused
from planet.planning import (
    CEMPlanner,
    ICEMPlanner,
    MPPIPlanner,
    ShootingPlanner,
    make_imagination,
)
from planet.planning.make import PERSISTENT_HAS_RUN
from planet.protocols import Planner

MODULE = "planet.planning.make"
PLANNER = CEMPlanner(topk=7)


class Imagined:
    """Stands in for an imagination, on whatever device."""

    def __init__(self, weights: Any, latent: Any, **how: Any) -> None:
        self.weights, self.batch_size, self.how = weights, latent, how
        self.precision = how["precision"]


class Card:
    """Stands in for the question to the card, which says what it refuses."""

    def __init__(self) -> None:
        self.refusal: str | None = None
        self.asked: list[tuple[str, int]] = []

    def clusters(self, weights: Any, *, precision: str, topk: int) -> int:
        self.asked.append((precision, topk))
        if self.refusal:
            raise ValueError(self.refusal)
        return 32


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setattr(f"{MODULE}.Imagination", Imagined)
    monkeypatch.setattr(fused, "persistent_clusters", card.clusters)
    return card


def chosen(
    device: str, batch: int = 1, planner: Planner = PLANNER, **settings: Any
) -> tuple[str, str]:
    """Precision and variant of `batch` problems on a device."""
    weights: Any = SimpleNamespace(device=torch.device(device))
    made: Any = make_imagination(ImaginationConfig(**settings), planner, weights, batch)  # type: ignore[arg-type]
    return made.how["precision"], made.how["variant"]


@pytest.mark.parametrize(
    ("device", "settings", "expected"),
    [
        ("cpu", {}, "fp32"),
        ("cuda", {}, "fp16"),
        ("cuda:1", {}, "fp16"),
        ("cuda", {"backend": "reference"}, "fp32"),
        ("cuda", {"precision": "bf16"}, "bf16"),
        ("cuda", {"precision": "fp32"}, "fp32"),
        ("cpu", {"precision": "int8"}, "int8"),
        ("cpu", {"precision": "bf16"}, "bf16"),
    ],
)
def test_the_device_decides_the_precision(
    device: str, settings: dict[str, Any], expected: str
) -> None:
    assert chosen(device, **settings) == (expected, "portable")


def test_persistent_kernels_that_have_not_run_are_never_chosen(card: Card) -> None:
    assert not PERSISTENT_HAS_RUN
    assert chosen("cuda") == ("fp16", "portable")
    assert not card.asked
    assert chosen("cuda", variant="persistent") == ("fp16", "persistent")  # as it was asked for


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "persistent"),
        ({"batch": 4}, "persistent"),
        ({"batch": 5}, "portable"),
        ({"planner": ShootingPlanner()}, "persistent"),
        ({"planner": ICEMPlanner()}, "portable"),
        ({"planner": MPPIPlanner()}, "portable"),
        ({"device": "cpu"}, "portable"),
        ({"backend": "reference"}, "portable"),
        ({"variant": "portable"}, "portable"),
    ],
)
def test_once_they_have_run_they_serve_few_problems_of_a_plain_cem(
    given: dict[str, Any], expected: str, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}.PERSISTENT_HAS_RUN", True)
    assert chosen(**{"device": "cuda", **given})[1] == expected
    topk = given.get("planner", PLANNER).topk
    assert card.asked == [("fp16", topk)] * (expected == "persistent")


def test_a_card_that_refuses_them_gets_the_portable_ones(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}.PERSISTENT_HAS_RUN", True)
    card.refusal = "variant: 'persistent' does not serve this plan"
    assert chosen("cuda", precision="fp32") == ("fp32", "portable")
    card.refusal = "weights: of another kind"
    with pytest.raises(ValueError, match="weights: of another kind"):
        chosen("cuda")
