"""The op `control_step` against what it is made of: filter, plan and exploration noise."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from ops.fused_support import KERNELS, isa, needs_extension, threads
from ops.step_calls import OVER_TIME, StepCall, bytes_of, equal, make_call
from random_weights import PRESET_SIZES, TINY, Sizes

from planet.acting.timeline import STAGES, WHOLE
from planet.weights.shapes import EncoderSizes

pytestmark = needs_extension

each_kernel = pytest.mark.parametrize(("name", "precision"), KERNELS)
SMALL = PRESET_SIZES["small"], EncoderSizes(32, 5, (8, 16, 32), (4, 4, 4), (2, 2, 2))


@each_kernel
@pytest.mark.parametrize(
    "changes",
    [
        {}, {"exploration_stddev": None}, {"exploration_stddev": 0.0},
        {"state_noise": False, "discount": 0.9, "spread": 1, "epsilon": 0.5},
        {"iterations": 1, "candidates": [1], "topk": 1}, {"candidates": [131], "topk": 131},
        {"exploration_stddev": 1e30}, {"candidates": [40, 30, 17], "momentum": 0.1},
        {"shift": 1}, {"shift": 2, "temperature": 0.5}, {"shift": 1, "keep": 5, "output": 1},
        {"shift": 2, "keep": 6, "candidates": [40, 9, 6], "momentum": 0.5}, {"keep": 2},
    ],
    ids=str,
)  # fmt: skip
def test_a_step_is_its_parts_bit_for_bit(
    name: str, precision: str, changes: dict[str, Any]
) -> None:
    with isa(name):
        for batch, horizon in ((1, 1), (3, 5)):
            call = make_call(batch=batch, horizon=horizon, precision=precision, **changes)
            assert call.run() == call["iterations"]
            assert equal(call.outputs(), call.apart())
            assert call["finite"].tolist() == [1] * batch


@each_kernel
@pytest.mark.parametrize("how", [{"activation": "elu"}, {"activation": "elu", "stddev": "clamp"}])
def test_models_of_every_form_are_stepped_by_their_parts(
    name: str, precision: str, how: dict[str, Any]
) -> None:
    for sizes, encoder in (
        (Sizes(33, 17, 1, 65, (7,)), EncoderSizes(7, 3, (), (), ())),
        (Sizes(1, 1, 9, 1, ()), EncoderSizes(1, 8, (17,), (1,), (3,))),
        SMALL,
    ):
        with isa(name):
            call = make_call(sizes, encoder, 2, precision=precision, how=how)
            call.run()
            assert equal(call.outputs(), call.apart())


@each_kernel
def test_bits_do_not_depend_on_threads_the_run_or_spans(name: str, precision: str) -> None:
    with isa(name):
        for batch in (1, 2, 7):
            call = make_call(*SMALL, batch, precision=precision, spans=40)
            with threads(1):
                call.run(spans=None)
            alone = call.outputs()
            for count in (1, 2, 3, 4, 8):
                call["workspace"].random_(generator=torch.Generator().manual_seed(count))
                with threads(count):
                    call.run()
                assert equal(call.outputs(), alone)


@each_kernel
def test_a_row_does_not_depend_on_the_others(name: str, precision: str) -> None:
    with isa(name):
        call = make_call(batch=9, precision=precision, shift=1, keep=2)
        call.run()
        whole = call.outputs()
        for rows in ([0], [8], [5, 6, 7], [*range(8, -1, -1)], [2, 2]):
            part = call.rows(rows)
            part.run()
            expected = {k: v[:, rows] if k in OVER_TIME else v[rows] for k, v in whole.items()}
            assert equal(part.outputs(), expected)


def test_steps_and_episodes_draw_numbers_of_their_own() -> None:
    call = make_call(batch=4)
    same = {name: call[name][:1].expand(4, *call[name].shape[1:]).contiguous()
            for name in ("frames", "action", "belief", "state", "low", "high", "first_mean",
                         "first_stddev")}  # fmt: skip
    call.run(**same, episode_seeds=torch.tensor([5, 5, 5, 6]), steps=torch.tensor([0, 1, 0, 0]))
    got = call["next_action"]
    assert got[0].equal(got[2])
    assert len({tuple(row.tolist()) for row in got}) == 3


@pytest.mark.parametrize("explore", [None, 0.3])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_row_that_is_not_finite_is_marked_and_spoils_no_other(
    bad: float, explore: float | None
) -> None:
    call = make_call(batch=4, exploration_stddev=explore)
    call.run()
    clean = call.outputs()
    call["belief"][2, 1] = bad
    call.run()
    others = [0, 1, 3]
    assert call["finite"].tolist() == [1, 1, 0, 1]
    assert call["next_action"][others].equal(clean["next_action"][others])
    assert call["next_belief"][others].equal(clean["next_belief"][others])
    assert equal(call.outputs(), call.apart())


def test_a_first_distribution_that_is_not_finite_is_marked() -> None:
    call = make_call(batch=3)
    call["first_stddev"][1] = torch.nan
    call.run()
    assert call["finite"].tolist() == [1, 0, 1]
    assert call["next_action"][1].isnan().all()


@each_kernel
def test_normals_that_are_mixed_along_time_are_those_of_a_plan(name: str, precision: str) -> None:
    mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    with isa(name):
        for keep in (0, 3):
            call = make_call(batch=2, precision=precision, mix=mix, keep=keep, shift=keep and 1)
            call.run()
            assert equal(call.outputs(), call.apart())


def test_a_budget_stops_after_the_first_iteration() -> None:
    call = make_call(iterations=7)
    first = make_call(iterations=1)
    assert call.run(budget_ms=1e-9) == 1
    assert first.run() == 1
    assert equal(call.outputs(), first.outputs())
    for budget in (1e300, float("inf"), float("nan")):
        assert call.run(budget_ms=budget) == 7


# ---- memory ----


@each_kernel
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_workspace_that_is_asked_for_is_enough_and_nothing_else_is_written(
    name: str, precision: str, count: int
) -> None:
    sizes = [
        (Sizes(1, 1, 1, 1, ()), EncoderSizes(1, 5, (), (), ()), 1, 1, 1),
        (Sizes(3, 2, 2, 513 - 1, ()), EncoderSizes(13, 5, (1, 65), (3, 11), (1, 1)), 5, 2, 3),
        (Sizes(2, 512, 1, 2, ()), EncoderSizes(5, 5, (300,), (2,), (1,)), 3, 1, 2),
        (TINY, EncoderSizes(31, 5, (), (), ()), 2, 3, 300),
    ]
    with isa(name), threads(count):
        for (model, encoder, batch, horizon, candidates), keep in product(sizes, (0, 1)):
            call = make_call(
                model, encoder, batch, horizon, precision, candidates=[candidates], topk=1,
                keep=keep,
            )  # fmt: skip
            size = bytes_of(call.weights, precision, horizon, batch, candidates, 1, keep=keep)
            guarded = {n: Guarded(call[n]) for n in (*call.outputs(), "workspace")}
            guarded["workspace"] = Guarded(call["workspace"][:size])
            call.run(**{name: guard.tensor for name, guard in guarded.items()})
            assert all(guard.whole() for guard in guarded.values())
            with pytest.raises(RuntimeError, match=r"workspace \(bytes\): expected a value in"):
                call.run(workspace=call["workspace"][: size - 1])


class Guarded:
    """A tensor, a copy of another one, with bytes around it that nobody writes."""

    MARGIN, MARK = 4096, 0x5A

    def __init__(self, like: torch.Tensor) -> None:
        size = like.numel() * like.element_size()
        self.memory = torch.full((size + 2 * self.MARGIN + 64,), self.MARK, dtype=torch.uint8)
        self.first = self.MARGIN + -self.memory.data_ptr() % 64
        self.last = self.first + size
        self.tensor = self.memory[self.first : self.last].view(like.dtype).view(like.shape)
        self.tensor.copy_(like)

    def whole(self) -> bool:
        outside = torch.cat([self.memory[: self.first], self.memory[self.last :]])
        return bool((outside == self.MARK).all())


def test_more_threads_than_the_workspace_is_for_are_refused() -> None:
    call = make_call(batch=1)
    small = bytes_of(call.weights, "fp32", 4, 1, 40, 6, threads=1)
    workspace = torch.zeros(small, dtype=torch.uint8)
    with threads(1):
        call.run(workspace=workspace)
    with threads(8), pytest.raises(RuntimeError, match=r"workspace \(bytes\): expected a value"):
        call.run(workspace=workspace)


# ---- spans ----


def spans_of(call: StepCall) -> list[list[int]]:
    table: list[list[int]] = call["spans"].tolist()
    return table[1 : 1 + table[0][0]]


@pytest.mark.parametrize("count", [1, 2])
def test_spans_are_nested_and_in_order(count: int) -> None:
    call = make_call(batch=3, spans=64, iterations=4)
    with threads(count):
        call.run()
    spans = spans_of(call)
    rounds = [(stage, i) for i in range(4) for stage in ("rollouts", "selection", "refit")]
    filtered = [(stage, -1) for stage in ("images", "encoder", "belief", "posterior", "filter")]
    expected = [*filtered, *rounds, ("plan", -1), ("explore", -1)]
    assert [(STAGES[stage], i) for stage, i, *_ in spans] == expected
    ends = [end for *_, end, _ in spans]
    assert ends == sorted(ends)
    assert all(begin <= end and cpu >= 0 for *_, begin, end, cpu in spans)
    wholes = {STAGES[stage]: (begin, end) for stage, _, begin, end, _ in spans}
    inner = [span for span in spans if STAGES[span[0]] in WHOLE]
    for stage, _, begin, end, _ in inner:
        first, last = wholes[WHOLE[STAGES[stage]]]
        assert first <= begin <= end <= last
    for (*_, last, _), (_, _, first, *_) in zip(inner, inner[1:], strict=False):
        assert last <= first
    assert (call["spans"][1 + len(spans) :] == -7).all()


@pytest.mark.parametrize("capacity", [0, 1, 12])
def test_spans_that_do_not_fit_are_dropped(capacity: int) -> None:
    call = make_call(spans=64)
    call.run()
    table = torch.full((64, 5), -7, dtype=torch.int64)
    call.run(spans=table[: 1 + capacity])
    assert table[0].tolist() == [capacity, -7, -7, -7, -7]
    assert table[1 : 1 + capacity, 0].equal(call["spans"][1 : 1 + capacity, 0])
    assert (table[1 + capacity :] == -7).all()


def test_without_a_budget_s_iterations_there_are_no_spans_of_them() -> None:
    call = make_call(spans=64, iterations=9)
    call.run(budget_ms=1e-9)
    assert max(i for _, i, *_ in spans_of(call)) == 0
