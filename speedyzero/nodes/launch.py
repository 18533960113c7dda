"""How torchrun started this process: its environment variables, its agent. Imports no torch: it is read first."""

import fcntl
import os
import signal
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from speedyzero.nodes.share import WHOLE, Share
from speedyzero.shm.liveness import place, process_of
from speedyzero.system import stop_signals
from speedyzero.system.prctl import die_with

RUN_ID, OWN_STORE = "TORCHELASTIC_RUN_ID", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
_PARENT_PID = os.getppid()  # under torchrun: the node's agent
_SIOCGIFADDR = 0x8915


@dataclass(frozen=True)
class Launch:
    """address, port: of the store that node 0's supervisor serves. interface: that the learners of other nodes use."""

    share: Share = WHOLE
    address: str = ""
    port: int = 0
    interface: str = "lo"


ALONE = Launch()


def launched(environ: Mapping[str, str] = os.environ) -> Launch:
    """`ALONE` without torchrun, or with a single node.

    Raises ValueError, with what to type, if torchrun was started in a way that this program cannot use.
    """
    if RUN_ID not in environ:
        return ALONE
    local, nodes = int(environ["LOCAL_WORLD_SIZE"]), int(environ["WORLD_SIZE"])
    if local != 1:
        raise ValueError(
            f"torchrun started {local} processes on this node, but one starts all others: use --nproc-per-node 1"
        )
    if nodes == 1:
        return ALONE
    if environ.get(OWN_STORE) != "1":
        raise ValueError(f"{OWN_STORE} is not 1, so restarts would hang: start with {OWN_STORE}=1 torchrun ...")
    address = environ["MASTER_ADDR"]
    interface = environ.get("GLOO_SOCKET_IFNAME") or interface_to(address)
    return Launch(Share(int(environ["RANK"]), nodes), address, int(environ["MASTER_PORT"]), interface)


def interface_to(address: str) -> str:
    """The network interface from which this host reaches an address. Raises ValueError if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError as error:
            raise ValueError(f"MASTER_ADDR={address}: {error.strerror}; set GLOO_SOCKET_IFNAME") from error
        there, here = probe.getpeername()[0], probe.getsockname()[0]
        if there.startswith("127.") and address not in ("127.0.0.1", "localhost"):
            raise ValueError(
                f"MASTER_ADDR={address} is {there} on this host (/etc/hosts), where no other host reaches it: give "
                "torchrun --local-addr ADDRESS"
            )
        for _, name in socket.if_nameindex():
            try:
                found = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue  # it has no address
            if socket.inet_ntoa(found[20:24]) == here:
                return name
    raise ValueError(f"MASTER_ADDR={address} is reached from {here}, of no known interface: set GLOO_SOCKET_IFNAME")


def agent_identity() -> str:
    """Of torchrun's agent, which starts this program again after a failure. Distinct over machines and time."""
    return f"{place()} {process_of(_PARENT_PID)}"


def agent_lives(*, for_s: float = 0.0) -> bool:
    """Whether torchrun's agent lives, and still does after `for_s`.

    The signal of its death comes when the first of its threads ends; this process keeps its parent until the last has.
    """
    deadline_s = time.monotonic() + for_s
    while os.getppid() == _PARENT_PID:
        if time.monotonic() >= deadline_s:
            return True
        time.sleep(0.01)
    return False


def die_with_agent() -> None:
    """Receive SIGTERM when torchrun's agent dies, which would leave this process without anybody to end it."""
    if RUN_ID in os.environ:
        die_with(_PARENT_PID, signal.SIGTERM)


def end_agent() -> None:
    """Keep torchrun from starting the program again: it would fail again, or was asked to end. Ignores signals after.

    Nothing without torchrun.
    """
    if RUN_ID in os.environ and agent_lives():
        stop_signals.ignore()
        os.kill(_PARENT_PID, signal.SIGTERM)
