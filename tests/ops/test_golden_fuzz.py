"""Compares int8 of both backends with the golden program's equations, on random models."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from golden.make_golden import evaluate
from golden.model import Case
from hypothesis import assume, given
from hypothesis import strategies as st
from ops.test_golden import inputs, snapshot
from ops.tolerances import INT8_MEDIAN, int8_errors

from planet.noise import Noise
from planet.ops import backend, fused

HAS_INT8 = [
    "reference",
    *(["fused"] if fused._C is not None and "int8" in fused._C.precisions() else []),
]

cases = st.builds(
    Case,
    seed=st.integers(0, 2**32),
    belief=st.sampled_from([0, 0, 1, 5, 16, 33]),
    state=st.integers(1, 20),
    action=st.integers(1, 9),
    hidden=st.integers(1, 40),
    reward=st.lists(st.integers(1, 30), max_size=3).map(tuple),
    activation=st.sampled_from(["relu", "elu"]),
    stddev=st.sampled_from(["add", "clamp"]),
    min_stddev=st.sampled_from([0.1, 0.7]),
    batch=st.integers(1, 2),
    horizon=st.integers(1, 5),
    candidates=st.integers(9, 40),
    discount=st.sampled_from([1.0, 0.9]),
    start_belief=st.sampled_from([0.8, 3.0]),
    per_candidate=st.booleans(),
    precision=st.just("int8"),
)


@pytest.fixture(params=HAS_INT8)
def each(request: pytest.FixtureRequest) -> ModuleType:
    return backend(request.param)


@given(case=cases)
def test_int8_returns_are_those_of_the_golden_program(each: ModuleType, case: Case) -> None:
    try:
        golden = evaluate(case)
    except SystemExit:  # rewards cancel: float32 cannot be told from a mistake
        assume(False)
    latent, actions, seeds = inputs(case)
    for noise, name in ((Noise(seeds, 5, 2), "returns_noise"), (None, "returns_mean")):
        got = each.rollout_returns(
            snapshot(case), latent, actions, noise, discount=case.discount, precision="int8"
        )
        assert int8_errors(got, torch.from_numpy(golden[name]))[0] <= INT8_MEDIAN
