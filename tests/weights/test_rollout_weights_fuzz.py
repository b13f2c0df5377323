"""Makes random snapshots of either transition: accepted when right, else the argument is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_weights import Sizes
from torch import Tensor

from planet.weights.random import random_tensors
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import GRU_TENSORS, shapes

LISTS = ("reward_weights", "reward_biases")

sizes = st.builds(
    Sizes,
    belief=st.sampled_from([0, 0, 1, 4, 13]),
    state=st.integers(1, 12),
    action=st.integers(1, 9),
    hidden=st.integers(1, 20),
    reward=st.lists(st.integers(1, 12), max_size=3).map(tuple),
)


def arguments(size: Sizes) -> dict[str, object]:
    tensors = random_tensors(size, torch.Generator().manual_seed(0))
    return {"transition": "rssm" if size.belief else "ssm", **tensors}


@given(sizes)
def test_right_shapes_are_taken_and_sizes_read_off_them(size: Sizes) -> None:
    weights = RolloutWeights(**arguments(size))
    assert weights.sizes == size
    found = {name: tuple(tensor.shape) for name, tensor in weights.named_tensors().items()}
    assert list(found.items()) == list(shapes(size).items())
    assert replace(weights, activation="elu").belief_size == size.belief


@given(st.data(), sizes)
def test_a_tensor_of_another_shape_is_refused_by_name(data: st.DataObject, size: Sizes) -> None:
    good = arguments(size)
    name = data.draw(st.sampled_from([key for key in good if key != "transition"]))
    value = good[name]
    index = data.draw(st.integers(0, len(value) - 1)) if isinstance(value, list) else None
    tensor: Tensor = value if index is None else value[index]
    dim = data.draw(st.integers(0, tensor.dim() - 1))
    kind = data.draw(st.sampled_from(["longer", "empty", "fewer dims", "more dims"]))
    # S and M are read off two biases, and A off the width of the input layer: another length there
    # is another size, which the next tensors then disagree with.
    if kind == "longer":
        wrong = torch.cat([tensor, tensor.narrow(dim, 0, 1)], dim)
    elif kind == "empty":
        wrong = tensor.narrow(dim, 0, 0)
    else:
        wrong = tensor.select(dim, 0) if kind == "fewer dims" else tensor[None]
    bad = list(value) if isinstance(value, list) else wrong
    if index is not None:
        bad[index] = wrong
    another_action_size = name == "input_weight" and kind == "longer" and dim == 1
    if another_action_size:
        assert RolloutWeights(**(good | {name: bad})).action_size == size.action + 1
        return
    with pytest.raises(ValueError) as error:
        RolloutWeights(**(good | {name: bad}))
    named, _, rest = str(error.value).partition(":")
    assert named.partition("[")[0] in good
    assert "expected" in rest
    if name not in ("input_bias", "prior_bias", "gru_weight_hh", *LISTS):
        assert named == name


@given(st.data(), sizes)
def test_the_other_transition_s_tensors_are_refused(data: st.DataObject, size: Sizes) -> None:
    good = arguments(size)
    name = data.draw(st.sampled_from(GRU_TENSORS))
    if size.belief:
        with pytest.raises(TypeError) as missing:
            RolloutWeights(**(good | {name: None}))
        assert str(missing.value) == (f"{name}: expected a tensor for transition='rssm', got None")
    else:
        with pytest.raises(ValueError) as given_:
            RolloutWeights(**(good | {name: torch.zeros(data.draw(st.integers(0, 3)), 1)}))
        assert str(given_.value) == f"{name}: expected None for transition='ssm', got a value"
