"""Work that is repeated: a CUDA graph, or where there is no CUDA the call itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

import torch

_WARM_UPS = 2


class Graph(Protocol):
    """Work that can be repeated."""

    def replay(self) -> None:
        """Starts the work."""

    def wait(self) -> None:
        """Returns when the work that was started last is done."""


def capture(body: Callable[[], None], device: torch.device) -> Graph:
    """Makes `body` repeatable: a CUDA graph of what it enqueues, or on the CPU the call itself.

    Raises:
      RuntimeError: something in `body` cannot be captured.
    """
    return _CudaGraph(body, device) if device.type == "cuda" else _Call(body)


class _CudaGraph:
    """Replays what `body` enqueues, captured after runs of it on a side stream."""

    def __init__(self, body: Callable[[], None], device: torch.device) -> None:
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):  # loads kernels, packs weights, chooses algorithms
                body()
        current.wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        try:
            # Threads that render may use the device meanwhile.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                body()
        except RuntimeError as error:
            raise RuntimeError(
                f"agent: the control step cannot be captured in a CUDA graph ({error}); "
                "Agent(..., capture=False) runs it without one"
            ) from error

    def replay(self) -> None:
        self._graph.replay()
        self._done.record()

    def wait(self) -> None:
        self._done.synchronize()


class _Call:
    """Stands in for a graph where there is none: calls `body` again."""

    def __init__(self, body: Callable[[], None]) -> None:
        self._body = body

    def replay(self) -> None:
        self._body()

    def wait(self) -> None:
        pass


def on_device(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Makes a CUDA device the current one, whose streams and events are meant; else nothing."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
