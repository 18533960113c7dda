"""Captures a function of static buffers as a CUDA graph and replays it.

A graph is a recording of launches: every replay uses the same addresses, shapes and Python numbers, and no host code
runs. So the function takes no arguments and reads tensors at fixed addresses, into which new inputs are copied. Called
by the learner (a train step) and the search.

    Graphed(function, device=...)()    on the CPU, or not enabled: calls the function
                                       on a GPU: eager calls first, then one capture, then replays

`tests/kernels/fake_capture.py` checks without a GPU what can be captured.

All captured graphs of a process must live until it ends (the train step's with the learner, a search's with the agent):
when one is destroyed, torch frees matrix product workspaces that other graphs captured on its stream still reference
(pytorch issue 193402, open). The others then refuse to replay.
"""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")


class Graphed(Generic[Result]):
    """A function that is captured once and then replayed. Every call has the function's effects exactly once.

    The first `warmups` calls run eagerly on a side stream: libraries choose algorithms, kernels are compiled and lazy
    state (momentum) is created. The next call captures on the same stream, so that autograd's per-stream state matches.
    Capture is thread-local: other threads may use the GPU meanwhile.

    A replay returns the captured call's result, whose tensors the next call overwrites. The caller must keep the
    tensors that the function reads alive and in place.
    """

    def __init__(
        self,
        function: Callable[[], Result],
        *,
        device: torch.device | str,
        warmups: int = 3,
        enabled: bool | None = None,
    ):
        """enabled: None: on GPUs. Raises ValueError for a graph on a device without graphs."""
        self._device = torch.device(device)
        self._enabled = self._device.type == "cuda" if enabled is None else enabled
        if self._enabled and self._device.type != "cuda":
            raise ValueError(f"no graph can be captured on device {self._device}: leave enabled=None")
        self._function = function
        self._warmups_left = warmups
        self._stream: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._has_lost_another = False

    def __call__(self) -> Result:
        if not self._enabled:
            return self._function()
        if self._graph is None and self._warmups_left > 0:
            self._warmups_left -= 1
            return self._beside()
        if self._graph is None:
            self._graph = self._capture()
            _captured.add(self)
            weakref.finalize(self, _one_is_gone).atexit = False
        assert not self._has_lost_another, (
            "another captured graph was destroyed, and with it what this one may point to"
        )
        self._graph.replay()
        return self._result

    def _beside(self) -> Result:
        """An eager call on the capture stream, ordered with the current stream."""
        with torch.cuda.device(self._device):
            stream, current = self._side_stream(), torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                result = self._function()
            current.wait_stream(stream)
        return result

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record the function without executing it."""
        with torch.cuda.device(self._device):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._side_stream(), capture_error_mode="thread_local"):
                self._result = self._function()
        return graph

    def _side_stream(self) -> torch.cuda.Stream:
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        return self._stream


_captured: weakref.WeakSet[Graphed] = weakref.WeakSet()


def _one_is_gone() -> None:
    """Mark the surviving graphs as unusable. Graphs collected together, such as an agent's, are all gone by now."""
    for survivor in list(_captured):
        survivor._has_lost_another = True
