"""How long a sequence may be, and why."""


class Limit(int):
    """The most tokens that a sequence may have, and what it is that limits them.

    >>> limit = Limit(32, "sliding window")
    >>> f"the model's {limit.what} of {limit} tokens"
    "the model's sliding window of 32 tokens"
    """

    what: str

    def __new__(cls, tokens: int, what: str = "") -> "Limit":
        """Without `what`, that of `tokens`, or "context" where they have none."""
        limit = super().__new__(cls, tokens)
        limit.what = what or getattr(tokens, "what", "context")
        return limit
