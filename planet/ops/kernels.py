"""Calls the compiled kernels of a kind of device, and packs models for them.

A snapshot's weights are packed on first use and kept with the snapshot by instruction set, of which
CUDA has none, and precision.
"""

from __future__ import annotations

import os
import re
from typing import Any

import torch
from torch import Tensor

from planet.errors import advice
from planet.noise import resolve_seeds
from planet.ops import extension
from planet.ops.checks import PRECISIONS, VARIANTS
from planet.ops.instruction_sets import lacking
from planet.ops.tracing import constant, may_be_kept
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights

Model = tuple[Tensor, list[int], float, int | None, int]
"""The ops' first arguments: packed weights, sizes, min_stddev, isa, precision.

`isa` is the instruction set that CPU kernels are of; CUDA has none.
"""

SERVED = {
    "cpu": {"precision": ("fp32", "int8", "bf16"), "variant": ("portable",)},
    "cuda": {"precision": ("fp32", "fp16", "bf16"), "variant": VARIANTS},
}
"""What has kernels, by kind of device; int8 and bf16 also ask for a processor that runs them."""

_OTHER_BACKEND = "or use backend='reference'"


class CpuKernels:
    """Calls the kernels for CPU tensors, of which there is a set per instruction set."""

    def __init__(self, extension: Any) -> None:
        self._extension = extension
        self._memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def call(self, op: str, *arguments: object) -> Any:
        """Runs an op of `torch.ops.planet`."""
        return getattr(torch.ops.planet, op)(*arguments)

    def ready(self) -> bool:
        """Whether the extension is there."""
        return self._extension is not None

    def isa(self) -> int | None:
        """Returns the number of the instruction set in use."""
        return _instruction_set(self._extension)[0]

    def seeds(self, seed: int | Tensor, rows: int, device: torch.device) -> Tensor:
        """Returns one seed per problem."""
        return resolve_seeds(seed, rows, device).contiguous()

    def check(self, name: str, device: torch.device) -> None:
        """Checks that the device of the argument `name` is served; every CPU is."""

    def model(self, weights: RolloutWeights, precision: str) -> Model:
        """Packs the snapshot for the instruction set in use."""
        _check_served("cpu", "precision", precision, weights.device)
        isa, served = _instruction_set(self._extension)
        if precision not in served:
            why = lacking(precision, self._extension.build_info())
            raise ValueError(
                f"precision: {precision!r} {why}; use precision='fp32', {_OTHER_BACKEND}"
            )
        index = PRECISIONS.index(precision)
        packed = weights._cache.get((isa, index))
        if packed is None:
            packed = self.call("pack_weights", tensors(weights), sizes(weights), isa, index)
            if may_be_kept(packed):
                weights._cache[isa, index] = packed
        return packed, sizes(weights), weights.min_stddev, isa, index

    def filter_model(self, weights: FilterWeights) -> tuple[Tensor, list[int]]:
        """Packs encoder and posterior for the instruction set in use.

        Returns:
          Packed weights, and [image size, bit depth, then channels, kernel, stride of every layer].
        """
        isa, encoder = self.isa(), weights.encoder
        layers = [number for layer in encoder.layers() for number in layer]
        numbers = [encoder.image, encoder.bits, *layers]
        packed = weights._cache.get(isa)
        if packed is None:
            own = list(weights.named_tensors(rollout=False).values())
            rollout = weights.rollout
            packed = self.call("pack_filter", own, tensors(rollout), numbers, sizes(rollout), isa)
            if may_be_kept(packed):
                weights._cache[isa] = packed
        return packed, numbers

    def repack(self, kept: RolloutWeights, weights: RolloutWeights) -> None:
        """Overwrites what was packed for the snapshot `kept`."""
        for (isa, index), packed in kept._cache.items():
            self.call("pack_weights_", packed, tensors(weights), sizes(weights), isa, index)

    def variant(self, name: str) -> int:
        """Returns the number of the one variant that CPUs have."""
        _check_served("cpu", "variant", name, "cpu")
        return 0

    def check_memory(self, mean: Tensor, candidates: int, written: bool = False) -> None:
        """Refuses plans that cannot be held: returns, ranks and, if they are written, actions."""
        _check_fits(mean, candidates, written, self._memory)


