"""The batch: all tokens of a step in one flat row, every column aligned to the token it is about."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from menon import ragged
from menon.errors import UserError
from menon.types import FINISHES, Example, Graded, Rollout, Unit

TOKEN = {"per": "token"}
WIDE = {"per": "tokens, several"}
SEQUENCE = {"per": "sequence"}
STEERS = "coefficient/"
"""How the name of a column begins that steers a term."""


def coefficient_column(term: str) -> str:
    """The column by which the advantage stage steers a term: it multiplies the term's coefficient."""
    return f"{STEERS}{term}"


@dataclass(frozen=True)
class Batch:
    """Flat, packed, token-aligned. Entry t is *about token t*: its log-prob given what came before it, its
    advantage.

    N tokens of S sequences; sequence s is `[offset[s], offset[s+1])`. Two answers to "3+4=" of 3 and 2
    tokens:

        token      3 + 4 = 7 . <eos>   3 + 4 = 8 <eos>
        is_action  0 0 0 0 1 1 1       0 0 0 0 1 1
        reward     0 0 0 0 0 0 1       0 0 0 0 0 0
        offset     0                   7                13
    """

    offset: Tensor
    """[S+1] int64."""
    token: Tensor = field(metadata=TOKEN)
    """int64."""
    is_action: Tensor = field(metadata=TOKEN)
    """bool: the policy wrote it. There is no other split between prompt and response."""
    reward: Tensor = field(metadata=TOKEN)
    """The reward of a turn is on the turn's last action token, the outcome on the last action token of the
    sequence (on its last token if it has no action)."""
    group: Tensor = field(metadata=SEQUENCE)
    """int64: sequences with the same number answer the same prompt."""
    finish: Tensor = field(metadata=SEQUENCE)
    """int64: index into `types.FINISHES`."""
    valid: Tensor = field(metadata=SEQUENCE)
    """bool: False where the grader failed; such a sequence is in no statistic and no loss."""
    acc: Tensor = field(metadata=SEQUENCE)
    """Raw correctness, NaN if unknown. In a pair, 1 marks the preferred sequence and 0 the other."""
    behaviour_logp: Tensor | None = field(default=None, metadata=TOKEN)
    """Log-probs of the sampler that wrote the text: at the sampling temperature, before truncation unless
    `kept` is there."""
    log_kept: Tensor | None = field(default=None, metadata=TOKEN)
    """Log of the mass that top-p and top-k kept (sampled log-prob = behaviour_logp - log_kept)."""
    kept: Tensor | None = field(default=None, metadata=WIDE)
    """[N, k] int32: the tokens that top-p and top-k kept, then -1; only -1 where all tokens could be drawn.
    Where it is there, every log-prob is that of the distribution over these tokens."""
    version: Tensor | None = field(default=None, metadata=TOKEN)
    old_logp: Tensor | None = field(default=None, metadata=TOKEN)
    """Log-probs of the policy before this step's updates. None: the update starts from that policy, so they
    are the detached new ones."""
    ref_logp: Tensor | None = field(default=None, metadata=TOKEN)
    teacher_logp: Tensor | None = field(default=None, metadata=TOKEN)
    value: Tensor | None = field(default=None, metadata=TOKEN)
    """Critic's value of the state *before* the token."""
    value_after: Tensor | None = field(default=None, metadata=TOKEN)
    """Critic's value of the state *after* the token: where an answer was truncated, the value of continuing
    it."""
    state_value: Tensor | None = field(default=None, metadata=TOKEN)
    """Sampled value of the state *before* the token, where a segment begins; NaN on all other tokens."""
    state_std: Tensor | None = field(default=None, metadata=TOKEN)
    """Population deviation of the scores that the value is the mean of."""
    state_count: Tensor | None = field(default=None, metadata=TOKEN)
    """How many scores those were."""
    entropy: Tensor | None = field(default=None, metadata=TOKEN)
    """Entropy of the behaviour policy, or of the old policy where the plan scores it, in nats."""
    collision: Tensor | None = field(default=None, metadata=TOKEN)
    """Sum over the vocabulary of the old policy's squared probabilities: the chance that two draws agree."""
    answer_prob: Tensor | None = field(default=None, metadata=TOKEN)
    """Mean probability of the gold answer's tokens after the policy's reasoning, on the last action; 0
    elsewhere, and where there is no place for the gold answer."""
    answer_prior: Tensor | None = field(default=None, metadata=TOKEN)
    """The same right after the question, without reasoning."""
    advantage: Tensor | None = field(default=None, metadata=TOKEN)
    ret: Tensor | None = field(default=None, metadata=TOKEN)
    """Value target."""
    baseline: Tensor | None = field(default=None, metadata=SEQUENCE)
    """The number that the rollout gives for the outcome to be compared with; NaN where there is none."""
    pair: Tensor | None = field(default=None, metadata=SEQUENCE)
    """int64: the two sequences of a preference share a number; or several, each with acc 1 preferred to each
    with acc 0."""
    node: Tensor | None = field(default=None, metadata=SEQUENCE)
    parent: Tensor | None = field(default=None, metadata=SEQUENCE)
    learn: Tensor | None = field(default=None, metadata=SEQUENCE)
    """bool: False for a sequence that is kept only for the record and for the statistics of its group. None:
    all sequences are learned from."""
    teacher: Tensor | None = field(default=None, metadata=SEQUENCE)
    """int64: the number of the teacher that scores the sequence; None: there is one for all."""
    hinted: Tensor | None = field(default=None, metadata=SEQUENCE)
    """bool: the teacher reads a hint of this step in place of the question. None: there are no such hints."""
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """[N] columns that one term prepared for itself (see `update.objective`)."""

    @property
    def num_tokens(self) -> int:
        return len(self.token)

    @property
    def num_sequences(self) -> int:
        return len(self.offset) - 1

    @property
    def lengths(self) -> Tensor:
        """[S] tokens, prompt included."""
        return ragged.lengths(self.offset)

    @property
    def position(self) -> Tensor:
        """[N] place within the sequence."""
        start = ragged.spread(self.offset[:-1], self.offset, self.num_tokens)
        return torch.arange(self.num_tokens, device=self.token.device) - start

    @property
    def trained(self) -> Tensor:
        """[N] bool: actions of valid sequences that are learned from, the tokens that a loss may touch."""
        learned = self.valid if self.learn is None else self.valid & self.learn
        return self.is_action & ragged.spread(learned, self.offset, self.num_tokens)

    @property
    def policy_logp(self) -> Tensor | None:
        """[N] log-probs of the policy before the step's updates. Where it was not scored (tokens of the first
        update do not need it) they are the sampler's; None where neither is known."""
        if self.old_logp is None or self.behaviour_logp is None:
            return self.behaviour_logp if self.old_logp is None else self.old_logp
        return torch.where(self.old_logp.isnan(), self.behaviour_logp, self.old_logp)

    @property
    def action_lengths(self) -> Tensor:
        """[S] trained tokens of each sequence: L_i in formulas."""
        return ragged.sequence_sum(self.trained.long(), self.offset)

    @property
    def outcome(self) -> Tensor:
        """[S] the sum of a sequence's rewards."""
        return ragged.sequence_sum(self.reward, self.offset)

    def need(self, column: str, asker: object) -> Tensor:
        """A column that must be there; otherwise a UserError names the part that asked for it."""
        value = getattr(self, column)
        if value is None:
            ask = "" if column in getattr(asker, "reads", ()) else f"; add it to reads = ('{column}',)"
            raise UserError(
                f"{type(asker).__name__} needs '{column}', which nothing in this run provides{ask}"
            )
        return value


