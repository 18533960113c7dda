"""How the nodes of a run meet: node 0 serves a store, all compare their settings, and node 0 names the directory.

    open the store -> exchange host names -> node 0 decides what to resume -> each checks its arguments -> compare
    -> node 0 creates the directory

Bad input on one node is a ValueError on all, with the same line. torchrun gives each round of restarts a port of its
own, so nothing of an earlier round is in the store.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import torch.distributed as dist

from speedyzero.nodes.launch import Launch, agent_identity
from speedyzero.nodes.share import NODES_FOLDER

MEET_S = 300.0
_LAST_READ_S = 1.0  # for the others, before the store ends with its process
_AGENTS_FILE = "agents.json"
_OWN = ("run_dir", "shm_dir", "cpu_threads")  # settings that may differ between nodes
_Result = TypeVar("_Result")


def open_store(launch: Launch, *, serves: bool = False) -> dist.Store:
    """Connect to the store, waiting for its server. Raises RuntimeError after MEET_S."""
    limit = timedelta(seconds=MEET_S)
    return dist.TCPStore(launch.address, launch.port, is_master=serves, wait_for_workers=False, timeout=limit)


class Meeting:
    """One node's view. Calls return when all nodes have made them, and raise ValueError if one does not come."""

    def __init__(self, launch: Launch):
        self.launch, self.share, self.run_dir = launch, launch.share, Path()
        self.store = _patiently(lambda: open_store(launch, serves=self.share.node == 0))
        introduced = self._exchange("host", json.dumps([socket.gethostname(), agent_identity()]))
        self._hosts, self._agents = zip(*map(json.loads, introduced), strict=True)

    def name(self, node: int) -> str:
        return f"node {node} ({self._hosts[node]})"

    def has_begun(self, run_dir: Path) -> bool:
        """Whether one of these nodes' agents of torchrun began the run in a directory, and now starts it again."""
        path = run_dir / NODES_FOLDER / _AGENTS_FILE
        return path.is_file() and not set(self._agents).isdisjoint(json.loads(path.read_text()))

    def decided(self, what: str, decide: Callable[[], Any]) -> Any:
        """What node 0 decides, which must be JSON, on all nodes. Its ValueError is raised on all."""
        error, decision = "", None
        if self.share.node == 0:
            try:
                decision = decide()
            except (ValueError, OSError) as failed:
                error = str(failed)
        decision = json.loads(self._exchange(what, json.dumps(decision))[0])
        self._raise_any(error, f"can/{what}")
        return decision

    def compare(self, settings: Mapping[str, object], error: str = "") -> None:
        """error: why this node cannot take part. Raises ValueError on all nodes, naming those that differ or cannot."""
        here = {path: repr(value) for path, value in settings.items() if path not in _OWN}
        all_settings = [json.loads(one) for one in self._exchange("settings", json.dumps(here))]
        if not error:
            first = all_settings[0]
            differs = (
                next((path for path in first if first[path] != here.get(path)), None) if all(all_settings) else None
            )
            if differs:
                error = f"{differs}={here[differs]}, node 0 has {first[differs]}: give all nodes the same arguments"
        self._raise_any(error, "checked")

    def take_directory(self, create: Callable[[], Path]) -> None:
        """Set `run_dir`, this node's own, in the run's directory, which node 0 creates or names."""

        def created() -> tuple[str, str]:
            run_dir, proof = create().resolve(), secrets.token_hex(8)
            folder = run_dir / NODES_FOLDER
            folder.mkdir(exist_ok=True)
            (folder / proof).touch()
            (folder / _AGENTS_FILE).write_text(json.dumps(self._agents))
            return str(run_dir), proof

        run_dir, proof = self.decided("directory", created)
        shown, error = Path(run_dir) / NODES_FOLDER / proof, ""
        if not shown.exists():
            error = f"{shown.parent} of node 0 is not there: the run's directory must be on a disk that all nodes share"
        else:
            self.run_dir = self.share.own_dir(Path(run_dir))
            self.run_dir.mkdir(exist_ok=True)
        self._raise_any(error, "shared")
        if self.share.node == 0:
            shown.unlink()

    def _raise_any(self, error: str, what: str) -> None:
        errors = self._exchange(what, error)
        if any(errors):
            if self.share.node == 0:
                time.sleep(_LAST_READ_S)
            raise ValueError("; ".join(f"{self.name(node)}: {one}" for node, one in enumerate(errors) if one))

    def _exchange(self, what: str, mine: str) -> list[str]:
        """The text of every node, by node."""

        def exchanged() -> list[str]:
            self.store.set(f"{what}/{self.share.node}", mine)
            return [self.store.get(f"{what}/{node}").decode() for node in range(self.share.nodes)]

        return _patiently(exchanged)


def _patiently(call: Callable[[], _Result]) -> _Result:
    """The result of a store call, made in a thread: on a dead link it never returns, and signals must still arrive."""
    result: Future[_Result] = Future()

    def carry_out() -> None:
        try:
            result.set_result(call())
        except RuntimeError as error:
            result.set_exception(error)

    Thread(target=carry_out, daemon=True, name="meeting").start()
    try:
        return result.result(timeout=MEET_S)
    except (RuntimeError, TimeoutError) as error:
        what = (str(error) or type(error).__name__).partition("\n")[0]
        raise ValueError(f"the nodes did not meet in {MEET_S:.0f} s: {what}") from error
