"""Tests `FilterWeights`: copied once, checked once, immutable."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_filters import TINY_ENCODER, filter_tensors, inputs_for, make_filter
from random_weights import TINY, TINY_SSM, Sizes, make_weights
from small_models import make_model
from torch import Tensor, nn

from planet.latent import LatentState
from planet.weights.filter_weights import FilterWeights
from planet.weights.shapes import EncoderSizes

LISTS = ("encoder_weights", "encoder_biases")
D, S, M, E = TINY.belief, TINY.state, TINY.hidden, 3 * 2 * 2


def arguments(sizes: Sizes = TINY, encoder: EncoderSizes = TINY_ENCODER) -> dict[str, Any]:
    return {"rollout": make_weights(sizes), **filter_tensors(sizes, encoder)}


def same(one: FilterWeights, other: FilterWeights) -> bool:
    pairs = one.named_tensors(), other.named_tensors()
    assert list(pairs[0]) == list(pairs[1])
    return one.encoder == other.encoder and all(map(torch.equal, *(p.values() for p in pairs)))


def test_sizes_are_read_off_the_tensors() -> None:
    weights = FilterWeights(**arguments())
    assert weights.encoder == TINY_ENCODER
    assert weights.encoder.sides() == [9, 3, 2]
    assert weights.encoder.embedding() == E
    assert weights.rollout.sizes == TINY
    assert weights.device == torch.device("cpu")


def test_documented_shapes_are_the_table_s() -> None:
    documented = inspect.getdoc(FilterWeights)
    assert documented is not None
    for name, (layout, _) in TINY_ENCODER.shapes(TINY).items():
        if name.startswith("posterior"):
            assert f"\n  {name}: {layout}" in documented


def test_tensors_are_named_in_the_order_of_weight_files() -> None:
    weights = make_filter()
    table, own = TINY_ENCODER.shapes(TINY), weights.named_tensors(rollout=False)
    assert {name: tuple(x.shape) for name, x in own.items()} == {
        n: s for n, (_, s) in table.items()
    }
    assert list(own) == list(table)
    assert list(weights.named_tensors()) == [*weights.rollout.named_tensors(), *table]


def test_arguments_are_keyword_only_and_fields_are_frozen() -> None:
    weights = make_filter()
    with pytest.raises(TypeError):
        FilterWeights(make_weights())  # type: ignore[call-arg, misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        weights.image_size = 8  # type: ignore[misc]
    for name in (*LISTS, "encoder_strides"):
        assert isinstance(getattr(weights, name), tuple)


def test_later_changes_of_the_sources_have_no_effect(ops: ModuleType) -> None:
    source = arguments()
    weights = FilterWeights(**source)
    problem = inputs_for(weights, 2)
    before, first = copy.deepcopy(weights), problem.step(ops)
    for value in source.values():
        for tensor in value if isinstance(value, list) else [value]:
            if isinstance(tensor, Tensor):
                tensor.mul_(2.0)
        if isinstance(value, list):
            value.append(value[0])
    assert same(weights, before)
    assert equal(problem.step(ops), first)


def equal(got: LatentState, expected: LatentState) -> bool:
    return got.belief.equal(expected.belief) and got.state.equal(expected.state)


def test_a_snapshot_owns_contiguous_float32_without_gradients() -> None:
    source = arguments()
    source["encoder_weights"][0] = nn.Parameter(source["encoder_weights"][0].double())
    source["encoder_weights"][1] = source["encoder_weights"][1].to(
        memory_format=torch.channels_last
    )
    source["posterior_bias"] = source["posterior_bias"][:1].expand(2 * S)
    source["posterior_hidden_bias"] = source["posterior_hidden_bias"].bfloat16()
    weights = FilterWeights(**source)
    for tensor in weights.named_tensors().values():
        assert type(tensor) is Tensor
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
        assert tensor.untyped_storage().nbytes() == tensor.numel() * 4
    assert torch.equal(weights.encoder_weights[1], source["encoder_weights"][1])


def test_numbers_of_numpy_become_python_s() -> None:
    numbers = torch.tensor([9, 5, 2, 1]).numpy()
    weights = FilterWeights(**arguments() | {
        "image_size": numbers[0], "bit_depth": numbers[1], "encoder_strides": list(numbers[2:]),
    })  # fmt: skip
    assert weights.encoder == TINY_ENCODER
    assert {type(x) for x in (weights.image_size, weights.bit_depth, *weights.encoder_strides)} == {
        int
    }


def test_to_the_same_device_returns_the_snapshot_itself() -> None:
    weights = make_filter()
    assert weights.to("cpu") is weights
    assert weights.to(torch.device("cpu")) is weights


def test_to_another_device_moves_every_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """By tensors without values, for which the checks of values are taken away."""
    from planet.weights import filter_weights, rollout_weights

    for module in (filter_weights, rollout_weights):
        monkeypatch.setattr(module, "own", lambda name, value: value.detach().clone())
    monkeypatch.setattr(rollout_weights.RolloutWeights, "_check_values", lambda weights: None)
    monkeypatch.setattr(torch, "isfinite", lambda x: torch.ones(1, dtype=torch.bool))
    weights = make_filter()
    there = weights.to("meta")
    assert there.device.type == "meta"
    assert there.to("meta") is there
    assert {x.device.type for x in there.named_tensors().values()} == {"meta"}
    assert there.encoder == weights.encoder
    assert {x.device.type for x in weights.named_tensors().values()} == {"cpu"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_to_cuda_and_back_keeps_every_value() -> None:
    weights = make_filter(activation="elu", stddev="clamp")
    there = weights.to("cuda")
    assert there.device.type == "cuda"
    assert there.to("cuda") is there
    assert same(there.to("cpu"), weights)


def test_a_model_s_snapshot_has_its_sizes_and_values() -> None:
    model = make_model(image_size=16, encoder_channels=(4, 6, 5), bit_depth=3, activation="elu")
    weights = model.filter_weights()
    assert weights.encoder == EncoderSizes(16, 3, (4, 6, 5), (3,) * 3, (2,) * 3)
    assert weights.rollout.activation == "elu"
    assert weights.encoder.embedding() == model.embedding_size
    assert weights.encoder_weights[2].equal(model.encoders["image"].layers[4].weight)
    assert weights.posterior_weight.equal(model.latent_model.posterior_head.weight)


def test_a_model_with_another_encoder_has_no_snapshot() -> None:
    model = make_model()
    model.encoders["image"].layers[0].padding = (1, 1)
    with pytest.raises(ValueError, match=r"encoder\[0\]: expected padding"):
        model.filter_weights()
    model.encoders["image"] = nn.Sequential(*model.encoders["image"].layers)  # type: ignore[assignment]
    with pytest.raises(TypeError, match="encoder: expected Encoder, got Sequential"):
        model.filter_weights()


# ---- copies and pickles ----


def test_what_a_backend_packed_stays_with_its_snapshot(ops: ModuleType) -> None:
    weights = make_filter()
    first = inputs_for(weights, 2).step(ops)
    weights._cache["packed"] = weights.rollout._cache["packed"] = torch.zeros(3)
    for twin in (copy.copy(weights), copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))):
        assert twin._cache == {}
        assert "packed" not in twin.rollout._cache or twin.rollout is weights.rollout
        assert same(twin, weights)
        assert equal(inputs_for(twin, 2).step(ops), first)
    assert "packed" in weights._cache


def test_replaced_weights_are_packed_anew(ops: ModuleType) -> None:
    weights = make_filter()
    first = inputs_for(weights, 2).step(ops)
    for change in (
        {"posterior_bias": weights.posterior_bias + 1},
        {"bit_depth": 3},
        {"rollout": make_weights(activation="elu")},
    ):
        other = dataclasses.replace(weights, **change)
        assert not equal(inputs_for(other, 2).step(ops), first)
        assert equal(inputs_for(dataclasses.replace(other, **vars_of(weights)), 2).step(ops), first)


def vars_of(weights: FilterWeights) -> dict[str, Any]:
    return {f.name: getattr(weights, f.name) for f in dataclasses.fields(weights) if f.init}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("posterior_bias", torch.zeros(7), r"posterior_bias: expected shape \[6\]"),
        ("encoder_weights", (), r"encoder_biases: expected one per layer \(0\), got 2"),
        ("encoder_strides", (2, 0), r"encoder_strides\[1\]: expected a value >= 1, got 0"),
        ("image_size", 10.0, "image_size: expected an int, got float"),
        ("rollout", None, "rollout: expected RolloutWeights, got NoneType"),
    ],
)
def test_a_pickle_is_checked_as_new_weights_are(name: str, value: object, message: str) -> None:
    weights = make_filter()
    object.__setattr__(weights, name, value)
    stored = pickle.dumps(weights)
    with pytest.raises((TypeError, ValueError), match=message):
        pickle.loads(stored)


def test_a_pickle_with_more_than_weights_is_refused() -> None:
    weights = make_filter()
    twin = FilterWeights.__new__(FilterWeights)
    twin.__setstate__({**weights.__getstate__(), "_cache": {"packed": torch.zeros(3)}})
    assert twin._cache == {}
    with pytest.raises(ValueError, match=r"weights: expected a pickle with .*, got \['momentum'\]"):
        twin.__setstate__({"momentum": 0.9})


def test_a_repr_shows_sizes_and_no_values() -> None:
    shown = repr(make_filter())
    assert shown.startswith("FilterWeights(rollout=RolloutWeights(")
    assert "encoder_weights=(float32 [4, 3, 4, 4], float32 [3, 4, 2, 2])" in shown
    assert shown.endswith("posterior_bias=float32 [6], image_size=9, bit_depth=5)")
    assert len(shown) < 700


# ---- mistakes ----

ONES = torch.ones(4)
PIXELS = "pixels, which its input has per side"
HUGE = torch.full((4,), 1e300, dtype=torch.float64)
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"rollout": None}, TypeError, "rollout: expected RolloutWeights, got NoneType"),
    ({"rollout": make_weights(TINY_SSM)}, ValueError,
     "rollout: expected transition='rssm', got 'ssm', whose filter is not available yet"),
    *(({name: ONES}, TypeError, f"{name}: expected a sequence, got Tensor")
      for name in (*LISTS, "encoder_strides")),
    ({"encoder_weights": None}, TypeError, "encoder_weights: expected a sequence, got NoneType"),
    ({"encoder_weights": ["x", "y"]}, TypeError,
     "encoder_weights[0]: expected a tensor, got str"),
    ({"encoder_weights": [torch.zeros(4, 3, 4, 4).int()] * 2}, TypeError,
     "encoder_weights[0]: expected a floating point tensor, got torch.int32"),
    ({"encoder_weights": [torch.zeros(4, 3, 4)] * 2}, ValueError,
     "encoder_weights[0]: expected shape [C', C, k, k], got [4, 3, 4]"),
    ({"encoder_weights": [torch.zeros(0, 3, 4, 4)] * 2}, ValueError,
     "encoder_weights[0]: expected 1 <= C' <= 4096, got 0"),
    ({"encoder_weights": [torch.zeros(4097, 3, 1, 1)] * 2}, ValueError,
     "encoder_weights[0]: expected 1 <= C' <= 4096, got 4097"),
    ({"encoder_weights": [torch.zeros(4, 1, 4, 4), torch.zeros(3, 4, 2, 2)]}, ValueError,
     "encoder_weights[0]: expected shape [4, 3, 4, 4] ([C', C, k, k]), got [4, 1, 4, 4]"),
    ({"encoder_weights": [torch.zeros(4, 3, 4, 4), torch.zeros(3, 3, 2, 2)]}, ValueError,
     "encoder_weights[1]: expected shape [3, 4, 2, 2] ([C', C, k, k]), got [3, 3, 2, 2]"),
    ({"encoder_weights": [torch.zeros(4, 3, 3, 4), torch.zeros(3, 4, 2, 2)]}, ValueError,
     "encoder_weights[0]: expected shape [4, 3, 3, 3] ([C', C, k, k]), got [4, 3, 3, 4]"),
    ({"encoder_weights": [torch.zeros(4, 3, 10, 10), torch.zeros(3, 4, 2, 2)]}, ValueError,
     f"encoder_weights[0]: expected a kernel of 1 to 9 {PIXELS}, got 10"),
    ({"encoder_weights": [torch.zeros(4, 3, 0, 0), torch.zeros(3, 4, 2, 2)]}, ValueError,
     f"encoder_weights[0]: expected a kernel of 1 to 9 {PIXELS}, got 0"),
    ({"encoder_weights": [torch.zeros(4, 3, 4, 4), torch.zeros(3, 4, 4, 4)]}, ValueError,
     f"encoder_weights[1]: expected a kernel of 1 to 3 {PIXELS}, got 4"),
    ({"encoder_weights": [torch.zeros(1, 3, 1, 1)] * 17}, ValueError,
     "encoder_weights: expected at most 16 layers, got 17"),
    ({"encoder_biases": [ONES]}, ValueError, "encoder_biases: expected one per layer (2), got 1"),
    ({"encoder_biases": [ONES, ONES]}, ValueError,
     "encoder_biases[1]: expected shape [3] ([C']), got [4]"),
    ({"encoder_biases": [HUGE, torch.zeros(3)]}, ValueError,
     "encoder_biases[0]: expected finite values, got 4 NaN or infinite"),
    ({"encoder_strides": [2]}, ValueError, "encoder_strides: expected one per layer (2), got 1"),
    ({"encoder_strides": [2, 0]}, ValueError, "encoder_strides[1]: expected a value >= 1, got 0"),
    ({"encoder_strides": [2.0, 1]}, TypeError, "encoder_strides[0]: expected an int, got float"),
    ({"posterior_hidden_weight": torch.zeros(M, D)}, ValueError,
     "posterior_hidden_weight: expected shape [7, 17] ([M, D+E]), got [7, 5]"),
    ({"posterior_hidden_bias": torch.zeros(M, device="meta")}, ValueError,
     "posterior_hidden_bias: expected a dense tensor with data, got torch.strided on meta"),
    ({"posterior_hidden_bias": torch.full((M,), torch.nan)}, ValueError,
     "posterior_hidden_bias: expected finite values, got 7 NaN or infinite"),
    ({"posterior_weight": torch.zeros(S, M)}, ValueError,
     "posterior_weight: expected shape [6, 7] ([2S, M]), got [3, 7]"),
    ({"posterior_bias": None}, TypeError, "posterior_bias: expected a tensor, got NoneType"),
    ({"image_size": 0}, ValueError, "image_size: expected a value >= 1, got 0"),
    ({"image_size": 1025}, ValueError, "image_size: expected a value <= 1024, got 1025"),
    ({"image_size": True}, TypeError, "image_size: expected an int, got bool"),
    ({"image_size": 11}, ValueError,
     "posterior_hidden_weight: expected shape [7, 32] ([M, D+E]), got [7, 17]"),
    ({"bit_depth": 0}, ValueError, "bit_depth: expected a value >= 1, got 0"),
    ({"bit_depth": 9}, ValueError, "bit_depth: expected a value <= 8, got 9"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_a_bad_snapshot_is_refused_with_argument_expected_and_received(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        FilterWeights(**(arguments() | change))
    assert str(error.value) == message


@given(st.data())
def test_encoders_of_any_sizes_are_taken_or_refused_by_name(data: st.DataObject) -> None:
    layers = data.draw(st.lists(st.tuples(*[st.integers(1, 6)] * 3), max_size=4))
    image = data.draw(st.integers(1, 24))
    channels, kernels, strides = zip(*layers, strict=True) if layers else ((), (), ())
    encoder = EncoderSizes(image, 5, channels, kernels, strides)
    try:
        encoder.sides()
    except ValueError as error:
        assert str(error).startswith("encoder_weights[")
        return
    weights = FilterWeights(**arguments(encoder=encoder))
    assert weights.encoder == encoder
    assert weights.posterior_hidden_weight.shape == (M, D + encoder.embedding())
