"""The policy as it reads the gold answer in the place of the one that it stated. Torch alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, pack_examples
from menon.engines.protocols import LogitRows, Models, Scorer
from menon.engines.reprompted import key_of
from menon.errors import UserError
from menon.types import Example, Tokens
from menon.update.protocols import Head, Need
from menon.update.scoring import ANSWER_PRIOR, ANSWER_PROB

NO_TOKENS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Answered:
    """A `Scorer` that gives two columns of its own: the mean probability of the gold answer's tokens after
    what the policy wrote up to the last `marker` of an answer (`ANSWER_PROB`), and right after the prompt and
    the marker (`ANSWER_PRIOR`). Each number is on the answer's last action, and 0 elsewhere.

    An answer without the marker has no place for the gold answer, and neither has one that leaves it no room
    in the model's context: 0. Of its tokens those count that hold one of its characters.
    """

    scorer: Scorer
    answers: Mapping[bytes, str]
    """Gold answers, by the bytes of the prompt's int32 tokens."""
    marker: str
    """The text that stands before a final answer."""
    decode: Callable[[list[int]], str]
    """Tokens -> text, special tokens by their names."""
    tokenize: Callable[[str, Sequence[int] | Tokens], list[int]]
    """(text, the tokens before it) -> the tokens of the text."""
    context: int | None = None
    """Most tokens of a sequence."""

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        """[N] columns of the two needs. UserError for a prompt that is not known."""
        wanted = [need for need in needs if isinstance(need, Head)]
        if not set(wanted) <= {ANSWER_PROB, ANSWER_PRIOR}:
            raise ValueError(f"a model that reads gold answers gives no {wanted}")
        prompts = list(split(batch))
        read: dict[tuple[bytes, bytes], Example | None] = {}
        names: dict[str, list[tuple[bytes, bytes]]] = {}
        for need in wanted:
            reasons = need == ANSWER_PROB
            names[need.name] = [
                (key_of(prompt), key_of(said) if reasons else b"") for prompt, said in prompts
            ]
            for name, (prompt, said) in zip(names[need.name], prompts, strict=True):
                if name not in read:
                    read[name] = self.example(prompt, said if reasons else None)
        return self._columns(batch, names, self.probabilities(read))

    def probabilities(
        self, read: Mapping[tuple[bytes, bytes], Example | None]
    ) -> dict[tuple[bytes, bytes], float]:
        """The mean probability of the learned tokens of each example; 0 where there is none. Equal texts are
        scored once."""
        placed = {name: example for name, example in read.items() if example is not None}
        if not placed:
            return dict.fromkeys(read, 0.0)
        batch = pack_examples([(example,) for example in placed.values()])
        p = torch.where(batch.is_action, self.scorer.score(batch, ["logp"])["logp"].double().exp(), 0)
        mean = ragged.sequence_sum(p, batch.offset) / ragged.sequence_sum(
            batch.is_action.double(), batch.offset
        )
        return dict.fromkeys(read, 0.0) | dict(zip(placed, mean.tolist(), strict=True))

    def _columns(
        self,
        batch: Batch,
        names: Mapping[str, list[tuple[bytes, bytes]]],
        found: Mapping[tuple[bytes, bytes], float],
    ) -> dict[str, Tensor]:
        last = ragged.last(batch.is_action, batch.offset)
        has = last >= 0
        columns = {}
        for name, keys in names.items():
            numbers = torch.tensor([found[key] for key in keys], dtype=torch.float32, device=last.device)
            columns[name] = numbers.new_zeros(batch.num_tokens).index_copy(0, last[has], numbers[has])
        return columns

    def example(self, prompt: Tokens, said: Tokens | None) -> Example | None:
        """The prompt, what was said up to its last marker, and the gold answer; without anything said, the
        prompt, a marker and the gold answer. None where there is no place for the gold answer."""
        gold = self.answers.get(key_of(prompt))
        if gold is None:
            raise UserError(
                "answer_probability reads the gold answer of each question, and a prompt of this step is "
                "none of the run's questions; leave it out with this rollout or environment"
            )
        kept, text = (NO_TOKENS, self.marker) if said is None else self.before(said)
        if text is None:
            return None
        given = np.concatenate([prompt, kept])
        added = self.tokenize(text + gold, given)
        start = len(self.decode(kept.tolist())) + len(text)
        counts = [
            len(self.decode([*kept.tolist(), *added[: place + 1]])) > start for place in range(len(added))
        ]
        tokens = np.concatenate([given, np.asarray(added, dtype=np.int32)])
        if not any(counts) or (self.context is not None and len(tokens) > self.context):
            return None
        return Example(tokens, np.array([False] * len(given) + counts))

    def before(self, said: Tokens) -> tuple[Tokens, str | None]:
        """The tokens that end at or before the end of the last marker, and the text between them and its
        end, where the marker ends within a token; None in its place without a marker."""
        ids = said.tolist()
        text = self.decode(ids)
        found = text.rfind(self.marker)
        if found < 0:
            return NO_TOKENS, None
        end, low, high = found + len(self.marker), 0, len(ids)
        while low < high:  # the most tokens whose text is no longer than that
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self.decode(ids[:middle])) <= end else (low, middle - 1)
        return said[:low], text[len(self.decode(ids[:low])) : end]

    def logits(self, batch: Batch) -> LogitRows:
        raise ValueError("a model that reads gold answers gives no logits")

    def weights(self) -> Mapping[str, Tensor]:
        return self.scorer.weights()


def split(batch: Batch) -> Iterator[tuple[Tokens, Tokens]]:
    """For each sequence its tokens before the policy's first one, and those from there on."""
    token, action = batch.token.cpu().numpy().astype(np.int32), batch.is_action.cpu().numpy()
    for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
        own, written = token[start:end], action[start:end]
        first = int(written.argmax()) if written.any() else len(own)
        yield own[:first], own[first:]