def columns_per(kind: str) -> list[str]:
    """Names of the fields per "token" or per "sequence"."""
    return [f.name for f in fields(Batch) if f.metadata.get("per") == kind]


def pack(graded: Sequence[Graded]) -> Batch:
    """Packs graded rollouts into one batch. A NaN score becomes reward 0 in an invalid sequence. The outcome
    is the score minus the rewards of the turns, so that the rewards of a sequence add up to its score.

    >>> pack([]).num_tokens
    0
    """
    rollouts = [g.rollout for g in graded]
    scores = np.array([g.verdict.score for g in graded], dtype=np.float32)
    valid = ~np.isnan(scores)
    offset = torch.tensor(np.cumsum([0] + [len(r.tokens) for r in rollouts]), dtype=torch.int64)

    def row(name: str, dtype: torch.dtype) -> Tensor:
        arrays = [getattr(r, name) for r in rollouts]
        return torch.from_numpy(np.concatenate(arrays)).to(dtype) if arrays else torch.zeros(0, dtype=dtype)

    def optional(name: str) -> Tensor | None:
        """None unless the samplers of all rollouts give it."""
        return None if any(getattr(r, name) is None for r in rollouts) else row(name, torch.float32)

    def column(values: Sequence[float] | np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=dtype)

    is_action = row("is_action", torch.bool)
    place = ragged.last(is_action, offset)
    place = torch.where(place >= 0, place, offset[1:] - 1)
    reward, outcome = torch.zeros(len(is_action)), np.where(valid, scores, 0)
    if any(r.reward is not None for r in rollouts):
        turns = [
            r.reward if r.reward is not None and ok else np.zeros(len(r.tokens))
            for r, ok in zip(rollouts, valid, strict=True)
        ]
        outcome = outcome - np.array([given.sum() for given in turns])
        reward = torch.from_numpy(np.concatenate(turns)).float()
    reward = reward.index_add(0, place, column(outcome, torch.float32))
    compared = any(g.baseline is not None for g in graded)
    baseline = [math.nan if g.baseline is None else g.baseline for g in graded]
    tree = any(r.node >= 0 for r in rollouts)
    logp, log_kept, kept = row("logp", torch.float32), optional("log_kept"), _kept(rollouts)
    return Batch(
        offset=offset,
        token=row("tokens", torch.int64),
        is_action=is_action,
        reward=reward,
        group=column([r.group for r in rollouts], torch.int64),
        finish=column([FINISHES.index(r.finish) for r in rollouts], torch.int64),
        valid=column(valid, torch.bool),
        acc=column([g.verdict.acc for g in graded], torch.float32),
        behaviour_logp=logp if kept is None or log_kept is None else logp - log_kept,
        log_kept=log_kept,
        kept=kept,
        version=row("version", torch.int64),
        entropy=optional("entropy"),
        baseline=column(baseline, torch.float32) if compared else None,
        node=column([r.node for r in rollouts], torch.int64) if tree else None,
        parent=column([r.parent for r in rollouts], torch.int64) if tree else None,
        learn=column([g.learn for g in graded], torch.bool) if not all(g.learn for g in graded) else None,
        teacher=_teachers([r.prompt.teacher for r in rollouts]),
        **_states(rollouts, offset),
    )


