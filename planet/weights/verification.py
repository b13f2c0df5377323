"""Compares a snapshot with the model that it was taken from: `RolloutWeights.verify`.

The transition is written once more here, in float64 and with the ways to read the same tensors that
other code bases have. So a difference can be told by its cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from planet.errors.checks import check_floating, check_shape
from planet.errors.scalars import check_int, check_positive
from planet.noise import check_seed
from planet.weights.parameters import ACTIVATIONS, STDDEVS

Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]
"""(belief [N, D], state [N, S], action [N, A]) -> (belief [N, D], prior mean [N, S], prior stddev
[N, S], reward [N]) and, with continuation, the logit of going on [N]; see
`RolloutWeights.verify`."""

OUTPUTS = ("belief", "prior mean", "prior stddev", "reward", "continuation logit")
"""The last one of weights with continuation only."""

_LAYOUTS = ("[N, D]", "[N, S]", "[N, S]", "[N]", "[N]")
_SERVED = {"activation": ACTIVATIONS, "stddev": STDDEVS}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "elu": F.elu, "silu": F.silu, "tanh": torch.tanh, "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
}  # fmt: skip
_STDDEVS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": lambda raw, least: F.softplus(raw) + least,
    "clamp": lambda raw, least: F.softplus(raw).clamp(min=least),
    "exp": lambda raw, least: raw.exp(),
    "2 sigmoid(raw / 2) + min_stddev": lambda raw, least: 2 * torch.sigmoid(raw / 2) + least,
}
_MINIMA = (0.1, 0.01, 1e-4, 0.0)  # that published models have
_CONTINUATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "the logit of going on": lambda logit: logit,
    "the probability of going on": torch.sigmoid,
    "the logit of ending": lambda logit: -logit,
}


@dataclass(frozen=True)
class _Reading:
    """Is one way to read a snapshot's tensors; the defaults are this project's."""

    activation: str
    stddev: str
    min_stddev: float
    raw_offset: float = 0.0  # added to the raw stddev
    gates: str = "rzn"  # order of the GRU's rows
    reset: str = "after"
    action_first: bool = False  # columns of the input layer
    stddev_first: bool = False  # rows of the prior
    residual: bool = False  # the mean is added to the state
    state_first: bool = False  # columns of the reward's first layer
    logit_first: bool = False  # rows of the reward's last layer
    continuation: str = "the logit of going on"


class _Model:
    """Computes a `RolloutWeights` in float64 on the CPU."""

    def __init__(self, weights: Any) -> None:
        self._weights = weights
        self.own = _Reading(weights.activation, weights.stddev, float(weights.min_stddev))

    def outputs(self, start: list[Tensor], reading: _Reading) -> list[Tensor]:
        """Computes a step's outputs from `start`: belief, state and action."""
        activate = _ACTIVATIONS[reading.activation]
        belief, mean, raw = self.prior(start, reading)
        stddev = _STDDEVS[reading.stddev](raw + reading.raw_offset, reading.min_stddev)
        features = torch.cat([mean, belief] if reading.state_first else [belief, mean], dim=-1)
        layers = zip(self._weights.reward_weights, self._weights.reward_biases, strict=True)
        for i, (weight, bias) in enumerate(layers):
            features = F.linear(activate(features) if i else features, _exact(weight), _exact(bias))
        head = features.unbind(-1)
        if len(head) == 1:
            return [belief, mean, stddev, *head]
        reward, logit = reversed(head) if reading.logit_first else head
        return [belief, mean, stddev, reward, _CONTINUATIONS[reading.continuation](logit)]

    def prior(self, start: list[Tensor], reading: _Reading) -> tuple[Tensor, Tensor, Tensor]:
        """Returns belief, mean and raw stddev."""
        belief, state, action = start
        activate = _ACTIVATIONS[reading.activation]
        x = torch.cat([action, state] if reading.action_first else [state, action], dim=-1)
        source = activate(self._linear("input", x))
        if self._weights.transition == "rssm":
            source = belief = self._next_belief(source, belief, reading)
        out = self._linear("prior", activate(self._linear("prior_hidden", source)))
        mean, raw = out.chunk(2, dim=-1)
        if reading.stddev_first:
            mean, raw = raw, mean
        return belief, state + mean if reading.residual else mean, raw

    def _linear(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (getattr(self._weights, f"{name}_{part}") for part in ("weight", "bias"))
        return F.linear(x, _exact(weight), _exact(bias))

    def _next_belief(self, x: Tensor, belief: Tensor, reading: _Reading) -> Tensor:
        weights = self._weights
        from_x = F.linear(x, _exact(weights.gru_weight_ih), _exact(weights.gru_bias_ih))
        from_h = F.linear(belief, _exact(weights.gru_weight_hh), _exact(weights.gru_bias_hh))
        of_x = dict(zip(reading.gates, from_x.chunk(3, -1), strict=True))
        of_h = dict(zip(reading.gates, from_h.chunk(3, -1), strict=True))
        reset, update = (torch.sigmoid(of_x[gate] + of_h[gate]) for gate in "rz")
        if reading.reset == "before":
            rows = reading.gates.index("n")
            weight = _exact(weights.gru_weight_hh).chunk(3)[rows]
            candidate = F.linear(reset * belief, weight, _exact(weights.gru_bias_hh).chunk(3)[rows])
        else:
            candidate = reset * of_h["n"]
        new = torch.tanh(of_x["n"] + candidate)
        return (1 - update) * new + update * belief


def verify(weights: Any, step: Step, samples: int, tolerance: float, seed: int) -> None:
    """Raises at the first difference; see `RolloutWeights.verify`."""
    if not callable(step):
        raise TypeError(
            "step: expected a function of belief [N, D], state [N, S] and action [N, A], got "
            f"{type(step).__name__}"
        )
    samples, seed = check_int("samples", samples, 1), check_seed(seed)
    tolerance = check_positive("tolerance", tolerance)
    start = _random_start(weights, samples, seed)
    with torch.no_grad():
        outputs = step(*(x.to(weights.device, copy=True) for x in start))
        received = _received(outputs, weights, samples)
        exact, model = [_exact(x) for x in start], _Model(weights)
        expected = model.outputs(exact, model.own)
        for name, ours, theirs in zip(_names(weights), expected, received, strict=True):
            wrong = _wrong(ours, theirs, tolerance)
            if wrong.any():
                cause = _cause(model, exact, received, tolerance)
                raise ValueError(f"{_difference(name, ours, theirs, wrong, tolerance)}; {cause}")


def _names(weights: Any) -> tuple[str, ...]:
    return OUTPUTS if weights.continuation else OUTPUTS[:-1]


def _random_start(weights: Any, samples: int, seed: int) -> list[Tensor]:
    """Draws beliefs within (-1, 1), where a GRU's are, normal states, actions within [-1, 1)."""
    generator = torch.Generator("cpu").manual_seed(seed)
    like: dict[str, Any] = {"generator": generator, "dtype": torch.float32, "device": "cpu"}

    def uniform(size: int) -> Tensor:
        return torch.rand(samples, size, **like) * 2 - 1

    state = torch.randn(samples, weights.state_size, **like)
    return [uniform(weights.belief_size), state, uniform(weights.action_size)]


def _received(outputs: Any, weights: Any, samples: int) -> list[Tensor]:
    """Checks the step's outputs, and returns them in float64 on the CPU."""
    several, names = isinstance(outputs, (tuple, list)), _names(weights)
    if not several or len(outputs) != len(names):
        got = type(outputs).__name__ + (f" of {len(outputs)}" if several else "")
        raise TypeError(f"step: expected to return ({', '.join(names)}), got {got}")
    state = (samples, weights.state_size)
    shapes = ((samples, weights.belief_size), state, state, (samples,), (samples,))
    for name, value, shape, layout in zip(names, outputs, shapes, _LAYOUTS, strict=False):
        check_shape(f"step's {name}", check_floating(f"step's {name}", value), shape, layout)
    return [_exact(value) for value in outputs]


def _exact(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float64)


def _wrong(expected: Tensor, received: Tensor, tolerance: float) -> Tensor:
    """Finds differences beyond `tolerance` times the largest number, or 1; NaN always is."""
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    return ~((received - expected).abs() <= tolerance * scale)


def _difference(
    name: str, expected: Tensor, received: Tensor, wrong: Tensor, tolerance: float
) -> str:
    place = wrong.nonzero()[0].tolist()
    ours, theirs = (float(x[tuple(place)]) for x in (expected, received))
    return (
        f"{name}{place}: expected {ours:.6g} from these weights, got {theirs:.6g} from step "
        f"({int(wrong.sum())} of {wrong.numel()} numbers differ, tolerance {tolerance:g})"
    )


# --- Causes ---------------------------------------------------------------------------------------


def _cause(model: _Model, start: list[Tensor], received: list[Tensor], tolerance: float) -> str:
    """Finds the reading with which the outputs agree, output by output, and puts it in words."""
    reading = model.own
    for i, name in enumerate(OUTPUTS[: len(received)]):
        for other in _readings(model, start, received, reading, name):
            outputs = model.outputs(start, other)[: i + 1]
            pairs = zip(outputs, received[: i + 1], strict=True)
            if not any(_wrong(ours, theirs, tolerance).any() for ours, theirs in pairs):
                reading = other
                break
        else:
            known = "; ".join(_remedies(model.own, reading))
            if not known:
                return f"no cause of a difference in {name} is recognised"
            return f"likely cause: {known}; what remains, in {name}, is not recognised"
    return f"likely cause: {'; '.join(_remedies(model.own, reading))}"


def _readings(
    model: _Model, start: list[Tensor], received: list[Tensor], so_far: _Reading, name: str
) -> list[_Reading]:
    """Lists readings that differ from `so_far` in what `name` depends on, few changes first."""
    flags = (False, True)
    gates = ("".join(order) for order in permutations("rzn"))
    choices: dict[str, dict[str, Iterable[Any]]] = {
        "belief": {"gates": gates, "reset": ("after", "before"), "action_first": flags},
        "prior mean": {"stddev_first": flags, "residual": flags},
        "reward": {"state_first": flags, "logit_first": flags[: len(received) - 3]},
        "continuation logit": {"continuation": _CONTINUATIONS},
    }
    if start[0].shape[1] == 0:  # ssm: the mean is the first to tell
        choices["prior mean"]["action_first"] = flags
    if name == "prior stddev":
        found = [*_stddev_readings(model.prior(start, so_far)[2], received[2], so_far)]
    else:
        here = {"activation": _ACTIVATIONS, **choices[name]}
        found = [
            replace(so_far, **dict(zip(here, values, strict=True)))
            for values in product(*here.values())
        ]
    # Where all numbers stand at a bound, an offset of the raw stddev explains them as well as the
    # bound does: what models rarely have comes last.
    return sorted(found, key=lambda other: (_changes(so_far, other), other.raw_offset != 0.0))


def _stddev_readings(raw: Tensor, stddev: Tensor, so_far: _Reading) -> Iterator[_Reading]:
    """Yields every form with likely minima and the raw stddev's offset that fits most numbers."""
    added = float((stddev - F.softplus(raw)).median())
    minima = dict.fromkeys((so_far.min_stddev, float(stddev.min()), added, *_MINIMA))
    for least, form in product(minima, _STDDEVS):
        reading = replace(so_far, stddev=form, min_stddev=least)
        yield reading
        if form in _SERVED["stddev"]:
            positive = stddev - least if form == "add" else stddev
            inverse = positive + torch.log(-torch.expm1(-positive))
            offset = float((inverse - raw).nanmedian())
            if math.isfinite(offset):
                yield replace(reading, raw_offset=offset)


def _changes(one: _Reading, other: _Reading) -> int:
    return sum(a != b for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def _remedies(own: _Reading, theirs: _Reading) -> Iterator[str]:
    """Says what to change, a sentence per difference."""
    for name in ("activation", "stddev"):
        value = getattr(theirs, name)
        if value != getattr(own, name):
            served = value in _SERVED[name]
            yield f"step has {name} {value!r}" + ("" if served else ", which is not available")
    if theirs.min_stddev != own.min_stddev:
        yield f"step has min_stddev {theirs.min_stddev:.4g}"
    if theirs.raw_offset:
        offset = f"{theirs.raw_offset:.4g}"
        yield f"step adds {offset} to the raw stddev (add it to the last S of prior_bias)"
    if theirs.gates != own.gates:
        order = ", ".join(theirs.gates)
        yield f"step has the GRU's gates in the order {order} (reorder the rows to r, z, n)"
    if theirs.reset != own.reset:
        yield "step's GRU has gru_reset 'before', which is not available"
    if theirs.action_first:
        yield "step's input layer reads the action first (move input_weight's state columns first)"
    if theirs.stddev_first:
        yield "step's prior gives the raw stddev first (move the rows of the mean first)"
    if theirs.residual:
        yield "step adds the prior's mean to the state (residual), which is not available"
    if theirs.state_first:
        yield "step's reward reads the state first (move reward_weights[0]'s belief columns first)"
    if theirs.logit_first:
        yield "step's reward head gives the logit first (move the last layer's row of it behind)"
    if theirs.continuation != own.continuation:
        yield f"step gives {theirs.continuation}, expected {own.continuation}"
