"""Filters and takes control steps at random: the right answer, or an error naming an argument."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from ops.fused_support import ISAS, isa, needs_extension, threads
from ops.step_calls import equal, make_call
from ops.test_filter_step import exact
from ops.test_fused_fuzz import disturbed, same_error
from ops.tolerances import FILTER_STEP, latent_error
from random_filters import FilterProblem, make_filter_problem
from random_weights import Sizes

from planet.latent import LatentState
from planet.ops import fused, reference
from planet.weights.shapes import EncoderSizes

pytestmark = needs_extension

sizes = st.builds(
    Sizes, belief=st.integers(1, 40), state=st.integers(1, 20), action=st.integers(1, 9),
    hidden=st.integers(1, 40), reward=st.just(()),
)  # fmt: skip
forms = st.sampled_from([("relu", "add"), ("elu", "add"), ("relu", "clamp"), ("elu", "clamp")])


@st.composite
def encoders(draw: st.DrawFn) -> EncoderSizes:
    side = image = draw(st.integers(1, 33))
    layers: list[tuple[int, int, int]] = []
    for _ in range(draw(st.integers(0, 4))):
        kernel, stride = draw(st.integers(1, min(5, side))), draw(st.integers(1, 3))
        layers.append((draw(st.sampled_from([1, 2, 3, 8, 15, 17, 31, 65])), kernel, stride))
        side = (side - kernel) // stride + 1
    channels, kernels, strides = zip(*layers, strict=True) if layers else ((), (), ())
    return EncoderSizes(image, draw(st.integers(1, 8)), channels, kernels, strides)


@given(sizes, encoders(), st.integers(1, 9), forms, st.integers(0, 99), st.integers(1, 4))
def test_a_filter_step_of_any_sizes_agrees_with_float64(
    size: Sizes, encoder: EncoderSizes, batch: int, form: tuple[str, str], seed: int, count: int
) -> None:
    activation, stddev = form
    how = {"activation": activation, "stddev": stddev, "seed": seed}
    problem = make_filter_problem(size, encoder, batch, **how)
    expected = exact(problem)
    assert latent_error(problem.step(reference), expected) < FILTER_STEP
    for name in ISAS:
        with isa(name), threads(count):
            assert latent_error(problem.step(fused), expected) < FILTER_STEP


@given(sizes, encoders(), st.integers(1, 4), forms, st.data())
def test_a_control_step_of_any_sizes_is_its_parts(
    size: Sizes, encoder: EncoderSizes, batch: int, form: tuple[str, str], data: st.DataObject
) -> None:
    counts = data.draw(st.lists(st.integers(2, 70), min_size=1, max_size=3))
    topk, (activation, stddev) = data.draw(st.integers(2, min(counts))), form
    changes: dict[str, Any] = {
        "candidates": counts, "topk": topk, "keep": data.draw(st.integers(0, topk)),
        "iterations": len(counts), "shift": data.draw(st.integers(0, 2)),
        "output": data.draw(st.integers(0, 1)), "momentum": data.draw(st.sampled_from([0.0, 0.7])),
        "spread": data.draw(st.integers(0, 1)),
        "exploration_stddev": data.draw(st.sampled_from([None, 0.0, 0.3, 5.0])),
        "state_noise": data.draw(st.booleans()), "discount": data.draw(st.sampled_from([1.0, 0.5])),
    }  # fmt: skip
    horizon, how = data.draw(st.integers(1, 4)), {"activation": activation, "stddev": stddev}
    with isa(data.draw(st.sampled_from(ISAS))), threads(data.draw(st.integers(1, 4))):
        call = make_call(size, encoder, batch, horizon, how=how, **changes)
        call.run()
        assert equal(call.outputs(), call.apart())


@given(st.data())
def test_a_filter_step_gives_the_right_answer_or_names_the_argument(data: st.DataObject) -> None:
    right = make_filter_problem(batch=data.draw(st.integers(1, 4)))
    latent = LatentState(
        data.draw(disturbed(right.latent.belief)), data.draw(disturbed(right.latent.state))
    )
    parts = (data.draw(disturbed(x)) for x in (right.action, right.observation, right.seeds))
    problem = FilterProblem(right.weights, latent, *parts)

    def outcome(ops: Any) -> Any:
        try:
            return problem.step(ops)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(("latent", "action: ", "observation: ", "seeds: "))
            assert "expected" in str(error)
            return error

    expected = outcome(reference)
    for name in ISAS:
        with isa(name):
            got = outcome(fused)
        if not same_error(got, expected):
            assert latent_error(got, expected) < 2 * FILTER_STEP
            assert got.state.dtype == torch.float32
