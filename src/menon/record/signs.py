"""Signs that a run learns nothing: each with its cause, a number, and the setting to change.

A step has a signal if its rewards differ, advantages and gradient are not all zero, and an update was made.
What is missing and why is read from the step's numbers and its graded answers; the limits are this project's,
not a paper's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from menon.record.hacking import by_heart, exploited, flat, rule_of
from menon.record.losing import lost
from menon.record.machine_trends import OLD_APART, old_apart
from menon.record.reader import StepFiles
from menon.record.sign import RANK, Sign
from menon.record.tally import Tally, in_words
from menon.record.trends import trends
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
SOME = 0.15
"""Share of cut answers that state the right one early from which on that is no chance."""
SHARP = 0.3
"""Temperature, or top_p, below which it is named as the cause of equal answers."""
Advice = Mapping[str, str]
"""Kind of a sign -> what to change, where this run knows better than the usual advice."""
NO_ADVICE: Advice = MappingProxyType({})

LEARNED = {"base": "sums", "search_base": "searches and long chains"}
"""What the built-in models have learned."""

UNREADABLE = ("endless", "cut", "blank", "unread")
"""Signs of answers that can earn nothing, whatever the policy learns."""


# Causes that the answers show


def cause(tally: Tally, settings: Mapping[str, Any], advice: Advice) -> Sign:
    """The most likely reason why rewards that are equal within every group are so."""
    return next(causes(tally, settings, MANY, advice))


def causes(tally: Tally, settings: Mapping[str, Any], share: float, advice: Advice) -> Iterator[Sign]:
    n = tally.answers
    constant = Sign(
        "constant",
        f"{rule_of(settings)} gave {tally.highest:g} to every answer ({n} of {n})",
        "let it tell better answers from worse",
    )
    unlike = tally.cut < n and tally.blank < n and tally.unread < n
    if tally.constant and tally.highest not in (0, 1) and unlike:  # also to answers without any fault
        yield constant
    if endless := goes_on(tally, settings, advice):
        yield endless
    if n and tally.cut >= share * n:
        limit = setting(settings, "max_new_tokens")
        yield Sign(
            "cut",
            f"{tally.cut / n:.0%} of the answers were cut at max_new_tokens={limit}",
            advice.get("cut", "raise max_new_tokens"),
        )
    if n and tally.blank >= share * n:
        stop = list(setting(settings, "stop") or ())
        at = f" at one of stop={stop}" if stop else ""
        how = "take it away" if stop else advice.get("blank", "take another template or model")
        yield Sign("blank", f"{tally.blank} of {n} answers end before any text{at}", how)
    if n and tally.unread >= share * n:
        named = rule_of(settings) == "reward=math"
        ways = "name other ways with reward.ways" if named else "take reward=math with other reward.ways"
        yield Sign(
            "unread",
            f"{tally.unread} of {n} answers state no result that {rule_of(settings)} can read (one ends with "
            f"{tally.example[0]!r})",
            f"take a template that asks for one, as template=qwen_boxed does, or {ways}",
        )
    if tally.same_text:
        yield Sign("same_text", "all answers to a question are the same text", advice_when_same(settings))
    elif is_sharp(settings) and tally.alike >= MANY:
        yield Sign(
            "same_text",
            f"{tally.alike:.0%} of the answers are the same text as another one to their question",
            advice_when_same(settings),
        )
    if tally.constant and tally.highest not in (0, 1):
        yield constant
    if tally.right == n:
        yield Sign(
            "all_right",
            f"every answer was right ({n} of {n})",
            f"take harder questions, or look at what {rule_of(settings)} accepts",
        )
    if tally.wrong == n and n:
        yield Sign("all_wrong", f"no answer was right (0 of {n})", advice_when_wrong(tally, settings))
    if tally.constant:
        yield constant
    yield Sign(
        "equal_groups",
        "the answers to each question all earned the same",
        f"raise samples_per_prompt, now {setting(settings, 'samples_per_prompt')}, or take questions that "
        "are neither always right nor always wrong",
    )


def goes_on(tally: Tally, settings: Mapping[str, Any], advice: Advice) -> Sign | None:
    """Nearly all answers are cut, and many had stated the right answer in their first half: what ends an
    answer is missing, not room."""
    if tally.cut < max(1, NEARLY_ALL * tally.answers) or tally.goes_on < SOME * tally.cut:
        return None
    return Sign(
        "endless",
        f"{tally.cut} of {tally.answers} answers were cut at max_new_tokens="
        f"{setting(settings, 'max_new_tokens')}, and {tally.goes_on} of them had the right answer in their "
        "first half: they do not end when they are done",
        advice.get(
            "cut", "set stop to what ends an answer, or look at the end token of the model's tokenizer"
        ),
    )


def is_sharp(settings: Mapping[str, Any]) -> bool:
    """Whether the sampling leaves little choice."""
    top_p, temperature = setting(settings, "top_p"), setting(settings, "temperature")
    narrow = any(value is not None and value < SHARP for value in (top_p, temperature))
    return bool(narrow or setting(settings, "top_k") == 1)


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
        f"{rule_of(settings)}, and the policy learns what earns more",
        "where less is better, return the negative",
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
                "hold the gold answer",
                "take it out of the questions, or set columns.question",
            )
        ]
    found: list[Sign] = []
    said = own_data_of_base(settings) if any(map(in_words, graded)) else ""
    if said and tally.right <= FEW * tally.answers:
        about, _, change = said.rpartition("; ")
        found.append(Sign("foreign", f"{tally.right} of {tally.answers} answers are right: {about}", change))
    if tally.right:
        return found
    earn_nothing = [sign for sign in causes(tally, settings, NEARLY_ALL, advice) if sign.kind in UNREADABLE]
    return found + earn_nothing[:1]


def after_evaluation(
    evaluations: Sequence[Mapping[str, Any]],
    lines: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    answers: StepFiles | None = None,
) -> Sign | None:
    """What the last evaluation shows beside the steps so far; `answers` are those of the evaluations."""
    return (
        by_heart(evaluations, settings)
        or flat(evaluations, lines, settings)
        or lost(evaluations, settings, answers)
    )


# Causes that the numbers show


def faults(line: Mapping[str, float], settings: Mapping[str, Any]) -> Iterator[Sign]:
    """What a step's numbers say against its updates."""
    updates = setting(settings, "updates_per_step") or 1
    rate = setting(settings, "learning_rate")
    if line.get("update/skipped", 0.0) >= updates:
        yield Sign(
            "skipped",
            f"all updates of the step were skipped ({line['update/skipped']:.0f}), because their gradients "
            "are not finite",
            f"look for huge rewards (the mean is {line.get('reward/mean') or 0:.3g}), or lower "
            f"learning_rate, now {rate}",
        )
    if line.get("update/empty", 0.0) >= updates:
        yield Sign(
            "empty",
            f"no token had a weight in any update of the step ({line['update/empty']:.0f})",
            "a select= or correction= of the objective leaves everything out",
        )
    if rate == 0:
        yield Sign(
            "learning_rate", "learning_rate is 0, so no weight changes", "leave it out, or set it higher"
        )


