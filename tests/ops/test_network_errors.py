"""Refusals of networks: in Python, and in the ops, which check what memory safety needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ops.fused_support import needs_extension
from ops.network_cases import Case
from torch import nn

from planet.ops import fused
from planet.ops.network import Network

pytestmark = needs_extension


def test_gradients_are_not_differentiated_again() -> None:
    case = Case("linear")
    x, _, upstream = case.given(3)
    y = case.network(x.requires_grad_())
    with pytest.raises(RuntimeError, match="create_graph: expected False, .* got True; use"):
        torch.autograd.grad(y, x, upstream, create_graph=True)


def test_parameters_that_change_before_the_backward_pass_are_noticed() -> None:
    case = Case("linear")
    x, _, upstream = case.given(3)
    y = case.network(x.requires_grad_())
    with torch.no_grad():
        case.layers[0].weight.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(y, x, upstream)


def test_without_the_extension_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("linear")
    monkeypatch.setattr(fused, "_C", None)
    with pytest.raises(ImportError, match="backend='reference'"):
        case.network(case.given(1)[0])


UNKNOWN: list[tuple[Any, str]] = [
    (nn.Conv2d(3, 4, (3, 2)), "kernel_size (3, 3), got (3, 2)"),
    (nn.Conv2d(3, 4, 3, (2, 1)), "stride (2, 2), got (2, 1)"),
    (nn.Conv2d(3, 4, 3, padding=1), "padding (0, 0), got (1, 1)"),
    (nn.Conv2d(3, 4, 3, padding="same"), "padding (0, 0), got same"),
    (nn.Conv2d(3, 4, 3, dilation=2), "dilation (1, 1), got (2, 2)"),
    (nn.Conv2d(4, 4, 3, groups=2), "groups 1, got 2"),
    (nn.ConvTranspose2d(3, 4, 3, 2, output_padding=1), "output_padding (0, 0), got (1, 1)"),
    (nn.ConvTranspose2d(3, 4, 3, bias=False), "layers with a bias, got one without"),
    (nn.Linear(3, 4, bias=False), "layers with a bias, got one without"),
]


@pytest.mark.parametrize(("layer", "expected"), UNKNOWN, ids=[text for _, text in UNKNOWN])
def test_layers_that_would_be_computed_otherwise_are_refused(layer: Any, expected: str) -> None:
    with pytest.raises(ValueError) as raised:
        Network([layer], "relu", side=8)
    assert str(raised.value) == f"layers: expected {expected}"


@pytest.mark.parametrize("count", [0, 17])
def test_networks_without_kernels_are_refused_before_they_compute(count: int) -> None:
    with pytest.raises(ValueError) as raised:
        Network([nn.Linear(3, 3) for _ in range(count)], "relu")
    assert str(raised.value) == (
        f"layers: backend='fused' computes 1 to 16 layers of a network, got {count}; "
        "use backend='reference'"
    )
    Network([nn.Linear(3, 3) for _ in range(16)], "relu")


def test_a_linear_layer_on_many_pixels_is_refused() -> None:
    """Its features would be [channels, h, w] in PyTorch, and channels are last here."""
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 5)]
    with pytest.raises(
        ValueError, match="^layers: expected a linear layer on one pixel, got side 6$"
    ):
        Network(layers, "relu", side=8)
    Network(layers[:1] + [nn.Linear(4, 5)], "relu", side=3)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^activation: expected one of .*, got 'tanh'$"):
        Network([nn.Linear(3, 3)], "tanh")


# ---- the raw ops ----

# A convolution [3, 3, 2] to [1, 1, 5], then a linear layer to 4.
LAYERS = [0, 0, 0, 5, 2, 1, 3, 3, 1, 0, 4, 5, 1, 1, 1, 1]
GOOD: dict[str, Any] = {
    "x": torch.zeros(6, 18),
    "weights": [torch.zeros(5, 2, 3, 3), torch.zeros(4, 5)],
    "biases": [torch.zeros(5), torch.zeros(4)],
    "layers": LAYERS,
    "target": None,
    "gradient": torch.zeros(6, 4),
    "isa": 0,
}


def layers(**fields: int) -> dict[str, Any]:
    """LAYERS with other numbers, by place: `_2` is the first layer's first."""
    return {"layers": [fields.get(f"_{i}", n) for i, n in enumerate(LAYERS)]}


def forward(given: dict[str, Any]) -> Any:
    names = "x", "weights", "biases", "layers", "target", "isa"
    return torch.ops.planet.network_forward(*(given[name] for name in names))


def backward(given: dict[str, Any]) -> Any:
    kept = given["kept"] if "kept" in given else forward(GOOD)[1]
    names = "gradient", "x", "weights", "layers"
    rest = kept, True, given["isa"]
    return torch.ops.planet.network_backward(*(given[name] for name in names), *rest)


def strided(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, 2)[..., 0]