class CudaKernels:
    """Calls the kernels for CUDA tensors.

    Ops are enqueued on the current stream of the tensors' device, whatever the current device, and
    can be captured into a CUDA graph. What the graph needs of a snapshot lives as long as the
    snapshot.
    """

    ops: Any = torch.ops.planet

    def __init__(self, extension: Any) -> None:
        self._extension = extension
        self._checked = False

    def call(self, op: str, *arguments: object) -> Any:
        """Runs an op; what a device lacks is raised as the exception that Python has for it."""
        try:
            return getattr(self.ops, op)(*arguments)
        except RuntimeError as error:
            found = re.search(r"\b(device|memory|variant): [^\n]*", str(error))
            if found is None:
                raise
            kind = torch.OutOfMemoryError if found[1] == "memory" else ValueError
            raise kind(found[0]) from None

    def check(self, name: str, device: torch.device) -> None:
        """Checks that this build serves CUDA devices; `name` is the argument that is on one."""
        if self._checked:
            return
        info = self._extension.build_info()["cuda"]
        if not info["compiled"]:
            raise ValueError(
                f"{name}: backend='fused' was built without CUDA, got tensors on {device}; "
                "reinstall planet from source with the CUDA toolkit on PATH "
                f"({advice.rebuild(cuda=True)}), {_OTHER_BACKEND}"
            )
        if not info["devices"]:
            raise ValueError(
                f"{name}: backend='fused' cannot use {device}: {info['status']} (its kernels were "
                f"built with CUDA {info['toolkit']}), {_OTHER_BACKEND}"
            )
        self._checked = True

    def ready(self) -> bool:
        """Whether this build serves CUDA devices and there is one; `check` says what is missing."""
        if not self._checked and self._extension is not None:
            info = self._extension.build_info()["cuda"]
            self._checked = bool(info["compiled"] and info["devices"])
        return self._checked

    def isa(self) -> int | None:
        """Returns None: CUDA has no instruction sets."""
        return None

    def seeds(self, seed: int | Tensor, rows: int, device: torch.device) -> Tensor:
        """Returns one seed per problem; the host expands an int, which no graph captures."""
        if not isinstance(seed, Tensor) and self._capturing():
            raise ValueError(
                f"seed: expected an int64 tensor [B={rows}] on {device} while a CUDA graph is "
                "captured (replays read it anew), got an int"
            )
        return resolve_seeds(seed, rows, device).contiguous()

    def model(self, weights: RolloutWeights, precision: str) -> Model:
        """Packs the snapshot on its device."""
        _check_served("cuda", "precision", precision, weights.device)
        packed, index = self._packed(weights, precision), PRECISIONS.index(precision)
        return packed, sizes(weights), weights.min_stddev, None, index

    def repack(self, kept: RolloutWeights, weights: RolloutWeights) -> None:
        """Overwrites what was packed for the snapshot `kept`, for every stream to read.

        The current stream packs and is waited for; whoever reads `kept` on others has finished.
        """
        for (isa, index), (packed, _) in kept._cache.items():
            self.call("pack_weights_", packed, tensors(weights), sizes(weights), isa, index)
        self._current_stream(weights.device).synchronize()

    def variant(self, name: str) -> int:
        """Returns the number of a variant."""
        return VARIANTS.index(name)

    def check_memory(self, mean: Tensor, candidates: int, written: bool = False) -> None:
        """Refuses plans that no free memory would hold."""
        present = torch.cuda.get_device_properties(mean.device).total_memory
        _check_fits(mean, candidates, written, present)

    def _packed(self, weights: RolloutWeights, precision: str) -> Tensor:
        """Packs the snapshot for every stream to read.

        The current stream packs it and is waited for, once per snapshot and precision.
        """
        key = None, PRECISIONS.index(precision)
        tracing, found = torch.compiler.is_compiling(), weights._cache.get(key)
        if found is None and not tracing and self._capturing():
            raise RuntimeError(
                "weights: a snapshot is packed when it is first used, which a CUDA graph cannot "
                f"capture; plan once with these weights and precision={precision!r} before the "
                "capture"
            )
        packed, known = found or (
            self.call("pack_weights", tensors(weights), sizes(weights), *key), None
        )  # fmt: skip
        if tracing or not may_be_kept(packed):
            return packed  # type: ignore[no-any-return]
        stream = self._current_stream(weights.device)
        if known is None:
            stream.synchronize()
            weights._cache[key] = packed, stream.cuda_stream
        elif stream.cuda_stream != known:  # the allocator has to learn of this one
            packed.record_stream(stream)
        return packed  # type: ignore[no-any-return]

    @staticmethod
    def _capturing() -> bool:
        return torch.cuda.is_current_stream_capturing()

    @staticmethod
    def _current_stream(device: torch.device) -> Any:
        return torch.cuda.current_stream(device)


KERNELS: dict[str, CpuKernels | CudaKernels] = {
    "cpu": CpuKernels(extension.module),
    "cuda": CudaKernels(extension.module),
}
"""By kind of device."""


def sizes(weights: RolloutWeights) -> list[int]:
    """Lists [D, S, A, M, elu, clamp_stddev, reward widths...]."""
    return [
        weights.belief_size, weights.state_size, weights.action_size, weights.hidden_size,
        int(weights.activation == "elu"), int(weights.stddev == "clamp"),
        *(weight.shape[0] for weight in weights.reward_weights),
    ]  # fmt: skip


def tensors(weights: RolloutWeights) -> list[Tensor]:
    """Lists the tensors in the order of `pack_weights`."""
    return list(weights.named_tensors().values())


@constant
def _instruction_set(extension: Any) -> tuple[int, tuple[str, ...]]:
    """Returns its number and the precisions that it has kernels for; a trace keeps them."""
    return extension.isa(), tuple(extension.precisions())


def _check_served(kind: str, name: str, value: str, device: torch.device | str) -> None:
    served = SERVED[kind][name]
    if value not in served:
        *others, last = map(repr, served)
        use = f"{', '.join(others)} or {last}, {_OTHER_BACKEND}" if others else last
        raise ValueError(f"{name}: {value!r} has no kernels on {device}; use {use}")


def _check_fits(mean: Tensor, candidates: int, written: bool, present: int) -> None:
    horizon, batch, size = mean.shape
    needed = batch * candidates * (4 + 8 + (4 * horizon * size if written else 0))
    if needed > present:
        raise ValueError(
            f"candidates: expected a plan that fits into {present >> 20} MiB of memory, got "
            f"{needed >> 20} MiB for J={candidates} and mean {list(mean.shape)} [H, B, A]"
        )
