"""How long an answer may be where no setting says it: what the model's context leaves beside the longest
prompt.

The room is known only when model and questions are, so `max_new_tokens` is filled in between reading them and
building what depends on it. A run records the number, and goes on and is evaluated with it.
"""

from collections.abc import Iterable

from menon.base import BASES
from menon.config import BUILT_IN_LENGTH, LONGEST
from menon.limit import Limit
from menon.types import Prompt


def default_length(model: str) -> int | None:
    """The default of `max_new_tokens` for a model; None: what its context leaves."""
    return BUILT_IN_LENGTH if model in BASES else None


def least_room(asked: int | None) -> int:
    """The tokens that every prompt must leave for its answer. Where no length is set they are as many as an
    answer of a built-in model may have: one long question must not make all answers useless."""
    return BUILT_IN_LENGTH if asked is None else asked


def length_within(context: int | None, longest_prompt: int) -> int:
    """Tokens for an answer beside a prompt of `longest_prompt` tokens, at most `LONGEST`.

    >>> length_within(8192, 300), length_within(2048, 1500), length_within(None, 300)
    (1024, 548, 1024)
    """
    return LONGEST if context is None else min(LONGEST, context - longest_prompt)


def length_for(asked: int | None, context: int | None, prompts: Iterable[Prompt]) -> int:
    """The length that is set, or what the context leaves beside the longest of the prompts."""
    longest = max((len(prompt.tokens) for prompt in prompts), default=0)
    return length_within(context, longest) if asked is None else asked


def length_in_words(asked: int | None, length: int, context: Limit | None) -> str:
    """The length and where it comes from.

    >>> length_in_words(None, 1024, Limit(8192))
    'up to 1,024 tokens (max_new_tokens; the context of 8,192 leaves room)'
    >>> length_in_words(None, 548, Limit(2048))
    'up to 548 tokens (max_new_tokens; what the context of 2,048 leaves)'
    >>> length_in_words(96, 96, Limit(256))
    'up to 96 tokens (max_new_tokens)'
    """
    why = ""
    if asked is None and context is not None:
        which = f"the {context.what} of {context:,}"
        why = f"; {which} leaves room" if length == LONGEST else f"; what {which} leaves"
    return f"up to {length:,} token{'s' * (length != 1)} (max_new_tokens{why})"