def pack_examples(rows: Sequence[Sequence[Example]]) -> Batch:
    """Packs sequences that no sampler of the run wrote into one batch, without the columns of a behaviour
    policy. A row of two examples is a pair, whose number is its place in the batch."""
    examples = [example for row in rows for example in row]
    row_of = [place for place, row in enumerate(rows) for _ in row]
    pairs = any(len(row) > 1 for row in rows)
    offset = torch.tensor(np.cumsum([0] + [len(example.tokens) for example in examples]), dtype=torch.int64)
    is_action = torch.from_numpy(np.concatenate([example.is_action for example in examples]))
    place = ragged.last(is_action, offset)
    place = torch.where(place >= 0, place, offset[1:] - 1)
    score = torch.tensor([example.score for example in examples], dtype=torch.float32)
    count = len(examples)
    return Batch(
        offset=offset,
        token=torch.from_numpy(np.concatenate([example.tokens for example in examples])).long(),
        is_action=is_action,
        reward=torch.zeros(len(is_action)).index_add(0, place, score),
        group=torch.tensor([example.group for example in examples]),
        finish=torch.full((count,), FINISHES.index("stop")),
        valid=torch.ones(count, dtype=torch.bool),
        acc=torch.tensor([example.acc for example in examples], dtype=torch.float32),
        pair=torch.tensor(row_of) if pairs else None,
        teacher=_teachers([example.teacher for example in examples]),
    )


