"""The process that a user's reward function runs in: JSON lines in, JSON lines out.

It does not import the program that started it, so a script needs no `if __name__ == "__main__"`, and it is killed without harm
to anything else. The function runs in the main thread, where it may set signals; prints go to stderr.
"""

import json
import os
import sys
import threading
from dataclasses import asdict
from queue import SimpleQueue
from typing import IO

from menon.errors import UserError
from menon.reward.code.signatures import Asked, Unusable, judge, shape_of
from menon.user_code import describe, load_object


def main() -> None:
    """First the function's name, answered by whether it can be called; then answers, each answered by its verdict."""
    lines: SimpleQueue[bytes] = SimpleQueue()
    asked = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(
        os.open(os.devnull, os.O_RDONLY), 0
    )  # the user's input() and print() must not touch the conversation
    os.dup2(2, 1)
    threading.Thread(target=listen, args=(asked, lines), daemon=True).start()
    name = json.loads(lines.get())
    try:
        function = load_object(name)
        shape = shape_of(function, name)
    except (UserError, Unusable) as error:
        return reply(replies, {"refused": str(error)})
    except BaseException as error:  # sys.exit() in the user's module
        return reply(replies, {"refused": f"{name} cannot be loaded: {describe(error)}"})
    reply(replies, {"shape": shape})
    while True:
        reply(replies, asdict(judge(function, shape, Asked(**json.loads(lines.get())))))


def listen(asked: IO[bytes], lines: SimpleQueue[bytes]) -> None:
    for line in asked:
        lines.put(line)
    os._exit(0)  # the run is gone, however it ended; a function that hangs must not outlive it


def reply(replies: IO[str], message: dict) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()
    sys.stderr.flush()
