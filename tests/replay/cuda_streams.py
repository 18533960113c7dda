"""CUDA streams and events, played on the CPU: what is queued runs later, in any order that streams and events allow.

`Timeline` stands in for torch.cuda's streams and for copies that do not block, so that code which forgets to wait for
something shows it in some schedule. The schedule is drawn by whoever makes the timeline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch


class FakeStream:
    """A queue of things to do; None marks the place of an event's record, (stream, count) something to wait for."""

    def __init__(self, timeline: Timeline, name: str):
        self._timeline, self.name = timeline, name
        self._queue: deque[Callable[[], object] | tuple[FakeStream, int] | None] = deque()
        self.queued, self.done = 0, 0

    def put(self, todo: Callable[[], object] | tuple[FakeStream, int] | None) -> None:
        self._queue.append(todo)
        self.queued += 1

    def wait_event(self, event: FakeEvent) -> None:
        if event.place is not None:
            self.put(event.place)

    @property
    def can_go_on(self) -> bool:
        return bool(self._queue) and (
            not isinstance(self._queue[0], tuple) or self._queue[0][0].done >= self._queue[0][1]
        )

    def go_on(self) -> None:
        todo = self._queue.popleft()
        if callable(todo):
            todo()
        self.done += 1


class FakeEvent:
    def __init__(self, timeline: Timeline):
        self._timeline = timeline
        self.place: tuple[FakeStream, int] | None = None  # how far that stream has come once this has passed

    def record(self, stream: FakeStream) -> None:
        stream.put(None)
        self.place = (stream, stream.queued)

    def synchronize(self) -> None:
        if self.place is not None and self.place[0].done < self.place[1]:
            self._timeline.host_waits += 1
            stream, count = self.place
            self._timeline.run_until(lambda: stream.done >= count)


class Timeline:
    """The device's side of the story."""

    def __init__(self, choose: Callable[[int], int]):
        """choose: a number below the one given, for which of the streams that can continue does."""
        self._choose = choose
        self.main = FakeStream(self, "main")
        self.current = self.main
        self.streams = [self.main]
        self.host_waits = 0  # for something that was not over

    def stream(self, *_: object) -> FakeStream:
        self.streams.append(FakeStream(self, f"side {len(self.streams)}"))
        return self.streams[-1]

    def some(self, steps: int) -> None:
        """The device does a little of what it can do."""
        for _ in range(steps):
            ready = [stream for stream in self.streams if stream.can_go_on]
            if ready:
                ready[self._choose(len(ready))].go_on()

    def run_until(self, over: Callable[[], bool]) -> None:
        while not over():
            ready = [stream for stream in self.streams if stream.can_go_on]
            assert ready, "streams wait for one another"
            ready[self._choose(len(ready))].go_on()

    def run_all(self) -> None:
        self.run_until(lambda: all(stream.done == stream.queued for stream in self.streams))

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """In the place of torch.cuda's streams, events and copies that do not block."""

        @contextmanager
        def inside(stream: FakeStream) -> Iterator[None]:
            before, self.current = self.current, stream
            yield
            self.current = before

        copy = torch.Tensor.copy_

        def copy_(target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
            if not non_blocking:
                return copy(target, source)
            self.current.put(lambda: copy(target, source))
            return target

        patch.setattr(torch.cuda, "Stream", self.stream)
        patch.setattr(torch.cuda, "Event", lambda: FakeEvent(self))
        patch.setattr(torch.cuda, "stream", inside)
        patch.setattr(torch.cuda, "current_stream", lambda device=None: self.current)
        patch.setattr(torch.Tensor, "copy_", copy_)
