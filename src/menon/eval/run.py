"""Answers to a fixed set of questions, graded: the same object during training and from the command line."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from menon.errors import UserError
from menon.eval.metrics import SUBSETS, average, kinds, majority, passed, powers_up_to
from menon.intervals import DRAWS, interval
from menon.rollout.groups import answer
from menon.rollout.protocols import Answer, Grade, Sampler
from menon.streams import stream
from menon.truth import settled
from menon.types import Graded, Prompt, Request, Sampling


@dataclass(frozen=True)
class Evaluation:
    """Writes and grades `samples` answers to each question. They have random streams of their own, so the
    draws of a run do not change them.  Sample 0 of a question is the same text for any number of samples.
    """

    prompts: tuple[Prompt, ...]
    grade: Grade
    sampling: Sampling
    samples: int = 1
    answer: Answer = answer
    """One turn, or turns with an environment."""
    seed: int | None = None
    """Seed of the answers' random streams; None: that of the sampler."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise UserError("there is no question to evaluate with; give a held-out set with at least one")
        if self.samples < 1:
            raise UserError(f"samples is {self.samples}; each question needs at least 1 answer")

    def __call__(self, sampler: Sampler) -> list[Graded]:
        """The graded answers, in the order of the questions, then of the samples."""
        asked = [(place, sample) for place in range(len(self.prompts)) for sample in range(self.samples)]
        requests = [
            Request(self.prompts[place], self.sampling, sample, purpose="evaluate", seed=self.seed)
            for place, sample in asked
        ]
        return settled(self.answer(requests, [place for place, _ in asked], sampler, self.grade))


@dataclass(frozen=True)
class AnswerEquivalence:
    """How answers are compared with each other, for the vote of maj@k."""

    stated: Callable[[Graded], str | None]
    """The answer that a text states, in normal form; None where it states none."""
    same: Callable[[str, str], bool]


