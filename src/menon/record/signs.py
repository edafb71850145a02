"""Signs that a run learns nothing: each with its cause, a number, and the setting to change.

A step has a signal if its rewards differ, advantages and gradient are not all zero, and an update was made.
What is missing and why is read from the step's numbers and its graded answers; the limits are this project's,
not a paper's.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from menon.record.alarm import alarms
from menon.record.hacking import exploited, rule_of
from menon.record.sign import Sign
from menon.settings import setting
from menon.types import Graded, StepReport

WARN = 2
"""Consecutive steps without a signal after which a run warns."""
STOP = 10
"""Consecutive steps without a signal after which a run stops."""
NEARLY_ALL = 0.9
"""Share of the answers from which on a fault of theirs is named as the cause, before anything is learned."""
FEW = 0.05
"""Largest share of right answers with which questions count as foreign to a built-in base."""
MANY = 0.5
"""The same share where the rewards are known to be equal."""
BOTH = 10
"""Right answers, and wrong ones, without which their rewards are not compared."""
CERTAIN = 4
"""Standard errors by which wrong answers must earn more before that is said."""
SHARP = 0.3
"""Temperature, or top_p, below which it is named as the cause of equal answers."""
Advice = Mapping[str, str]
"""Kind of a sign -> what to change, where this run knows better than the usual advice."""
NO_ADVICE: Advice = MappingProxyType({})

LEARNED = {"base": "sums", "search_base": "searches and long chains"}
"""What the built-in models have learned."""

UNREADABLE = ("cut", "blank", "unread")
"""Signs of answers that can earn nothing, whatever the policy learns."""


@dataclass(frozen=True)
class Tally:
    """Counts over graded answers; those whose grader failed are left out."""

    answers: int
    cut: int
    """Answers that ended at max_new_tokens."""
    blank: int
    """Answers that ended by themselves or at a stop string before any text."""
    unread: int
    """Answers that state no result which the rule can read."""
    right: int
    wrong: int
    """Answers whose correctness is known: right, and wrong."""
    when_right: tuple[float, float]
    when_wrong: tuple[float, float]
    """Their scores: the mean, and the square of its standard error."""
    lowest: float
    highest: float
    """The scores' range."""
    same_text: bool
    """All answers to each question are the same text, and some question has several."""
    held: int
    """Answers whose prompt holds the gold answer as a word."""
    example: tuple[str, str]
    """(end of the last answer, its gold answer)."""

    @property
    def constant(self) -> bool:
        return self.lowest == self.highest

    @staticmethod
    def of(graded: Sequence[Graded], stop: Sequence[str] = ()) -> "Tally":
        """`stop`: strings that end an answer and stay in its text."""
        counted = [g for g in graded if g.verdict.score == g.verdict.score]
        texts: dict[int, list[str]] = defaultdict(list)
        for g in counted:
            texts[g.rollout.group].append(g.rollout.graded_text)
        several = [own for own in texts.values() if len(own) > 1]
        scores = [g.verdict.score for g in counted] or [0.0]
        last = counted[-1].rollout if counted else None
        return Tally(
            answers=len(counted),
            cut=sum(g.rollout.finish == "length" for g in counted),
            blank=sum(g.rollout.finish == "stop" and is_blank(g, stop) for g in counted),
            unread=sum(g.verdict.parts.get("unparsable", 0.0) == 1 for g in counted),
            right=sum(g.verdict.acc == 1 for g in counted),
            wrong=sum(g.verdict.acc == 0 for g in counted),
            when_right=spread([g.verdict.score for g in counted if g.verdict.acc == 1]),
            when_wrong=spread([g.verdict.score for g in counted if g.verdict.acc == 0]),
            lowest=min(scores),
            highest=max(scores),
            same_text=bool(several) and all(len(set(own)) == 1 for own in several),
            held=sum(holds_answer(g) for g in counted),
            example=("", "") if last is None else (last.graded_text.strip()[-40:], last.prompt.answer or ""),
        )


def spread(scores: Sequence[float]) -> tuple[float, float]:
    """The mean, and the square of its standard error; 0 for both without two scores."""
    n = len(scores)
    if n < 2:
        return 0.0, 0.0
    mean = sum(scores) / n
    return mean, sum((score - mean) ** 2 for score in scores) / (n - 1) / n


