"""Environments written for the library verifiers (0.1), turn by turn.

Such an environment drives its rollout itself and asks a client for the model's messages. Here the client is a
bridge: the rollout waits in a thread until the policy's text arrives, and its next request to the client is
the next observation. The policy's tokens are never tokenised again, and the environment is not copied or
patched.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from queue import SimpleQueue
from typing import Any, Literal

from menon.errors import UserError, pip_install
from menon.types import Prompt


@dataclass
class Verifiers:
    """`verifiers.load_environment(environment, **arguments)`; its rubric gives the reward at the end.

    Its messages are shown to the policy as `before` + content + `after`. For a chat model these hold its
    markup (`before="\\n<|im_start|>user\\n"`, `after="<|im_end|>\\n<|im_start|>assistant\\n"`), together with
    `chat=true`, which leaves questions as messages for `template=chat`; without it a question is the contents
    of its messages. Tools that are called by other means than text are not supported. A truncated answer is
    not scored: its reward is 0.
    """

    environment: str = ""
    """Name of the environment."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What its loader is given."""
    before: str = "\n"
    """Text before each of its messages."""
    after: str = "\n"
    """Text after each of its messages."""
    chat: bool = False
    """Leave questions as messages, for template=chat."""
    kind: Literal["verifiers"] = "verifiers"
    bridge: "Bridge | None" = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.load()

    def load(self) -> Any:
        return loaded(self.environment, json.dumps(self.arguments, sort_keys=True))

    def reset(self, prompt: Prompt, seed: int) -> str:
        row = prompt.columns.get("input")
        if row is None:
            raise UserError(
                "this question is not the environment's own; leave data and task out, so that it asks them"
            )
        self.bridge = Bridge(self.load(), row)
        event, _ = self.bridge.hears()
        if event == "end":
            raise RuntimeError("the environment was over before the first turn")
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        assert self.bridge is not None
        event, value = self.bridge.says(text)
        if event == "end":
            return "", float(value), True
        return "".join(f"{self.before}{content}{self.after}" for content in value), 0.0, False

    def close(self) -> None:
        if self.bridge is not None:
            self.bridge.close()

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """The first `n` rows of the environment's training or evaluation set."""
        return [self.row(row) for row in self._rows(split)[:n]]

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        messages = [plain(message) for message in row["prompt"]]
        question = messages if self.chat else "\n\n".join(message["content"] for message in messages)
        return {"question": question, "answer": str(row.get("answer", "")), "input": row}

    def room(self, split: str) -> int:
        return len(self._rows(split))

    def _rows(self, split: str) -> list[dict[str, Any]]:
        """Rows of a split. If an environment has no evaluation set, every tenth row of its training set is
        held out."""
        environment = self.load()
        rows = [dict(row) for row in environment.get_dataset()]
        if environment.eval_dataset is None:
            return [row for place, row in enumerate(rows) if (place % 10 == 9) == (split == "heldout")]
        return rows if split == "train" else [dict(row) for row in environment.get_eval_dataset()]


class Bridge:
    """One rollout of an environment, in a thread with an event loop."""

    def __init__(self, environment: Any, row: dict[str, Any]) -> None:
        self.environment, self.row = environment, row
        self.events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.known = 0
        """Messages that the policy has read or written."""
        self.reply: asyncio.Future[str] | None = None
        self.loop = asyncio.new_event_loop()
        self.task: asyncio.Task[None] | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.task = self.loop.create_task(self._play())
        try:
            self.loop.run_until_complete(self.task)
        except BaseException as error:  # passed to the thread that waits; this thread ends either way
            self.events.put(("error", error))
        finally:
            self.loop.close()

    async def _play(self) -> None:
        state = await self.environment.rollout(self.row, client_for(self._asked), "policy", {})
        if state.get("error") is not None:
            raise RuntimeError(f"the environment failed: {state['error']}")
        await self.environment.rubric.score_rollout(state)
        self.events.put(("end", state["reward"]))

    async def _asked(self, messages: Any) -> str:
        """The environment wants the policy's next message."""
        contents = [plain(message)["content"] for message in messages[self.known :]]
        self.known = len(messages) + 1
        self.reply = self.loop.create_future()
        self.events.put(("turn", contents))
        return await self.reply

    def hears(self) -> tuple[str, Any]:
        event, value = self.events.get()
        if event == "error":
            raise value
        return event, value

    def says(self, text: str) -> tuple[str, Any]:
        assert self.reply is not None
        self.loop.call_soon_threadsafe(self.reply.set_result, text)
        return self.hears()

    def close(self) -> None:
        if self.task is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)


def client_for(ask: Callable[[Any], Any]) -> Any:
    """A client of the library whose model is `ask`."""
    base = import_module("verifiers.clients.client").Client
    types = import_module("verifiers.types")

    async def get_response(self: Any, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        text = await ask(prompt)
        message = types.ResponseMessage(content=text, finish_reason="stop", is_truncated=False)
        return types.Response(id="policy", created=int(time.time()), model="policy", message=message)

    members = {
        name: get_response if name == "get_response" else absent
        for name in (*base.__abstractmethods__, "get_response")
    }
    return type("BridgeClient", (base,), members)(None)


def absent(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError("the bridge answers get_response only")


@cache
def loaded(name: str, arguments: str) -> Any:
    """The environment, once for all episodes. UserError where library or environment is missing."""
    try:
        library = import_module("verifiers")
        load = library.load_environment
    except ImportError as error:
        raise UserError(
            f"the environment verifiers needs a package that is missing ({error.name}); "
            f"install it by {pip_install('verifiers')}"
        ) from error
    except AttributeError as error:
        raise UserError(
            "this version of verifiers has no load_environment; menon takes versions 0.1 (menon[verifiers])"
        ) from error
    if not name:
        raise UserError(
            "set environment.environment to the name of an environment that is installed for verifiers"
        )
    try:
        return load(name, **json.loads(arguments))
    except Exception as error:  # whatever its own module does
        raise UserError(
            f"verifiers cannot load the environment '{name}': {type(error).__name__}: {error}"
        ) from error


def plain(message: Any) -> dict[str, str]:
    """A message as role and text, whether it came as a dictionary or as the library's own type."""
    fields = message if isinstance(message, dict) else message.model_dump()
    content = fields.get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    return {"role": str(fields.get("role", "user")), "content": str(content)}
