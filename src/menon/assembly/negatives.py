"""Answers that the reference writes beside given ones: new ones, or states of chains that draw from the
energy model of the policy's head."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from menon import ragged
from menon.assembly.answer_length import length_for
from menon.assembly.models import models_here
from menon.assembly.placement import Placed, Unwritten
from menon.assembly.questions import stop_of
from menon.batch import pack_examples
from menon.config import Models, OnlineSource, around_of
from menon.engines import lora
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.errors import UserError
from menon.loss.bradley_terry import SCORE
from menon.prompts.given import GivenText, Negatives
from menon.rollout.posterior.likelihood import Scored
from menon.rollout.posterior.persistent import go_on
from menon.rollout.posterior.target import Target
from menon.source.contrasted import Beside, Contrasted, first, pair_of
from menon.source.rows import Rows
from menon.types import Example, Graded, Prompt, Rollout, Sampling, Tokens
from menon.update.host import Ask, ModelHost
from menon.update.protocols import need_column

Pair = tuple[Example, ...]


def with_negatives(
    rows: Rows,
    held: Sequence[Pair],
    given: GivenText,
    source: OnlineSource,
    placed: Placed | Unwritten,
    sampler: TorchSampler,
    seed: int,
) -> tuple[Contrasted, list[Pair]]:
    """The source of pairs that `given.negatives` asks for, and the held-out rows, each beside one answer that
    the reference writes once."""
    begun = [first(place, *row) for place, row in enumerate(rows.rows)]
    apart = [first(len(begun) + place, *row) for place, row in enumerate(held)]
    length = length_for(source.max_new_tokens, placed.context, map(prompt_of, [*begun, *apart]))
    if given.negatives == "chains":
        check_lengths(begun, length)
    settings = replace(around_of(source, seed).sampling, stop=stop_of(source), max_new_tokens=length)
    write = NegativeWriter(given.negatives, given.moves, placed.host, sampler, settings, seed)
    answers = replace(write, kind="reference")(apart)
    pairs: list[Pair] = [
        pair_of(row[0], replace(one, answer=answer))
        for row, one, answer in zip(held, apart, answers, strict=True)
    ]
    return Contrasted(rows, write), pairs


def sampler_of_reference(
    kind: Negatives, models: Models, placed: Placed | Unwritten, seed: int, slots: int
) -> TorchSampler:
    """A sampler on the weights of the reference. UserError: there is none, it moves, or there is no score to
    move chains by."""
    if models.reference == "none":
        raise UserError(
            f"negatives={kind} are written by the reference, and this run has none; set reference=frozen"
        )
    if models.reference_update is not None:
        raise UserError(
            f"negatives={kind} come from a reference that stays as it is; leave reference_update out"
        )
    if kind == "chains" and models.policy.head != "reward":
        raise UserError("negatives=chains draws by the score of the policy's head; set head=reward")
    reference: Any = models_here(placed.host, f"negatives={kind}")["reference"]
    model = reference.model
    model = lora.merged_copy(model) if lora.has_adapter(model) else model
    return TorchSampler(model, placed.tokenizer, seed=seed, slots=slots)


def check_lengths(begun: Sequence[Beside], length: int) -> None:
    """UserError for given answers that no chain can go on from."""
    long = [one for one in begun if len(one.answer) > length]
    if long:
        raise UserError(
            f"{len(long)} of {len(begun)} given answers are longer than {length} tokens, the most that a "
            "chain may write; raise source.max_new_tokens, or leave them out by max_tokens"
        )


@dataclass(frozen=True)
class NegativeWriter:
    """Writes the answers beside those of some rows."""

    kind: Negatives
    moves: int
    host: ModelHost
    sampler: TorchSampler
    sampling: Sampling
    seed: int

    def __call__(self, asked: Sequence[Beside]) -> list[Tokens]:
        grade = Scored(self.scores)
        target = Target(self.sampler, grade, self.sampling, beta=1.0, seed=self.seed)
        if self.kind == "reference":
            with target.open() as writer:
                written = writer.answers([(prompt_of(one), one.visits) for one in asked])
        else:
            states = [state_of(one) for one in asked]
            graded = [Graded(*pair) for pair in zip(states, grade.grade_all(states), strict=True)]
            written = go_on(graded, [one.visits * self.moves for one in asked], self.moves, target)
        return [one.rollout.answer_tokens for one in written]

    def scores(self, rollouts: Sequence[Rollout]) -> list[float]:
        """The score of each answer by the policy's head as it is now; 0 where it has none."""
        if self.kind == "reference" or not rollouts:
            return [0.0] * len(rollouts)
        texts = [
            (Example(one.tokens, np.arange(len(one.tokens)) >= len(one.prompt.tokens)),) for one in rollouts
        ]
        batch = pack_examples(texts)
        column = self.host.score(batch, [Ask("policy", SCORE)])[need_column(SCORE)]
        return column[ragged.last(batch.is_action, batch.offset)].tolist()


def prompt_of(beside: Beside) -> Prompt:
    return Prompt(beside.row, beside.prompt, "")


def state_of(beside: Beside) -> Rollout:
    """The answer as the state of a chain: a whole one, whose log-probs are not known."""
    tokens = np.concatenate([beside.prompt, beside.answer])
    unknown = np.full(len(tokens), np.nan, dtype=np.float32)
    answered = np.arange(len(tokens)) >= len(beside.prompt)
    version = np.zeros(len(tokens), dtype=np.int32)
    return Rollout(
        prompt_of(beside), tokens, answered, unknown, None, None, version, "stop", text="", group=beside.row
    )
