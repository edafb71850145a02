"""Calls that may hang or crash, each with a deadline: in a process that can be killed, or in a thread that can be left."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import IO, Any, Protocol

from menon.child import command, ending
from menon.errors import UserError
from menon.reward.code.signatures import Asked, Shape, Unusable, failed, judge, shape_of
from menon.types import Verdict

START_LIMIT = 120.0
"""Seconds that importing the user's module may take (it may import torch on a busy machine)."""


class Isolated(Protocol):
    def ask(self, asked: Asked, limit: float) -> Verdict: ...

    def close(self) -> None: ...


class InProcess:
    """A function named `file.py:function` in a process of its own, which is replaced when it hangs or dies."""

    def __init__(self, name: str) -> None:
        """UserError if there is no such function or it cannot be called."""
        self.name = name
        self.start()
        if refused := self.ready():
            self.close()
            raise UserError(f"reward: {refused}")

    def start(self) -> None:
        """Without waiting: the next answer is asked while the user's module is being imported."""
        self.process = subprocess.Popen(
            command("menon.reward.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the run's affair, and a kill reaches what the function started
        )
        self.replies: SimpleQueue[bytes] = SimpleQueue()
        self.is_ready = False
        threading.Thread(target=_listen, args=(self.process.stdout, self.replies), daemon=True).start()
        with suppress(OSError):
            self.send(self.name)

    def ready(self) -> str:
        """Waits for the import; why the function cannot be called, or nothing."""
        if self.is_ready:
            return ""
        try:
            hello = self.receive(START_LIMIT)
        except Empty:
            return f"importing {self.name} took longer than {START_LIMIT:g} s"
        except EOFError:
            return f"importing {self.name} ended its process ({ending(self.process)})"
        self.is_ready = "refused" not in hello
        return str(hello.get("refused", ""))

    def ask(self, asked: Asked, limit: float) -> Verdict:
        if self.process.stdin is None or self.process.stdin.closed:
            raise RuntimeError("this reward is closed")
        if refused := self.ready():
            self.replace()
            return failed(f"cannot be called any more: {refused}")
        try:
            self.send(asdict(asked))
            return Verdict(**self.receive(limit))
        except Empty:
            self.replace()
            return failed(f"took longer than {limit:g} s")
        except (EOFError, OSError):
            how = ending(self.process)
            self.replace()
            return failed(f"ended its process ({how})")
        except KeyboardInterrupt:
            self.replace()  # or the next answer would get this one's verdict
            raise

    def send(self, message: Any) -> None:
        try:
            line = json.dumps(message)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"reward: a column cannot be sent to the reward's process as JSON ({error}); make it plain data"
            ) from error
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, limit: float) -> dict[str, Any]:
        line = self.replies.get(timeout=limit)
        if not line:
            raise EOFError
        return json.loads(line)

    def replace(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self.process.kill()
        self.process.wait()
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()


def _listen(stream: IO[bytes], replies: SimpleQueue[bytes]) -> None:
    with stream:
        for line in stream:
            replies.put(line)
    replies.put(b"")


class InThread:
    """A function that only this process knows (a lambda, a notebook's). A thread that hangs cannot be killed, only left."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        try:
            self.shape: Shape = shape_of(function, getattr(function, "__name__", repr(function)))
        except Unusable as error:
            raise UserError(f"reward: {error}") from error
        self.start()

    def start(self) -> None:
        self.asked: SimpleQueue[Asked | None] = SimpleQueue()
        self.replies: SimpleQueue[Verdict] = SimpleQueue()
        work = (self.function, self.shape, self.asked, self.replies)
        threading.Thread(target=_work, args=work, daemon=True).start()

    def ask(self, asked: Asked, limit: float) -> Verdict:
        self.asked.put(asked)
        try:
            return self.replies.get(timeout=limit)
        except Empty:
            self.replace()
            return failed(f"took longer than {limit:g} s")
        except KeyboardInterrupt:
            self.replace()
            raise

    def replace(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        """The thread ends once its function returns."""
        self.asked.put(None)


def _work(
    function: Callable[..., Any],
    shape: Shape,
    asked: SimpleQueue[Asked | None],
    replies: SimpleQueue[Verdict],
) -> None:
    while (next_one := asked.get()) is not None:
        replies.put(judge(function, shape, next_one))