def is_blank(graded: Graded, stop: Sequence[str]) -> bool:
    text = graded.rollout.graded_text.strip()
    return not text or text in stop


def holds_answer(graded: Graded) -> bool:
    gold = (graded.rollout.prompt.answer or "").strip()
    return len(gold) > 1 and gold in graded.rollout.prompt.text


def in_words(graded: Graded) -> bool:
    """Whether the question has letters, as no sum has; those of a template do not count."""
    prompt = graded.rollout.prompt
    return any(map(str.isalpha, str(prompt.columns.get("question", prompt.text))))


# Causes that the answers show


def cause(tally: Tally, settings: Mapping[str, Any], advice: Advice) -> Sign:
    """The most likely reason why rewards that are equal within every group are so."""
    return next(causes(tally, settings, MANY, advice))


def causes(tally: Tally, settings: Mapping[str, Any], share: float, advice: Advice) -> Iterator[Sign]:
    n = tally.answers
    constant = Sign(
        "constant",
        f"{rule_of(settings)} gave {tally.highest:g} to every answer ({n} of {n}); let it tell better "
        "answers from worse",
    )
    unlike = tally.cut < n and tally.blank < n and tally.unread < n
    if tally.constant and tally.highest not in (0, 1) and unlike:  # also to answers without any fault
        yield constant
    if n and tally.cut >= share * n:
        limit = setting(settings, "max_new_tokens")
        yield Sign(
            "cut",
            f"{tally.cut / n:.0%} of the answers were cut at max_new_tokens={limit}; "
            f"{advice.get('cut', 'raise max_new_tokens')}",
        )
    if n and tally.blank >= share * n:
        stop = list(setting(settings, "stop") or ())
        usual = f"; {advice.get('blank', 'take another template or model')}"
        how = f" at one of stop={stop}; take it away" if stop else usual
        yield Sign("blank", f"{tally.blank} of {n} answers end before any text{how}")
    if n and tally.unread >= share * n:
        named = rule_of(settings) == "reward=math"
        ways = "name other ways with reward.ways" if named else "take reward=math with other reward.ways"
        yield Sign(
            "unread",
            f"{tally.unread} of {n} answers state no result that {rule_of(settings)} can read (one ends with "
            f"{tally.example[0]!r}); take a template that asks for one, as template=qwen_boxed does, or "
            f"{ways}",
        )
    if tally.same_text:
        yield Sign(
            "same_text",
            f"all answers to a question are the same text; {advice_when_same(settings)}",
        )
    if tally.constant and tally.highest not in (0, 1):
        yield constant
    if tally.right == n:
        yield Sign(
            "all_right",
            f"every answer was right ({n} of {n}); take harder questions, or look at what "
            f"{rule_of(settings)} accepts",
        )
    if tally.wrong == n and n:
        yield Sign("all_wrong", f"no answer was right (0 of {n}); {advice_when_wrong(tally, settings)}")
    if tally.constant:
        yield constant
    yield Sign(
        "equal_groups",
        "the answers to each question all earned the same; raise samples_per_prompt, now "
        f"{setting(settings, 'samples_per_prompt')}, or take questions that are neither always right nor "
        "always wrong",
    )


def advice_when_same(settings: Mapping[str, Any]) -> str:
    top_k, top_p, temperature = (setting(settings, name) for name in ("top_k", "top_p", "temperature"))
    if top_k == 1:
        return "top_k=1 takes the likeliest token every time; set top_k=0, which draws from all"
    if top_p is not None and top_p < SHARP:
        return f"top_p={top_p:g} leaves hardly more than the likeliest token; set top_p=1"
    if temperature is not None and temperature < SHARP:
        return f"temperature={temperature:g} takes the likeliest token almost every time; set temperature=1"
    return f"raise temperature, now {temperature}, or take a model that is less certain"