ONE = [torch.zeros(5, 2, 3, 3)]
INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"x": torch.zeros(6, 17)}, r"x: expected shape \[6, 18\], got \[6, 17\]"),
    ({"x": torch.zeros(0, 18)}, r"x: expected sizes >= 1 in \[N, inputs\], got \[0, 18\]"),
    ({"x": torch.zeros(18)}, r"x: expected sizes >= 1 in \[N, inputs\], got \[18\]"),
    ({"x": torch.zeros(6, 18).double()}, "x: expected dtype float32"),
    ({"x": strided(6, 18)}, "x: expected a contiguous tensor"),
    ({"weights": ONE}, r"weights: expected a value in \[2, 2\], got 1"),
    ({"weights": [*ONE, torch.zeros(4, 4)]}, r"weights: expected shape \[4, 5\], got \[4, 4\]"),
    ({"weights": [*ONE, strided(4, 5)]}, "weights: expected a contiguous tensor"),
    ({"weights": [torch.zeros(5, 18), torch.zeros(4, 5)]},
     r"weights: expected shape \[5, 2, 3, 3\], got \[5, 18\]"),
    ({"layers": []}, "layers: expected two numbers and seven for each of 1 to 16 layers, got 0"),
    ({"layers": [0, 0]}, "layers: expected two numbers .*, got 2 numbers"),
    ({"layers": LAYERS[:-1]}, "layers: expected two numbers .*, got 15 numbers"),
    ({"layers": LAYERS[:2] + LAYERS[2:9] * 17}, "layers: expected two numbers .*, got 121 numbers"),
    (layers(_0=2), r"layers \(elu\): expected a value in \[0, 1\], got 2"),
    (layers(_1=-1), r"layers \(activated\): expected a value in \[0, 1\], got -1"),
    (layers(_2=7), r"layers \(transposed\): expected a value in \[0, 1\], got 7"),
    (layers(_3=0), r"layers: expected a value in \[1, 1048576\], got 0"),
    (layers(_4=2**62), r"layers: expected a value in \[1, 1048576\], got 4611686018427387904"),
    (layers(_5=-3), r"layers: expected a value in \[1, 4096\], got -3"),
    (layers(_6=2), r"layers \(large side\): expected a value in \[3, 4096\], got 2"),
    (layers(_2=1, _6=4), r"layers \(large side\): expected a value in \[3, 3\], got 4"),
    (layers(_7=4097), r"layers: expected a value in \[1, 4096\], got 4097"),
    (layers(_8=2**31), r"layers: expected a value in \[1, 4096\], got 2147483648"),
    (layers(_11=6), "layers: expected 5 inputs of layer 1, got 6"),
    ({"isa": 99}, "isa: expected a value in"),
    ({"isa": -1}, "isa: expected a value in"),
]  # fmt: skip
FORWARD: list[tuple[dict[str, Any], str]] = [
    ({"biases": [torch.zeros(5)]}, r"biases: expected a value in \[2, 2\], got 1"),
    ({"biases": [torch.zeros(4), torch.zeros(4)]}, r"biases: expected shape \[5\], got \[4\]"),
    ({"biases": [strided(5), torch.zeros(4)]}, "biases: expected a contiguous tensor"),
    ({"target": torch.zeros(6, 5)}, r"target: expected shape \[6, 4\], got \[6, 5\]"),
    ({"target": torch.zeros(5, 4)}, r"target: expected shape \[6, 4\], got \[5, 4\]"),
    ({"target": torch.zeros(6, 4).half()}, "target: expected dtype float32"),
    ({"target": strided(6, 4)}, "target: expected a contiguous tensor"),
    ({"target": torch.zeros(6, 4)} | layers(_1=1), "target: expected a network without activation"),
]
BACKWARD: list[tuple[dict[str, Any], str]] = [
    ({"kept": torch.zeros(3)}, r"kept: expected shape \[\d+\], got \[3\]"),
    ({"kept": torch.zeros(0)}, r"kept: expected shape \[\d+\], got \[0\]"),
    ({"gradient": torch.zeros(6, 5)}, r"gradient: expected shape \[6, 4\], got \[6, 5\]"),
    ({"gradient": torch.zeros(2)}, r"gradient: expected shape \[1\], got \[2\]"),
    ({"gradient": torch.zeros([])}, r"gradient: expected shape \[6, 4\], got \[\]"),
    ({"gradient": strided(6, 4)}, "gradient: expected a contiguous tensor"),
    ({"gradient": torch.zeros(6, 4).double()}, "gradient: expected dtype float32"),
]
CALLS = [(forward, *row) for row in INPUTS + FORWARD] + [
    (backward, *row) for row in INPUTS + BACKWARD
]


@pytest.mark.parametrize(
    ("call", "change", "message"), CALLS, ids=[f"{c.__name__}-{m}" for c, _, m in CALLS]
)
def test_raw_ops_refuse_what_would_not_be_safe(
    call: Callable[[dict[str, Any]], Any], change: dict[str, Any], message: str
) -> None:
    call(GOOD)
    with pytest.raises(RuntimeError, match=message):
        call(GOOD | change)


# Maps of 2^64 floats, whose count in an int64_t is 0, and packed weights beyond any address.
C = 2**20
REDUCE = [0, 1, C, 1, 1, 1, 1]
HUGE: dict[str, tuple[int, list[int], str]] = {
    "overflow": (
        C, [1, 1, C, 2, 4096, 1, 4095, 0, 1, C, 2, 4096, 1, 4095],
        r"layers \(outputs\): expected a value in \[1, 1048576\], got 17592186044416",
    ),
    "memory": (1, [1, 1, C, 1, 1, 1, 4096, *REDUCE] * 3, "memory: could not allocate"),
}  # fmt: skip


@pytest.mark.parametrize("case", HUGE)
def test_absurd_sizes_are_an_error(case: str) -> None:
    rows, numbers, message = HUGE[case]
    count = len(numbers) // 7
    given = {
        "x": torch.zeros(rows, numbers[3] ** 2),
        "weights": [torch.zeros(1, C, 1, 1)] * count,
        "biases": [torch.zeros(C), torch.zeros(1)] * (count // 2),
        "layers": [0, 0, *numbers],
    }
    with pytest.raises(RuntimeError, match=message):
        forward(GOOD | given)
