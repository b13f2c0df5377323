"""Compares int8 and bf16 of both backends with the golden program's equations, on random models."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from golden.make_golden import evaluate
from golden.model import Case
from hypothesis import assume, given
from hypothesis import strategies as st
from ops.fused_support import KERNELS, isa
from ops.test_golden import inputs, snapshot
from ops.tolerances import INT8_MEDIAN, bf16_bounds, half_errors, int8_errors

from planet.noise import Noise
from planet.ops import backend

EACH = [
    *(("reference", None, precision) for precision in ("int8", "bf16")),
    *(("fused", name, precision) for name, precision in KERNELS if precision != "fp32"),
]
BOUNDS = {  # of the median; what approximate functions leave has no sharper one, see bf16_bounds
    ("int8", "reference"): INT8_MEDIAN,
    ("int8", "fused"): INT8_MEDIAN,
    ("bf16", "reference"): bf16_bounds(fused=False)[0],
    ("bf16", "fused"): bf16_bounds()[1],
}

edges = st.sampled_from([1, 2, 13, 15, 16, 17, 28, 29, 31, 32, 33, 60, 61, 64, 65])

cases = st.builds(
    Case,
    seed=st.integers(0, 2**32),
    belief=st.sampled_from([0, 0, 1, 5, 16, 28, 29, 33]),
    state=st.integers(1, 20) | edges,
    action=st.integers(1, 9),
    hidden=st.integers(1, 40) | edges,
    reward=st.lists(st.integers(1, 30) | edges, max_size=3).map(tuple),
    activation=st.sampled_from(["relu", "elu"]),
    stddev=st.sampled_from(["add", "clamp"]),
    min_stddev=st.sampled_from([0.1, 0.7]),
    batch=st.integers(1, 2),
    horizon=st.integers(1, 5),
    candidates=st.integers(9, 40),
    discount=st.sampled_from([1.0, 0.9]),
    start_belief=st.sampled_from([0.8, 3.0]),
    per_candidate=st.booleans(),
)


@pytest.mark.parametrize(("name", "isa_name", "precision"), EACH)
@given(case=cases)
def test_returns_are_those_of_the_golden_program(
    name: str, isa_name: str | None, precision: str, case: Case
) -> None:
    try:
        golden = evaluate(replace(case, precision=precision))
    except SystemExit:  # rewards cancel: float32 cannot be told from a mistake
        assume(False)
    latent, actions, seeds = inputs(case)
    bound = BOUNDS[precision, name]
    for noise, key in ((Noise(seeds, 5, 2), "returns_noise"), (None, "returns_mean")):
        with isa(isa_name) if isa_name else nullcontext():
            got = backend(name).rollout_returns(
                snapshot(case), latent, actions, noise, discount=case.discount, precision=precision
            )
        expected = torch.from_numpy(golden[key])
        error = (int8_errors if precision == "int8" else half_errors)(got, expected)[0]
        assert error <= bound
