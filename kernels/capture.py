"""Captures a function of static buffers as a CUDA graph and replays it; checks capturability without a GPU.

A graph is a recording of launches: every replay uses the same addresses, shapes and Python numbers, and no host code
runs. So the function takes no arguments and reads tensors at fixed addresses, into which new inputs are copied. Called
by the learner (a train step) and the search.

    Graphed(function, device=...)()    on the CPU, or not enabled: calls the function
                                       on a GPU: eager calls first, then one capture, then replays
    capture_mode="fake"                calls the function and raises CaptureError where a graph would fail,
                                       silently read stale memory, or repeat a stale number

All captured graphs of a process must live until it ends (the train step's with the learner, a search's with the agent):
when one is destroyed, torch frees matrix product workspaces that other graphs captured on its stream still reference
(pytorch issue 193402, open). The others then refuse to replay.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Result = TypeVar("Result")


class CaptureError(RuntimeError):
    """A function cannot be captured, or its replay would behave differently."""


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
        capture_mode: str = "real",
        pool: Any = None,
    ):
        """enabled: None: on GPUs. capture_mode: `real`, or `fake` on any device, whether enabled or not. pool: another
        graph's `pool`, to share its memory; that graph must never run at the same time, nor its results be in use.

        Raises ValueError for a graph on a device without graphs and for other modes.
        """
        if capture_mode not in ("real", "fake"):
            raise ValueError(f"capture_mode={capture_mode}: must be real or fake")
        self._device = torch.device(device)
        self._enabled = self._device.type == "cuda" if enabled is None else enabled
        if self._enabled and self._device.type != "cuda" and capture_mode == "real":
            raise ValueError(f"no graph can be captured on device {self._device}: leave enabled=None, or use fake")
        self._function = function
        self._warmups_left = warmups
        self._check = _CaptureCheck() if capture_mode == "fake" else None
        self._pool = pool
        self._stream: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._has_lost_another = False

    @property
    def captured(self) -> bool:
        """Whether further calls are replays."""
        return self._graph is not None

    @property
    def pool(self) -> Any:
        """The captured graph's memory pool, for another's `pool` argument; None before the capture."""
        return None if self._graph is None else self._graph.pool()

    def __call__(self) -> Result:
        if self._graph is None and self._warmups_left > 0:
            self._warmups_left -= 1
            return self._beside() if self._enabled and self._check is None else self._function()
        if self._check is not None:
            return self._check.run(self._function)
        if not self._enabled:
            return self._function()
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
            where = torch.cuda.graph(
                graph, pool=self._pool, stream=self._side_stream(), capture_error_mode="thread_local"
            )
            with where:
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


class _CaptureCheck:
    """Calls a function and compares its launches with those of the first call."""

    def __init__(self) -> None:
        self._first: _Launches | None = None
        self._calls = 0

    def run(self, function: Callable[[], Result]) -> Result:
        self._calls += 1
        launches = _Launches()
        with _NoHostData(), launches:
            result = function()
        if self._first is None:
            self._first = launches
        else:
            self._compare(self._first.calls, launches.calls)
        return result

    def _compare(self, first: list[str], now: list[str]) -> None:
        for number, (before, after) in enumerate(zip(first, now, strict=False)):
            if before != after:
                here = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
                shown = [f"{call[:40]} ... {call[max(0, here - 40) : here + 80]}" for call in (after, before)]
                raise CaptureError(
                    f"call {self._calls} differs from call 1 in operation {number}: {shown[0]}, captured was {shown[1]}"
                )
        if len(first) != len(now):
            raise CaptureError(f"call {self._calls} makes {len(now)} operations, captured were {len(first)}")


# Copies between host and device (from the host: of unpinned memory), which the dispatcher does not see on the CPU.
_HOST_FUNCTIONS = (
    torch.Tensor.cpu,
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    torch.Tensor.__array__,
    torch.tensor,
    torch.as_tensor,
)


class _NoHostData(TorchFunctionMode):
    """Raises CaptureError if data crosses between host and device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _HOST_FUNCTIONS:
            raise CaptureError(f"{func.__name__}: data crosses between host and device inside the captured function")
        return func(*args, **(kwargs or {}))


class _Launches(TorchDispatchMode):
    """Records every operation with its numbers, and its tensors' shapes and origins.

    A tensor is identified by the operation of this call that allocated its memory or, if it existed before, by its
    address; such tensors are kept alive, so that their addresses are not reused. Raises CaptureError where the host
    would wait for a number or a shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._made_by: dict[int, int] = {}  # address of memory -> number of the operation that made it
        self._outside: list[torch.Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "profiler":  # profiler markers are not launches
            return func(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags:
            raise CaptureError(f"{func}: the host reads a number from the device inside the captured function")
        if _selects_by_mask(func, args) if _is_indexing(func) else torch.Tag.dynamic_output_shape in func.tags:
            raise CaptureError(f"{func}: a shape depends on data inside the captured function")
        self.note(func, args, kwargs)
        inputs = {_address(tensor) for tensor in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            if _address(tensor) not in inputs:
                self._made_by[_address(tensor)] = len(self.calls) - 1
        return result

    def note(self, operation: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """Record one operation. Tests call this for kernels that bypass torch's dispatcher."""
        self.calls.append(f"{operation}{self._describe(args)}{self._describe(kwargs)}")

    def _describe(self, value: Any) -> str:
        if isinstance(value, torch.Tensor):
            address = _address(value)
            layout = f"{list(value.shape)} {list(value.stride())} {value.storage_offset()} {value.dtype}"
            if address in self._made_by:
                return f"<{layout} of operation {self._made_by[address]}>"
            self._outside.append(value)
            return f"<{layout} at {address:#x}>"
        if isinstance(value, list | tuple):
            return f"({', '.join(self._describe(item) for item in value)})"
        if isinstance(value, dict):
            return f"({', '.join(f'{key}={self._describe(item)}' for key, item in value.items())})"
        return repr(value)


def _address(tensor: torch.Tensor) -> int:
    """The address of the tensor's storage, which its views share."""
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _is_indexing(func) -> bool:
    """x[y] or x[y] = z. With integer indices the shape is static, despite the operation's tags."""
    return func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)


def _selects_by_mask(func, args: tuple) -> bool:
    """x[mask] or x[mask] = y, whose shapes depend on the mask's values."""
    return any(tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(list(args[1])))