def _kept(rollouts: Sequence[Rollout]) -> Tensor | None:
    """[N, k] the tokens that could be drawn; None unless a sampler has recorded them."""
    width = max((r.kept.shape[1] for r in rollouts if r.kept is not None), default=0)
    if not width:
        return None
    rows = [np.full((len(r.tokens), width), -1, dtype=np.int32) for r in rollouts]
    for wide, rollout in zip(rows, rollouts, strict=True):
        if rollout.kept is not None:
            wide[:, : rollout.kept.shape[1]] = rollout.kept
    return torch.from_numpy(np.concatenate(rows))


def _teachers(numbers: Sequence[int]) -> Tensor | None:
    """The column of the teachers; None where all sequences have the first."""
    return torch.tensor(numbers, dtype=torch.int64) if any(numbers) else None


def _states(rollouts: Sequence[Rollout], offset: Tensor) -> dict[str, Any]:
    """The columns of sampled values, if there are any."""
    if not any(rollout.states for rollout in rollouts):
        return {}
    found = torch.full((3, int(offset[-1])), torch.nan)
    for start, rollout in zip(offset.tolist(), rollouts, strict=False):
        for place, estimate in rollout.states.items():
            found[:, start + place] = torch.tensor([estimate.value, estimate.std, estimate.count])
    return dict(zip(("state_value", "state_std", "state_count"), found, strict=True))


def tokens_of(offset: Tensor, sequences: Tensor) -> Tensor:
    """Indices of all tokens of the given sequences, in the order of the sequences."""
    size = ragged.lengths(offset)[sequences]
    new_offset = torch.cat([size.new_zeros(1), size.cumsum(0)])
    shift = ragged.spread(offset[sequences] - new_offset[:-1], new_offset)
    return torch.arange(len(shift), device=offset.device) + shift


def take(batch: Batch, sequences: Tensor) -> Batch:
    """The batch of the given sequences ([K] indices), in their order."""
    tokens = tokens_of(batch.offset, sequences)
    size = batch.lengths[sequences]
    picked: dict[str, Any] = {"offset": torch.cat([size.new_zeros(1), size.cumsum(0)])}
    for kind, index in (("token", tokens), (WIDE["per"], tokens), ("sequence", sequences)):
        for name in columns_per(kind):
            value = getattr(batch, name)
            picked[name] = None if value is None else value[index]
    picked["columns"] = {name: value[tokens] for name, value in batch.columns.items()}
    return replace(batch, **picked)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on another device. From pinned memory the copy to a GPU is queued, and the host does not
    wait for the GPU's earlier work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to(batch: Batch, device: torch.device | str) -> Batch:
    """The batch on another device."""
    device = torch.device(device)
    moved: dict[str, Any] = {
        f.name: sent(value, device)
        for f in fields(Batch)
        if isinstance(value := getattr(batch, f.name), Tensor)
    }
    return replace(
        batch, **moved, columns={name: sent(value, device) for name, value in batch.columns.items()}
    )


def unit_of(batch: Batch, unit: Unit) -> Tensor:
    """[S] the unit that each sequence belongs to; a token's unit is its sequence, because a sequence is never
    cut."""
    if unit == "group":
        return batch.group
    if unit == "pair":
        if batch.pair is None:
            raise UserError("a loss over pairs needs a batch of preferences; this batch holds single answers")
        return batch.pair
    return torch.arange(batch.num_sequences, device=batch.offset.device)