@dataclass(frozen=True)
class Item:
    """All samples of one question, one entry each."""

    question: int
    """Row in its set."""
    key: str
    """A hash of question and gold answer. Two evaluations can be compared only on questions with equal
    keys."""
    answer: str | None
    acc: tuple[float, ...]
    """1 right, 0 wrong, NaN: the grader failed."""
    score: tuple[float, ...]
    stated: tuple[str | None, ...]
    kind: tuple[int, ...]
    """Equal numbers for equal answers, -1 for none; empty where answers cannot be compared. See `metrics`."""
    length: tuple[int, ...]
    """Tokens of each sample, the end-of-text token included."""
    finish: tuple[str, ...]
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Parts of the reward by name; only those that every sample has."""
    error: str = ""
    """The message of the first grader that failed."""
    not_applicable: int = 0
    """Samples that the reward does not apply to; their acc and score are NaN."""


def items_of(
    graded: Sequence[Graded], samples: int, equivalence: AnswerEquivalence | None = None
) -> list[Item]:
    """One per question, in the order of the questions."""
    return [item_of(graded[place : place + samples], equivalence) for place in range(0, len(graded), samples)]


def item_of(graded: Sequence[Graded], equivalence: AnswerEquivalence | None) -> Item:
    prompt = graded[0].rollout.prompt
    common = set.intersection(*(set(g.verdict.parts) for g in graded))
    stated = [None if equivalence is None else equivalence.stated(g) for g in graded]
    return Item(
        question=prompt.index,
        key=key_of(prompt),
        answer=prompt.answer,
        acc=tuple(float(g.verdict.acc) for g in graded),
        score=tuple(float(g.verdict.score) for g in graded),
        stated=tuple(stated),
        kind=() if equivalence is None else tuple(int(kind) for kind in kinds(stated, equivalence.same)),
        length=tuple(g.rollout.num_actions for g in graded),
        finish=tuple(g.rollout.finish for g in graded),
        parts={name: tuple(float(g.verdict.parts[name]) for g in graded) for name in sorted(common)},
        error=next((g.verdict.error for g in graded if g.verdict.error), ""),
        not_applicable=sum(not g.verdict.applies for g in graded),
    )


def key_of(prompt: Prompt) -> str:
    """A hash of the question as it is in the file, so that a template does not change it."""
    question = prompt.columns.get("question", prompt.text)
    return hashlib.blake2b(
        repr((question, prompt.answer)).encode(errors="replace"), digest_size=8
    ).hexdigest()


def numbers_of(items: Sequence[Item], k: int, seed: int = 0) -> dict[str, Any]:
    """The numbers of an evaluation.

    `avg@n` (accuracy) and `reward` over all n samples; `pass@j` and, where answers can be compared, `maj@j`
    for j = 1, 2, 4, ... and k; each {"value", "low", "high"} with a 95 % bootstrap interval over questions.
    `cons@k` is another name of `maj@k`. Then the means of the reward's parts, mean_length, trunc_rate, n
    (questions), samples, the number of answers whose grader failed, of those that the reward does not apply
    to, and the share of answers that stated no answer. UserError where k is more than the samples."""
    samples = len(items[0].acc)
    if k > samples:
        raise UserError(
            f"pass@{k} needs {k} samples of each question and there are {samples}; set samples={k} or more"
        )
    table = [np.array(item.acc) for item in items]
    every = np.concatenate([np.array(item.score) for item in items])
    apart = sum(item.not_applicable for item in items)
    numbers: dict[str, Any] = {f"avg@{samples}": spread([average(acc) for acc in table], seed)}
    numbers["reward"] = spread([average(np.array(item.score)) for item in items], seed)
    for j in powers_up_to(k):
        numbers[f"pass@{j}"] = spread([passed(acc, j) for acc in table], seed)
    if items[0].kind:
        for j in powers_up_to(k):
            numbers[f"maj@{j}"] = spread([vote(item, j, seed) for item in items], seed)
        numbers[f"cons@{k}"] = numbers[f"maj@{k}"]
        numbers["no_answer"] = float(np.mean([kind < 0 for item in items for kind in item.kind]))
    return numbers | {
        "parts": parts_of(items),
        "mean_length": float(np.mean([length for item in items for length in item.length])),
        "trunc_rate": float(np.mean([finish == "length" for item in items for finish in item.finish])),
        "n": len(items),
        "samples": samples,
        "failed": int(np.isnan(every).sum()) - apart,
        "not_applicable": apart,
        "subsets": SUBSETS,
        "bootstrap": DRAWS,
    }


def parts_of(items: Sequence[Item]) -> dict[str, float]:
    """Means over all samples, of the parts that every question has."""
    common = set.intersection(*(set(item.parts) for item in items))
    return {
        name: float(np.mean([value for item in items for value in item.parts[name]]))
        for name in sorted(common)
    }


def vote(item: Item, k: int, seed: int = 0) -> float:
    """maj@k of one question."""
    rng = stream(seed, "vote", item.question, k)
    return majority(np.array(item.acc), np.array(item.kind, dtype=np.int64), k, rng)


def spread(values: Sequence[float], seed: int) -> dict[str, float | None]:
    """The mean over questions and its interval; null where no question has the number."""
    values_P = np.array(values, dtype=np.float64)
    known_P = values_P[~np.isnan(values_P)]
    if not len(known_P):
        return {"value": None, "low": None, "high": None}
    low, high = interval(known_P, seed)
    return {"value": float(known_P.mean()), "low": low, "high": high}


def plain_item(item: Item) -> dict[str, Any]:
    """An item as strict JSON: NaN becomes null."""

    def clean(value: Any) -> Any:
        return None if isinstance(value, float) and np.isnan(value) else value

    fields = {
        name: [clean(v) for v in value] if isinstance(value, tuple) else value
        for name, value in vars(item).items()
    }
    return fields | {"parts": {name: [clean(v) for v in values] for name, values in item.parts.items()}}


def read_item(plain: Mapping[str, Any]) -> Item:
    """The inverse of `plain_item`."""
    nan = float("nan")
    tuples = {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
    numbers = {name: tuple(nan if v is None else float(v) for v in tuples[name]) for name in ("acc", "score")}
    parts = {
        name: tuple(nan if v is None else float(v) for v in values) for name, values in plain["parts"].items()
    }
    return Item(**{**plain, **tuples, **numbers, "parts": parts})
