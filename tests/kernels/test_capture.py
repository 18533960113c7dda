"""Graphs of static buffers: what a replay cannot do is refused without a GPU, and the order of calls on one."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from kernels.capture import Graphed
from tests.kernels.fake_capture import CaptureError, FakeGraphed
from tests.refusal import refusal

fake = partial(FakeGraphed, warmups=0)


def test_on_the_cpu_every_call_is_a_call():
    calls = []
    graphed = Graphed(lambda: calls.append(1) or len(calls), device="cpu")
    assert [graphed() for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_graph_where_there_are_none_is_refused():
    assert "device cpu" in refusal(Graphed, lambda: None, device="cpu", enabled=True)


def test_static_buffers_pass():
    """New values in the same memory, temporaries, views, rows by number, in-place writes and a backward pass."""
    x, weight, out = torch.ones(4, 3), torch.ones(3, 2, requires_grad=True), torch.empty(2)
    rows = torch.tensor([3, 2, 1, 0])

    def function() -> None:
        weight.grad = None
        hidden = (x @ weight).relu()[rows]
        (hidden[1:] * 0.5).sum().backward()
        out.copy_(hidden.detach().sum(0))
        out[:1].add_(1.0)

    graphed = fake(function)
    for value in (1.0, -2.0, 3.0):
        x.fill_(value)
        graphed()
        total = 4 * 3 * max(value, 0.0)
        assert out.tolist() == [total + 1, total]


def assign_by_mask(x: torch.Tensor) -> None:
    x[x > 0] = torch.zeros(3)


REFUSED = {
    "the host reads a number": {
        "item": lambda x: x.sum().item(),
        "float": lambda x: float(x.sum()),
        "if": lambda x: x if x.sum() > 0 else -x,
        "equal": lambda x: torch.equal(x, x + 0),
        "and": lambda x: torch.isfinite(x).all() and x,
        "index": lambda x: range(x.sum().int()),
    },
    "data crosses between host and device": {
        "cpu": lambda x: x.cpu(),
        "numpy": lambda x: x.numpy(),
        "tolist": lambda x: x.tolist(),
        "asarray": lambda x: np.asarray(x),
        "tensor": lambda x: x + torch.tensor([1.0, 2.0, 3.0]),
        "as_tensor": lambda x: x + torch.as_tensor(np.ones(3, np.float32)),
    },
    "a shape depends on data": {
        "nonzero": torch.nonzero,
        "unique": torch.unique,
        "by mask": lambda x: x[x > 0],
        "into mask": assign_by_mask,
        "masked_select": lambda x: torch.masked_select(x, x > 0),
    },
}


@pytest.mark.parametrize(("why", "name"), [(why, name) for why, functions in REFUSED.items() for name in functions])
def test_what_no_graph_can_hold(why, name):
    x = torch.ones(3)
    with pytest.raises(CaptureError, match=why):
        fake(lambda: REFUSED[why][name](x))()


def test_a_python_number_that_changes():
    x, rate = torch.ones(3), [0.5]
    graphed = fake(lambda: x.mul_(rate[0]))
    graphed()
    graphed()
    rate[0] = 0.25
    with pytest.raises(CaptureError, match=r"call 3 differs from call 1 in operation 0: aten.mul_.*0\.25.*0\.5"):
        graphed()


def another_tensor() -> tuple[Callable, Callable]:
    """Of the same shape: a replay would read the old one, or what has taken its place. Also where that was freed."""
    holder = {"x": torch.ones(1000)}
    return lambda: holder["x"].sum(), lambda: holder.clear() or holder.update(x=torch.ones(1000))


def a_view_at_another_place() -> tuple[Callable, Callable]:
    x, start = torch.ones(8), [0]
    return lambda: x[start[0] : start[0] + 2].sum(), lambda: start.append(start.pop() + 4)


def the_result_of_the_call_before() -> tuple[Callable, Callable]:
    """Read one call later, it lies at an address that only the first call knew."""
    last = [torch.zeros(1000)]
    return lambda: last.append(last.pop() + 1.0), lambda: None


@pytest.mark.parametrize("made", [another_tensor, a_view_at_another_place, the_result_of_the_call_before])
def test_an_input_elsewhere(made):
    function, move = made()
    graphed = fake(function)
    graphed()
    move()
    with pytest.raises(CaptureError, match="call 2 differs from call 1"):
        graphed()


@pytest.mark.parametrize("sizes", [(3, 4), (4, 3)])
def test_another_number_of_operations(sizes):
    x, count = torch.ones(3), [sizes[0]]
    graphed = fake(lambda: [x.add_(1.0) for _ in range(count[0])])
    graphed()
    count[0] = sizes[1]
    with pytest.raises(CaptureError, match=f"makes {sizes[1]} operations, captured were {sizes[0]}"):
        graphed()


def test_warm_ups_may_do_anything():
    """State is made, algorithms are chosen; the calls after them are what counts."""
    x, state = torch.ones(3), {}

    def function() -> None:
        if "sum" not in state:
            state["sum"] = torch.zeros(())
            assert x.sum().item() == 3.0
        state["sum"].add_(x.sum())

    graphed = fake(function, warmups=2)
    for _ in range(5):
        graphed()
    assert state["sum"].item() == 15.0


class FakeCuda:
    """Stands for torch.cuda: a capture runs its function without effect, a replay runs it with effect."""

    def __init__(self, memory: torch.Tensor):
        self.log: list[str] = []
        self.memory, self.current = memory, "main"

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cuda = self

        class Stream:
            name = "side"

            def wait_stream(self, other: Stream) -> None:
                cuda.log.append(f"{self.name} waits for {other.name}")

        class Main(Stream):
            name = "main"

        class CUDAGraph:
            def replay(self) -> None:
                cuda.log.append(f"replay on {cuda.current}")
                cuda.memory.add_(1)

        @contextlib.contextmanager
        def stream(on: Stream):
            cuda.current = on.name
            yield
            cuda.current = "main"

        @contextlib.contextmanager
        def graph(graph: CUDAGraph, *, stream: Stream, capture_error_mode: str):
            cuda.log.append(f"capture on {stream.name}, {capture_error_mode}")
            before = cuda.memory.clone()
            yield
            cuda.memory.copy_(before)

        stand_ins = {
            "Stream": Stream,
            "CUDAGraph": CUDAGraph,
            "stream": stream,
            "graph": graph,
            "current_stream": Main,
            "device": lambda device: contextlib.nullcontext(),
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)


def test_on_a_gpu_warm_ups_then_a_capture_then_replays(monkeypatch):
    """Every call has its effect once, the capturing one too."""
    memory = torch.zeros(1)
    cuda = FakeCuda(memory)
    cuda.install(monkeypatch)

    def function() -> str:
        cuda.log.append(f"function on {cuda.current}")
        memory.add_(1)
        return "result"

    graphed = Graphed(function, device="cuda", warmups=2)
    counts = []
    for _ in range(5):
        assert graphed() == "result"
        counts.append(memory.item())
    assert counts == [1.0, 2.0, 3.0, 4.0, 5.0]
    warm_up = ["side waits for main", "function on side", "main waits for side"]
    captured = ["capture on side, thread_local", "function on main"]
    assert cuda.log == [*warm_up, *warm_up, *captured, *["replay on main"] * 3]


def test_on_a_gpu_but_not_enabled(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", None)
    calls = []
    graphed = Graphed(lambda: calls.append(1), device="cuda", warmups=1, enabled=False)
    for _ in range(3):
        graphed()
    assert len(calls) == 3


def test_a_graph_that_outlives_another_is_not_replayed(monkeypatch):
    """Nor do those that are dropped together blame each other, or one that was captured later."""
    memory = torch.zeros(1)
    FakeCuda(memory).install(monkeypatch)

    def captured() -> Graphed:
        graphed = Graphed(lambda: memory.add_(1), device="cuda", warmups=0)
        graphed()
        return graphed

    first, second = captured(), captured()
    second()
    del first
    with pytest.raises(AssertionError, match="another captured graph was destroyed"):
        second()
    together = [captured(), captured()]
    together.append(together)  # as a search and its graphs, only the collector ends them
    del second, together
    gc.collect()
    later = captured()
    later()
