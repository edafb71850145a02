"""What a sampler says of a request before it writes anything."""

from collections.abc import Callable

import numpy as np

from menon.errors import UserError
from menon.limit import Limit
from menon.types import Request

Check = Callable[[Request], None]
"""UserError for a request that an engine cannot answer."""


def most_tokens(request: Request) -> int:
    """Tokens of its sequence, prompt and prefix included, if the answer takes its whole limit."""
    return len(request.prompt.tokens) + len(request.prefix) + request.sampling.max_new_tokens


def check_request(request: Request, vocabulary: int, context: Limit | None) -> None:
    """UserError for a request that a model with so many tokens and so long a context cannot answer."""
    prompt, new = request.prompt, request.sampling.max_new_tokens
    if not len(prompt.tokens):
        raise UserError(f"prompt {prompt.index} is empty; a model needs at least one token to go on from")
    tokens = np.concatenate([prompt.tokens, request.prefix])
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        odd = tokens.max() if tokens.max() >= vocabulary else tokens.min()
        raise UserError(
            f"prompt {prompt.index} holds token {odd}, but the model knows 0 to "
            f"{vocabulary - 1}; use its tokenizer"
        )
    if context is not None and len(tokens) + new > context:
        long = f"{len(prompt.tokens)} tokens" + (
            f" and {len(request.prefix)} of its answer" if len(request.prefix) else ""
        )
        advice = (
            "leave it out or shorten it" if len(tokens) >= context else "lower max_new_tokens or shorten it"
        )
        raise UserError(
            f"prompt {prompt.index} has {long} and may get {new} more, but the model's "
            f"{context.what} is {context}; {advice}"
        )
