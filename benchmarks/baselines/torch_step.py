"""One model step in PyTorch: in place for CPUs, with few kernels for GPUs, pure for the compiler.

All multiply with oneDNN's or MKL's matrix products and differ from `planet.ops.reference` by
rounding only, to the type that they are told. Small things that count, found with the profiler at
the paper's size: `softplus` of a column slice is scalar code, 12 times as slow as of a contiguous
copy; `tanh` takes four times as long as 2 sigmoid(2x) - 1, whose factor 2 is folded into the
weights; `lerp` writes the belief into its place; state and action lie side by side, and the belief
alone, as oneDNN copies what is not contiguous: products of several inputs are sums of products. On
a GPU a step is as fast as it has few kernels: cuBLAS adds the biases, and torch's own GRU cell is
one kernel after two products.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.weights.rollout_weights import RolloutWeights


def _buffer(value: Tensor, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(value.detach().to(dtype, copy=True), requires_grad=False)


class Plain(nn.Module):
    """W x + b, then ReLU or nothing, by `addmm`."""

    def __init__(
        self, weight: Tensor, bias: Tensor, relu: bool = False, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.bias, self.relu = _buffer(bias, dtype), relu
        self.weight = _buffer(weight.t().contiguous(), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, K] to [N, M]."""
        y = torch.addmm(self.bias, x, self.weight)
        return y.relu_() if self.relu else y

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """Y + W x, without bias, possibly in place; for a layer that has a second input."""
        return y.addmm_(x, self.weight)


class Packed(nn.Module):
    """Has `Plain`'s interface, and W in oneDNN's own layout for so many rows."""

    def __init__(
        self, weight: Tensor, bias: Tensor, relu: bool, dtype: torch.dtype, rows: int
    ) -> None:
        super().__init__()
        self.bias, self.after = _buffer(bias, dtype), "relu" if relu else "none"
        weight = weight.to(dtype).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)

    def forward(self, x: Tensor) -> Tensor:
        """[N, K] to [N, M]."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.after, [], "")

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """Y + W x, without bias."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, y, self.weight, None, "add")


class Quantised(nn.Module):
    """Has `Plain`'s interface and `quantize_dynamic`'s int8 products; a step per row of W.

    Of torch's engines oneDNN's is the fastest: 0.55 of the time of "x86", 0.77 of "fbgemm" (Zen 5).
    """

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        if dtype != torch.float32:
            raise ValueError(f"dtype: expected float32 between int8 products, got {dtype}")
        steps = (weight.abs().amax(1).double() / 127).clamp_min(1e-12)
        zeros = torch.zeros(len(steps), dtype=torch.long)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = "onednn"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecated, but the only products of that kind
                rounded = torch.quantize_per_channel(weight, steps, zeros, 0, torch.qint8)
            self.weight = torch.ops.quantized.linear_prepack(rounded, bias.contiguous())
        finally:
            torch.backends.quantized.engine = before
        ops = torch.ops.quantized
        self.product = ops.linear_relu_dynamic if relu else ops.linear_dynamic
        # Without VNNI pairs of products are added in 16 bits, which 8 bits of x overflow.
        self.seven_bits = not torch.cpu._is_vnni_supported()

    def forward(self, x: Tensor) -> Tensor:
        """[N, K] to [N, M]."""
        return self.product(x.contiguous(), self.weight, self.seven_bits)

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """Y + W x in place."""
        return y.add_(self(x))


def _added(weights: RolloutWeights) -> float:
    """Returns what is added to the stddev; these steps have no other form."""
    if weights.stddev != "add":
        raise ValueError(f"weights: expected stddev='add', got {weights.stddev!r}")
    return weights.min_stddev


