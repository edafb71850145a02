"""The protocol between a policy and its environment."""

from typing import Protocol, runtime_checkable

from menon.types import Completion, Prompt, Tokens


class EpisodeFailed(Exception):
    """Raised by an environment whose episode cannot go on, for a reason that is no fault of its code. The
    message is one sentence, and the verdict repeats it."""


class Environment(Protocol):
    """One episode, in text. A dataclass whose fields are its settings; every rollout gets its own instance.

    It may also have `stop: tuple[str, ...]`, strings that end a turn besides the end-of-text token and stay
    in its text; `special_tokens = True`, if its observations spell special tokens on purpose, as the turns of
    a chat do (what spells them is text otherwise); `close()`, called once when its episode is over, also
    after an error; and `rows(split, n, seed)` with `room(split)`, questions of its own (see `prompts.tasks`).

    Attributes that say how its episodes are run, all optional: `time_limit`, the seconds that a call may take
    (default 60); `at_once`, the most episodes that are open at a time, whose calls then run at the same time,
    as of an environment that waits for something else; `most_tokens`, the most tokens of the
    next turn (None: all that are left), where a turn that is cut there is passed to `step` as any other; and
    `answer`, what a grader reads at the end in place of what the policy wrote (None: that).
    """

    def reset(self, prompt: Prompt, seed: int) -> str | Tokens:
        """Begins an episode. Returns the text that the policy reads after the prompt before it writes,
        usually "" (tokens: see `ReadsTokens`). All answers to one visit of a prompt get the same seed, so
        that they can be compared."""
        ...

    def step(self, text: str) -> tuple[str, float, bool]:
        """Takes the policy's text of a turn, stop string included; returns the observation that the policy
        reads next, the reward of the turn, and whether the episode is over (then the observation is
        dropped)."""
        ...


@runtime_checkable
class ReadsTokens(Protocol):
    """An environment that reads the policy's tokens, and renders what the policy reads as tokens itself: its
    `reset` and `step_tokens` give the whole sequence that the next turn goes on from, as an array of token
    ids. That of `reset` replaces the prompt; that of a step must begin with everything that was read and
    written."""

    def step_tokens(self, completion: Completion) -> tuple[Tokens | str, float, bool]:
        """As `Environment.step`, for the tokens of a turn."""
        ...