def without_signal(
    line: Mapping[str, float], tally: Tally, settings: Mapping[str, Any], advice: Advice
) -> Sign | None:
    """Why a step can teach nothing; None if it can."""
    if (apart := line.get("reward/not_applicable", 0)) and not tally.answers:
        return Sign(
            "not_applicable",
            f"the reward applies to none of the {apart:g} answers",
            "name another for these rows, or leave them out",
        )
    if line.get("arrange/learned", 1) == 0:
        return nothing_arranged(line, tally, settings, advice)
    if found := next(faults(line, settings), None):
        return found
    taught = setting(settings, "teacher") is not None
    if not taught and tally.answers > 1 and (tally.constant or line.get("adv/absmax", 1.0) == 0):
        return cause(tally, settings, advice)
    if line.get("grad_norm", 1.0) == 0:
        why = "policy and teacher agree, or" if taught else "the rewards differ and the gradient is 0:"
        left_out = "every token is clipped, masked or left out"
        return Sign("no_gradient", f"{why} {left_out}", "look at the clips and masks of the objective")
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
        "was learned",
        "raise samples_per_prompt, take easier questions, or let it keep more",
    )


FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "few_groups": (
        *("explosion", "collapse", "repetition", "short", "flat", "endless", "cut", "blank", "unread"),
        *("same_text", "all_right", "constant", "all_wrong", "equal_groups", "graders", "skipped"),
    ),
    "explosion": ("short",),
    "all_wrong": ("explosion", "collapse", "repetition", "short", "flat"),
    "long": ("endless",),
    "lost": (
        *("graders", "apart", "stale", "ratio", "not_finite", "skipped", "reversed", "exploited", "by_heart"),
        *("short", "explosion", "collapse", "repetition", "flat", "long", "endless", "cut", "blank"),
        "unread",
    ),
    "cut": ("endless", "repetition", "long"),
    "clipped": ("apart", "stale", "ratio"),
    "constant": ("collapse", "short"),
    "equal_groups": ("collapse", "short"),
    "same_text": ("collapse", "short"),
}
"""Kind -> the kinds of which it is a consequence: after one of them it is not said."""


