"""A model that reads another prompt before each answer: a teacher with a hint. Torch alone."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from menon.batch import Batch, pack_examples
from menon.engines.protocols import LogitRows, Models, Scorer
from menon.errors import UserError
from menon.types import Example, Tokens
from menon.update.protocols import Need


class Reprompted:
    """A `Scorer` that puts other tokens in place of those before a sequence's first action, and gives its
    columns for the batch that it was asked about. `prompts` holds the tokens that are read, by the bytes of
    the int32 tokens in whose place they are; `answers` holds those of single sequences, by the bytes of the
    whole sequence, and goes first."""

    def __init__(
        self, scorer: Scorer, prompts: Mapping[bytes, Tokens], answers: Mapping[bytes, Tokens] | None = None
    ) -> None:
        self.scorer, self.prompts, self.answers = scorer, prompts, answers or {}

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        other = self.reprompted(batch)
        columns = self.scorer.score(other, needs, models)
        return {
            name: column.new_zeros(batch.num_tokens, *column.shape[1:]).index_copy(
                0, actions(batch), column[actions(other)]
            )
            for name, column in columns.items()
        }

    def logits(self, batch: Batch) -> LogitRows:
        other = self.reprompted(batch)
        rows, there, order = self.scorer.logits(other), actions(other), batch.is_action.cumsum(0) - 1

        def of_places(places: Tensor) -> Tensor:
            return rows(there.to(places.device)[order.to(places.device)[places]])

        return of_places

    def weights(self) -> Mapping[str, Tensor]:
        return self.scorer.weights()

    def reprompted(self, batch: Batch) -> Batch:
        """The same answers after other prompts. A sequence without an action stays as it is. UserError for a
        prompt that is not known."""
        token, action = batch.token.cpu().numpy().astype(np.int32), batch.is_action.cpu().numpy()
        rows: list[tuple[Example]] = []
        for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
            own, written = token[start:end], action[start:end]
            if written.any():
                first = int(written.argmax())
                prompt = self._other(own, first)
                own = np.concatenate([prompt, own[first:]])
                written = np.concatenate([np.zeros(len(prompt), dtype=np.bool_), written[first:]])
            rows.append((Example(own, written),))
        return replace(pack_examples(rows), teacher=batch.teacher)

    def _other(self, sequence: Tokens, first: int) -> Tokens:
        """What is read in place of a sequence's tokens before its first action."""
        found = self.answers.get(key_of(sequence)) if self.answers else None
        found = self.prompts.get(key_of(sequence[:first])) if found is None else found
        if found is None:
            raise UserError(
                "the teacher reads each question with a hint, and a prompt of this step is none of the run's "
                "questions; leave teacher_question out with this rollout or environment"
            )
        return found


def key_of(tokens: Tokens) -> bytes:
    return tokens.astype(np.int32).tobytes()


def actions(batch: Batch) -> Tensor:
    """[A] indices of the tokens that the policy wrote."""
    return batch.is_action.nonzero()[:, 0]
