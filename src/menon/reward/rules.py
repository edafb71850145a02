"""Rewards by rule that a configuration can name, and how they are put together.

A rule is a frozen dataclass whose `kind` is its name. Most are rewards as they stand; `build` makes rewards
of those that own processes or hold other rules.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from menon.errors import UserError
from menon.reward import extract
from menon.reward.call import UserReward
from menon.reward.choice import MultipleChoice
from menon.reward.code.signatures import Asked, judge
from menon.reward.exact import ExactMatch
from menon.reward.format import Format, TagCount, well_formed
from menon.reward.json_answer import JsonAnswer
from menon.reward.math.answer import MathAnswer
from menon.reward.numeric import Numeric
from menon.reward.pattern import Matcher, Pattern
from menon.reward.protocols import Reward
from menon.reward.repetition import Repetition
from menon.reward.words import Language, Overlap
from menon.types import Verdict


@dataclass(frozen=True)
class Math:
    """Mathematical equality: `math_answer.MathAnswer`."""

    ways: tuple[str, ...] = tuple(way.__name__ for way in extract.WAYS)
    """Where a result may be stated, the first that is found counts: answer_tag, boxed, answer_line,
    hash_marks; and for an evaluation phrase, last_value."""
    workers: int = 2
    seconds: float = 0.4
    """CPU time of one comparison."""
    kind: Literal["math"] = "math"

    def __post_init__(self) -> None:
        known = {way.__name__: way for way in (*extract.WAYS, *extract.LENIENT)}
        if odd := [way for way in self.ways if way not in known]:
            raise UserError(
                f"math knows no way '{odd[0]}' of stating a result; choose from {', '.join(known)}"
            )

    def build(self) -> MathAnswer:
        return MathAnswer([getattr(extract, way) for way in self.ways], self.workers, self.seconds)


@dataclass(frozen=True)
class Choice:
    """A letter from A to J: `choice.MultipleChoice`."""

    kind: Literal["choice"] = "choice"


AnswerRule = Math | ExactMatch | Numeric | Choice | Pattern | JsonAnswer | Overlap
"""Rules of correctness."""
FormRule = Format | TagCount | Language | Repetition
"""Rules of form: their acc is unknown."""


@dataclass(frozen=True)
class Stopped:
    """A right answer counts only where it ended by itself, a stop string included (Open-Reasoner-Zero, arXiv
    2503.24290): no format, no length, no KL term."""

    answer: AnswerRule = field(default_factory=Math)
    kind: Literal["orz"] = "orz"


@dataclass(frozen=True)
class Cosine:
    """A reward that depends on length (open-r1; spec 6.8): v_min + (v_max - v_min) (1 + cos(pi * tokens /
    max_tokens)) / 2.

    A right answer falls from `right_short` to `right_long`, a wrong one rises from `wrong_short` to
    `wrong_long`; a length above max_tokens counts as max_tokens.
    """

    max_tokens: int = 1024
    right_short: float = 1.0
    right_long: float = 0.5
    wrong_short: float = -1.0
    wrong_long: float = -0.5
    answer: AnswerRule = field(default_factory=Math)
    kind: Literal["cosine"] = "cosine"

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"max_tokens of cosine is {self.max_tokens}; it must be at least 1")

    def score(self, right: bool, tokens: int) -> float:
        short, long = (self.right_short, self.right_long) if right else (self.wrong_short, self.wrong_long)
        return long + (short - long) * (1 + math.cos(math.pi * min(tokens / self.max_tokens, 1.0))) / 2


@dataclass(frozen=True)
class Staged:
    """First the form, then the answer: `malformed` without the tags of `format`, else `unparsable`, `wrong`
    or `right`.

    The defaults are Logic-RL's (arXiv 2502.14768: form +1 or -1, and answer 2, -1.5, or -2 where there is
    none); TinyZero's are 0, .1, .1, 1.
    """

    malformed: float = -3.0
    unparsable: float = -1.0
    wrong: float = -0.5
    right: float = 3.0
    answer: AnswerRule = field(default_factory=Math)
    kind: Literal["staged"] = "staged"


ShapedRule = Stopped | Cosine | Staged


@dataclass(frozen=True)
class Weighted:
    rule: AnswerRule | FormRule | ShapedRule | str
    """A rule, or a function of your own, file.py:function."""
    weight: float = 1.0


@dataclass(frozen=True)
class Mix:
    """The weighted sum of named parts, before any statistics over a group; R1-Zero's reward is `{math: 1,
    format: 1}`.

    A part is named by a kind with its weight, or has a rule and a weight. Each part's own score is in the
    verdict's parts under its name. acc is that of the first part that knows it. Where a part fails, so does
    the sum.
    """

    parts: Mapping[str, float | Weighted] = field(default_factory=dict)
    kind: Literal["mix"] = "mix"

    def __post_init__(self) -> None:
        if not self.parts:
            raise UserError("mix holds no part; give it some, like reward.parts='{math: 1, format: 0.2}'")
        for name, part in self.parts.items():
            if not isinstance(part, Weighted) and (name not in KINDS or name == "mix"):
                raise UserError(
                    f"mix: there is no reward '{name}'; name one of {', '.join(KINDS)}, or give the part "
                    "a rule"
                )


RulePart = AnswerRule | FormRule | ShapedRule | Mix
"""What a configuration file can name."""
KINDS: dict[str, type] = {part.kind: part for part in get_args(RulePart)}


def build(rule: Any) -> Reward:
    """The reward of a rule. Rewards that own processes have `close()`."""
    if isinstance(rule, Math):
        return rule.build()
    if isinstance(rule, Choice):
        return MultipleChoice()
    if isinstance(rule, Pattern):
        return Matcher(rule)
    if isinstance(rule, Stopped | Cosine | Staged):
        return Shaped(rule, build(rule.answer))
    if isinstance(rule, Mix):
        return Mixed(
            {
                name: p if isinstance(p, Weighted) else Weighted(KINDS[name](), p)
                for name, p in rule.parts.items()
            }
        )
    return UserReward(rule) if isinstance(rule, str) else rule


def named(kind: str) -> Reward:
    """The reward of that kind with its defaults."""
    return build(KINDS[kind]())


def close(reward: Reward) -> None:
    """Ends what a reward has started."""
    if hasattr(reward, "close"):
        reward.close()


class Shaped:
    """An answer's correctness with a rule about it."""

    def __init__(self, rule: ShapedRule, answer: Reward) -> None:
        self.rule, self.answer = rule, answer
        if hasattr(answer, "spell"):
            self.spell = answer.spell

    def __call__(
        self,
        prompt: str,
        completion: str,
        answer: str,
        finish: str = "stop",
        completion_ids: Sequence[int] = (),
        **columns: Any,
    ) -> Verdict:
        verdict = judge(
            self.answer, "menon", Asked(prompt, completion, answer, columns, finish, list(completion_ids))
        )
        if verdict.error:
            return verdict
        return Verdict(
            self.score(verdict, prompt, completion, finish, len(completion_ids)), verdict.acc, verdict.parts
        )

    def score(self, verdict: Verdict, prompt: str, completion: str, finish: str, tokens: int) -> float:
        rule = self.rule
        right = verdict.acc == 1
        if isinstance(rule, Stopped):
            return float(right and finish == "stop")
        if isinstance(rule, Cosine):
            return rule.score(right, tokens)
        if not well_formed(prompt, completion):
            return rule.malformed
        return rule.right if right else rule.unparsable if verdict.parts.get("unparsable") else rule.wrong

    def close(self) -> None:
        close(self.answer)


class Mixed:
    """The reward of a `Mix`."""

    def __init__(self, parts: Mapping[str, Weighted]) -> None:
        self.weights = {name: part.weight for name, part in parts.items()}
        self.rewards: dict[str, Reward] = {}
        try:
            for name, part in parts.items():
                self.rewards[name] = build(part.rule)
        except BaseException:
            self.close()
            raise

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
        verdicts = {name: judge(reward, "menon", asked) for name, reward in self.rewards.items()}
        if failed := [f"{name}: {verdict.error}" for name, verdict in verdicts.items() if verdict.error]:
            return Verdict(math.nan, math.nan, error=failed[0])
        parts = {name: verdict.score for name, verdict in verdicts.items()}
        for verdict in verdicts.values():
            parts = {**verdict.parts, **parts}
        known = [verdict.acc for verdict in verdicts.values() if not math.isnan(verdict.acc)]
        score = sum(self.weights[name] * verdict.score for name, verdict in verdicts.items())
        return Verdict(score, known[0] if known else math.nan, parts)

    def close(self) -> None:
        for reward in self.rewards.values():
            close(reward)
