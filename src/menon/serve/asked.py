"""What the body of a request asks for; everything that would be answered otherwise than asked is refused."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from menon.errors import UserError
from menon.serve.model import Served
from menon.serve.writer import ALTERNATIVES
from menon.types import Prompt, Request, Sampling

MOST_ANSWERS = 128
"""Answers of one request: prompts times n."""
COLDEST, HOTTEST = 1e-3, 100.0
"""Temperatures beyond which numbers of 32 bits do not hold the scaled logits, or hold nothing of them."""
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
"""Fields that this server cannot follow, and the values with which they ask for nothing."""
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


def asked_by(body: Mapping[str, Any], served: Served, chat: bool) -> Asked:
    """Reads a body. Refused: what is missing, has a wrong type, or cannot be followed."""
    check_off(body)
    name = body.get("model")
    if name is not None and name not in ("", *served.names):
        raise Refused(
            f"there is no model {name!r} here; this server has {', '.join(served.names)}",
            "model",
            404,
            "model_not_found",
        )
    messages = messages_of(body) if chat else None
    prompts: list[tuple[str, Sequence[int]]]
    if messages:
        prompts = [served.chat(messages, table(body, "chat_template_kwargs"))]
    else:
        prompts = given(body, served)
    stop = body.get("stop") or []
    stop = tuple([stop] if isinstance(stop, str) else listed(body, "stop", str, "a text or a list of texts"))
    count = number(body, "n", 1, int)
    if not 1 <= count * len(prompts) <= MOST_ANSWERS:
        raise Refused(
            f"n asks for {count * len(prompts)} answers; a request may have 1 to {MOST_ANSWERS}", "n"
        )
    seed = number(body, "seed", None, int)
    seed = secrets.randbits(62) if seed is None else seed
    requests = [
        Request(
            Prompt(place, np.array(tokens, np.int32), text),
            sampling_of(body, served, len(tokens), stop, chat),
            sample,
            purpose="serve",
            seed=seed,
        )
        for place, (text, tokens) in enumerate(prompts)
        for sample in range(count)
    ]
    options = table(body, "stream_options")
    return Asked(
        tuple(requests),
        chat,
        messages,
        bool(body.get("stream")),
        bool(options.get("include_usage")),
        stop,
        bool(body.get("include_stop_str_in_output")),
        frozenset(listed(body, "stop_token_ids", int, "a list of token ids")),
        logprobs_of(body, chat),
        bool(body.get("return_token_ids")),
        bool(body.get("return_tokens_as_token_ids")),
        bool(body.get("return_entropies")),
    )


def check_off(body: Mapping[str, Any]) -> None:
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


def sampling_of(
    body: Mapping[str, Any], served: Served, prompt: int, stop: tuple[str, ...], chat: bool
) -> Sampling:
    """How an answer to a prompt of so many tokens is drawn. Refused: it does not fit into the context."""
    room = served.context - prompt
    default = max(1, room) if chat else COMPLETION_TOKENS
    field = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    most = number(body, field, default, int)
    if room < most:
        raise Refused(
            f"the prompt has {prompt} tokens and may get {most} more, and the model's context has "
            f"{served.context}; lower {field} or shorten the prompt",
            field,
            code="context_length_exceeded",
        )
    temperature = number(body, "temperature", 1.0, float)
    if temperature and not COLDEST <= temperature <= HOTTEST:
        raise Refused(
            f"temperature is {temperature:g}; it can be 0, or {COLDEST:g} to {HOTTEST:g}", "temperature"
        )
    top_k = number(body, "top_k", 0, int)
    try:
        return Sampling(
            most,
            temperature,
            number(body, "top_p", 1.0, float),
            min(max(top_k, 0), served.vocabulary),  # -1 is off elsewhere
            stop,
        )
    except UserError as error:
        raise Refused(str(error).replace("max_new_tokens", field)) from None


def logprobs_of(body: Mapping[str, Any], chat: bool) -> int | None:
    """How many alternatives are asked for beside each token; None: no log-probs."""
    if chat:
        if not body.get("logprobs"):
            return None
        field, count = "top_logprobs", number(body, "top_logprobs", 0, int)
    else:
        field, count = "logprobs", number(body, "logprobs", None, int)
    if count is not None and not 0 <= count <= ALTERNATIVES:
        raise Refused(f"{field} is {count}; it can be 0 to {ALTERNATIVES}", field)
    return count


def given(body: Mapping[str, Any], served: Served) -> list[tuple[str, Sequence[int]]]:
    """The prompts of `/v1/completions`, each as text and tokens: a text, a list of tokens, or a list of
    these."""
    prompt = body.get("prompt")
    if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and is_token(prompt[0])):
        prompt = [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise Refused("prompt must be a text, a list of token ids, or a list of these", "prompt")
    found: list[tuple[str, Sequence[int]]] = []
    for one in prompt:
        if isinstance(one, str):
            tokens = served.tokenize(one, True)
        elif isinstance(one, list) and all(map(is_token, one)):
            tokens = one
        else:
            raise Refused("prompt must be a text, a list of token ids, or a list of these", "prompt")
        if not tokens:
            raise Refused("the prompt is empty; a model needs at least one token to go on from", "prompt")
        if not all(0 <= token < served.vocabulary for token in tokens):
            raise Refused(f"prompt holds a token that is not one of 0 to {served.vocabulary - 1}", "prompt")
        found.append((one if isinstance(one, str) else served.words.text(tokens), tokens))
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
