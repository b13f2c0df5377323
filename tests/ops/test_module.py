"""Tests what the functions of the compiled extension take, give, and refuse without harm."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ops.fused_support import BUILT, ISAS, needs_extension

from planet.ops import fused

pytestmark = needs_extension

SIZES = [4, 3, 2, 5, 1, 0, 5, 1]
ENCODER = [9, 5, 4, 4, 2, 3, 2, 1]
# Horizon, batch, J, K, E, a matrix or none, threads; nobody else holds such integers, but for one.
COUNTS = [300, 301, 400, 302, 299, 1, 303]
COUNTER, KEY = [1, 2, 3, 4], [5, 6]


class Index:
    """Has an index, as numpy's and torch's integers do, or raises."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __index__(self) -> int:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Unsized(list[int]):
    def __len__(self) -> int:
        raise ZeroDivisionError


class Unreadable(list[int]):
    def __iter__(self) -> Any:
        raise ZeroDivisionError


class Ugly:
    def __repr__(self) -> str:
        raise ZeroDivisionError


def wrong_integers() -> list[Any]:
    return [None, "3", b"3", 3.0, float("nan"), 3j, [3], (3,), {}, Ugly(), int]


def wrong_lists() -> list[Any]:
    """Also lists of which one item is wrong."""
    wrong = [None, 7, "1234", b"1234", range(4), {1, 2, 3, 4}, iter(COUNTER), torch.ones(4), Ugly()]
    return [*wrong, *([1, 2, 3, item] for item in wrong_integers())]


def calls() -> dict[str, tuple[list[Any], list[list[Any]]]]:
    """Names the functions, right arguments, and for each of these what is of a wrong type."""
    integers, lists = wrong_integers(), wrong_lists()
    texts = [7, b"avx2", 1.5, ["baseline"], Ugly(), str]
    floats = [None, "1.5", 1, b"1", [1.5], 1j, Ugly()]
    return {
        "build_info": ([], []),
        "isa": ([], []),
        "isa_name": ([], []),
        "precisions": ([], []),
        "packed_bytes": ([SIZES, 0, 0], [lists, integers[1:], integers]),
        "packed_filter_bytes": ([ENCODER, SIZES, 0], [lists, lists, integers]),
        "control_step_workspace": (
            [ENCODER, SIZES, 0, 0, *COUNTS],
            [lists, lists, *[integers] * 9],
        ),
        "set_isa": ([fused._C.isa_name() if BUILT else None], [texts]),
        "philox4x32": ([COUNTER, KEY], [lists, lists]),
        "rank_key": ([0.5, 3], [floats, integers]),
        "uniform": ([3], [integers]),
    }


def references(values: list[Any]) -> list[int]:
    """Counts them; everybody holds None."""
    return [sys.getrefcount(value) for value in values if value is not None]


@pytest.fixture(params=calls())
def call(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], list[Any], list[list[Any]]]:
    function = getattr(fused._C, request.param)
    return (function, *calls()[request.param])


def test_every_function_is_called_here() -> None:
    functions = {name for name in dir(fused._C) if not name.startswith("_")}
    assert functions == set(calls())
    assert all(getattr(fused._C, name).__doc__ for name in functions)


def test_wrong_types_are_named(call: Any) -> None:
    function, right, wrong = call
    for position, values in enumerate(wrong):
        for value in values:
            given = [*right[:position], value, *right[position + 1 :]]
            held = references([value])
            with pytest.raises(TypeError, match=r"^\w+: expected .*, got <class '[\w.]+'>$"):
                function(*given)
            assert references([value]) == held


def test_wrong_numbers_of_arguments_and_keywords(call: Any) -> None:
    function, right, _ = call
    for count in (*range(len(right)), *range(len(right) + 1, len(right) + 4)):
        with pytest.raises(TypeError, match="arguments"):
            function(*(right * 4 or [None] * 4)[:count])
    with pytest.raises(TypeError, match="keyword"):
        function(*right, name=1)


def test_right_arguments_leave_no_reference_behind(call: Any) -> None:
    function, right, _ = call
    held = references(right)
    for _ in range(10):
        assert function(*right) == function(*right)
    assert references(right) == held


# Function, and its arguments with an integer of 32 bits, then of 64.
INTEGERS: list[tuple[str, Callable[[int], list[Any]]]] = [
    ("uniform", lambda value: [value]),
    ("rank_key", lambda value: [0.0, value]),
    ("philox4x32", lambda value: [[1, 2, 3, value], KEY]),
    ("philox4x32", lambda value: [COUNTER, (5, value)]),
    ("packed_bytes", lambda value: [[value], 0, 0]),
    ("packed_bytes", lambda value: [SIZES, value, 0]),
    ("packed_bytes", lambda value: [SIZES, 0, value]),
    ("packed_filter_bytes", lambda value: [[value], SIZES, 0]),
    ("control_step_workspace", lambda value: [ENCODER, SIZES, 0, 0, *COUNTS[:-1], value]),
]


