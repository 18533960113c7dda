"""Checks without a GPU whether a function of static buffers can be captured: FakeGraphed in the place of Graphed.

Calls the function and raises CaptureError where a graph would fail, silently read stale memory, or repeat a stale
number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from speedyzero.learner import device_step
from speedyzero.search import static_search

Result = TypeVar("Result")


class CaptureError(RuntimeError):
    """A function cannot be captured, or its replay would behave differently."""


def fake_captures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of train steps and searches that are made from now on."""
    for module in (device_step, static_search):
        monkeypatch.setattr(module, "Graphed", FakeGraphed)


class FakeGraphed(Generic[Result]):
    """As `Graphed`, on any device, enabled or not."""

    def __init__(
        self,
        function: Callable[[], Result],
        *,
        device: torch.device | str = "cpu",
        warmups: int = 3,
        enabled: bool | None = None,
    ):
        self._function, self._warmups_left, self._check = function, warmups, _CaptureCheck()

    def __call__(self) -> Result:
        if self._warmups_left > 0:
            self._warmups_left -= 1
            return self._function()
        return self._check.run(self._function)


class _CaptureCheck:
    """Calls a function and compares its launches with those of the first call."""

    def __init__(self) -> None:
        self._first: Launches | None = None
        self._calls = 0

    def run(self, function: Callable[[], Result]) -> Result:
        self._calls += 1
        launches = Launches()
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


class Launches(TorchDispatchMode):
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
        """Record one operation. Called for kernels, which bypass torch's dispatcher."""
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
