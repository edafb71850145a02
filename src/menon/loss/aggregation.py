"""How much each token weighs in an update. Weights are computed on the whole update, before it is cut into
passes, so the cut cannot change them.

Sequences and prompts count when they hold a trained token: empty answers and those whose grader failed are in
no denominator. Only `SelectedMean` lets a selection change its denominator. `per` names what a denominator
counts; a loss with one number per sequence cannot be averaged over tokens. `counts` is the unit that must not
be cut for the weights to be right, if it is more than a token.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.pairs import pairs_of
from menon.parts import Around
from menon.types import Unit


def _weigh(batch: Batch, selected: Tensor, count: Tensor | float) -> Tensor:
    """1 / count on the selected tokens, 0 elsewhere; `count` is a number or [N]."""
    dtype = batch.reward.dtype
    inverse = 1 / torch.as_tensor(count, dtype=dtype, device=selected.device).clamp(
        min=torch.finfo(dtype).tiny
    )
    return torch.where(selected, inverse, 0)


def _num_sequences(batch: Batch) -> Tensor:
    return (batch.action_lengths > 0).sum()


@dataclass(frozen=True)
class TokenMean:
    """1 / trained tokens of the update (DAPO)."""

    kind: Literal["token_mean"] = "token_mean"
    per: ClassVar[Unit] = "token"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        return _weigh(batch, selected, batch.trained.sum())


@dataclass(frozen=True)
class SelectedMean:
    """1 / selected tokens of the update (the 80/20 authors' code)."""

    kind: Literal["selected_mean"] = "selected_mean"
    per: ClassVar[Unit] = "token"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        return _weigh(batch, selected, selected.sum())


@dataclass(frozen=True)
class SequenceMeanTokenMean:
    """1 / (sequences * trained tokens of the token's own sequence) (GRPO): each answer weighs the same, so a
    token of a long answer weighs less."""

    kind: Literal["sequence_mean_token_mean"] = "sequence_mean_token_mean"
    per: ClassVar[Unit] = "token"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        return _weigh(
            batch, selected, _num_sequences(batch) * ragged.spread(batch.action_lengths, batch.offset)
        )


@dataclass(frozen=True)
class SequenceMean:
    """1 / sequences: the mean of sums over tokens (REINFORCE, RLOO), and of losses with one number per
    sequence."""

    kind: Literal["sequence_mean"] = "sequence_mean"
    per: ClassVar[Unit] = "sequence"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        return _weigh(batch, selected, _num_sequences(batch))


@dataclass(frozen=True)
class SequenceLengthMean:
    """L / sequences, L = trained tokens of the token's own sequence (LUSPO, arXiv 2602.05261): for losses
    with one number per sequence that is a mean over its tokens, like `GSPO`, whose gradient on a token it
    frees from the length. For a loss per token that is `SequenceMean`."""

    kind: Literal["sequence_length_mean"] = "sequence_length_mean"
    per: ClassVar[Unit] = "sequence"
    needs_one_number: ClassVar[bool] = True

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        weight = _weigh(batch, selected, _num_sequences(batch))
        return weight * ragged.spread(batch.action_lengths, batch.offset)


@dataclass(frozen=True)
class Constant:
    """1 / (sequences * length) with a fixed length (Dr.GRPO): no weight depends on how long answers are."""

    length: int | None = None
    """The length that divides, in tokens; null: `max_new_tokens`."""
    kind: Literal["constant"] = "constant"
    per: ClassVar[Unit] = "sequence"

    def __post_init__(self) -> None:
        if self.length is not None and self.length < 1:
            raise UserError(
                f"length of the Constant share is {self.length}; set it to the most tokens an answer may have"
            )

    def build(self, around: Around) -> "Constant":
        """With the length; one that is not set is that of the longest answer."""
        return replace(self, length=around.sampling.max_new_tokens) if self.length is None else self

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        if self.length is None:
            raise UserError("Constant outside of a run needs its number: give it a length")
        return _weigh(batch, selected, _num_sequences(batch) * self.length)


@dataclass(frozen=True)
class PromptMean:
    """1 / (prompts * trained tokens of all answers to the token's prompt): each prompt weighs the same."""

    kind: Literal["prompt_mean"] = "prompt_mean"
    per: ClassVar[Unit] = "token"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        names, index = torch.unique(batch.group, return_inverse=True)
        tokens_P = ragged.sum_by(batch.action_lengths, index, len(names))
        return _weigh(batch, selected, (tokens_P > 0).sum() * ragged.spread(tokens_P[index], batch.offset))


@dataclass(frozen=True)
class PairMean:
    """1 / pairs of the update: for losses with one number per pair, and for sums over the tokens of an
    answer, like the NLL of the preferred ones.

    Tokens of pairs that no loss can use (`pairs_of`) weigh 0 and do not count. With each="prompt" it is 1 /
    (prompts * pairs of the token's prompt), so that a prompt with many pairs weighs as much as one with one
    (InstructGPT, ReaLHF).
    """

    each: Literal["pair", "prompt"] = "pair"
    """What weighs the same."""
    kind: Literal["pair_mean"] = "pair_mean"
    per: ClassVar[Unit] = "pair"
    counts: ClassVar[Unit] = "pair"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        preferred, _ = pairs_of(batch)
        count_P: Tensor | int = len(preferred)
        if self.each == "prompt":
            names, index, size = torch.unique(batch.group[preferred], return_inverse=True, return_counts=True)
            count_P = len(names) * size[index]
        count = _by_pair(batch, count_P)
        return _weigh(batch, selected & (count > 0), count)


@dataclass(frozen=True)
class PairMeanTokenMean:
    """1 / (pairs * trained tokens of the token's own answer): the mean over pairs of means over an answer,
    for the NLL of the preferred answers (ORPO)."""

    kind: Literal["pair_mean_token_mean"] = "pair_mean_token_mean"
    per: ClassVar[Unit] = "token"
    counts: ClassVar[Unit] = "pair"

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        count = _by_pair(batch, len(pairs_of(batch)[0]))
        count = count * ragged.spread(batch.action_lengths, batch.offset)
        return _weigh(batch, selected & (count > 0), count)


def _by_pair(batch: Batch, values_P: Tensor | int) -> Tensor:
    """[P] or a number -> [N] int64: the value of a token's pair, 0 in pairs that cannot be used."""
    values_S = torch.zeros_like(batch.group)
    for side in pairs_of(batch):
        values_S[side] = values_P
    return ragged.spread(values_S, batch.offset)


AggregationPart = (
    TokenMean
    | SelectedMean
    | SequenceMeanTokenMean
    | SequenceMean
    | SequenceLengthMean
    | Constant
    | PromptMean
    | PairMean
    | PairMeanTokenMean
)
"""The parts that a configuration file can name."""


def mean_of(loss: object) -> AggregationPart:
    """The mean over the pairs, answers or tokens for which a loss gives one number each."""
    per = getattr(loss, "per", "token")
    return PairMean() if per == "pair" else SequenceMean() if per == "sequence" else TokenMean()
