"""Two hosts on this machine, for root: namespaces with a network, processes, a name and a /dev/shm of their own.

Their network interfaces hang on a bridge in a namespace of its own, the switch. They share this machine's disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.whole_run import ROOT
from tests.nodes.two_agents import TwoNodes, children_of

_TAG = f"sz{os.getpid()}"
_SWITCH = f"{_TAG}-switch"


def carry_out(*commands: str) -> None:
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr.strip()}"


def address(host: int) -> str:
    return f"10.77.0.{host + 1}"


@contextmanager
def network(hosts: int, hosts_file: Path) -> Iterator[None]:
    """Hosts without processes yet."""
    hosts_file.write_text("127.0.0.1 localhost\n" + "".join(f"{address(host)} host{host}\n" for host in range(hosts)))
    names = [_SWITCH, *(f"{_TAG}-{host}" for host in range(hosts))]
    try:
        carry_out(*(f"ip netns add {name}" for name in names))
        carry_out(f"ip -n {_SWITCH} link add br0 type bridge", f"ip -n {_SWITCH} link set br0 up")
        for host, name in enumerate(names[1:]):
            carry_out(
                f"ip -n {name} link add eth0 type veth peer name p{host} netns {_SWITCH}",
                f"ip -n {_SWITCH} link set p{host} master br0",
                f"ip -n {_SWITCH} link set p{host} up",
                f"ip -n {name} addr add {address(host)}/24 dev eth0",
                f"ip -n {name} link set lo up",
                f"ip -n {name} link set eth0 up",
            )
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def cut(host: int, *, is_cut: bool) -> None:
    """The switch drops a host's frames; both ends keep their carrier."""
    carry_out(f"ip netns exec {_SWITCH} bridge link set dev p{host} state {0 if is_cut else 3}")


class OnHosts(TwoNodes):
    """Each node on a host of `network`. The first process of a host waits; its death switches the host off."""

    def __init__(self, folder: Path, run_dir: Path, *words: str, hosts_file: Path, max_restarts: int = 0):
        self._hosts_file = hosts_file
        self._first: list[int] = []
        self._powers: list[subprocess.Popen] = []
        super().__init__(folder, run_dir, *words, max_restarts=max_restarts)

    def prepare(self, node: int) -> None:
        inside = (
            f"mount -t tmpfs -o mode=1777 tmpfs /dev/shm; mount --bind {self._hosts_file} /etc/hosts; "
            f"hostname host{node}; echo on; exec sleep infinity"
        )
        unshare = "unshare --mount --uts --pid --fork --kill-child --mount-proc sh -c".split()
        power = subprocess.Popen(
            ["ip", "netns", "exec", f"{_TAG}-{node}", *unshare, inside], stdout=subprocess.PIPE, text=True
        )
        self._powers.append(power)
        assert power.stdout is not None and power.stdout.readline() == "on\n"
        (first,) = children_of(power.pid)
        self._first.append(first)

    def switch_off(self, node: int) -> None:
        os.kill(self._first[node], signal.SIGKILL)
        self._powers[node].wait()

    def end(self) -> None:
        super().end()
        for power in self._powers:
            power.kill()
            power.wait()
            assert power.stdout is not None
            power.stdout.close()

    def address(self, node: int) -> str:
        return address(node)

    def prefix(self, node: int) -> list[str]:
        spaces = ["--mount", "--uts", "--net", "--pid", f"--wd={ROOT}"]
        return ["nsenter", "--target", str(self._first[node]), *spaces, "--"]

    def settings(self, node: int) -> list[str]:
        return []

    def agent(self, node: int) -> int:
        return next(iter(children_of(self.started[node].pid)), self.started[node].pid)

    def shm_dir(self, node: int) -> Path:
        return Path("/proc", str(self._first[node]), "root", "dev", "shm")

    def net(self, node: int) -> Path:
        return Path(f"/proc/{self._first[node]}/net")
