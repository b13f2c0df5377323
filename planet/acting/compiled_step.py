"""A control step on a CPU as one compiled call, from the frame to the action.

Everything that it reads and writes is allocated once. A step reads one of two sets of buffers and
writes the other, which is the agent's from then on; a step that fails leaves the agent the first:

    frame --copy--> frames ---------+
    set 0: latent, action, plan ----+--> torch.ops.planet.control_step --> set 1: the same
                                                  (set 1 --> set 0 the next time)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from planet.acting.control_step import ControlStep
from planet.acting.moment import Moment
from planet.acting.seen import Seen
from planet.acting.step_buffers import StepBuffers
from planet.config import ICEMConfig, choices
from planet.ops import extension, fused
from planet.ops.checks import OUTPUTS, SPREADS, check_budget
from planet.ops.kernels import KERNELS, CpuKernels, Model
from planet.planning import SamplingPlanner, SearchSettings, cold
from planet.weights.filter_weights import FilterWeights

_SHIFTS = choices(ICEMConfig, "shift")  # in the order of csrc/shift.h
_ONCE, _EACH = 7, 3  # spans of a step, and of an iteration (csrc/timeline.h)


class CompiledStep:
    """Runs the control steps of one form: of a batch size, sizes of plans, and a model's.

    Args:
      step: what to run; `is_compiled` says whether it can be.

    Raises:
      ValueError: the imagination or the budget is not served.
    """

    def __init__(self, step: ControlStep) -> None:
        self._form, size = _form(step), _image_size(step)
        with torch.inference_mode(False):
            self._pair = StepBuffers(step), StepBuffers(step)
        self._frames = _unset(step.imagination.batch_size, size, size, 3, dtype=torch.uint8)
        self._frames_array = self._frames.numpy()
        self._workspace = _unset(0, dtype=torch.uint8)
        self._spans = _unset(0, 5, dtype=torch.int64)
        self._arrange(step)

    def take(self, step: ControlStep) -> bool:
        """Becomes another step of the form; returns whether it has that."""
        known = step.same(self._step) and step.imagination is self._step.imagination
        if known and self._runs_on == _runs_on():
            return True
        if _form(step) != self._form:
            return False
        self._arrange(step)
        return True

    def act(
        self, before: Moment | StepBuffers, seen: Seen, exploration_stddev: float | None
    ) -> StepBuffers:
        """Makes the whole step.

        Args:
          before: where the episodes stand; it is not written.
          seen: the newest observation.
          exploration_stddev: of the noise on the planned action; None: no noise.

        Returns:
          Where they stand after it. The buffers are written again by the step after the next.

        Raises:
          KeyboardInterrupt: Ctrl-C came; it is noticed between iterations.
        """
        first, second = self._pair
        if before is not first and before is not second:
            first.copy(before, self._cold)
            before = first
        after = first if before is second else second
        np.copyto(self._frames_array, seen.arrays["image"])
        after.follow(before)
        given, written = self._arguments[after is second]
        arguments = *given, exploration_stddev, *written
        after.iterations = self._kernels.call("control_step", *arguments)
        if self._step.timeline is not None:
            self._step.timeline.record(self._spans[1 : 1 + int(self._spans[0, 0])])
        return after

    def _arrange(self, step: ControlStep) -> None:
        """Makes the arguments of the op for a step of the form."""
        planner, imagination, kernels = step.planner, step.imagination, KERNELS["cpu"]
        assert isinstance(planner, SamplingPlanner) and isinstance(kernels, CpuKernels)
        search = planner.settings
        kernels.variant(imagination.variant)
        written = search.colour > 0 or search.keep > 0
        kernels.check_memory(self._pair[0].mean, search.candidates + search.keep, written)
        assert isinstance(step.weights, FilterWeights)
        filtering, encoder = kernels.filter_model(step.weights)
        planning = kernels.model(step.weights.rollout, imagination.precision)
        self._cold = first = cold(planner, imagination)
        low, high = imagination.low.contiguous(), imagination.high.contiguous()
        start = low, high, first.mean[0], first.stddev[0]
        settings = (
            [*search.counts] if search.decay != 1.0 else [search.candidates], search.topk,
            search.iterations, SPREADS.index(search.spread), search.epsilon,
            imagination.state_noise, imagination.discount,
            check_budget(step.budget_ms, step.device), search.mix(step.device), search.momentum,
            search.temperature,
            OUTPUTS.index(search.output), _SHIFTS.index(search.shift),
        )  # fmt: skip
        runs_on = _runs_on()
        spare = (
            self._room(encoder, planning, search, runs_on),
            None if step.timeline is None else self._span_table(search.iterations),
        )
        model = filtering, encoder, *planning, self._frames
        self._arguments = [
            ((*model, *before.given, *start, *settings), (*after.written, *spare))
            for before, after in (self._pair[::-1], self._pair)
        ]
        self._step, self._kernels, self._runs_on = step, kernels, runs_on

    def _room(
        self, encoder: list[int], planning: Model, search: SearchSettings, runs_on: tuple[int, int]
    ) -> Tensor:
        """Returns the workspace, a larger one where it must be."""
        (isa, threads), (_, sizes, _, _, precision) = runs_on, planning
        needed = extension.module.control_step_workspace(
            encoder, sizes, isa, precision, search.horizon, self._pair[0].batch_size,
            search.candidates, search.topk, search.keep, bool(search.colour), threads,
        )  # fmt: skip
        if len(self._workspace) < needed:
            self._workspace = _unset(needed, dtype=torch.uint8)
        return self._workspace

    def _span_table(self, iterations: int) -> Tensor:
        """Returns where the op marks its stages, a larger table where it must be."""
        rows = 1 + _ONCE + _EACH * iterations
        if len(self._spans) < rows:
            self._spans = _unset(rows, 5, dtype=torch.int64)
        return self._spans


def is_compiled(step: ControlStep) -> bool:
    """Whether one call makes the step: on a CPU, of the fused backend, with the loop's planners.

    A model whose filter is not compiled is left to `ControlStep`.
    """
    if not isinstance(step.weights, FilterWeights):
        return False
    served = step.device.type == "cpu" and step.imagination.backend == "fused"
    kernels, planner = KERNELS.get("cpu"), step.planner
    compiled = isinstance(kernels, CpuKernels) and kernels.ready()
    ours = isinstance(planner, SamplingPlanner) and type(planner).plan is SamplingPlanner.plan
    return served and compiled and ours


def _form(step: ControlStep) -> tuple[int, ...]:
    """Lists what the buffers' shapes depend on."""
    model, search = step.weights.rollout, step.search
    assert search is not None
    sizes = model.belief_size, model.state_size, model.action_size
    plan = step.imagination.batch_size, search.horizon, search.keep
    return *plan, _image_size(step), *sizes


def _image_size(step: ControlStep) -> int:
    assert isinstance(step.weights, FilterWeights)
    return step.weights.image_size


def _runs_on() -> tuple[int, int]:
    """Returns the instruction set and the number of threads, which may change between steps."""
    return fused.instruction_set(), torch.get_num_threads()


def _unset(*shape: int, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # such a tensor could not be written outside of it
        return torch.empty(shape, dtype=dtype, device="cpu")
