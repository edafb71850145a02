"""The worker's end of a conversation in JSON lines. Standard library only: it runs in every side's own
environment."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


class Channel:
    """Requests come on standard input, answers leave on what was standard output; whatever else a library
    prints goes to the log with standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def receive(self) -> dict[str, Any] | None:
        """The next request; None when the driver has ended."""
        line = sys.stdin.readline()
        return json.loads(line) if line.strip() else None

    def send(self, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=self._out, flush=True)


def serve(build: Callable[..., Callable[..., dict[str, Any]]]) -> None:
    """`build(**start)` makes the function that answers requests; then every request is answered until the
    driver ends."""
    channel = Channel()
    start = channel.receive()
    if start is None:
        return
    answer = build(**start)
    channel.send({"ready": True})
    while (request := channel.receive()) is not None:
        channel.send(answer(**request))