@dataclass
class Signs:
    """The signs of one session of a run, in the order of its steps."""

    settings: Mapping[str, Any]
    advice: Advice = field(default_factory=dict)
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    """The numbers of the steps so far."""
    silent: int = 0
    """Consecutive steps without a signal."""
    last: Sign | None = None
    """Why steps have no signal, or else the last sign that was given."""
    said: set[str] = field(default_factory=set)
    """Kinds that were given; each is given once."""

    @staticmethod
    def of(
        settings: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], advice: Advice = NO_ADVICE
    ) -> "Signs":
        """Those of a run with these settings that has done these steps."""
        past = [line for line in lines if "reward/mean" in line]
        return Signs(settings, advice, past, said={sign.kind for sign in trends(past, settings)})

    def after(self, report: StepReport) -> Sign | None:
        """Takes a step; returns the sign that is nearest to the cause, if it is time to warn. Others come
        with later steps, as long as they hold."""
        found = self.all_after(report)
        if found:
            self.said.add(found[0].kind)
        return found[0] if found else None

    def all_after(self, report: StepReport) -> list[Sign]:
        """Takes a step; returns its signs that were not given before, the nearest to the cause first: after
        `WARN` steps without a signal the cause, and what the numbers so far show."""
        missing: Sign | None = None
        found: list[Sign | None] = []
        if report.graded or "reward/mean" in report.metrics:
            self.lines.append(line_of(report))
            tally = Tally.of(report.graded, setting(self.settings, "stop") or ())
            found = [exploited(self.lines, self.settings), *trends(self.lines, self.settings)]
            if report.graded:
                found.append(reversed_reward(tally, self.settings))
                missing = self.missing(report, tally)
        else:  # given text
            missing = next(faults(report.metrics, self.settings), None)
        self.silent = 0 if missing is None else self.silent + 1
        if self.silent >= WARN:
            found.insert(0, missing)
            self.last = missing
        return self.new([sign for sign in found if sign is not None])

    def missing(self, report: StepReport, tally: Tally) -> Sign | None:
        """Why the step has no signal; the same as before where the reward gives the same number to all,
        whatever else the answers have in common."""
        missing = without_signal(report.metrics, tally, self.settings, self.advice)
        means = {line["reward/mean"] for line in self.lines[-2:]}
        constant = self.last is not None and self.last.kind == "constant" and len(means) == 1
        return self.last if missing is not None and constant else missing

    def new(self, found: Sequence[Sign]) -> list[Sign]:
        """Those that were not given before and follow from no other one, one of each kind, by rank."""
        kinds = self.said | {sign.kind for sign in found}
        kept: dict[str, Sign] = {}
        for sign in sorted(found, key=lambda sign: RANK[sign.kind]):
            if sign.kind not in self.said and kinds.isdisjoint(FOLLOWS.get(sign.kind, ())):
                kept.setdefault(sign.kind, replace(sign, setting=self.advice.get(sign.kind, sign.setting)))
        if kept and self.last is None:
            self.last = next(iter(kept.values()))
        return list(kept.values())


def line_of(report: StepReport) -> Mapping[str, Any]:
    """The numbers of a step, with the fingerprint of the weights that the sampler then held, and how far the
    policy's log-probs before the updates are from the sampler's, where the step has both."""
    line = {**report.metrics, "fingerprint": report.fingerprint}
    apart = old_apart(report.columns) if not any(g.age for g in report.graded) else None
    return line if apart is None else line | {OLD_APART: apart}
