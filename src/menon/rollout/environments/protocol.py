"""The seam between a policy and what it acts in."""

from typing import Protocol

from menon.types import Prompt


class Environment(Protocol):
    """One episode, told in text. A dataclass whose fields are its settings; every rollout gets an instance of
    its own.

    It may also have `stop: tuple[str, ...]`, strings that end a turn besides the end-of-text token and stay
    in its text; `close()`, called once when its episode is over, however it ended; and `rows(split, n, seed)`
    with `room(split)`, questions of its own (see `prompts.tasks`).
    """

    def reset(self, prompt: Prompt, seed: int) -> str:
        """Begins; what the policy reads behind the prompt before it writes, mostly nothing. All answers to
        one visit of a prompt get the same seed, so that they can be compared."""
        ...

    def step(self, text: str) -> tuple[str, float, bool]:
        """What the policy wrote in its turn, stop string included -> observation that it reads next, reward
        of the turn, whether the episode is over (then nobody reads the observation, and it is dropped)."""
        ...
