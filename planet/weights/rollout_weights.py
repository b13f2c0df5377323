"""Holds `RolloutWeights`, the planner's frozen snapshot of transition and reward parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from planet.errors.checks import check_choice, check_device, check_dims, check_floating, check_shape
from planet.errors.scalars import check_not_negative
from planet.weights import verification
from planet.weights.modules import gru_tensors, linear_tensors, reward_tensors
from planet.weights.parameters import ACTIVATIONS, STDDEVS, TRANSITIONS
from planet.weights.shapes import (
    GRU_TENSORS,
    MAX_REWARD_LAYERS,
    MAX_SIZE,
    Sizes,
    arguments,
    layouts,
    shapes,
)

# The tensors that sizes are read off; a reward layer's rows are its own.
_LETTERS = {"prior_bias": "S", "input_bias": "M", "input_weight": "A", "gru_weight_hh": "D"}


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutWeights:
    """Holds everything that a rollout needs of a model, copied once and checked once.

    The model is the RSSM prior of Hafner et al. (ICML 2019), Section 3, with PyTorch's GRU:
    x = act(W_in [state, action] + b_in), h' = GRU(x, h), p = act(W_p h' + b_p),
    [mean, raw] = W_s p + b_s, stddev = softplus(raw) + min_stddev, reward = MLP([h', s']).
    `activation`, `stddev` and `min_stddev` name what published models do otherwise.

    transition="ssm" is the paper's purely stochastic model (Section 3, Figure 2b): no GRU and no
    belief, D = 0. p = act(W_p x + b_p) reads the input layer's output and reward = MLP(s') the
    state alone; everything else is the same.

    A snapshot is immutable: changing the source tensors later has no effect. Sizes are 1 to 512.

    Attributes:
      transition: "rssm", or "ssm" without the deterministic path.
      input_weight: [M, S+A], state columns first.
      input_bias: [M].
      gru_weight_ih: [3D, M], gate order reset, update, new (as `torch.nn.GRUCell`); ssm: None.
      gru_weight_hh: [3D, D]; ssm: None.
      gru_bias_ih: [3D]; ssm: None.
      gru_bias_hh: [3D]; ssm: None.
      prior_hidden_weight: [M, D]; ssm: [M, M].
      prior_hidden_bias: [M].
      prior_weight: [2S, M], rows of the mean first, then of the raw stddev.
      prior_bias: [2S].
      reward_weights: 1 to 4 matrices; the first [N, D+S] (belief first; ssm: [N, S]), the last
        [1, N], or [2, N]: reward c_0, then the logit of going on c_1 (`continuation`).
      reward_biases: one vector per matrix.
      activation: "relu" or "elu", after the input, prior hidden and reward hidden layers.
      gru_reset: "after": the reset gate multiplies the hidden product (`torch.nn.GRUCell`).
      stddev: "add": softplus(raw) + min_stddev; "clamp": max(softplus(raw), min_stddev).
      min_stddev: smallest stddev; what stddev="add" adds.

    Raises:
      TypeError: an argument is not a floating point tensor.
      ValueError: a shape, device, size, name or value disagrees; the message names the argument,
        what was expected and what came.
    """

    transition: str = "rssm"
    input_weight: Tensor
    input_bias: Tensor
    gru_weight_ih: Tensor | None = None
    gru_weight_hh: Tensor | None = None
    gru_bias_ih: Tensor | None = None
    gru_bias_hh: Tensor | None = None
    prior_hidden_weight: Tensor
    prior_hidden_bias: Tensor
    prior_weight: Tensor
    prior_bias: Tensor
    reward_weights: Sequence[Tensor]
    reward_biases: Sequence[Tensor]
    activation: str = "relu"
    gru_reset: str = "after"
    stddev: str = "add"
    min_stddev: float = 0.1
    # Backends keep the layout that they packed for this snapshot here; it lives as long as we do.
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_choices()
        for name in layouts(self.transition, 0):
            object.__setattr__(self, name, own(name, getattr(self, name)))
        for name in ("reward_weights", "reward_biases"):
            value = getattr(self, name)
            if isinstance(value, Tensor) or not isinstance(value, Sequence):
                got = type(value).__name__
                raise TypeError(f"{name}: expected a sequence of tensors, got {got}")
            owned = tuple(own(f"{name}[{i}]", v) for i, v in enumerate(value))
            object.__setattr__(self, name, owned)
        self._check_shapes()
        self._check_values()

    @classmethod
    def from_modules(
        cls,
        *,
        input: nn.Linear,
        gru: nn.GRUCell | nn.GRU | None,
        prior_hidden: nn.Linear,
        prior: nn.Linear,
        reward: Iterable[nn.Module],
        activation: str = "relu",
        stddev: str = "add",
        min_stddev: float = 0.1,
    ) -> RolloutWeights:
        """Takes a snapshot of modules, each with a bias.

        Args:
          input: `Linear(S+A, M)`, reads state, then action.
          gru: `GRUCell(M, D)`, or a `GRU(M, D)` of one layer; None: transition="ssm".
          prior_hidden: `Linear(D, M)`, reads the new belief; ssm: `Linear(M, M)`.
          prior: `Linear(M, 2S)`, gives the mean, then the raw stddev.
          reward: 1 to 4 `Linear`; the first reads belief, then state, the last gives 1 number, the
            reward, or 2, the reward and the logit of going on.
          activation: as the attribute, like the two that follow.
          stddev: see `activation`.
          min_stddev: see `activation`.

        Raises:
          TypeError, ValueError: a module is of another kind or has no bias, or its tensors are
            refused.
        """
        layers = {"input": input, "prior_hidden": prior_hidden, "prior": prior}
        tensors: dict[str, Any] = gru_tensors(gru) | reward_tensors(reward)
        for name, module in layers.items():
            tensors[f"{name}_weight"], tensors[f"{name}_bias"] = linear_tensors(name, module)
        how: Any = {"activation": activation, "stddev": stddev, "min_stddev": min_stddev}
        return cls(transition="ssm" if gru is None else "rssm", **tensors, **how)

    def __repr__(self) -> str:
        """Shows sizes; a snapshot has hundreds of thousands of values."""
        own = self.sizes
        sizes = [("D", own.belief), ("S", own.state), ("A", own.action), ("M", own.hidden)]
        plain = [(f.name, getattr(self, f.name)) for f in fields(self) if f.repr]
        plain = [(name, value) for name, value in plain if isinstance(value, (str, int, float))]
        parts = [*sizes, ("reward", [*own.reward_rows]), *plain, ("device", str(self.device))]
        return f"RolloutWeights({', '.join(f'{name}={value!r}' for name, value in parts)})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickles and copies without what a backend packed on this machine."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Checks what a pickle holds as a new snapshot's arguments are checked."""
        names = {f.name for f in fields(self) if f.init}
        given = {name: value for name, value in state.items() if name != "_cache"}
        if unknown := sorted(set(given) - names):
            raise ValueError(f"weights: expected a pickle with {sorted(names)}, got {unknown}")
        RolloutWeights.__init__(self, **given)

    @property
    def sizes(self) -> Sizes:
        """D, S, A, M, the widths of the reward's hidden layers and whether there is a logit."""
        reward = tuple(weight.shape[0] for weight in self.reward_weights[:-1])
        sizes = self.belief_size, self.state_size, self.action_size, self.hidden_size
        return Sizes(*sizes, reward, self.continuation)

    @property
    def continuation(self) -> bool:
        """Whether the last reward layer has a second row, the logit of going on after a step.

        Return = sum over t of discount**t * r_t * prod_{k<t} sigmoid(c_1[k]), c_1[k] of the latent
        that r_k is of.
        """
        return self.reward_weights[-1].shape[0] == 2

    @property
    def state_size(self) -> int:
        """S, width of the stochastic state."""
        return self.prior_bias.shape[0] // 2

    @property
    def belief_size(self) -> int:
        """D, width of the deterministic state; 0 for ssm."""
        return 0 if self.gru_weight_hh is None else self.gru_weight_hh.shape[1]

    @property
    def hidden_size(self) -> int:
        """M, width of the input layer."""
        return self.input_bias.shape[0]

    @property
    def action_size(self) -> int:
        """A, width of an action."""
        return self.input_weight.shape[1] - self.state_size

    @property
    def device(self) -> torch.device:
        """Tells where all the tensors live."""
        return self.input_weight.device

    def to(self, device: torch.device | str) -> RolloutWeights:
        """Returns the snapshot on `device` (itself when it is there already)."""
        if torch.device(device) == self.device:
            return self
        moved = {name: tensor.to(device) for name, tensor in self.named_tensors().items()}
        return replace(self, **arguments(moved))

    def named_tensors(self) -> dict[str, Tensor]:
        """Lists every tensor by name in the order of weight files, as "reward_weights[0]"."""
        named = {name: getattr(self, name) for name in layouts(self.transition, 0)}
        layers = zip(self.reward_weights, self.reward_biases, strict=True)
        for i, (weight, bias) in enumerate(layers):
            named |= {f"reward_weights[{i}]": weight, f"reward_biases[{i}]": bias}
        return named

    def verify(
        self, step: verification.Step, *, samples: int = 16, tolerance: float = 1e-4, seed: int = 0
    ) -> None:
        """Checks that these weights are the model that they were taken from.

        Runs `step`, the user's own transition and reward, from random beliefs within (-1, 1),
        standard normal states and actions within [-1, 1), and compares it with the same in float64
        from these weights. Nothing is sampled: the reward is that of the new belief and the prior's
        mean, so `step` needs no noise. A bound at which none of these stddevs is clamped is not
        seen.

        Args:
          step: (belief [N, D], state [N, S], action [N, A]), float32 on the snapshot's device ->
            (new belief [N, D], prior mean [N, S], prior stddev [N, S], reward [N]), of any floating
            point type; with `continuation` a fifth, the logit of going on [N]. The prior reads the
            new belief, reward and logit the new belief and the prior mean. D is 0 for
            transition="ssm"; the belief is then given back as it came.
          samples: N.
          tolerance: largest difference, as a share of the output's largest number or of 1. Products
            in TF32 or half precision need 1e-2.
          seed: of the random numbers.

        Raises:
          TypeError, ValueError: an output differs, the message names the first one, where, both
            numbers and the likely cause; or it has a wrong type, dtype or shape.
        """
        verification.verify(self, step, samples, tolerance, seed)

    def _check_choices(self) -> None:
        check_choice("transition", self.transition, TRANSITIONS)
        for name in GRU_TENSORS:
            given = getattr(self, name) is not None
            if given and self.transition == "ssm":
                raise ValueError(f"{name}: expected None for transition='ssm', got a value")
            if not given and self.transition == "rssm":
                raise TypeError(f"{name}: expected a tensor for transition='rssm', got None")
        if self.gru_reset != "after":
            raise ValueError(
                f"gru_reset: {self.gru_reset!r} is not available yet; expected 'after'"
            )
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("stddev", self.stddev, STDDEVS)
        min_stddev = float(check_not_negative("min_stddev", self.min_stddev))
        object.__setattr__(self, "min_stddev", min_stddev)

    def _check_shapes(self) -> None:
        layers, biases, most = len(self.reward_weights), len(self.reward_biases), MAX_REWARD_LAYERS
        if not 1 <= layers <= most:
            raise ValueError(f"reward_weights: expected 1 to {most} layers, got {layers}")
        if biases != layers:
            raise ValueError(f"reward_biases: expected one per layer ({layers}), got {biases}")
        name, last = f"reward_weights[{layers - 1}]", self.reward_weights[-1]
        check_dims(name, last, "[1, N]", "[2, N]")
        if last.shape[0] not in (1, 2):
            raise ValueError(
                f"{name}: expected 1 row (reward) or 2 (reward, logit of going on), "
                f"got {list(last.shape)}"
            )
        layout = layouts(self.transition, layers, self.continuation)
        tensors = self.named_tensors()
        self._check_sizes(layout, tensors)
        table = shapes(self.sizes)
        for name in sorted(table, key=lambda name: name not in _LETTERS):
            check_shape(name, tensors[name], table[name], layout[name])

    def _check_sizes(self, layout: dict[str, str], tensors: dict[str, Tensor]) -> None:
        """Checks the tensors that sizes are read off, and the sizes."""
        letters = {name: letter for name, letter in _LETTERS.items() if name in tensors}
        letters |= {f"reward_weights[{i}]": "N" for i in range(len(self.reward_weights) - 1)}
        for name in letters:
            check_dims(name, tensors[name], layout[name])
        if (length := self.prior_bias.shape[0]) % 2:
            raise ValueError(f"prior_bias: expected an even length 2S, got {length}")
        own = self.sizes
        if own.action < 1:
            raise ValueError(
                f"input_weight: expected shape [M={own.hidden}, S+A] with S={own.state} and "
                f"A >= 1, got {list(self.input_weight.shape)}"
            )
        belief = [own.belief] if "gru_weight_hh" in letters else []
        sizes = [own.state, own.hidden, own.action, *belief, *own.reward]
        for (name, letter), size in zip(letters.items(), sizes, strict=True):
            if not 1 <= size <= MAX_SIZE:
                raise ValueError(f"{name}: expected a size 1 <= {letter} <= {MAX_SIZE}, got {size}")

    def _check_values(self) -> None:
        for name, value in self.named_tensors().items():
            check_device(name, value, self.device, "input_weight")
            if count := int((~torch.isfinite(value)).sum()):
                raise ValueError(f"{name}: expected finite values, got {count} NaN or infinite")


def own(name: str, argument: object) -> Tensor:
    """Makes a private contiguous float32 copy."""
    value = check_floating(name, argument)
    if value.device.type == "meta" or value.layout != torch.strided:
        raise ValueError(
            f"{name}: expected a dense tensor with data, got {value.layout} on {value.device}"
        )
    with torch.inference_mode(False):  # such a copy could be in no gradient's graph
        return value.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
