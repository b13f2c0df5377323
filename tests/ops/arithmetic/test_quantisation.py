"""Tests the int8 number formats to the bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from ops.tolerances import close
from torch import Tensor

from planet.ops.arithmetic.quantisation import (
    SMALLEST_RANGE,
    QuantisedVector,
    QuantisedWeight,
    product,
    quantise_activation,
    quantise_signed,
    quantise_weight,
)

NAN, INFINITY = float("nan"), float("inf")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def value(x: QuantisedVector) -> Tensor:
    return x.integers * x.step.double() + x.offset


def row(*values: float) -> Tensor:
    return torch.tensor([values])


# --- Weights --------------------------------------------------------------------------------------


def test_a_weight_row_s_largest_is_127_steps_and_all_are_within_half_a_step() -> None:
    weight = random(50, 33) * torch.logspace(-20, 20, 50)[:, None]
    quantised = quantise_weight(weight)
    assert quantised.step.dtype == torch.float32
    assert torch.equal(quantised.integers.abs().amax(dim=1), torch.full((50,), 127.0).double())
    error = quantised.integers * quantised.step.double()[:, None] - weight.double()
    assert (error.abs() <= 0.5001 * quantised.step.double()[:, None]).all()


def test_weights_are_those_of_float32_arithmetic_with_true_divisions() -> None:
    # Next to ties, where a product with a rounded reciprocal gives other integers.
    largest = random(2000, 1, seed=1).abs() + 0.1
    weight = torch.cat([largest, largest * (torch.arange(-64, 64) + 0.5) / 127], dim=1)
    rows, most = weight.numpy(), largest.numpy()
    expected = np.rint(rows * (np.float32(127) / most))
    assert expected.dtype == np.float32
    quantised = quantise_weight(weight)
    assert np.array_equal(quantised.integers.numpy(), expected)
    assert np.array_equal(quantised.step.numpy(), most[:, 0] / np.float32(127))
    by_reciprocal = np.rint(rows * (np.float32(127) * (np.float32(1) / most)))
    assert not np.array_equal(expected, by_reciprocal)


def test_weights_halfway_go_to_the_even_integer() -> None:
    quantised = quantise_weight(row(127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5))
    assert quantised.integers.tolist() == [[127.0, 0.0, 2.0, 2.0, 0.0, -2.0, -2.0]]
    assert quantised.step.tolist() == [1.0]


def test_a_row_of_zeros_has_integers_0_and_a_finite_step() -> None:
    quantised = quantise_weight(torch.tensor([[0.0, -0.0], [0.5, 1e-45], [1e-45, 0.0]]))
    assert quantised.integers.tolist() == [[0.0, 0.0], [127.0, 0.0], [0.0, 0.0]]
    assert quantised.step.isfinite().all()


@pytest.mark.parametrize("exponent", [-60, -1, 1, 60])
def test_a_power_of_two_scales_the_step_alone(exponent: int) -> None:
    weight, factor = random(5, 9), 2.0**exponent
    before = quantise_weight(weight)
    weight[2] *= factor
    after = quantise_weight(weight)
    assert torch.equal(after.integers, before.integers)
    assert torch.equal(after.step[2], before.step[2] * factor)
    keep = torch.arange(5) != 2
    assert torch.equal(after.step[keep], before.step[keep])  # each row has its own
    for quantise in (quantise_signed, lambda x: quantise_activation(x.relu(), "relu")):
        x = random(3, 9)
        one, other = quantise(x), quantise(x * factor)
        assert torch.equal(other.integers, one.integers)
        assert torch.equal(other.step, one.step * factor)


# --- Activations ----------------------------------------------------------------------------------


def test_relu_outputs_are_0_to_255_of_the_candidate_s_largest() -> None:
    x = random(4, 7, 100).relu()
    quantised = quantise_activation(x, "relu")
    assert quantised.offset == 0.0
    assert quantised.step.shape == (4, 7, 1)
    assert quantised.integers.min() == 0
    assert (quantised.integers.amax(dim=-1) == 255).all()
    assert close(quantised.step, x.amax(dim=-1, keepdim=True).double() / 255, 0.0, 1.2e-7)
    assert ((value(quantised) - x.double()).abs() <= 0.5001 * quantised.step).all()


def test_relu_outputs_halfway_go_to_the_even_integer() -> None:
    quantised = quantise_activation(row(255.0, 0.5, 1.5, 2.5, 0.0), "relu")
    assert quantised.integers.tolist() == [[255.0, 0.0, 2.0, 2.0, 0.0]]


def test_elu_outputs_are_0_to_255_above_their_lower_end() -> None:
    x = torch.nn.functional.elu(random(4, 7, 100))
    quantised = quantise_activation(x, "elu")
    assert quantised.offset == -1.0
    assert (quantised.integers.amax(dim=-1) == 255).all()
    assert quantised.integers.min() >= 0
    assert ((value(quantised) - x.double()).abs() <= 0.5001 * quantised.step).all()


def test_elu_outputs_at_the_lower_end_are_exact() -> None:
    quantised = quantise_activation(row(-1.0, -1.0, -1.0), "elu")
    assert quantised.integers.tolist() == [[0.0, 0.0, 0.0]]
    assert value(quantised).tolist() == [[-1.0, -1.0, -1.0]]
    below = quantise_activation(row(-1.0000001, -1.0, -0.9999999), "elu")
    assert below.integers.tolist() == [[0.0, 0.0, 255.0]]
    assert close(value(below), row(-1.0, -1.0, -0.9999999), 1e-9)


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_activations_of_zeros_are_exact(activation: str) -> None:
    quantised = quantise_activation(torch.zeros(2, 5), activation)
    assert close(value(quantised), torch.zeros(2, 5), 0.5 / 255 if activation == "elu" else 0.0)
    assert quantised.step.isfinite().all()


def test_beliefs_and_states_are_within_127_of_the_candidate_s_largest() -> None:
    x = random(4, 7, 30) * torch.logspace(-3, 3, 7)[:, None]
    quantised = quantise_signed(x)
    assert (quantised.integers.abs().amax(dim=-1) == 127).all()
    assert ((value(quantised) - x.double()).abs() <= 0.5001 * quantised.step).all()
    assert quantise_signed(torch.zeros(2, 3)).integers.abs().max() == 0
    assert quantise_signed(row(127.0, -0.5, -1.5)).integers.tolist() == [[127.0, 0.0, -2.0]]


@pytest.mark.parametrize("tiny", [1e-45, 1e-38, 2.0**-101])
def test_numbers_below_the_smallest_range_are_lost_and_nothing_overflows(tiny: float) -> None:
    assert tiny < SMALLEST_RANGE
    for quantised in (
        quantise_activation(row(tiny, 0.0), "relu"),
        quantise_signed(row(tiny, -tiny)),
    ):
        assert quantised.integers.isfinite().all()
        assert close(value(quantised), torch.zeros(1, 2), 2 * SMALLEST_RANGE)


@pytest.mark.parametrize("bad", [NAN, INFINITY, -INFINITY])
def test_a_candidate_that_is_not_finite_has_a_nan_step_and_no_other_one(bad: float) -> None:
    x = random(5, 8).abs() + 0.1
    spoiled = x.clone()
    spoiled[3, 2] = bad
    for quantise in (
        quantise_signed,
        lambda x: quantise_activation(x, "relu"),
        lambda x: quantise_activation(x, "elu"),
    ):
        good, got = quantise(x), quantise(spoiled)
        others = torch.arange(5) != 3
        assert got.step[3].isnan().all()
        assert torch.equal(got.step[others], good.step[others])
        assert torch.equal(got.integers[others], good.integers[others])
        assert product(quantise_weight(random(4, 8)), got).isnan().all(dim=1).tolist() == [
            False, False, False, True, False,
        ]  # fmt: skip


# --- Products -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, -1.0])
def test_a_product_is_an_exact_integer_sum_times_two_steps(offset: float) -> None:
    weight = quantise_weight(random(6, 37))
    x = quantise_activation(random(2, 3, 37).relu() + offset, "elu" if offset else "relu")
    got = product(weight, x)
    assert got.dtype == torch.float32
    for b in range(2):
        for j in range(3):
            step = Fraction(x.step[b, j, 0].item())
            for r in range(6):
                scale, total = Fraction(weight.step[r].item()), Fraction(0)
                for k in range(37):
                    number = int(x.integers[b, j, k]) * step + int(offset)
                    total += int(weight.integers[r, k]) * scale * number
                assert got[b, j, r].item() == pytest.approx(float(total), rel=2e-6, abs=1e-7)


def test_the_largest_sum_is_exact_in_float32() -> None:
    size = 512
    weight = QuantisedWeight(torch.full((1, size), 127.0).double(), torch.ones(1))
    x = QuantisedVector(torch.full((1, size), 255.0).double(), torch.ones(1, 1))
    assert product(weight, x).item() == 127 * 255 * size < 2**24
    x.integers[0, 0] = 254.0
    assert product(weight, x).item() == 127 * (255 * size - 1)


def test_a_product_is_near_that_of_float32() -> None:
    weight, x = random(200, 200), random(50, 200, seed=2).relu()
    got = product(quantise_weight(weight), quantise_activation(x, "relu"))
    expected = x @ weight.T
    assert (got - expected).square().mean().sqrt() < 0.01 * expected.std()
