"""Compiled networks, forward and backward, against PyTorch's modules in float64."""

from __future__ import annotations

import pytest
import torch
from ops.fused_support import ISAS, isa, needs_extension, threads
from ops.network_cases import ROWS, STACKS, Case, plain, plain_error, results
from ops.tolerances import NETWORK
from ops.tolerances import tensor_error as error
from torch import Tensor, nn

from planet.ops.network import linear

pytestmark = needs_extension
each_isa = pytest.mark.parametrize("name", ISAS)
each_stack = pytest.mark.parametrize("stack", STACKS)
# Of one weight and one bias, whose gradients are single numbers, any share may cancel.
each_large_stack = pytest.mark.parametrize(
    "stack", [name for name in STACKS if name != "one-layer"]
)
each_activation = pytest.mark.parametrize("activation", ["relu", "elu"])
each_end = pytest.mark.parametrize("activated", [False, True], ids=["open", "activated"])


@each_isa
@each_stack
@each_end
def test_whole_numbers_give_float64s_bits(stack: str, activated: bool, name: str) -> None:
    """ReLU and products of whole numbers: every sum is exact, in whatever order."""
    case = Case(stack, "relu", activated, integral=True)
    exact = case.in_float64()
    with isa(name):
        for rows in ROWS:
            expected = results(exact, rows, plain, plain_error)
            for got, right in zip(results(case, rows), expected, strict=True):
                if right.dim() == 0:  # an error, whose squares are many and large
                    assert error(got, right) < NETWORK
                else:
                    assert right.abs().max() < 2**22  # in units of 1/4
                    assert torch.equal(got, right.float())


@each_isa
@each_large_stack
@each_end
def test_elu_agrees_with_float64(stack: str, activated: bool, name: str) -> None:
    case = Case(stack, "elu", activated)
    exact = case.in_float64()
    with isa(name):
        for rows in ROWS:
            expected = results(exact, rows, plain, plain_error)
            errors = map(error, results(case, rows), expected)
            assert max(errors) < NETWORK


@each_large_stack
@each_end
def test_plain_float32_is_as_far_from_float64(stack: str, activated: bool) -> None:
    case = Case(stack, "elu", activated)
    for rows in ROWS:
        expected = results(case.in_float64(), rows, plain, plain_error)
        assert max(map(error, results(case, rows, plain, plain_error), expected)) < NETWORK


@each_isa
def test_a_linear_layer_alone_is_torchs(name: str) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(21, 13), torch.randn(5, 26)[:, ::2], torch.randn(5)
    given = [t.requires_grad_() for t in (x, weight.detach(), bias)]
    upstream = torch.randn(21, 5)
    with isa(name):
        y = linear(*given)
        found = [y, *torch.autograd.grad(y, given, upstream)]
    doubled = [t.detach().double().requires_grad_() for t in given]
    expected = nn.functional.linear(*doubled)
    right = [expected, *torch.autograd.grad(expected, doubled, upstream.double())]
    assert max(map(error, found, right)) < NETWORK


@each_isa
@each_stack
def test_bits_do_not_depend_on_threads_or_the_run(stack: str, name: str) -> None:
    case = Case(stack)
    with isa(name), threads(1):
        alone = results(case, 130)
        for count in (1, 2, 3):
            with threads(count):
                assert all(map(torch.equal, results(case, 130), alone))


@each_isa
@each_stack
@each_activation
def test_rows_are_independent_of_the_batch(stack: str, activation: str, name: str) -> None:
    case = Case(stack, activation)
    x, _, upstream = case.given(130)
    with isa(name):
        y, of_x = rowwise(case, x, upstream)
        for rows in (slice(0, 1), slice(5, 54), slice(97, 114), slice(129, 130)):
            alone, of_part = rowwise(case, x[rows], upstream[rows])
            assert torch.equal(alone, y[rows])
            assert torch.equal(of_part, of_x[rows])


@each_isa
@each_stack
@each_activation
@each_end
def test_nan_stays_in_its_row(stack: str, activated: bool, activation: str, name: str) -> None:
    case = Case(stack, activation, activated)
    x, _, upstream = case.given(19)
    others = [row for row in range(19) if row != 5]
    with isa(name):
        clean = rowwise(case, x, upstream)
        for spoil in ((x, upstream), (upstream, x)):
            spoilt = [t.clone() for t in spoil]
            spoilt[0][5] = torch.nan
            given, gradient = spoilt if spoil[0] is x else spoilt[::-1]
            found = rowwise(case, given, gradient)
            for got, expected in zip(found, clean, strict=True):
                assert torch.equal(got[others], expected[others])
            assert found[0][5].isnan().any() == (spoil[0] is x)


@each_isa
@each_stack
def test_nan_spreads_as_in_torch(stack: str, name: str) -> None:
    """A spoilt row is seen in every gradient that is spoilt in PyTorch; zeros would hide it."""
    case = Case(stack, "relu")
    x, target, _ = case.given(19)
    x[5] = torch.nan
    with isa(name):
        found = torch.autograd.grad(case.network.error(x, target), case.parameters)
    expected = torch.autograd.grad(plain_error(case, x, target), case.parameters)
    for got, right in zip(found, expected, strict=True):
        assert torch.equal(got.isnan(), right.isnan())


def rowwise(case: Case, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and gradients of the inputs."""
    leaf = x.detach().requires_grad_()
    y = case.network(leaf)
    (of_x,) = torch.autograd.grad(y, leaf, upstream)
    return y.detach(), of_x


@each_isa
def test_strides_change_nothing(name: str) -> None:
    case = Case("transposed")
    x, target, _ = case.given(9)
    strided = [torch.stack([t, t], dim=-1)[..., 0] for t in (x, target)]
    assert not any(t.is_contiguous() for t in strided)
    with isa(name), torch.no_grad():
        assert torch.equal(case.network(strided[0]), case.network(x))
        assert torch.equal(case.network.error(*strided), case.network.error(x, target))


def test_gradients_are_those_that_are_wanted() -> None:
    case = Case("convolution")
    x, _, upstream = case.given(5)
    last = case.layers[-1].weight
    whole = torch.autograd.grad(case.network(x), last, upstream)
    for parameter in case.parameters:
        parameter.requires_grad_(parameter is last)
    assert torch.equal(torch.autograd.grad(case.network(x), last, upstream)[0], whole[0])


def test_instruction_sets_may_change_between_forward_and_backward() -> None:
    case = Case("convolution")
    x, _, upstream = case.given(20)
    x.requires_grad_()
    with isa(ISAS[0]):
        y = case.network(x)
        (expected,) = torch.autograd.grad(y, x, upstream, retain_graph=True)
    with isa(None):  # the widest
        (got,) = torch.autograd.grad(y, x, upstream)
    assert torch.equal(got, expected)
