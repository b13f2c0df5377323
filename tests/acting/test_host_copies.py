"""A captured step copies between host and device in two places alone, both pinned on a GPU.

Here the device is PyTorch's "meta", whose tensors have no values: no GPU is needed to see where
they are, and whoever reads one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from acting.captures import Captures, InterruptedGraph
from agents import few_rollouts
from conftest import FUSED_MISSING, fused_is_built
from small_models import SMALL, frame
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from planet.acting.agent import Agent
from planet.acting.captured_step import CapturedStep
from planet.acting.seen import check_observation
from planet.models import WorldModel
from planet.ops import fakes
from planet.ops.kernels import KERNELS, CudaKernels
from planet.planning import PLANNERS
from planet.protocols import image_spec
from planet.weights import filter_weights, rollout_weights
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights

META = torch.device("meta")


class Crossings(TorchDispatchMode):
    """Lists operators that have tensors on two devices, with those on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(func), kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        if name == "aten._to_copy.default" and "device" in kwargs:
            devices.add(kwargs["device"].type)
        if len(devices) > 1:
            self.found.append((name, [x for x in tensors if x.device.type == "cpu"]))
            if name == "aten.copy_.default" and args[1].device == META:
                return args[0]  # there are no values to copy
        return func(*args, **kwargs)


class Shapes(CudaKernels):
    """Gives the shapes of what kernels for CUDA tensors would compute."""

    def __init__(self) -> None:
        super().__init__(None)
        self._checked, self.capturing = True, False

    def call(self, op: str, *arguments: Any) -> Any:
        """Makes results where the arguments are."""
        if op == "pack_weights":
            return arguments[0][0].new_empty(16, dtype=torch.uint8)
        return fakes.OPS[op](*arguments)

    def check_memory(self, mean: Tensor, candidates: int, written: bool = False) -> None:
        """There is no memory."""

    def _capturing(self) -> bool:  # type: ignore[override]
        return self.capturing

    @staticmethod
    def _current_stream(device: torch.device) -> Any:
        return SimpleNamespace(cuda_stream=0, synchronize=lambda: None)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    """Lets agents and the compiled core's Python take tensors without values, as if on CUDA."""
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    for module in (rollout_weights, filter_weights):
        monkeypatch.setattr(module, "own", lambda name, value: value.detach().clone())
    for kind, check in ((RolloutWeights, "_check_values"), (FilterWeights, "_check_tensors")):
        monkeypatch.setattr(kind, check, lambda weights: None)
    monkeypatch.setattr(Agent, "_captures", lambda agent: True)
    monkeypatch.setattr(torch, "autocast", lambda *where, **how: nullcontext())  # unknown to "meta"
    kernels = Shapes()
    monkeypatch.setitem(KERNELS, "meta", kernels)
    return kernels


BOUNDS = {
    "floats": (-1.0, 1.0),
    "lists": ([-1.0, -0.5], [0.5, 1.0]),
    "tensors": (torch.full((2,), -0.5), torch.full((2,), 0.5)),
    "rows": (torch.full((3, 2), -0.5), 1.0),
}


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("kind", PLANNERS)
def test_a_captured_step_copies_its_inputs_and_its_report(
    kind: str, bounds: str, captures: Captures, kernels: Shapes
) -> None:
    found = []

    class Noted(InterruptedGraph):
        def replay(self) -> None:
            for kernels.capturing in (False, True):  # the first one warms up
                with Crossings() as crossings:
                    self.body()
            found.append(crossings.found)
            kernels.capturing = False

    captures.make = lambda body, device: Noted(body)
    low, high = BOUNDS[bounds]
    planner = PLANNERS[kind](**few_rollouts(kind), initial_stddev=0.7)
    agent = Agent(WorldModel(SMALL, 2, image_spec(8)).to(META), planner, low=low, high=high)
    agent.reset([1, 2, 3])
    before, step = agent._require_reset().frozen(), agent._step()
    seen = check_observation({"image": frame(0, 3)}, image_spec(8), 3)
    latent, inputs = before.latent, before.inputs(seen, 0.3)
    assert isinstance(step, CapturedStep)
    step.act(latent, None, inputs, True)
    step.act(latent, None, inputs, False)
    step.filter(latent, inputs)
    step.plan(latent, None, inputs)
    for copies, reports in zip(found, (True, True, False, False), strict=True):
        assert [name for name, _ in copies] == ["aten.copy_.default"] * (1 + reports)
        hosts = [host for _, [host] in copies]
        assert hosts[0] is step._host_bytes and all(host is step._report for host in hosts[1:])


def test_every_crossing_is_seen() -> None:
    there, here = torch.ones(3, device=META), torch.ones(3)
    seen: list[Callable[[], object]] = [
        lambda: here.to(META),
        lambda: there.copy_(here),
        lambda: here.copy_(there),
        lambda: torch._foreach_copy_([there], [here]),
        lambda: there * torch.tensor(2.0),
    ]
    with Crossings() as crossings:
        there.add_(1.0).clamp(-1.0, 1.0)
        assert crossings.found == []
        for number, crosses in enumerate(seen, 1):
            crosses()
            assert len(crossings.found) == number
        with pytest.raises(RuntimeError, match="out of meta tensor"):
            there.cpu()
        assert len(crossings.found) == len(seen) + 1
