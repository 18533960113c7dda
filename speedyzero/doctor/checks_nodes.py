"""Checks of a machine that is to be one of several nodes: its name, its network interface, torchrun's store."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from speedyzero.doctor.finding import Finding, ok, warning, wrong
from speedyzero.nodes.launch import OWN_STORE


def node_findings() -> Iterator[Finding]:
    yield check_name(socket.gethostname())
    interfaces = [name for _, name in socket.if_nameindex()]
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        yield check_interface(variable, os.environ.get(variable, ""), interfaces)
    yield check_own_store(os.environ.get(OWN_STORE, ""))


def check_name(name: str) -> Finding:
    """Other hosts are given the address that a host's own name has on it."""
    fix = "torchrun --local-addr ADDRESS, with this host's address on the network (or mend /etc/hosts)"
    try:
        address = socket.gethostbyname(name)
    except OSError as error:
        return warning("host name", f"{name} has no address here: {error.strerror}", fix)
    if address.startswith("127."):
        return warning("host name", f"{name} is {address} here, where no other host reaches it", fix)
    return ok("host name", f"{name} is {address}")


def check_interface(variable: str, named: str, interfaces: list[str]) -> Finding:
    if named and named not in interfaces:
        what = f"{variable}={named}, there are {', '.join(interfaces)}"
        return wrong(
            "interface", what, f"export {variable}=NAME, or unset it: the interface that reaches node 0 is used"
        )
    return ok("interface", f"{variable}={named}" if named else f"{variable} is not set: the one that reaches node 0")


def check_own_store(value: str) -> Finding:
    if value != "1":
        fix = f"export {OWN_STORE}=1, on every node"
        return warning("torchrun", f"{OWN_STORE} is not 1 here, so restarts would hang: train refuses to start", fix)
    return ok("torchrun", f"{OWN_STORE}=1")
