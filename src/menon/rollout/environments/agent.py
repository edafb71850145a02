"""A program of the user's that speaks OpenAI's API, as it is: it asks, and the policy writes the answers.

For every episode the program is started in a process of its own. What it sends becomes tokens once
(`agent_talk`), and each of its requests is a turn that the run's sampler writes. Its end is the end of the
episode, and what it printed is what the task's reward grades. The server that it asks is in `agent_server`,
the process that starts and ends the programs in `agent_keeper`."""

import json
import sys
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from menon.errors import UserError, at_least, pip_install
from menon.openai_api.voice import Voice
from menon.rollout.environments.agent_talk import Talk
from menon.rollout.environments.protocol import EpisodeFailed
from menon.types import Completion, Prompt, Tokens

GRACE = 30.0
"""Seconds beyond `time_s` that a call may take, so that the episode's own sentence says what was late."""


@dataclass(frozen=True)
class Agent:
    """Runs `command` in a shell for every episode, with the question on its standard input, and the variables
    `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `OPENAI_MODEL` of an OpenAI client. What it prints on its standard
    output is graded.

    It must carry on one conversation. An episode whose program asks anything else than how the conversation
    goes on, ends with an error, prints nothing, never asks, or is late has a NaN verdict that says so.
    """

    command: str = ""
    """The command line of the program."""
    time_s: float = 60.0
    """Seconds that the program may take before its first request, and from each answer to its next request or
    its end."""
    at_once: int = 32
    """The most programs that run at a time."""
    kind: Literal["agent"] = "agent"

    def __post_init__(self) -> None:
        if not self.command.strip():
            raise UserError(
                "set environment.command to the command line of your program, like 'python my_agent.py'"
            )
        if not self.time_s > 0:
            raise UserError(f"environment.time_s is {self.time_s:g}; it must be above 0")
        at_least(1, "environment.at_once", self.at_once)
        if sys.platform != "linux":
            raise UserError(
                "the environment agent needs Linux, which ends what a program leaves running; run it there"
            )
        try:
            import_module("starlette")
            import_module("uvicorn")
        except ImportError as error:
            raise UserError(
                f"the environment agent needs a package that is missing ({error.name}); install it by "
                f"{pip_install('workbench')}"
            ) from error

    def playing(self, voice: Voice, notify: Callable[[str], None]) -> "AgentEpisode":
        """The environment of a run whose policy has this voice."""
        return AgentEpisode(self, voice, Told(notify))


class Told:
    """Tells the user once what a program asks for and does not get."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.notify = notify
        self.names: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, names: Collection[str]) -> None:
        with self.lock:
            new = [name for name in names if name not in self.names]
            self.names |= {*new}
        if new:
            self.notify(
                f"the program sets {' and '.join(new)}, which it does not get: answers are drawn as the run "
                "says"
            )


@dataclass
class AgentEpisode:
    """One episode (`protocol.ReadsTokens`), or before its `reset` the settings of all."""

    settings: Agent
    voice: Voice
    told: Told
    program: Any = field(default=None, init=False)
    answer: str | None = field(default="", init=False)
    """What the program printed; empty while it runs."""
    stop: tuple[str, ...] = field(default=(), init=False)
    """Stop strings of its open request; the next field likewise."""
    most_tokens: int | None = field(default=None, init=False)

    @property
    def at_once(self) -> int:
        return self.settings.at_once

    @property
    def time_limit(self) -> float:
        return self.settings.time_s + GRACE

    def reset(self, prompt: Prompt, seed: int) -> Tokens:
        """Starts the program. The token ids of its first request, which replace the prompt's."""
        server = import_module("menon.rollout.environments.agent_server").server()
        question = prompt.columns.get("question", prompt.text)
        self.talk = Talk(self.voice, self.told)
        self.program = server.start(
            self.settings.command,
            question if isinstance(question, str) else json.dumps(question),
            self.voice.names[0],
        )
        tokens = self.hear()
        if tokens is None:
            raise EpisodeFailed(
                "the program ended without asking the model; its client must ask at OPENAI_BASE_URL"
            )
        return tokens

    def step_tokens(self, completion: Completion) -> tuple[Tokens | str, float, bool]:
        """Gives the program its answer. The token ids of its next request, the whole sequence included."""
        self.program.say(self.talk.answered(completion))
        tokens = self.hear()
        if tokens is not None:
            return tokens, 0.0, False
        if not self.program.printed:
            raise EpisodeFailed(
                "the program printed nothing; what it prints is graded, so let it print its answer, or an "
                "empty line where it has none"
            )
        self.answer = self.program.printed
        return "", 0.0, True

    def hear(self) -> Tokens | None:
        """The token ids of the program's next request that can be answered; None: the program has ended."""
        while (asked := self.program.next(self.settings.time_s)) is not None:
            try:
                tokens = self.talk.read(asked.body, asked.chat)
            except UserError as error:
                self.program.refuse(error)
            else:
                self.stop, self.most_tokens = self.talk.stop, self.talk.most_tokens
                return tokens
        return None

    def step(self, text: str) -> tuple[str, float, bool]:
        raise NotImplementedError("this environment reads tokens (step_tokens)")

    def close(self) -> None:
        if self.program is not None:
            self.program.close()