def advice_when_wrong(tally: Tally, settings: Mapping[str, Any]) -> str:
    if said := own_data_of_base(settings):
        return said
    if setting(settings, "data") is not None and setting(settings, "reward") in (None, "exact"):
        said, gold = tally.example
        return (
            f"reward exact compares the whole answer ({said!r}) with the gold one ({gold!r}); set "
            "reward=math, numeric or choice, whichever reads such answers"
        )
    return (
        "take easier questions, a stronger model or more samples_per_prompt, or look at what "
        f"{rule_of(settings)} refuses"
    )


def own_data_of_base(settings: Mapping[str, Any]) -> str:
    """What to say of a run with the user's data and a built-in model; "" for any other."""
    data, model = setting(settings, "data"), setting(settings, "model") or "base"
    if data is None or model not in LEARNED:
        return ""
    return f"{data} with the built-in {model} model, which has learned only {LEARNED[model]}; set model="


def reversed_reward(tally: Tally, settings: Mapping[str, Any]) -> Sign | None:
    """A reward that pays for wrong answers; None where right ones earn as much, or there are few of both."""
    (right, one), (wrong, other) = tally.when_right, tally.when_wrong
    if min(tally.right, tally.wrong) < BOTH or wrong - right <= CERTAIN * math.sqrt(one + other):
        return None
    return Sign(
        "reversed",
        f"right answers earn less (mean {right:.3g}) than wrong ones (mean {wrong:.3g}) by "
        f"{rule_of(settings)}, and the policy learns what earns more; where less is better, return the "
        "negative",
    )


def first_signs(
    graded: Sequence[Graded], settings: Mapping[str, Any], advice: Advice = NO_ADVICE
) -> list[Sign]:
    """What the evaluation before the first step shows: questions of which a built-in model knows nothing,
    answers that can earn nothing, questions that give their answer away, and a reward for wrong answers."""
    tally = Tally.of(graded, setting(settings, "stop") or ())
    if against := reversed_reward(tally, settings):
        return [against]
    known = tally.right + tally.wrong == tally.answers
    if not tally.answers or not (known or tally.constant):
        return []
    if known and tally.right >= 0.95 * tally.answers and tally.held >= NEARLY_ALL * tally.answers:
        return [
            Sign(
                "prompt_holds_answer",
                f"{tally.right} of {tally.answers} answers are right before any training, and their prompts "
                "hold the gold answer; take it out of the questions, or set columns.question",
            )
        ]
    found: list[Sign] = []
    said = own_data_of_base(settings) if any(map(in_words, graded)) else ""
    if said and tally.right <= FEW * tally.answers:
        found.append(Sign("foreign", f"{tally.right} of {tally.answers} answers are right: {said}"))
    if tally.right:
        return found
    earn_nothing = [sign for sign in causes(tally, settings, NEARLY_ALL, advice) if sign.kind in UNREADABLE]
    return found + earn_nothing[:1]


# Causes that the numbers show


def faults(line: Mapping[str, float], settings: Mapping[str, Any]) -> Iterator[Sign]:
    """What a step's numbers say against its updates."""
    updates = setting(settings, "updates_per_step") or 1
    rate = setting(settings, "learning_rate")
    if line.get("update/skipped", 0.0) >= updates:
        yield Sign(
            "skipped",
            f"all updates of the step were skipped ({line['update/skipped']:.0f}), because their gradients "
            f"are not finite; look for huge rewards (the mean is {line.get('reward/mean', 0):.3g}), or lower "
            f"learning_rate, now {rate}",
        )
    if line.get("update/empty", 0.0) >= updates:
        yield Sign(
            "empty",
            f"no token had a weight in any update of the step ({line['update/empty']:.0f}); a select= or "
            "correction= of the objective leaves everything out",
        )
    if rate == 0:
        yield Sign(
            "learning_rate", "learning_rate is 0, so no weight changes; leave it out, or set it higher"
        )


