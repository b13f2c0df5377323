"""A control step as a CUDA graph: one launch from the frame on the host to the action on the host.

A graph replays the same kernels on the same memory, so everything that changes from step to step
lies in buffers that are allocated once:

    staged (pinned host memory) --1 copy--> inputs: seeds, action, cold, stddev, image
                                               |
        results: latent, mean, kept ---> filter, plan, explore --1 copy--> action, finite (pinned)
                         ^                     |
                         +------ 1 kernel -----+--> results: stddev, best return

The snapshot that it acts by lies in memory of its own, too (`StaticSnapshot`): a newer one is
written there, and the graphs go on.

Latent and plan stay on the device from step to step. What is handed out is a copy of `results`,
made once the action is on the host, so that callers never see a buffer that the next step writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from planet.acting.control_step import ControlStep, StepInputs, StepOutcome, read_report
from planet.acting.cuda_graph import Graph, capture, on_device
from planet.acting.static_snapshot import StaticSnapshot
from planet.acting.timeline import timed_graph
from planet.latent import LatentState
from planet.protocols import Plan

_PLANNED = "action", "mean", "stddev", "best_return", "kept"
_ALIGNMENT = 256  # bytes, as of tensors of their own: which kernel a product takes depends on it
_SEEN = "observation "  # before an array's name, which may be that of another input

Layout = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


class CapturedStep:
    """Runs a control step on static buffers; a graph per part of it that is asked for.

    On the CPU there is nothing to capture: the same code runs on the same buffers at every call.

    Args:
      step: what to run, with a copy of its snapshot; on CUDA the imagination's backend must be
        "fused".
    """

    def __init__(self, step: ControlStep) -> None:
        batch_size, self._taken = step.imagination.batch_size, step.imagination
        self._device = device = step.device
        inputs, results = _inputs_layout(step, batch_size), _results_layout(step, batch_size)
        cuda = device.type == "cuda"
        with torch.inference_mode(False):  # such tensors could not be written outside of it
            self._snapshot = StaticSnapshot(step.weights, step.imagination)
            host = torch.zeros(_size(inputs), dtype=torch.uint8, device="cpu", pin_memory=cuda)
            self._host_bytes, self._device_bytes = host, torch.zeros_like(host, device=device)
            self._staged = _split_inputs(self._host_bytes, inputs)
            self._inputs = _split_inputs(self._device_bytes, inputs)
            self._buffer = torch.zeros(_size(results) // 4, dtype=torch.float32, device=device)
            self._layout, self._results = results, _split(self._buffer, results)
            shape = batch_size, step.weights.rollout.action_size + 1
            report = torch.zeros(shape, dtype=torch.float32, device="cpu")
            self._report = report.pin_memory() if cuda else report
        self.step = replace(step, **vars(self._snapshot))
        self._latent = LatentState(self._results["belief"], self._results["state"])
        self._past = _plan(self._results, 0)
        # Those whose values the results have.
        self._held: tuple[LatentState | None, Plan | None] = None, None
        self._iterations = 0
        self._graphs: dict[str, Graph] = {}

    def take(self, step: ControlStep) -> bool:
        """Becomes a step that differs in the snapshot's numbers alone; returns whether it could.

        Graphs that were captured go on with the numbers of the newest step. Whatever it returns, no
        step is under way any more: pinned memory that is given back is soon another's.
        """
        self._wait()
        if not self.step.same(step):
            return False
        if step.imagination is self._taken:
            return True
        if not self._snapshot.holds(step.weights, step.imagination):
            return False
        with on_device(self._device):
            self._snapshot.write(step.weights, step.imagination)
        self._taken = step.imagination
        return True

    def filter(self, latent: LatentState, inputs: StepInputs) -> LatentState:
        """See `ControlStep.filter`; `inputs` are on the host."""
        self._stage(latent, None, inputs)
        self._replay("filter", self._filter)
        latent, _ = self._results_copy()
        self._held = latent, None
        return latent

    def plan(self, latent: LatentState, past: Plan | None, inputs: StepInputs) -> Plan:
        """See `ControlStep.plan`; `inputs` are on the host."""
        self._stage(latent, past, inputs)
        self._replay("plan", self._plan)
        _, plan = self._results_copy()
        self._held = latent, plan
        return plan

    def act(
        self, latent: LatentState, past: Plan | None, inputs: StepInputs, explore: bool
    ) -> StepOutcome:
        """Makes the whole step: from the observation on the host to an action on the host."""
        self._stage(latent, past, inputs)
        self._replay("explore" if explore else "act", partial(self._act, explore))
        action, finite = read_report(self._report)
        self._held = latent, plan = self._results_copy()
        return StepOutcome(latent, plan, action, finite)

    def _filter(self) -> None:
        self._upload()
        latent = self.step.filter(self._latent, self._inputs)
        self._keep(belief=latent.belief, state=latent.state)

    def _plan(self) -> None:
        self._upload()
        plan = self.step.plan(self._latent, self._past, self._inputs)
        self._iterations = plan.iterations
        self._keep(**_planned(plan))

    def _act(self, explore: bool) -> None:
        self._upload()
        latent, plan, report = self.step.run(self._latent, self._past, self._inputs, explore)
        self._report.copy_(report, non_blocking=True)
        self._iterations = plan.iterations
        self._keep(belief=latent.belief, state=latent.state, **_planned(plan))

    def _upload(self) -> None:
        self._device_bytes.copy_(self._host_bytes, non_blocking=True)

    def _keep(self, **values: Tensor) -> None:
        """The last of a step's kernels: until then a failure leaves all results as they were."""
        torch._foreach_copy_([self._results[name] for name in values], list(values.values()))

    def _stage(self, latent: LatentState, past: Plan | None, inputs: StepInputs) -> None:
        self._wait()
        staged = self._staged
        for name, array in inputs.observation.items():
            staged.observation[name].copy_(array)
        for name in ("seeds", "action", "cold", "exploration_stddev"):
            getattr(staged, name).copy_(getattr(inputs, name))
        held_latent, held_plan = self._held
        if latent is not held_latent:
            self._latent.belief.copy_(latent.belief)
            self._latent.state.copy_(latent.state)
        if past is not None and past is not held_plan and self.step.goes_on:
            self._past.mean.copy_(past.mean)
            self._past.kept.copy_(past.kept)
        self._held = None, None  # until the step is done, which may fail

    def _wait(self) -> None:
        """Waits for an interrupted step, which may still read and write the buffers."""
        for graph in self._graphs.values():
            graph.wait()

    def _replay(self, part: str, body: Callable[[], None]) -> None:
        with on_device(self._device):
            if part not in self._graphs:
                before = self._buffer.clone()
                make = partial(capture, body, self._device)
                graph = timed_graph(self.step.timeline, part, make)
                self._buffer.copy_(before)  # the captured step ran to warm up, and moved the latent
                self._graphs[part] = graph
            self._graphs[part].replay()
            self._graphs[part].wait()

    def _results_copy(self) -> tuple[LatentState, Plan]:
        """Copies of the results, in one kernel."""
        r = _split(self._buffer.clone(), self._layout)
        return LatentState(r["belief"], r["state"]), _plan(r, self._iterations)


