"""Calls that may hang or crash, each with a deadline: in a process that can be killed, or in a thread that
can be abandoned."""

import threading
from collections.abc import Callable
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from menon.errors import UserError
from menon.processes.deadline import Late
from menon.processes.wire import RemoteError
from menon.processes.worker import START_LIMIT, Ended, Spawn, Worker
from menon.reward.code.signatures import Asked, Shape, Unusable, failed, judge, shape_of
from menon.types import Verdict


class Isolated(Protocol):
    def ask(self, asked: Asked, limit: float) -> Verdict: ...

    def close(self) -> None: ...


class InProcess:
    """Calls a function named `file.py:function` in a separate process, which is replaced when it hangs or
    dies."""

    def __init__(self, name: str) -> None:
        """UserError if there is no such function or it cannot be called."""
        self.name, self.closed = name, False
        self.worker = Worker(Spawn("menon.reward.worker:RewardHandler", name))
        self.restart()
        if refused := self.ready():
            self.close()
            raise UserError(f"reward: {refused}")

    def restart(self) -> None:
        """Restarts the process without waiting: this process goes on while the new one imports the user's
        module."""
        self.worker.restart()
        self.is_ready = False

    def ready(self) -> str:
        """Waits for the import; returns why the function cannot be called, or ""."""
        if self.is_ready:
            return ""
        try:
            first = self.worker.receive(START_LIMIT).data
        except TimeoutError:
            return f"importing {self.name} took longer than {START_LIMIT:g} s"
        except Ended as ended:
            return f"importing {self.name} ended its process ({ended.words})"
        self.is_ready = "refused" not in first
        return str(first.get("refused", ""))

    def ask(self, asked: Asked, limit: float) -> Verdict:
        if self.closed:
            raise RuntimeError("this reward is closed")
        if not self.worker.pid:  # Ctrl-C stopped the last call
            self.restart()
        if refused := self.ready():
            self.restart()
            return failed(f"cannot be called any more: {refused}")
        try:
            reply = self.worker.ask(asdict(asked), limit)
        except Late as late:
            reason = str(late)
        except Ended as ended:
            reason = (
                f"ended its process ({ended.how})"  # without its output, which may differ from run to run
            )
        except RemoteError as error:
            reason = f"raised {error}"
        except (TypeError, ValueError) as error:
            raise UserError(
                f"reward: a column cannot be sent to the reward's process as JSON ({error}); "
                "make it plain data"
            ) from error
        else:
            return Verdict(**reply.data)
        self.restart()
        return failed(reason)

    def close(self) -> None:
        self.closed = True
        self.worker.close()


class InThread:
    """Calls a function that only this process can reach (a lambda, one of a notebook) in a thread. A thread
    that hangs is abandoned, not killed."""

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
