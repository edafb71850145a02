"""What the body of a request asks of `menon serve`."""

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from menon.assembly.tokenizer_voice import TokenizerVoice
from menon.errors import UserError
from menon.openai_api.fields import (
    COMPLETION_TOKENS,
    Asked,
    Refused,
    check_off,
    longest,
    messages_of,
    number,
    prompts_of,
    stop_of,
    table,
)
from menon.serve.writer import ALTERNATIVES
from menon.types import Prompt, Request, Sampling

MOST_ANSWERS = 128
"""Answers of one request: prompts times n."""
COLDEST, HOTTEST = 1e-3, 100.0
"""Temperatures beyond which numbers of 32 bits do not hold the scaled logits, or hold nothing of them."""


def asked_by(body: Mapping[str, Any], voice: TokenizerVoice, chat: bool) -> Asked:
    """Reads a body. Refused: what is missing, has a wrong type, or cannot be followed."""
    check_off(body)
    name = body.get("model")
    if name is not None and name not in ("", *voice.names):
        raise Refused(
            f"there is no model {name!r} here; this server has {', '.join(voice.names)}",
            "model",
            404,
            "model_not_found",
        )
    messages = messages_of(body) if chat else None
    if messages:
        text = voice.chat(messages, table(body, "chat_template_kwargs"))
        prompts = [(text, voice.tokenize(text, False))]
    else:
        prompts = [
            (voice.text([*tokens]) if text is None else text, [*tokens])
            for text, tokens in prompts_of(body, voice)
        ]
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
            sampling_of(body, voice, len(tokens), chat),
            sample,
            purpose="serve",
            seed=seed,
        )
        for place, (text, tokens) in enumerate(prompts)
        for sample in range(count)
    ]
    return Asked.of(body, requests, messages, ALTERNATIVES)


def sampling_of(body: Mapping[str, Any], voice: TokenizerVoice, prompt: int, chat: bool) -> Sampling:
    """How an answer to a prompt of so many tokens is drawn. Refused: it does not fit into the context."""
    room = voice.context - prompt
    field, most = longest(body, max(1, room) if chat else COMPLETION_TOKENS)
    if room < most:
        raise Refused(
            f"the prompt has {prompt} tokens and may get {most} more, and the model's context has "
            f"{voice.context}; lower {field} or shorten the prompt",
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
            min(max(top_k, 0), voice.vocabulary),  # -1 is off elsewhere
            stop_of(body),
        )
    except UserError as error:
        raise Refused(str(error).replace("max_new_tokens", field)) from None
