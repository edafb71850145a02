"""What an agent and the policy have said to each other, as the agent has it and as tokens.

An agent sends its whole conversation with every request, as text. The policy's earlier answers are in it, and
their text may become other tokens than those that were drawn. So a request is compared with the conversation
as it stands, text with text; what comes after the policy's last answer is new, and only that becomes tokens.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from menon.openai_api.fields import (
    COMPLETION_TOKENS,
    Asked,
    Refused,
    check_off,
    longest,
    messages_of,
    number,
    prompts_of,
    table,
)
from menon.openai_api.replies import Reply
from menon.openai_api.speech import Speech
from menon.openai_api.voice import Voice
from menon.rollout.environments.protocol import EpisodeFailed
from menon.types import Completion, Finish, Prompt, Request, Tokens, no_tokens

DRAWN = ("temperature", "top_p", "top_k", "seed")
"""Fields that say how an answer is drawn, which is the run's to say."""
HOLE = "\ue000the policy's answer\ue000"
"""Stands for the policy's last answer where a chat template renders what comes after it."""


@dataclass(frozen=True)
class Token:
    """A token of an answer (`openai_api.replies.Piece`)."""

    token: int
    logp: float
    entropy: float | None
    others: Sequence[int] = ()
    others_logp: Sequence[float] = ()


@dataclass(frozen=True)
class Written:
    """An answer for a program: its form, and the events of its writing."""

    reply: Reply
    events: list[Token | Finish]


class Talk:
    """One conversation. `read` a request, `answered` it, and so on."""

    def __init__(self, voice: Voice, ignored: Callable[[Collection[str]], None]) -> None:
        self.voice, self.ignored = voice, ignored
        self.said_before: Any = None
        """The last request: messages, a text, or token ids."""
        self.asked: Asked
        self.sequence: Tokens = no_tokens()
        """Everything that was read and written, as tokens."""
        self.said = ""
        """The last answer as the agent got it."""
        self.cut = ""
        """What the policy wrote after that: the stop string that the agent did not get."""
        self.stop: tuple[str, ...] = ()
        """Stop strings of the turn that was asked for."""
        self.most_tokens: int | None = None
        """The most tokens of that turn; None: all that are left."""

    def read(self, body: Mapping[str, Any], chat: bool) -> Tokens:
        """The tokens that the next turn goes on from. UserError: the request cannot be answered, and another
        one can. EpisodeFailed: it does not go on from the conversation."""
        check_off(body)
        if (count := number(body, "n", 1, int)) != 1:
            raise Refused(f"n is {count}; an episode is one sequence, so it must be 1", "n")
        field, most = longest(body, None if chat else COMPLETION_TOKENS)
        if most is not None and most < 1:
            raise Refused(f"{field} is {most}; an answer needs room for at least 1 token", field)
        said: Any
        if chat:
            said = messages_of(body)
            tokens = self._of_chat(said, table(body, "chat_template_kwargs"))
        else:
            said, tokens = self._of_prompt(prompts_of(body, self.voice))
        sequence = np.asarray(tokens, dtype=np.int32)
        asked = Asked.of(body, [Request(Prompt(0, sequence, ""))], said if chat else None, alternatives=0)
        if asked.ends:
            raise Refused("stop_token_ids is not supported here; leave it out", "stop_token_ids")
        if "" in asked.stop:
            raise Refused("stop holds an empty text; it would end every answer at once", "stop")
        self.ignored([name for name in DRAWN if body.get(name) is not None])
        self.said_before, self.sequence, self.asked = said, sequence, asked
        self.stop, self.most_tokens = asked.stop, most
        return sequence

    def answered(self, completion: Completion) -> Written:
        """Notes the policy's turn, and returns it in the form in which it was asked for."""
        tokens = completion.tokens.tolist()
        self.sequence = np.concatenate([self.sequence, completion.tokens])
        speech = Speech(self.voice, self.asked.stop, self.asked.keep_stop)
        self.said = "".join([*map(speech.say, tokens), speech.end()])
        self.cut = self.voice.text(tokens)[len(self.said) :] if speech.stopped else ""
        entropies = [None] * len(tokens) if completion.entropy is None else completion.entropy.tolist()
        events = [*map(Token, tokens, completion.logp.tolist(), entropies)]
        return Written(Reply(self.voice, self.asked), [*events, completion.finish])

    def _of_chat(self, messages: list[dict[str, Any]], arguments: Mapping[str, Any]) -> Sequence[int]:
        """The tokens of a conversation, the known ones as they are."""
        if self.said_before is None:
            return self.voice.tokenize(self.voice.chat(messages, arguments), False)
        known = self.said_before
        if not isinstance(known, list) or not isinstance(known[0], dict):
            raise astray("it is a chat, and the requests before it were none")
        for place, (old, new) in enumerate(zip(known, messages, strict=False)):
            if (old["role"], old["content"]) != (new["role"], new["content"]):
                raise astray(f"message {place + 1} is not what it was before")
        if len(messages) <= len(known):
            raise astray("it asks once more what was answered")
        answer = messages[len(known)]
        texts = {self.said.strip(), (self.said + self.cut).strip()}
        if answer["role"] != "assistant" or answer["content"].strip() not in texts:
            raise astray(f"message {len(known) + 1} is not the policy's last answer as it was given")
        hole = {**answer, "content": HOLE}
        text = self.voice.chat([*known, hole, *messages[len(known) + 1 :]], arguments)
        pieces = text.split(HOLE)
        if len(pieces) != 2:
            raise astray("the chat template does not show the policy's last answer in it once")
        return self._with(pieces[1])

    def _of_prompt(self, prompts: list[tuple[str | None, Sequence[int]]]) -> tuple[Any, Sequence[int]]:
        """What is asked, as text or as token ids, and its tokens, the known ones as they are."""
        if len(prompts) != 1:
            raise Refused("prompt holds several prompts; an episode is one sequence", "prompt")
        text, tokens = prompts[0]
        known = self.said_before
        if known is None:
            return (tokens if text is None else text), tokens
        if text is None:
            size = len(self.sequence)
            if [*tokens[:size]] != self.sequence.tolist():
                raise astray("its token ids do not begin with those that were read and written before")
            return tokens, tokens
        if not isinstance(known, str):
            raise astray("it is a text, and the requests before it were none")
        if not text.startswith(known + self.said):
            raise astray("its prompt does not begin with the one before it and the policy's answer")
        rest = text[len(known) + len(self.said) :].removeprefix(self.cut)
        if not rest:
            raise astray("it adds nothing to what was written")
        return text, [*self.sequence.tolist(), *self.voice.go_on(rest, self.sequence)]

    def _with(self, rest: str) -> list[int]:
        """The known tokens and those of a text after the policy's answer, which begins with the end of its
        turn: the policy may have written that already."""
        known = self.sequence.tolist()
        more = self.voice.go_on(rest, known)
        if more[:1] == known[-1:] and self.voice.is_special(known[-1]):
            more = more[1:]
        return [*known, *more]


def astray(what: str) -> EpisodeFailed:
    return EpisodeFailed(
        f"a request of the program does not go on from its conversation ({what}), and an episode is one "
        "sequence; let it keep what was said and add to it"
    )