def test_integers_that_do_not_fit() -> None:
    """Some have thousands of digits, and so no text in Python (sys.set_int_max_str_digits)."""
    said = r"^\w+: expected a value in \[.*\], got (-?\d{1,19}|an integer of \d+ bits)$"
    for value in (-1, 2**32, 2**63, -(2**63) - 1, 10**4000, 10**5000):
        fits = -(2**63) <= value < 2**63
        for name, arguments in INTEGERS[:4] if fits else INTEGERS:
            with pytest.raises(ValueError, match=said):
                getattr(fused._C, name)(*arguments(value))


@pytest.mark.parametrize("count", [0, 3, 5, 1000])
def test_lists_of_another_length(count: int) -> None:
    with pytest.raises(ValueError, match=f"^counter: expected 4 integers, got {count}$"):
        fused._C.philox4x32([1] * count, KEY)
    with pytest.raises(ValueError, match=f"^key: expected 2 integers, got {count}$"):
        fused._C.philox4x32(COUNTER, (1,) * count)


def test_whatever_has_an_index_is_an_integer() -> None:
    words = fused._C.philox4x32(COUNTER, KEY)
    given = [Index(1), torch.tensor(2), True + 2, 4]
    assert fused._C.philox4x32(tuple(given), KEY) == words
    assert fused._C.uniform(Index(3)) == fused._C.uniform(3)


def test_errors_of_the_arguments_own_code_come_out_as_they_are() -> None:
    for raised in (ZeroDivisionError("x"), KeyboardInterrupt("y")):
        for counter in ([1, 2, Index(raised), 4], (1, 2, 3, Index(raised))):
            with pytest.raises(type(raised)) as caught:
                fused._C.philox4x32(counter, KEY)
            assert caught.value is raised
    with pytest.raises(TypeError, match="__index__ returned non-int"):
        fused._C.uniform(Index("3"))
    with pytest.raises(TypeError, match="only integer tensors"):
        fused._C.uniform(torch.ones(2))
    for kind in (Unsized, Unreadable):
        with pytest.raises(ZeroDivisionError):
            fused._C.packed_bytes(kind(SIZES), 0, 0)


def test_an_item_that_empties_its_list() -> None:
    class Emptying:
        def __index__(self) -> int:
            items.clear()
            return 1

    items: list[Any] = [Emptying(), *([2] * 3)]
    assert fused._C.philox4x32(items, KEY) == fused._C.philox4x32([1, 2, 2, 2], KEY)
    assert items == []


@pytest.mark.parametrize(
    "name", ["", "mmx", "AVX2", "avx2 ", f"{ISAS[0]}\0", "\U0001f680", "x" * 9999]
)
def test_names_of_no_instruction_set(name: str) -> None:
    before = fused._C.isa()
    with pytest.raises(ValueError, match=r"^isa: expected one of 'baseline'") as caught:
        fused._C.set_isa(name)
    assert name.partition("\0")[0] in str(caught.value)
    assert fused._C.isa() == before


def test_a_name_that_is_no_unicode() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        fused._C.set_isa("\udc80")


def test_sizes_that_are_no_model_are_refused() -> None:
    values = (-(2**63), -1, 2, 2**31, 2**63 - 1)
    for length in (0, 1, 7, 8):
        for first, other in itertools.product(values, repeat=2):
            sizes = [first, *[other] * (length - 1)] if length else []
            with pytest.raises(RuntimeError, match=r"^sizes"):
                fused._C.packed_bytes(sizes, 0, 0)
    for encoder in ([], [1], [2**63 - 1] * 2, [9, 5, 2**62, 1, 1], [9, 5, 1, -(2**63), 1]):
        with pytest.raises(RuntimeError, match=r"^encoder"):
            fused._C.packed_filter_bytes(encoder, SIZES, 0)
    with pytest.raises(RuntimeError, match=r"^sizes \(D\): expected a value in \[1, 512\], got 0"):
        fused._C.packed_filter_bytes(ENCODER, [0, *SIZES[1:]], 0)
    largest = fused._C.packed_filter_bytes([1024, 8, *[4096, 1, 1] * 16], SIZES, 0)
    assert 2**34 < largest < 2**62
    for isa, precision, name in ((-1, 0, "isa"), (99, 0, "isa"), (0, 7, "precision")):
        with pytest.raises(RuntimeError, match=f"^{name}: expected a value in"):
            fused._C.packed_bytes(SIZES, isa, precision)
