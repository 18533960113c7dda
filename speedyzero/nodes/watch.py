"""How the supervisors of a run's nodes watch one another, through the store that node 0's supervisor serves.

Each publishes one line twice a second: a heartbeat, its env steps, the last checkpoint of which it has written its
files, its bottleneck and, once it ends, the reason. A thread makes the store's calls, because a call on a dead link
never returns; timeouts are measured by the reader's own clock. A node that fails ends all, an interrupted one
interrupts all; torchrun may restart all.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from speedyzero.nodes.meeting import Meeting

LOST_S = 30.0
BEAT_S = 0.5
SILENT_S = 3.0  # without a heartbeat, for a node whose reason to end is awaited
_PUBLISH_S = 5.0
_MAX_POLL_GAP_S = 1.0  # a longer gap between two polls: this supervisor was stopped
INTERRUPTED, DONE, FOLLOWS = "interrupted", "done", "follows"  # reasons to end that are no failure of that node


@dataclass(frozen=True)
class _Line:
    beat: int = 0
    env_steps: int = 0
    reason: str = ""
    saved_step: int = 0
    limit: str = ""
    waited_ns: int = 0


@dataclass(frozen=True)
class Written:
    """files: of a checkpoint, their manifest entries by name; None: they could not be written."""

    step: int = 0
    files: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Elsewhere:
    """What other nodes report of a checkpoint: the files written; who could not write; who has not reported yet."""

    files: Mapping[str, Any] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()


class Watch:
    """One node's view of the others; a context manager that publishes how it was left."""

    def __init__(self, meeting: Meeting):
        self.share, self.launch, self.run_dir, self.name = meeting.share, meeting.launch, meeting.run_dir, meeting.name
        self._written = [Written() for _ in range(self.share.nodes)]
        self._store = meeting.store
        self._others = [node for node in range(self.share.nodes) if node != self.share.node]
        self._reason, self._env_steps, self._store_error = "", 0, ""
        self._limit, self._waited_ns = "", 0
        self._seen = [_Line() for _ in range(self.share.nodes)]
        self._beats, self._silent_s = [0] * self.share.nodes, [0.0] * self.share.nodes
        self._polled_s, self._is_left = time.monotonic(), False
        self._wake, self._published = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="watch")
        self._thread.start()

    @property
    def env_steps_elsewhere(self) -> int:
        return sum(self._seen[node].env_steps for node in self._others)

    def publish_limit(self, limit: str, waited_ns: int) -> None:
        """limit: the bottleneck among this node's processes. waited_ns: by its learner for those of other nodes."""
        self._limit, self._waited_ns = limit, waited_ns

    def limits(self) -> tuple[list[str], list[int]]:
        """What every node has published with `publish_limit`, by node."""
        lines = list(self._seen)
        lines[self.share.node] = _Line(limit=self._limit, waited_ns=self._waited_ns)
        return [line.limit for line in lines], [line.waited_ns for line in lines]

    def poll(self, *, env_steps: int | None = None) -> str:
        """The failures of other nodes, a line each; empty: none. Raises SIGTERM here if another node was interrupted.

        env_steps: of this node. Call at least once a second.
        """
        now_s = time.monotonic()
        passed_s, self._polled_s = min(now_s - self._polled_s, _MAX_POLL_GAP_S), now_s
        self._env_steps = self._env_steps if env_steps is None else env_steps
        for node in self._others:
            beat = self._seen[node].beat
            self._silent_s[node] = self._silent_s[node] + passed_s if beat == self._beats[node] else 0.0
            self._beats[node] = beat
        if not self._reason and any(self._seen[node].reason == INTERRUPTED for node in self._others):
            self._reason = INTERRUPTED
            signal.raise_signal(signal.SIGTERM)
        return self._known(LOST_S)

    def publish_written(self, written: Written) -> None:
        """Have node 0 list this node's files of a checkpoint."""
        self._written[self.share.node] = written
        self._wake.set()

    def written_elsewhere(self, step: int) -> Elsewhere:
        """On node 0: what the others have reported of a checkpoint."""
        files: dict[str, Any] = {}
        failed, awaited = [], []
        for node in self._others:
            written = self._written[node]
            if written.step < step:
                awaited.append(self.name(node))
            elif written.step > step or written.files is None:
                failed.append(self.name(node))
            else:
                files |= written.files
        return Elsewhere(files, tuple(failed), tuple(awaited))

    def may_report(self) -> bool:
        """Whether reports may still come: no node has failed, all have a heartbeat."""
        is_in_order = self._reason in ("", INTERRUPTED) and not self.poll()
        return is_in_order and all(self._silent_s[node] < SILENT_S for node in self._others)

    def publish(self, reason: str) -> None:
        """Publish the reason why this node ends."""
        self._reason = reason
        self._published.clear()
        self._wake.set()
        if not self._store_error:  # else the thread has ended
            self._published.wait(_PUBLISH_S)

    def end(self, reason: str = "") -> str:
        """`publish`, then wait until every other node has published its reason or is silent. Returns their failures.

        reason: empty: as published before, or else an interrupt.
        """
        self.publish(reason or self._reason or INTERRUPTED)
        deadline_s = time.monotonic() + _PUBLISH_S
        while not self._store_error and time.monotonic() < deadline_s and any(map(self._is_awaited, self._others)):
            self.poll()
            time.sleep(BEAT_S / 10)
        return self._known(SILENT_S)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Node 0 waits for the others: the store ends with its process. All wait for the thread, unless it is on a dead
        link: in a store's call when the interpreter ends, it aborts the process.
        """
        if kind is None or not self._reason:
            is_interrupt = kind is not None and issubclass(kind, KeyboardInterrupt)
            self._reason = DONE if kind is None else INTERRUPTED if is_interrupt else f"{kind.__name__}: {error}"
        (self.publish if self.share.node else self.end)(self._reason)
        self._is_left = True
        self._wake.set()
        self._thread.join(_PUBLISH_S)

    def _is_awaited(self, node: int) -> bool:
        return not self._seen[node].reason and self._silent_s[node] < SILENT_S

    def _known(self, silent_s: float) -> str:
        lines = []
        for node in self._others:
            reason = self._seen[node].reason
            if not reason and node == 0 and self._store_error:
                reason = f"its supervisor, which serves the store, is gone ({self._store_error})"
            if not reason and self._silent_s[node] >= silent_s:
                reason = f"not heard of for {self._silent_s[node]:.0f} s"
            if reason not in ("", INTERRUPTED, DONE, FOLLOWS):
                lines.append(f"{self.name(node)}: {reason}")
        return "\n".join(lines)

    def _follow(self) -> None:
        keys = [f"watch/{node}" for node in range(self.share.nodes)]
        beat, own, saved_step = 0, self.share.node, 0
        try:
            while not self._is_left:
                beat, reason, written = beat + 1, self._reason, self._written[own]
                if written.step > saved_step:
                    saved_step = written.step
                    self._store.set(f"written/{own}", json.dumps([saved_step, written.files]))
                line = [beat, self._env_steps, reason, saved_step, self._limit, self._waited_ns]
                self._store.set(keys[own], json.dumps(line))
                if reason:
                    self._published.set()
                seen = [_Line(*json.loads(line)) for line in self._store.multi_get(keys)]
                for node in self._others if own == 0 else ():
                    if seen[node].saved_step > self._written[node].step:
                        self._written[node] = Written(*json.loads(self._store.get(f"written/{node}")))
                self._seen = seen
                self._wake.wait(BEAT_S)
                self._wake.clear()
        except RuntimeError as error:
            self._store_error = str(error).partition("\n")[0]
            self._published.set()
