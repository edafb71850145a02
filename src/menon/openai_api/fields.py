"""The fields of a request's body, one by one; everything that would be answered otherwise than asked is
refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from menon.errors import UserError
from menon.openai_api.voice import Voice
from menon.types import Request

OFF: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "logit_bias": ({},),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "prompt_logprobs": (False,),
    "guided_json": (),
    "structured_outputs": (),
}
"""Fields that cannot be followed here, and the values with which they ask for nothing."""
COMPLETION_TOKENS = 16
"""Longest answer of `/v1/completions` where a request does not say; OpenAI's default."""


class Refused(UserError):
    """A request that is answered with an error: its status, and the field that is at fault."""

    def __init__(self, sentence: str, field: str | None = None, status: int = 400, code: str | None = None):
        super().__init__(sentence)
        self.field, self.status, self.code = field, status, code


@dataclass(frozen=True)
class Asked:
    """A request that can be answered."""

    requests: tuple[Request, ...]
    """One for each answer, in the order of their `index`."""
    chat: bool
    messages: list[dict[str, Any]] | None
    stream: bool
    usage: bool
    """Whether a stream ends with its usage."""
    stop: tuple[str, ...]
    keep_stop: bool
    ends: frozenset[int]
    logprobs: int | None
    """How many alternatives are shown beside each token's log-prob; None: not even that."""
    token_ids: bool
    names_as_ids: bool
    """Tokens are named token_id:N in log-probs, not by their text."""
    entropies: bool

    @staticmethod
    def of(
        body: Mapping[str, Any],
        requests: Sequence[Request],
        messages: list[dict[str, Any]] | None,
        alternatives: int,
    ) -> "Asked":
        """What else a body says of the answers to these requests; `messages` are those of a chat.
        `alternatives` are the most that can be shown beside a token. Refused."""
        return Asked(
            tuple(requests),
            messages is not None,
            messages,
            bool(body.get("stream")),
            bool(table(body, "stream_options").get("include_usage")),
            stop_of(body),
            bool(body.get("include_stop_str_in_output")),
            frozenset(listed(body, "stop_token_ids", int, "a list of token ids")),
            logprobs_of(body, messages is not None, alternatives),
            bool(body.get("return_token_ids")),
            bool(body.get("return_tokens_as_token_ids")),
            bool(body.get("return_entropies")),
        )


def check_off(body: Mapping[str, Any]) -> None:
    """Refused: a field asks for what cannot be followed."""
    for name, harmless in OFF.items():
        value = body.get(name)
        if value is not None and value not in harmless:
            raise Refused(f"{name} is not supported here; leave it out", name)


def table(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of the body, empty where it is left out. Refused: something else."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise Refused(f"{name} must be an object", name)
    return value or {}


def listed(body: Mapping[str, Any], name: str, kind: type, what: str) -> list[Any]:
    """A list of the body, empty where it is left out. Refused: something else."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        raise Refused(f"{name} must be {what}", name)
    return value


def number(body: Mapping[str, Any], name: str, default: Any, kind: Callable[[Any], Any]) -> Any:
    """A number of the body. Refused: something else."""
    value = body.get(name)
    if value is None:
        return default
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63
    if not number or kind(value) != value:
        what = "a whole number" if kind is int else "a number"
        raise Refused(f"{name} is {value!r}; it must be {what}", name)
    return kind(value)


def stop_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop") or []
    return tuple([stop] if isinstance(stop, str) else listed(body, "stop", str, "a text or a list of texts"))


def longest(body: Mapping[str, Any], default: Any) -> tuple[str, Any]:
    """The field that bounds the length of an answer, and its number of tokens. Refused: no whole number."""
    field = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return field, number(body, field, default, int)


def logprobs_of(body: Mapping[str, Any], chat: bool, alternatives: int) -> int | None:
    """How many alternatives are asked for beside each token; None: no log-probs."""
    if chat:
        if not body.get("logprobs"):
            return None
        field, count = "top_logprobs", number(body, "top_logprobs", 0, int)
    else:
        field, count = "logprobs", number(body, "logprobs", None, int)
    if count is not None and not 0 <= count <= alternatives:
        can = f"0 to {alternatives}" if alternatives else "0 here"
        raise Refused(f"{field} is {count}; it can be {can}", field)
    return count


def prompts_of(body: Mapping[str, Any], voice: Voice) -> list[tuple[str | None, Sequence[int]]]:
    """The prompts of `/v1/completions`, each as text and tokens: a text, a list of tokens (whose text is
    None), or a list of these. Refused: something else, an empty one, or a token that the model has not."""
    prompt = body.get("prompt")
    if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and is_token(prompt[0])):
        prompt = [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise Refused("prompt must be a text, a list of token ids, or a list of these", "prompt")
    found: list[tuple[str | None, Sequence[int]]] = []
    for one in prompt:
        if isinstance(one, str):
            tokens = voice.tokenize(one, True)
        elif isinstance(one, list) and all(map(is_token, one)):
            tokens = one
        else:
            raise Refused("prompt must be a text, a list of token ids, or a list of these", "prompt")
        if not tokens:
            raise Refused("the prompt is empty; a model needs at least one token to go on from", "prompt")
        if not all(0 <= token < voice.vocabulary for token in tokens):
            raise Refused(f"prompt holds a token that is not one of 0 to {voice.vocabulary - 1}", "prompt")
        found.append((one if isinstance(one, str) else None, tokens))
    return found


def is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a chat, each with its content as one text. Refused: none, or parts that are no text."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("messages must be a list of at least one message", "messages")
    found = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Refused("every message is an object with a role and a content", "messages")
        content = message.get("content")
        if isinstance(content, list):
            texts = [
                part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"
            ]
            if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
                raise Refused("a part of a message is no text, and this model reads text alone", "messages")
            content = "".join(map(str, texts))
        if not isinstance(content, str):
            raise Refused("the content of a message must be a text", "messages")
        found.append({**message, "content": content})
    return found
