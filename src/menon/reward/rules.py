"""Rule-based rewards that a configuration can name, and how rewards are combined.  A rule is a frozen
dataclass whose `kind` is its name, and it is the reward itself. Rules that own processes or hold other rules
have a `build`, which gives them what they need.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

from menon.errors import UserError, nearest
from menon.parts import Around, built, close
from menon.reward.call import UserReward
from menon.reward.choice import MultipleChoice
from menon.reward.code.signatures import Asked, judge
from menon.reward.exact import ExactMatch
from menon.reward.f1 import WordF1
from menon.reward.format import Format, TagCount, well_formed
from menon.reward.json_answer import JsonAnswer
from menon.reward.judge import Judge
from menon.reward.math.answer import MathAnswer
from menon.reward.numeric import Numeric
from menon.reward.pattern import Pattern
from menon.reward.preference import Preference
from menon.reward.protocols import BatchReward
from menon.reward.repetition import Repetition
from menon.reward.words import Language, Overlap
from menon.types import NOT_APPLICABLE, Verdict

AnswerRule = MathAnswer | ExactMatch | Numeric | MultipleChoice | Pattern | JsonAnswer | Overlap | WordF1
"""Rules that judge correctness."""
FormRule = Format | TagCount | Language | Repetition
"""Rules that judge form; their acc is unknown."""


class Shaped:
    """A reward computed from the verdict of another rule, `answer`; the method `score` says how."""

    answer: Any

    def build(self, around: Around) -> Any:
        return replace(self, answer=built(self.answer, around))  # type: ignore[type-var]  # all are dataclasses

    @property
    def spell(self) -> Callable[[str, str], str]:
        return self.answer.spell

    def __call__(
        self,
        prompt: str,
        completion: str,
        answer: str,
        finish: str = "stop",
        completion_ids: Sequence[int] = (),
        **columns: Any,
    ) -> Verdict:
        asked = Asked(prompt, completion, answer, columns, finish, list(completion_ids))
        verdict = judge(self.answer, "menon", asked)
        if verdict.error or not verdict.applies:
            return verdict
        return replace(verdict, score=self.score(verdict, asked))

    def score(self, verdict: Verdict, asked: Asked) -> float:
        """The score of an answer for which the rule `answer` gave this verdict."""
        raise NotImplementedError

    def close(self) -> None:
        close(self.answer)


@dataclass(frozen=True)
class Stopped(Shaped):
    """A right answer counts only if it ended by itself, by the end-of-text token or a stop string. That is
    the reward of Open-Reasoner-Zero (arXiv 2503.24290). There is no reward for format or length, and no KL
    term."""

    answer: AnswerRule = field(default_factory=MathAnswer)
    """The rule that judges correctness."""
    kind: Literal["orz"] = "orz"

    def score(self, verdict: Verdict, asked: Asked) -> float:
        return float(verdict.acc == 1 and asked.finish == "stop")


@dataclass(frozen=True)
class Cosine(Shaped):
    """The reward of a right answer falls with its length, that of a wrong one rises. It is v_min + (v_max -
    v_min) (1 + cos(pi * tokens / max_tokens)) / 2 (open-r1; docs/numerics.md, 13.5).

    A right answer falls from `right_short` to `right_long`, a wrong one rises from `wrong_short` to
    `wrong_long`; a length above max_tokens counts as max_tokens.
    """

    max_tokens: int = 1024
    """Length from which the reward is the long one, in tokens."""
    right_short: float = 1.0
    """Reward of a right answer of no length."""
    right_long: float = 0.5
    """Reward of a right answer of max_tokens."""
    wrong_short: float = -1.0
    """Reward of a wrong answer of no length."""
    wrong_long: float = -0.5
    """Reward of a wrong answer of max_tokens."""
    answer: AnswerRule = field(default_factory=MathAnswer)
    """The rule that judges correctness."""
    kind: Literal["cosine"] = "cosine"

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"max_tokens of cosine is {self.max_tokens}; it must be at least 1")

    def score(self, verdict: Verdict, asked: Asked) -> float:
        return self.of_length(verdict.acc == 1, len(asked.completion_ids))

    def of_length(self, right: bool, tokens: int) -> float:
        short, long = (self.right_short, self.right_long) if right else (self.wrong_short, self.wrong_long)
        return long + (short - long) * (1 + math.cos(math.pi * min(tokens / self.max_tokens, 1.0))) / 2


@dataclass(frozen=True)
class Staged(Shaped):
    """Checks the form first, then the answer. The score is `malformed` without the tags of `format`, else
    `unparsable`, `wrong` or `right`.

    The defaults are Logic-RL's (arXiv 2502.14768: form +1 or -1, and answer 2, -1.5, or -2 where there is
    none); TinyZero's are 0, .1, .1, 1.
    """

    malformed: float = -3.0
    """Score without the tags of the rule format."""
    unparsable: float = -1.0
    """Score of an answer that states no result."""
    wrong: float = -0.5
    """Score of a wrong answer."""
    right: float = 3.0
    """Score of a right answer."""
    answer: AnswerRule = field(default_factory=MathAnswer)
    """The rule that judges correctness."""
    kind: Literal["staged"] = "staged"

    def score(self, verdict: Verdict, asked: Asked) -> float:
        if not well_formed(asked.prompt, asked.completion):
            return self.malformed
        if verdict.acc == 1:
            return self.right
        return self.unparsable if verdict.parts.get("unparsable") else self.wrong


ShapedRule = Stopped | Cosine | Staged


@dataclass(frozen=True)
class Weighted:
    rule: AnswerRule | FormRule | ShapedRule | Judge | Preference | str
    """A rule or its name, a judge, a preference model, or a function of your own, file.py:function."""
    weight: float = 1.0
    """Factor of its score in the sum; 0: it is measured and pays nothing."""
    only: Mapping[str, str] = field(default_factory=dict)
    """The rows that it is for: column -> value. Without any, all rows."""

    def is_for(self, row: Mapping[str, Any]) -> bool:
        """Whether it judges answers to the question of a row."""
        return all(str(row.get(column)) == value for column, value in self.only.items())


@dataclass(frozen=True)
class Mix:
    """The weighted sum of named rewards. It is taken before any statistics over a group; R1-Zero's reward is
    `{math: 1, format: 1}`.

    A part is a kind with its weight, or a rule, a weight and the rows that it is `only` for under any name.
    The verdict's parts hold each part's own score under its name. acc is that of the first part that states
    it, else what the first function that states none lets guess. If a part fails, the sum fails. A part that
    does not apply to the row (TRL's None, and any but its `only` rows) is left out; if none applies, the sum
    does not.
    """

    parts: Mapping[str, float | Weighted] = field(default_factory=dict)
    """Name -> weight of the rule of that name, or {rule: ..., weight: ..., only: {COLUMN: VALUE}}."""
    kind: Literal["mix"] = "mix"

    def __post_init__(self) -> None:
        if not self.parts:
            raise UserError("mix holds no part; give it some, like reward.parts='{math: 1, format: 0.2}'")
        for name, part in self.parts.items():
            if not isinstance(part, Weighted) and (name not in KINDS or name == "mix"):
                raise UserError(
                    f"mix: there is no reward '{name}'{nearest(name, KINDS, lists='menon help reward')}, or "
                    "give the part a rule"
                )

    def __hash__(self) -> int:  # a table has none, and calls of a reward are remembered by it
        return hash(tuple(self.parts))

    @cached_property
    def weighted(self) -> dict[str, Weighted]:
        """The parts, each with its rule; a bare number is the weight of the rule of that name."""
        return {
            name: part if isinstance(part, Weighted) else Weighted(KINDS[name](), part)
            for name, part in self.parts.items()
        }

    def build(self, around: Around) -> "Mix":
        made: dict[str, Weighted] = {}
        try:
            for name, part in self.weighted.items():
                made[name] = replace(part, rule=reward_from(part.rule, around))
        except BaseException:
            for part in made.values():
                close(part.rule)
            raise
        at_once = any(isinstance(part.rule, BatchReward) for part in made.values())
        return (BatchMix if at_once else Mix)(made)

    def __call__(
        self,
        prompt: str,
        completion: str,
        answer: str,
        finish: str = "stop",
        completion_ids: Sequence[int] = (),
        **columns: Any,
    ) -> Verdict:
        asked = Asked(prompt, completion, answer, columns, finish, list(completion_ids))
        parts = self.weighted.items()
        return self.total({name: judge_one(part.rule, asked) for name, part in parts if part.is_for(columns)})

    def total(self, verdicts: Mapping[str, Verdict]) -> Verdict:
        """The verdict of one answer from those of the parts that are for its row."""
        if failed := [f"{name}: {verdict.error}" for name, verdict in verdicts.items() if verdict.error]:
            return Verdict(math.nan, math.nan, error=failed[0])
        verdicts = {name: verdict for name, verdict in verdicts.items() if verdict.applies}
        if not verdicts:
            return NOT_APPLICABLE
        parts = {name: verdict.score for name, verdict in verdicts.items()}
        for verdict in verdicts.values():
            parts = {**verdict.parts, **parts}
        stated = [v for v in verdicts.values() if not (v.guessed or math.isnan(v.acc))]
        truth = [*stated, *(verdict for verdict in verdicts.values() if verdict.guessed)][:1]
        score = sum(self.weighted[name].weight * verdict.score for name, verdict in verdicts.items())
        acc, guessed = (truth[0].acc, truth[0].guessed) if truth else (math.nan, False)
        feedback = "\n".join(verdict.feedback for verdict in verdicts.values() if verdict.feedback)
        return Verdict(score, acc, parts, guessed=guessed, feedback=feedback)

    def close(self) -> None:
        for part in self.weighted.values():
            close(part.rule)


class BatchMix(Mix):
    """A mix of which some part judges many answers in one call, as a model does."""

    @property
    def apart(self) -> bool:
        """Whether each verdict depends on its own answer alone."""
        rules = [part.rule for part in self.weighted.values()]
        return all(getattr(rule, "apart", False) for rule in rules if isinstance(rule, BatchReward))

    def many(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Verdicts in the order of the answers."""
        verdicts: list[dict[str, Verdict]] = [{} for _ in asked]
        for name, part in self.weighted.items():
            places = [place for place, one in enumerate(asked) if part.is_for(one.columns)]
            for place, verdict in zip(places, judge_all(part.rule, [asked[i] for i in places]), strict=True):
                verdicts[place][name] = verdict
        return [self.total(each) for each in verdicts]


def judge_one(rule: Any, asked: Asked) -> Verdict:
    return judge(rule, "menon", asked)


def judge_all(rule: Any, asked: Sequence[Asked]) -> Sequence[Verdict]:
    if isinstance(rule, BatchReward):
        return rule.many(asked) if asked else ()
    return [judge_one(rule, one) for one in asked]


RulePart = AnswerRule | FormRule | ShapedRule | Mix
"""The rules that a configuration file can name."""
KINDS: dict[str, type] = {part.kind: part for part in get_args(RulePart)}


def reward_from(rule: Any, around: Around) -> Any:
    """The reward of a rule, of the name of one, or of the name of a function, `file.py:function`."""
    rule = KINDS[rule]() if isinstance(rule, str) and rule in KINDS else rule
    return UserReward(rule) if isinstance(rule, str) else built(rule, around)
