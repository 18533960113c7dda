"""A short Catch on two nodes: two agents of torchrun on this machine, on the loopback interface, each with its own
directory for shared memory. To be looked into and struck."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from speedyzero.checkpoint.manifest import step_of
from speedyzero.checkpoint.stored import resumable
from tests.faults.whole_run import LIMIT_S, ROOT, SHORT

NEW = ("--game", "Catch", "--preset", "catch", "--gpus", "0", *SHORT, "evaluate.interval_train_steps=0")
HEAD_START, PER_STEP = 520, 4  # env steps, before and with a train step


def ends_at(step: int) -> list[str]:
    """Settings with which a run of Catch ends at a train step; runs of all lengths play at one pace."""
    return [f"schedule.train_steps={step}", f"schedule.env_steps={HEAD_START + PER_STEP * step}"]


LONG = (*ends_at(100_000), "checkpoint.interval_train_steps=10")


class TwoNodes:
    """The processes of both nodes by title: `agent`, `supervisor`, `learner-0`, ..."""

    def __init__(self, folder: Path, run_dir: Path, *words: str, max_restarts: int = 0):
        """words: of train.py's command line, but for the run's directory."""
        self.folder, self.run_dir = folder, run_dir
        folder.mkdir(exist_ok=True)
        port = free_port()
        where = ["--rdzv-backend", "c10d", "--rdzv-id", "test", "--rdzv-endpoint", f"{self.address(0)}:{port}"]
        counts = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", str(max_restarts)]
        torchrun = [sys.executable, "-m", "torch.distributed.run", *counts, *where, "--local-addr"]
        train = ["train.py", "--run-dir", str(run_dir), *words]
        self.started: list[subprocess.Popen] = []
        for node in range(2):
            self.prepare(node)
            (folder / f"{node}.txt").touch()
        for node in range(2):
            with open(folder / f"{node}.txt", "w") as output:
                self.started.append(
                    subprocess.Popen(
                        [*self.prefix(node), *torchrun, self.address(node), *train, *self.settings(node)],
                        cwd=ROOT,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env=os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"},
                        start_new_session=True,
                    )
                )
            if node == 0:  # it serves the rendezvous, not whichever agent comes first
                self.wait_for(lambda: _listens(self.net(0), port), "the rendezvous")
        self.known: dict[int, dict[str, int]] = {0: {}, 1: {}}

    # Where a node is; on other hosts (`hosts.py`) elsewhere.

    def prepare(self, node: int) -> None:
        self.shm_dir(node).mkdir(mode=0o700)

    def address(self, node: int) -> str:
        return "127.0.0.1"

    def prefix(self, node: int) -> list[str]:
        """Of the command line."""
        return []

    def settings(self, node: int) -> list[str]:
        return [f"shm_dir={self.shm_dir(node)}"]

    def agent(self, node: int) -> int:
        return self.started[node].pid

    def shm_dir(self, node: int) -> Path:
        return self.folder / f"shm-{node}"

    def net(self, node: int) -> Path:
        return Path("/proc/self/net")

    def __enter__(self) -> TwoNodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Whatever became of the test, nobody continues running."""
        pids = [pid for node in range(2) for pid in (*self.processes(node).values(), *self.known[node].values())]
        for pid in pids:
            if title_of(pid):
                os.kill(pid, signal.SIGKILL)
        for started in self.started:
            started.kill()
            started.wait()
        self.wait_for(lambda: not any(map(title_of, pids)), "the end of those killed")

    def output(self, node: int) -> str:
        return (self.folder / f"{node}.txt").read_text(errors="replace")

    def processes(self, node: int) -> dict[str, int]:
        """Living processes of a node."""
        found, to_visit = {"agent": self.agent(node)}, [self.agent(node)]
        while to_visit:
            for pid in children_of(to_visit.pop()):
                found[title_of(pid)] = pid
                to_visit.append(pid)
        return {title: pid for title, pid in found.items() if title}

    @property
    def saved_step(self) -> int:
        """Of the last checkpoint; 0: there is none."""
        return max(map(step_of, resumable(self.run_dir)), default=0)

    @property
    def resumed_at(self) -> list[int]:
        """The train steps at which the run went on."""
        return [int(step) for step in re.findall(r"resuming .* at train step (\d+)", self.output(0))]

    def wait_for_checkpoint(self, *, after: int) -> None:
        def is_there() -> bool:
            assert any(started.poll() is None for started in self.started), self.output(0) + self.output(1)
            return self.saved_step > after

        self.wait_for(is_there, f"a checkpoint after train step {after}")
        self.look()

    def look(self) -> None:
        """Remember the living processes."""
        self.known = {node: self.processes(node) for node in range(2)}

    def wait_for(self, condition: Callable[[], object], what: str) -> float:
        """The seconds that it took."""
        started_s = time.monotonic()
        while not condition():
            outputs = "\n".join(map(self.output, range(2)))
            assert time.monotonic() - started_s < LIMIT_S, f"{what} has not come in {LIMIT_S:.0f} s:\n{outputs}"
            time.sleep(0.05)
        return time.monotonic() - started_s

    def wait_until_all_roles_end(self) -> float:
        """Until of both nodes nothing but the agents is left; the seconds that it took."""
        roles = [pid for known in self.known.values() for title, pid in known.items() if title != "agent"]
        assert len(roles) >= 10
        return self.wait_for(lambda: not any(map(title_of, roles)), "the end of all roles")

    def wait(self) -> list[int]:
        """The exit codes of both agents."""
        return [started.wait(timeout=LIMIT_S) for started in self.started]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def title_of(pid: int) -> str:
    """`supervisor`, `learner-0`; empty: the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    title, _, state = fields.partition("(")[2].rpartition(")")
    return "" if state.split()[0] in "ZX" else title.removeprefix("sz-")


def _listens(net: Path, port: int) -> bool:
    """Whether a process of a host listens on a TCP port, without connecting to it."""
    tables = ((net / "tcp").read_text(), (net / "tcp6").read_text())
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)