def captures(capture: bool | None, device: str, backend: str | None) -> bool:
    """Tells whether steps are to be captured, on a kind of device, by a backend as it was set.

    Raises:
      ValueError: it was asked for where it is not served.
    """
    capturable = device == "cpu" or (device == "cuda" and backend == "fused")
    if capture and not capturable:
        raise ValueError(
            "capture: expected None or False for "
            f"backend={backend!r} on {device}; only backend='fused' on cuda can be captured"
        )
    return device == "cuda" and capturable if capture is None else capture


def _plan(results: Mapping[str, Tensor], iterations: int) -> Plan:
    return Plan(**{name: results[name] for name in _PLANNED}, iterations=iterations)


def _planned(plan: Plan) -> dict[str, Tensor]:
    return {name: getattr(plan, name) for name in _PLANNED}


def _inputs_layout(step: ControlStep, batch: int) -> Layout:
    arrays = step.weights.observation.items()
    return {
        "seeds": (torch.int64, (batch,)),
        "action": (torch.float32, (batch, step.weights.rollout.action_size)),
        "cold": (torch.bool, (batch,)),
        "exploration_stddev": (torch.float32, ()),
        **{
            _SEEN + name: (torch.uint8 if dtype == np.uint8 else torch.float32, (batch, *shape))
            for name, (dtype, shape) in arrays
        },
    }


def _split_inputs(buffer: Tensor, layout: Layout) -> StepInputs:
    views = _split(buffer, layout)
    seen = {name: views.pop(name) for name in layout if name.startswith(_SEEN)}
    observation = {name.removeprefix(_SEEN): view for name, view in seen.items()}
    return StepInputs(observation, **views)


def _results_layout(step: ControlStep, batch: int) -> Layout:
    model = step.weights.rollout
    plan = horizon, batch, size = step.planner.horizon, batch, model.action_size
    keep = step.search.keep if step.search else 0
    shapes = {
        "belief": (batch, model.belief_size), "state": (batch, model.state_size),
        "action": plan[1:], "mean": plan, "stddev": plan, "best_return": (batch,),
        "kept": (horizon, batch, keep, size),
    }  # fmt: skip
    return {name: (torch.float32, shape) for name, shape in shapes.items()}


def _size(layout: Layout) -> int:
    """Bytes of a buffer for all tensors of a layout."""
    return sum(_padded(*part) for part in layout.values())


def _padded(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    size = math.prod(shape) * dtype.itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _split(buffer: Tensor, layout: Layout) -> dict[str, Tensor]:
    """Views of a buffer, one after another; of bytes, or of the dtype that all of them have."""
    views, start = {}, 0
    for name, (dtype, shape) in layout.items():
        typed = buffer if buffer.dtype == dtype else buffer.view(dtype)
        stride = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        views[name] = typed.as_strided(shape, stride, start // dtype.itemsize)
        start += _padded(dtype, shape)
    return views
