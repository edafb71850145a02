"""Short greedy replies to prompts, from any sampler, for a judge (`reward.judge.Complete`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from menon.batch import pack
from menon.engines.protocols import Scorer
from menon.errors import UserError
from menon.rollout.protocols import Sampler
from menon.types import Completion, Graded, Prompt, Request, Rollout, Sampling, Tokens, Verdict
from menon.update.protocols import Reduction

Reply = tuple[str, Mapping[str, float]] | Exception

SPELLINGS = tuple(f"{gap}{word}" for gap in ("", " ") for word in ("YES", "Yes", "yes", "NO", "No", "no"))


@dataclass(frozen=True)
class Completer:
    """Prompts -> (text, probability of the first token by its text); an Exception in place of a reply for a
    prompt that is too long. With a scorer of the same model also the probabilities of all other first tokens
    that begin a YES or a NO."""

    sampler: Sampler
    tokenize: Callable[[str], Sequence[int]]
    """Tokenizes a whole prompt, with the tokens that the model expects at the start of a text."""
    decode: Callable[[Sequence[int]], str]
    begins: tuple[int, ...] = ()
    """Tokens that begin a YES or NO, for the scorer."""
    scorer: Scorer | None = None
    max_new_tokens: int = 4
    opened: str = ""
    """What the chat template wrote of the reply: the tag of a thought."""

    def __call__(self, prompts: Sequence[str]) -> list[Reply]:
        try:
            return list(self._replies(prompts))
        except UserError as error:  # a sampler refuses all where one does not fit
            return [error] if len(prompts) == 1 else [self([prompt])[0] for prompt in prompts]

    def _replies(self, prompts: Sequence[str]) -> list[tuple[str, Mapping[str, float]]]:
        sampling = Sampling(self.max_new_tokens, temperature=0.0)
        asked = [
            Prompt(place, np.asarray(self.tokenize(text), dtype=np.int32), text)
            for place, text in enumerate(prompts)
        ]
        found: dict[int, Completion] = {}
        with self.sampler.open() as stream:
            stream.ask([Request(prompt, sampling, purpose="judge") for prompt in asked])
            for completion in stream:
                found[completion.request.prompt.index] = completion
        others = self._others([prompt.tokens for prompt in asked])
        replies: list[tuple[str, Mapping[str, float]]] = []
        for place in range(len(asked)):
            first = found[place].tokens[:1].tolist()
            written = {self.decode(first): math.exp(found[place].logp[0])}
            replies.append((self.opened + found[place].text, written | others[place]))
        return replies

    def _others(self, prompts: Sequence[Tokens]) -> list[dict[str, float]]:
        if self.scorer is None:
            return [{} for _ in prompts]
        batch = pack([ask_next(tokens) for tokens in prompts])
        scored = self.scorer.score(batch, [probability_of(token) for token in self.begins])
        last = batch.offset[1:] - 1
        others: list[dict[str, float]] = [{} for _ in prompts]
        for token in self.begins:
            name = self.decode([token])
            for place, p in enumerate(scored[probability_of(token).name][last].tolist()):
                others[place][name] = others[place].get(name, 0.0) + p
        return others


def begins_of(tokenize: Callable[[str], Sequence[int]]) -> tuple[int, ...]:
    """The first tokens of all spellings of YES and NO; `tokenize` gives the tokens of a text that follows a
    prompt."""
    return tuple(dict.fromkeys(int(tokenize(spelling)[0]) for spelling in SPELLINGS))


def probability_of(token: int) -> Reduction:
    def reduce(logits: Tensor, other: Tensor | None) -> Tensor:
        return torch.softmax(logits, dim=-1)[:, token]

    return Reduction(f"probability_{token}", reduce)


def ask_next(tokens: Tokens) -> Graded:
    """A prompt followed by one action, so that a scorer predicts the token after the prompt."""
    whole = np.append(tokens, tokens[-1])
    nothing = np.zeros(len(whole), dtype=np.float32)
    rollout = Rollout(
        prompt=Prompt(0, tokens, ""),
        tokens=whole,
        is_action=np.arange(len(whole)) == len(tokens),
        logp=nothing,
        log_kept=nothing,
        entropy=nothing,
        version=np.zeros(len(whole), dtype=np.int32),
        finish="stop",
        text="",
        group=0,
    )
    return Graded(rollout, Verdict(0.0, math.nan))