class InPlaceStep(nn.Module):
    """Advances belief and state where they lie.

    Args:
      weights: the snapshot.
      layer: `Plain`, or another with its interface for all layers but the last, whose single
        column makes packing lose.
      dtype: of weights, activations and belief.
    """

    def __init__(
        self,
        weights: RolloutWeights,
        layer: Callable[..., nn.Module] = Plain,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.belief, self.state = weights.belief_size, weights.state_size
        self.elu, self.min_stddev = weights.activation == "elu", _added(weights)
        two = 2 * self.belief
        w_x, w_h = weights.gru_weight_ih, weights.gru_weight_hh
        b_x, b_h = weights.gru_bias_ih, weights.gru_bias_hh
        relu = not self.elu
        self.input = layer(weights.input_weight, weights.input_bias, relu, dtype)
        self.gates_x = layer(w_x[:two], b_x[:two] + b_h[:two], False, dtype)
        self.gates_h = layer(w_h[:two], torch.zeros(two), False, dtype)
        self.new_x = layer(2 * w_x[two:], 2 * b_x[two:], False, dtype)
        self.new_h = layer(2 * w_h[two:], 2 * b_h[two:], False, dtype)
        hidden = weights.prior_hidden_weight, weights.prior_hidden_bias
        self.prior_hidden = layer(*hidden, relu, dtype)
        self.prior = layer(weights.prior_weight, weights.prior_bias, False, dtype)
        layers = list(zip(weights.reward_weights, weights.reward_biases, strict=True))
        first, bias = layers[0]
        linear = len(layers) == 1
        of_reward = Plain if linear else layer
        self.reward_belief = of_reward(first[:, : self.belief], bias, False, dtype)
        self.reward_state = of_reward(first[:, self.belief :], torch.zeros_like(bias), False, dtype)
        self.reward = nn.ModuleList(layer(w, b, relu, dtype) for w, b in layers[1:-1])
        self.reward_out = None if linear else Plain(*layers[-1], False, dtype)

    def forward(self, belief: Tensor, inputs: Tensor, noise: Tensor) -> Tensor:
        """Belief [N, D], inputs [N, S+A] (state, action), noise [N, S]; returns rewards [N, 1]."""
        d, s = self.belief, self.state
        state = inputs[:, :s]
        x = self._activated(self.input(inputs))
        gates = self.gates_h.add_to(self.gates_x(x), belief).sigmoid_()
        half = torch.addcmul(self.new_x(x), gates[:, :d], self.new_h(belief)).sigmoid_()
        torch.lerp(torch.rsub(half, -1, alpha=-2), belief, gates[:, d:], out=belief)
        prior = self.prior(self._activated(self.prior_hidden(belief)))
        stddev = F.softplus(prior[:, s:].contiguous()).add_(self.min_stddev)
        torch.addcmul(prior[:, :s], stddev, noise, out=state)
        out = self.reward_state.add_to(self.reward_belief(belief), state)
        if self.reward_out is None:
            return out
        out = F.elu_(out) if self.elu else out.relu_()
        for layer in self.reward:
            out = self._activated(layer(out))
        return self.reward_out(out)

    def _activated(self, x: Tensor) -> Tensor:
        return F.elu_(x) if self.elu else x  # ReLU is part of the layer


class CellStep(nn.Module):
    """Steps with as few kernels as plain operators allow, for GPUs and their CUDA graphs.

    Args:
      weights: the snapshot.
      dtype: of weights, activations and belief; sums of products are float32.
    """

    def __init__(self, weights: RolloutWeights, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.state, self.min_stddev = weights.state_size, _added(weights)
        self.activate = F.elu_ if weights.activation == "elu" else torch.relu_
        self.layers = nn.ParameterDict(
            {
                f"{name}_{part}": _buffer(getattr(weights, f"{name}_{part}"), dtype)
                for name in ("input", "prior_hidden", "prior")
                for part in ("weight", "bias")
            }
        )
        self.gru = nn.ParameterList(
            _buffer(getattr(weights, f"gru_{part}"), dtype)
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.reward_weights = nn.ParameterList(_buffer(w, dtype) for w in weights.reward_weights)
        self.reward_biases = nn.ParameterList(_buffer(b, dtype) for b in weights.reward_biases)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.layers[f"{name}_weight"], self.layers[f"{name}_bias"])

    def cell(self, x: Tensor, belief: Tensor) -> Tensor:
        """Next belief [N, D]."""
        return torch.gru_cell(x, belief, *self.gru)

    def forward(
        self, belief: Tensor, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Belief [N, D], state [N, S] and rewards [N, 1] after `action` [N, A]."""
        x = self.activate(self._layer("input", torch.cat([state, action], 1)))
        belief = self.cell(x, belief)
        prior = self._layer("prior", self.activate(self._layer("prior_hidden", belief)))
        stddev = F.softplus(prior[:, self.state :]).add_(self.min_stddev)
        state = torch.addcmul(prior[:, : self.state], stddev, noise)
        out = torch.cat([belief, state], 1)
        last = len(self.reward_weights) - 1
        for i, (weight, bias) in enumerate(zip(self.reward_weights, self.reward_biases)):  # noqa: B905
            out = F.linear(out, weight, bias)
            out = out if i == last else self.activate(out)
        return belief, state, out


class PureStep(CellStep):
    """Steps with a cell of plain operators, for `torch.compile`, which fuses and packs them."""

    def cell(self, x: Tensor, belief: Tensor) -> Tensor:
        """Next belief [N, D]."""
        w_x, w_h, b_x, b_h = self.gru
        reset_x, update_x, new_x = F.linear(x, w_x, b_x).chunk(3, 1)
        reset_h, update_h, new_h = F.linear(belief, w_h, b_h).chunk(3, 1)
        update = torch.sigmoid(update_x + update_h)
        new = new_x + torch.sigmoid(reset_x + reset_h) * new_h
        new = 2 * torch.sigmoid(2 * new) - 1
        return new + update * (belief - new)


class PureRollout(nn.Module):
    """Sums the rewards of a `PureStep`'s whole rollout, for the compiler to see at once."""

    def __init__(self, weights: RolloutWeights, dtype: torch.dtype) -> None:
        super().__init__()
        self.step = PureStep(weights, dtype)

    def forward(self, belief: Tensor, state: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        """Returns [N, 1] of actions [H, N, A] and noise [H, N, S]."""
        return summed(self.step, belief, state, actions, noise)


def summed(
    step: Callable[..., tuple[Tensor, Tensor, Tensor]],
    belief: Tensor,
    state: Tensor,
    actions: Tensor,
    noise: Tensor,
) -> Tensor:
    """Returns [N, 1]: the float32 sum of rewards of a step that returns belief and state."""
    total = torch.zeros(belief.shape[0], 1, device=belief.device)
    for t in range(actions.shape[0]):
        belief, state, reward = step(belief, state, actions[t], noise[t])
        total = total + reward
    return total
