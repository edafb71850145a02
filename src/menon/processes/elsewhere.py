"""Worker processes on other hosts: an agent there starts the same handlers, and they connect back over TCP.

The controller listens on one interface, at a port that the system chooses and for as long as the start takes.
What connects must first send the token that only the agent was given. The wire format is the same as on this
machine (`wire`); it is not encrypted, so the network between the hosts must be a trusted one (SECURITY.md).
"""

import hmac
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from menon.errors import UserError
from menon.processes.deadline import Late
from menon.processes.worker import START_LIMIT, Child, Spawn, Started

GONE = 120
"""Seconds after which a connection without any answer counts as cut, on both sides."""
PASSED_ON = ("OMP_", "MKL_", "KMP_", "TOKENIZERS_", "CUBLAS_", "PYTHONPATH", "MENON_")
"""How the variables of the environment begin that a process elsewhere gets from here."""
TALK, PRINT = b"t", b"p"
"""What a connection is for, after its token."""


class Agent(Protocol):
    """Starts processes on its host. Its calls are those of `HostAgent`, with a deadline on each."""

    host: str
    """The name of the host in messages."""

    def start(self, address: tuple[str, int], token: str, settings: list[Any], environment: dict) -> int: ...
    def wait(self, pid: int) -> int: ...
    def kill(self, pid: int) -> None: ...


class HostAgent:
    """Runs on a host and starts processes there."""

    def __init__(self) -> None:
        self.children: dict[int, Child] = {}

    def start(
        self, address: tuple[str, int], token: str, settings: list[Any], environment: Mapping[str, str]
    ) -> int:
        """Starts a process that is connected to the controller at this address; its pid."""
        ends = [connected(address, token, purpose) for purpose in (TALK, PRINT)]
        try:
            entry, arguments, memory, watched = settings
            spawn = Spawn(entry, *arguments, memory=memory, environment=environment, watched=watched)
            child = spawn.child(ends[0].fileno(), ends[1].fileno())
        finally:
            for end in ends:
                end.close()
        self.children[child.pid] = child
        return child.pid

    def wait(self, pid: int) -> int:
        """The exit code of a process that is ending."""
        child = self.children.get(pid)
        try:
            return -signal.SIGKILL if child is None else child.process.wait(GONE)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.children.pop(pid, None)

    def kill(self, pid: int) -> None:
        if pid in self.children:
            self.children[pid].kill()

    def close(self) -> None:
        for child in self.children.values():
            child.kill()


class Elsewhere:
    """A `worker.Launch` of what `spawn` describes, on the host of an agent. `interface` is the address of
    this machine that the host can reach."""

    def __init__(self, agent: Agent, spawn: Spawn, interface: str) -> None:
        self.agent, self.spawn, self.interface = agent, spawn, interface

    def __call__(self) -> Started:
        """UserError if the interface cannot be used; Late if the host does not connect in time."""
        token = secrets.token_hex(16)
        with listening(self.interface) as server:
            own = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
            environment = own | self.spawn.environment
            address = (self.interface, server.getsockname()[1])
            pid = self.agent.start(address, token, list(self.spawn.settings), environment)
            process = Remote(self.agent, pid)
            try:
                ends = accepted(server, token, self.agent.host)
            except BaseException:
                process.kill()
                raise
        return Started(process, ends[TALK], ends[PRINT].detach())


class Remote:
    """A process on another host."""

    def __init__(self, agent: Agent, pid: int) -> None:
        self.agent, self.pid = agent, pid

    def wait(self) -> int:
        return self.agent.wait(self.pid)

    def kill(self) -> None:
        self.agent.kill(self.pid)


def listening(interface: str) -> socket.socket:
    try:
        return socket.create_server((interface, 0))
    except OSError as error:
        raise UserError(
            f"cannot listen on the interface {interface} ({error.strerror}); set placement.interface to an "
            "address of this machine that the other hosts reach (`ip addr` lists them)"
        ) from None


def accepted(server: socket.socket, token: str, host: str) -> dict[bytes, socket.socket]:
    """The two connections of a process, by purpose; strangers are sent away. Late."""
    end, found = time.monotonic() + START_LIMIT, dict[bytes, socket.socket]()
    while len(found) < 2:
        server.settimeout(max(end - time.monotonic(), 1e-6))
        try:
            stranger, _ = server.accept()
        except TimeoutError:
            for connection in found.values():
                connection.close()
            raise Late(f"{host} did not connect to this machine within {START_LIMIT:.0f} s") from None
        stranger.settimeout(10.0)
        said = b""
        with suppress(OSError):
            said = stranger.recv(len(token) + 1, socket.MSG_WAITALL)
        if hmac.compare_digest(said[:-1], token.encode()) and said[-1:] in (TALK, PRINT):
            found[said[-1:]] = alive(stranger)
        else:
            stranger.close()
    return found


def connected(address: tuple[str, int], token: str, purpose: bytes) -> socket.socket:
    """A connection to the controller that has shown its token."""
    connection = socket.create_connection(address, timeout=START_LIMIT)
    connection.sendall(token.encode() + purpose)
    return alive(connection)


def alive(connection: socket.socket) -> socket.socket:
    """Small messages are sent at once, and a link that is cut for `GONE` seconds ends the connection."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", GONE // 10)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE * 1000)
    return connection
