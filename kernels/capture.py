"""Capture a function of static buffers as a CUDA graph and replay it; and the rules of that, checked without a GPU.

A graph is a recording of launches: it reads and writes the same addresses at every replay, with the same shapes and the
same Python numbers, and no host code runs inside. So the function takes no arguments, reads tensors that stay where
they are, and is given new inputs by copying into them. Called by the learner (a train step) and the search.

    Graphed(function, device=...)()    on the CPU, or not enabled: calls the function
                                       on a GPU: eager calls first, then one capture, then replays
    capture_mode="fake"                calls the function and raises CaptureError where a graph would have failed,
                                       silently read old memory, or repeated an old number

Captured graphs live as long as their owner, and those of a process die together: the train step's with the learner, a
search's with the agent, each until the process ends. For where one is destroyed, torch frees the workspaces of matrix
products that others captured on its stream still point to (pytorch issue 193402, open): a survivor refuses to replay.
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
    """A function cannot be captured, or would not do the same when replayed."""


class Graphed(Generic[Result]):
    """A function that is captured once and replayed from then on. Every call has the function's effects exactly once.

    The first `warmups` calls run eagerly on a stream of their own, where libraries choose their algorithms, kernels are
    compiled and lazily made state (momentum) appears. The next call captures, on that stream too, so that what autograd
    keeps by stream fits. Only this thread's calls count for the capture: others may go on using the GPU meanwhile.

    What a replay returns is what the captured call returned: its tensors are overwritten by the next call. Tensors that
    the function reads must be kept by the caller, in place.
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
        """enabled: None where the device is a GPU. capture_mode: `real`, or `fake` on any device, whether enabled or
        not. pool: of a graph that never runs at the same time and whose results are not needed by then, to share its
        memory (see `pool`).

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
        """The captured graph's memory, for another's `pool`; None before the capture."""
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
        """An eager call on the capture's stream, in order with the current one."""
        with torch.cuda.device(self._device):
            stream, current = self._side_stream(), torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                result = self._function()
            current.wait_stream(stream)
        return result

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record the function; nothing is executed yet."""
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
    """Those that are collected together, such as an agent's, are all gone by now."""
    for survivor in list(_captured):
        survivor._has_lost_another = True


class _CaptureCheck:
    """Calls a function again and again and compares what it launches, call by call, with the first time."""

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


# Tensors leave for the host, or come from it through memory that is not pinned. On the CPU the dispatcher sees neither.
_HOST_FUNCTIONS = (
    torch.Tensor.cpu,
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    torch.Tensor.__array__,
    torch.tensor,
    torch.as_tensor,
)


class _NoHostData(TorchFunctionMode):
    """Raises CaptureError where data crosses between host and device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _HOST_FUNCTIONS:
            raise CaptureError(f"{func.__name__}: data crosses between host and device inside the captured function")
        return func(*args, **(kwargs or {}))


class _Launches(TorchDispatchMode):
    """Notes every operation with its numbers, the shapes of its tensors, and where they came from.

    A tensor is named by the operation of this call that made its memory or, where it was there before, by its address;
    those are kept alive, so that no later tensor can get the address of one. Raises CaptureError where the host would
    wait for a number or a shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._made_by: dict[int, int] = {}  # address of memory -> number of the operation that made it
        self._outside: list[torch.Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "profiler":  # marks for a profiler, no launches
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
        """One operation. Kernels that torch does not see are noted by whoever launches them in a test."""
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
    """Of its memory's beginning, which its views share."""
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _is_indexing(func) -> bool:
    """x[y] or x[y] = z. By numbers the shape is known, whatever the operation's tags say."""
    return func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)


def _selects_by_mask(func, args: tuple) -> bool:
    """x[mask]: as many rows as the mask has ones. x[mask] = y counts them too."""
    return any(tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(list(args[1])))
