"""A pool of processes for calls that may hang, crash or eat memory; for use from any thread and any process."""

import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from menon.child import command
from menon.errors import UserError, at_least

START_LIMIT = 120.0
"""Seconds that the imports of the workers may take on a busy machine."""
ATTEMPTS = 3
"""Of a call whose worker was killed from outside."""
PATIENCE = 20.0
"""A call that gets so little of the machine that its wall time is this many times its CPU limit is given up."""


class Costly(Exception):
    """The call went over its limits: its arguments' own fault."""


class Broken(Exception):
    """The call failed for another reason: a fault of the function or of the machine."""


class Gone(Exception):
    """The worker died and nothing is known of why; the call may be tried again."""


@dataclass(eq=False)
class Slot:
    """One worker's socket."""

    line: socket.socket
    unread: bytes = b""
    pid: int = 0
    """0: it has not said hello, or its successor has not."""
    asked: int = 0
    """Calls so far: a reply names its call."""

    def catch_up(self) -> None:
        """Reads what came while nobody asked: the greetings of workers that followed those that died or were worn."""
        self.line.setblocking(False)
        with suppress(BlockingIOError):
            while piece := self.line.recv(65536):
                self.unread += piece
            raise ConnectionError("the workers are gone")
        *messages, self.unread = self.unread.split(b"\n")
        for message in messages:
            self.pid = json.loads(message).get("pid", self.pid)

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next message. TimeoutError; Gone at the end of the stream."""
        self.line.settimeout(seconds)
        while b"\n" not in self.unread:
            piece = self.line.recv(65536)
            if not piece:
                raise ConnectionError("the workers are gone")
            self.unread += piece
        message, _, self.unread = self.unread.partition(b"\n")
        return json.loads(message)


class Pool:
    """`ask(*arguments)` calls one function, `module:name`, in one of `workers` processes.

    `seconds` of CPU time and `memory` bytes are limits of one call. The first call starts it, which costs the function's imports
    once; the death of a worker costs milliseconds. A fork of this process gets workers of its own.
    """

    def __init__(self, function: str, workers: int = 2, seconds: float = 0.4, memory: int = 2 << 30) -> None:
        at_least(1, "workers", workers)
        if not hasattr(os, "fork"):
            raise UserError("this reward needs processes that can be forked (Linux or macOS)")
        self.function, self.workers, self.seconds, self.memory = function, workers, seconds, memory
        self.lock = threading.Lock()
        self.owner = 0
        self.nursery: subprocess.Popen[bytes] | None = None
        self.slots: list[Slot] = []
        self.free: SimpleQueue[Slot] = SimpleQueue()

    def ask(self, *arguments: Any) -> Any:
        """The function's result, or Costly or Broken. Waits while all workers are busy."""
        for _ in range(ATTEMPTS - 1):
            with suppress(Gone):
                return self.try_one(arguments)
        try:
            return self.try_one(arguments)
        except Gone as error:
            raise Broken(str(error)) from error

    def try_one(self, arguments: tuple[Any, ...]) -> Any:
        slot = self.next_free()
        try:
            return self.ask_one(slot, arguments)
        except (Costly, Broken):
            raise
        except Gone:
            if not slot.pid:  # nothing comes after it
                self.close(slot)
            raise
        except BaseException:
            kill(slot)  # Ctrl-C: the worker is to work no more
            raise
        finally:
            self.give_back(slot)

    def next_free(self) -> Slot:
        while True:
            self.start()
            with suppress(Empty):
                slot = self.free.get(
                    timeout=1.0
                )  # then again: another thread may have closed the workers meanwhile
                if slot in self.slots:
                    return slot
                slot.line.close()

    def give_back(self, slot: Slot) -> None:
        with self.lock:
            if slot in self.slots:
                self.free.put(slot)
            else:
                slot.line.close()

    def ask_one(self, slot: Slot, arguments: Any) -> Any:
        try:
            while not slot.pid:
                slot.pid = slot.receive(START_LIMIT).get("pid", 0)
            slot.catch_up()
            slot.asked += 1
            slot.line.sendall(json.dumps([slot.asked, arguments]).encode() + b"\n")
            while True:
                message = slot.receive(self.seconds * PATIENCE)
                if message.get("asked") == slot.asked:
                    break
                if "pid" not in message:  # a reply to a call that was given up
                    continue
                slot.pid, died = message["pid"], message["died"]
                if died == "SIGKILL":
                    raise Gone("a worker was killed from outside")
                if died:
                    raise Costly(died)
        except TimeoutError as error:
            if not slot.pid:
                raise Broken(f"the imports of {self.function} took longer than {START_LIMIT:g} s") from error
            kill(slot)
            raise Broken("the machine had no time for the call") from error
        except OSError as error:
            slot.pid = 0
            raise Gone(f"a worker cannot be reached ({error})") from error
        if "result" in message:
            return message["result"]
        raise Costly(message["costly"]) if "costly" in message else Broken(str(message["fault"]))

    def start(self) -> None:
        with self.lock:
            if self.owner == os.getpid() and self.nursery is not None:
                return
            if self.owner != os.getpid():
                self.owner, self.free = os.getpid(), SimpleQueue()
            pairs = [socket.socketpair() for _ in range(self.workers)]
            theirs = [their.fileno() for _, their in pairs]
            orders = json.dumps([self.function, theirs, self.seconds, self.memory])
            self.nursery = subprocess.Popen(
                [*command("menon.reward.nursery"), orders],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=theirs,
                start_new_session=True,  # Ctrl-C is the run's affair
            )
            self.slots = [Slot(ours) for ours, _ in pairs]
            for (_, their), slot in zip(pairs, self.slots, strict=True):
                their.close()
                self.free.put(slot)

    def close(self, because: Slot | None = None) -> None:
        """Ends the workers; the next call would start others. `because`: only if that slot is still one of them."""
        with self.lock:
            if self.owner != os.getpid() or (because is not None and because not in self.slots):
                return
            nursery, self.nursery = self.nursery, None
            slots, self.slots = self.slots, []
            for slot in slots:
                with suppress(OSError):
                    slot.line.shutdown(
                        socket.SHUT_RDWR
                    )  # the workers end, then the nursery; a thread that waits wakes up
            with suppress(Empty):
                while True:
                    self.free.get_nowait().line.close()  # those in use are closed by their users
            if nursery is None:
                return
            try:
                nursery.wait(self.seconds + 1)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(nursery.pid, signal.SIGKILL)
                nursery.wait()


def kill(slot: Slot) -> None:
    """Its successor will say hello."""
    with suppress(ProcessLookupError):
        os.kill(slot.pid, signal.SIGKILL)
    slot.pid = 0
