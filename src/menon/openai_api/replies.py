"""The forms of answers: whole ones, and the chunks of a stream, as OpenAI's API has them. Token ids stand
where vLLM puts them."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from menon.openai_api.fields import Asked
from menon.openai_api.speech import Speech
from menon.openai_api.voice import Voice
from menon.types import Finish


class Piece(Protocol):
    """A token that was written."""

    @property
    def token(self) -> int: ...

    @property
    def logp(self) -> float:
        """Its log-prob at the sampling temperature."""
        ...

    @property
    def entropy(self) -> float | None:
        """In nats, at that temperature; None: the sampler does not give it."""
        ...

    @property
    def others(self) -> Sequence[int]:
        """The most probable tokens, the most probable one first; as many as are recorded."""
        ...

    @property
    def others_logp(self) -> Sequence[float]: ...


@dataclass
class Choice:
    """One answer while it is written."""

    speech: Speech
    text: str = ""
    pieces: list[Piece] = field(default_factory=list)
    finish: Finish | None = None
    shown: int = 0
    """Tokens that a stream has sent."""
    offset: int = 0
    """Characters of their texts."""


class Reply:
    """The answer to one request: events of its writing in, objects for its client out."""

    def __init__(self, voice: Voice, asked: Asked) -> None:
        self.voice, self.asked = voice, asked
        self.id = f"{'chatcmpl' if asked.chat else 'cmpl'}-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.choices = [Choice(Speech(voice, asked.stop, asked.keep_stop)) for _ in asked.requests]

    def take(self, index: int, event: Piece | Finish) -> str:
        """Notes a token or the end of an answer, and returns the text that is settled by it."""
        choice = self.choices[index]
        if isinstance(event, str):
            choice.finish = event
            new = choice.speech.end()
        else:
            choice.pieces.append(event)
            new = choice.speech.say(event.token)
        choice.text += new
        return new

    def whole(self) -> dict[str, Any]:
        """The answer in one object."""
        choices = []
        for index, choice in enumerate(self.choices):
            said = {"message": self._message(choice)} if self.asked.chat else {"text": choice.text}
            choices.append({"index": index, **said, **self._rest(index, choice)})
        kind = "chat.completion" if self.asked.chat else "text_completion"
        return {**self._head(kind), "choices": choices, "usage": self.usage(), **self._prompt_of_chat()}

    def chunks(self, index: int, event: Piece | Finish) -> list[dict[str, Any]]:
        """What a stream sends for an event; nothing while text is held back and no numbers are asked for."""
        first = not self.choices[index].pieces
        new = self.take(index, event)
        choice = self.choices[index]
        numbers = self.asked.logprobs is not None or self.asked.token_ids or self.asked.entropies
        if not (new or choice.finish or numbers or first):
            return []
        kind = "chat.completion.chunk" if self.asked.chat else "text_completion"
        if self.asked.chat:
            role = {"role": "assistant"} if first else {}
            said: dict[str, Any] = {"delta": {**role, "content": new}}
        else:
            said = {"text": new}
        prompt = self._prompt_of_chat() if first else {}
        rest = self._rest(index, choice, first)
        return [{**self._head(kind), "choices": [{"index": index, **said, **rest}], **prompt}]

    def last_chunk(self) -> dict[str, Any]:
        """The chunk with the usage of the whole request."""
        kind = "chat.completion.chunk" if self.asked.chat else "text_completion"
        return {**self._head(kind), "choices": [], "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        prompts = {request.prompt.index: len(request.prompt.tokens) for request in self.asked.requests}
        given, written = sum(prompts.values()), sum(len(choice.pieces) for choice in self.choices)
        return {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.voice.names[0]}

    def _message(self, choice: Choice) -> dict[str, Any]:
        return {"role": "assistant", "content": choice.text}

    def _prompt_of_chat(self) -> dict[str, Any]:
        if not (self.asked.chat and self.asked.token_ids):
            return {}
        return {"prompt_token_ids": self.asked.requests[0].prompt.tokens.tolist()}

    def _rest(self, index: int, choice: Choice, first: bool = True) -> dict[str, Any]:
        """The numbers of the tokens that were not sent yet, and how the answer ended."""
        new = choice.pieces[choice.shown :]
        found: dict[str, Any] = {"finish_reason": choice.finish, "logprobs": None}
        if self.asked.logprobs is not None:
            found["logprobs"] = self._chat_logprobs(new) if self.asked.chat else self._logprobs(choice, new)
        if self.asked.token_ids:
            found["token_ids"] = [piece.token for piece in new]
            if first and not self.asked.chat:
                found["prompt_token_ids"] = self.asked.requests[index].prompt.tokens.tolist()
        if self.asked.entropies:
            found["entropies"] = [piece.entropy for piece in new]
        choice.shown = len(choice.pieces)
        return found

    def _name(self, token: int) -> str:
        return f"token_id:{token}" if self.asked.names_as_ids else self.voice.token_text(token)

    def _others(self, piece: Piece) -> list[tuple[int, float]]:
        """The alternatives that are asked for, the most probable one first."""
        most = self.asked.logprobs or 0
        return list(zip(piece.others[:most], piece.others_logp[:most], strict=True))

    def _logprobs(self, choice: Choice, new: list[Piece]) -> dict[str, Any]:
        names = [self._name(piece.token) for piece in new]
        offsets = []
        for name in names:
            offsets.append(choice.offset)
            choice.offset += len(name)
        tops = []
        for piece in new:
            top: dict[str, float] = {}
            for token, logp in [*self._others(piece), (piece.token, piece.logp)]:
                top.setdefault(self._name(token), logp)  # of tokens with one text the most probable
            tops.append(top)
        return {
            "tokens": names,
            "token_logprobs": [piece.logp for piece in new],
            "top_logprobs": tops if self.asked.logprobs else None,
            "text_offset": offsets,
        }

    def _chat_logprobs(self, new: list[Piece]) -> dict[str, Any]:
        return {
            "content": [
                {
                    **self._one(piece.token, piece.logp),
                    "top_logprobs": [self._one(token, logp) for token, logp in self._others(piece)],
                }
                for piece in new
            ]
        }

    def _one(self, token: int, logp: float) -> dict[str, Any]:
        data = self.voice.token_bytes(token)
        return {"token": self._name(token), "logprob": logp, "bytes": None if data is None else list(data)}
