"""Tasksets and environments of the library verifiers (0.4, `verifiers.v1`), turn by turn.

Such an environment drives its episode itself and asks an inference engine for the model's turns: token ids
in, token ids and log-probs out. Here the engine is a small server in this process, whose answers are what the
run's sampler writes (`verifiers_engine`). The library's own train client turns messages into token ids, so
the policy reads exactly what the library's trace holds, and its tokens are never tokenised again."""

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any, Literal

import numpy as np

from menon.errors import UserError, pip_install
from menon.types import Completion, Prompt, Tokens, no_tokens

ENDLESS = 10**6
HELD_OUT_EVERY = 10
"""Every tenth task is held out."""


@dataclass
class Verifiers:
    """A taskset by its name, `arguments` being its settings, with the environment that its package brings or
    the one that `environment` names; the trace's rewards are given at the end.

    A task's question is a list of messages for `template=chat`. What the policy reads in the end are the
    token ids that the library renders, which replace the prompt's. The policy takes the environment's only
    seat, in a plain chat. UserError for environments with several seats, and for tasks that need tool
    servers or a container. A truncated answer is not scored: its reward is 0.
    """

    taskset: str = ""
    """Name of the taskset."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Settings of the taskset."""
    environment: str = ""
    """Name of an environment that is paired with the taskset; without one the taskset's own, else single
    turns."""
    tokenizer: str = ""
    """Folder or name of the tokenizer that renders the messages; without one the policy's."""
    kind: Literal["verifiers"] = "verifiers"
    episode: Any = field(default=None, init=False, repr=False, compare=False)
    sequence: Tokens = field(default_factory=no_tokens, init=False, repr=False, compare=False)
    """What the policy has read and written before its turn."""
    rendered: Tokens = field(default_factory=no_tokens, init=False, repr=False, compare=False)
    """The same as the library rendered it, where the policy's turns may be other tokens of the same text."""

    def __post_init__(self) -> None:
        self.load()

    def load(self) -> Any:
        return loaded(self.taskset, json.dumps(self.arguments, sort_keys=True), self.environment)

    def reset(self, prompt: Prompt, seed: int) -> Tokens:
        """The token ids that the first turn goes on from, prompt included."""
        place = prompt.columns.get("task")
        if not isinstance(place, int):
            raise UserError(
                "this question is not the environment's own; leave data and task out, so that it asks them"
            )
        self.episode = self.load().play(place, self.tokenizer)
        event, value = self.episode.hear()
        if event == "end":
            raise RuntimeError("the environment was over before the first turn")
        self.sequence = self.rendered = np.asarray(value, dtype=np.int32)
        return self.sequence

    def step_tokens(self, completion: Completion) -> tuple[Tokens | str, float, bool]:
        """The token ids that the next turn goes on from, the whole sequence included."""
        event, value = self.episode.say(completion)
        if event == "end":
            return "", float(value), True
        rendered = np.asarray(value, dtype=np.int32)
        more = added(self.rendered, completion.tokens, rendered)
        if more is None:
            raise RuntimeError("the library rendered the conversation anew, so no turn can go on from it")
        self.sequence = np.concatenate([self.sequence, completion.tokens, more])
        self.rendered = rendered
        return self.sequence, 0.0, False

    def step(self, text: str) -> tuple[str, float, bool]:
        raise NotImplementedError("this environment reads tokens (step_tokens)")

    def close(self) -> None:
        if self.episode is not None:
            self.episode.close()

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """The first `n` tasks of a split."""
        most = n * HELD_OUT_EVERY if split == "heldout" else n + n // (HELD_OUT_EVERY - 1) + 1
        places = self._places(split, len(self.load().tasks(most)))[:n]
        return [self.row(place) for place in places]

    def row(self, place: int) -> dict[str, Any]:
        data = self.load().tasks(place + 1)[place].data
        messages = [] if data.system_prompt is None else [{"role": "system", "content": data.system_prompt}]
        if isinstance(data.prompt, str):
            messages.append({"role": "user", "content": data.prompt})
        else:
            messages += [{"role": m.role, "content": text_of(m.content)} for m in data.prompt or []]
        return {"question": messages, "answer": str(getattr(data, "answer", "")), "task": place}

    def room(self, split: str) -> int:
        suite = self.load()
        if not suite.taskset.bounded:
            return ENDLESS
        return len(self._places(split, len(suite.tasks(ENDLESS))))

    def _places(self, split: str, count: int) -> list[int]:
        held = split == "heldout"
        return [p for p in range(count) if (p % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == held]


class Suite:
    """A taskset with its environment, loaded once for all episodes of the process."""

    def __init__(self, env: Any, engine: Any) -> None:
        self.env, self.taskset, self.engine = env, env.taskset, engine
        self.known: list[Any] = []

    def tasks(self, most: int) -> list[Any]:
        """The first `most` tasks, or all that there are."""
        if len(self.known) < most:
            try:
                self.known = list(islice(iter(self.taskset), most))
            except Exception as error:  # whatever the taskset does
                raise UserError(cannot_load(self.taskset.config.id, error)) from error
        return self.known

    def play(self, place: int, tokenizer: str) -> Any:
        """Begins an episode of one task."""
        return self.engine.play(self.env, self.tasks(place + 1)[place], tokenizer)


@cache
def loaded(taskset: str, arguments: str, environment: str) -> Suite:
    """The environment, once for all episodes. UserError where library, taskset or environment is missing."""
    try:
        import_module("verifiers")
        import_module("verifiers.v1")
        engine = import_module("menon.rollout.environments.verifiers_engine")
    except ImportError as error:
        if error.name == "verifiers.v1":
            raise UserError(
                "this version of verifiers has no verifiers.v1; install version 0.4 by "
                f"{pip_install('verifiers')}"
            ) from error
        raise UserError(
            f"the environment verifiers needs a package that is missing ({error.name}); "
            f"install it by {pip_install('verifiers')}"
        ) from error
    if not taskset:
        raise UserError("set environment.taskset to the name of a taskset that is installed for verifiers")
    try:
        env = engine.load(taskset, json.loads(arguments), environment)
        engine.engine().serve(env)
    except UserError:
        raise
    except Exception as error:  # whatever its own module does
        raise UserError(cannot_load(taskset, error)) from error
    return Suite(env, engine.engine())


def added(previous: Tokens, written: Tokens, rendered: Tokens) -> Tokens | None:
    """The tokens of a request that come after the policy's turn: `previous` are those of the request that the
    turn answered, `written` are the turn's. The library renders the turn again from its text where it has no
    renderer for the model; what it adds then comes after the turn's end token. None: neither fits."""
    known = np.concatenate([previous, written])
    if np.array_equal(rendered[: len(known)], known):
        return rendered[len(known) :]
    ends = np.flatnonzero(rendered[len(previous) :] == written[-1:])
    if not np.array_equal(rendered[: len(previous)], previous) or not len(ends):
        return None
    return rendered[len(previous) + ends[0] + 1 :]


def cannot_load(taskset: str, error: Exception) -> str:
    what = " ".join(str(error).split())
    return f"verifiers cannot load the taskset '{taskset}': {type(error).__name__}: {what}"


def text_of(content: Any) -> str:
    """A message's content as text, whether it is text or a list of parts."""
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(getattr(part, "text", "") for part in content)