def without_signal(
    line: Mapping[str, float], tally: Tally, settings: Mapping[str, Any], advice: Advice
) -> Sign | None:
    """Why a step can teach nothing; None if it can."""
    if (apart := line.get("reward/not_applicable", 0)) and not tally.answers:
        return Sign(
            "not_applicable",
            f"the reward applies to none of the {apart:g} answers; name another for these rows, or leave "
            "them out",
        )
    if line.get("arrange/learned", 1) == 0:
        return nothing_arranged(line, tally, settings, advice)
    if found := next(faults(line, settings), None):
        return found
    taught = setting(settings, "teacher") is not None
    if not taught and tally.answers > 1 and (tally.constant or line.get("adv/absmax", 1.0) == 0):
        return cause(tally, settings, advice)
    if line.get("grad_norm", 1.0) == 0:
        why = "policy and teacher agree, or" if taught else "the rewards differ and the gradient is 0;"
        left_out = "every token is clipped, masked or left out by the objective"
        return Sign("no_gradient", f"{why} {left_out}")
    return None


def nothing_arranged(
    line: Mapping[str, float], tally: Tally, settings: Mapping[str, Any], advice: Advice
) -> Sign:
    """Why the parts of `arrange` leave out every group."""
    if tally.answers > 1 and line.get("groups/varied", 0) == 0:
        return cause(tally, settings, advice)
    names = ", ".join(f"arrange.{name}" for name in setting(settings, "arrange") or ())
    return Sign(
        "empty",
        f"{names or 'arrange'} left out all {line['arrange/left_out']:.0f} groups of the step, so nothing "
        "was learned; raise samples_per_prompt, take easier questions, or let it keep more",
    )


def worse(lines: Sequence[Mapping[str, float]], settings: Mapping[str, Any]) -> Sign | None:
    """Collapse or explosion of the policy: its entropy is far from that of the first step, and it earns less
    than at the start. None while there is no such thing."""
    rewards = [line["reward/mean"] for line in lines]
    entropies = [line["entropy/mean"] for line in lines if "entropy/mean" in line]
    noise = 0.5 * lines[0].get("reward/std", 0.0) if lines else 0.0
    if len(lines) < WARN or len(entropies) < len(lines) or rewards[-1] >= rewards[0] - noise:
        return None
    for alarm in alarms(entropies, rewards):
        if alarm.kind == "explosion" or entropies[-1] < entropies[0]:
            rate = setting(settings, "learning_rate")
            return Sign(
                alarm.kind,
                f"the policy is worse than at the start: reward {rewards[-1]:.3g}, {rewards[0]:.3g} in step "
                f"1, and {alarm.why} ({entropies[-1]:.3g} nats, {entropies[0]:.3g} in step 1); lower "
                f"learning_rate, now {rate}",
            )
    return None


@dataclass
class Signs:
    """The signs of one session of a run, in the order of its steps."""

    settings: Mapping[str, Any]
    advice: Advice = field(default_factory=dict)
    lines: list[Mapping[str, float]] = field(default_factory=list)
    """The numbers of the steps so far."""
    silent: int = 0
    """Consecutive steps without a signal."""
    last: Sign | None = None
    """The last sign that was given."""

    @staticmethod
    def of(
        settings: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], advice: Advice = NO_ADVICE
    ) -> "Signs":
        """Those of a run with these settings that has done these steps."""
        return Signs(settings, advice, [line for line in lines if "reward/mean" in line])

    def after(self, report: StepReport) -> Sign | None:
        """Takes a step; returns a sign if it is time to warn: after `WARN` steps without a signal, once for
        each cause, when the policy gets worse, or when the reward pays for wrong or for other things."""
        lost: Sign | None = None
        against: Sign | None = None
        if report.graded:
            self.lines.append(report.metrics)
            tally = Tally.of(report.graded, setting(self.settings, "stop") or ())
            lost, against = worse(self.lines, self.settings), reversed_reward(tally, self.settings)
            lost = lost or exploited(self.lines, self.settings)
            missing = without_signal(report.metrics, tally, self.settings, self.advice)
            means = {line["reward/mean"] for line in self.lines[-2:]}
            constant = self.last is not None and self.last.kind == "constant" and len(means) == 1
            if missing is not None and constant:
                missing = self.last  # the same reward as before, whatever else these answers have in common
        else:  # given text
            missing = next(faults(report.metrics, self.settings), None)
        self.silent = 0 if missing is None else self.silent + 1
        found = against or lost or (missing if self.silent >= WARN else None)
        if found is None or (self.last is not None and found.kind == self.last.kind):
            return None
        self.last = found
        return found
