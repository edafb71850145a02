"""Mathematical equality: does an answer state a result that equals the gold answer?"""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

from menon.errors import UserError
from menon.parts import Around
from menon.reward import choice
from menon.reward.code.signatures import Asked
from menon.reward.extract import WAYS, Way, boxed, names, stated, ways_named
from menon.reward.math.lexicon import ALL_REALS, NO_SOLUTION
from menon.reward.math.moments import same_moment
from menon.reward.math.text import GROUPED, decimal, squeeze, tidy, words
from menon.reward.math.worked import is_number, is_worked, repeats
from menon.reward.pool import Broken, Costly, Pool
from menon.thought import CLOSING, after_thinking, opens_thought
from menon.types import Verdict

State = Literal["right", "wrong", "unparsable", "too costly", "unworked"]

LONGEST = 2000
"""Most characters of a result that is parsed; a longer one is compared only as a string or as a number."""
FLOAT = 15
"""Digits of a decimal that may be a float with rounding noise in its last ones."""

_PROSE = re.compile(r"(?=[^a-zA-Z]*[a-zA-Z])(?=.*[A-Za-z]{3})[^\W\d_][\w\s.,;:!?'\"&-]*", re.DOTALL)
_PIECES = re.compile(r"\\(?:text\w*|mathrm|mbox)\s*\{([^{}]*)\}|(\b(?:and|or)\b)")

_DIGIT = re.compile(r"\d")
_DENIED = re.compile(
    r"\\(?:neg|lnot|not|neq?|nsim|cancel|[bx]cancel|sout|overline|bar|pm|mp|g[et]|l[et])(?![a-z])|[¬≠~?<>±^]"
)
"""Signs that deny or doubt the words beside them."""

_STRUCK = re.compile(r"(?<![^\s*])~~(?=\S)[^~]+~~")
"""Text that Markdown strikes through."""
_LATEX_QUOTES = re.compile(r"``([^`'\"]+)(?:''|\")")
_QUOTE = r"[\"“”„«»「」『』]"
_QUOTED = re.compile(rf"(?:{_QUOTE})((?:(?!{_QUOTE}).)*[^'])(?:{_QUOTE})|['‘]([^'‘’]+)['’]", re.DOTALL)
_QUOTED_VALUE = re.compile(
    rf"(?<![A-Za-z0-9'\"])(?:{_QUOTE})([^\"“”„«»「」『』'`]+)(?:{_QUOTE})(?![A-Za-z0-9])|(?<!.)['‘]([^'‘’]+)['’](?![A-Za-z0-9])"
)
"""A value in quotation marks, and words beside it."""

TRIES = 5
"""How often a comparison of the self-test is tried where the machine has no time for it."""
KNOWN: tuple[tuple[str, str, bool], ...] = (
    ("18", "18.0", True),
    ("\\frac{1}{2}", "0.5", True),
    ("\\sqrt{8}", "2\\sqrt{2}", True),
    ("(1, 2)", "(1,2)", True),
    ("x^2-1", "(x-1)(x+1)", True),
    ("\\int_0^1 x dx", "\\frac12", True),
    ("18", "19", False),
    ("(1, 2)", "(2, 1)", False),
    ("[0, 1)", "[0, 1]", False),
    ("\\pi", "\\frac{22}{7}", False),
    ("10^{400}", "10^{401}", False),
)
"""(gold, stated, equal) of the verifier's self-test."""


@dataclass(frozen=True)
class MathAnswer:
    r"""The result after `Answer:` or `####`, in `\boxed{}` or `<answer>`, equals the gold answer by
    mathematics. 1 if it does, else 0: it is the same in its normal form, as a number or symbolically
    (docs/numerics.md, 13.1 and 13.2).

    The thought is cut off, and the first of `ways` that finds a result decides (`extract.WAYS` for training;
    `extract.LENIENT` also takes what a person would take). Results are compared in the normal form of their
    text, and numbers exactly. If that does not decide, they are compared by the rules of
    `reward.math.compare` in one of `workers` processes, within `seconds` of CPU time.

    With `worked`, where the gold answer is a number, a result with an operation left in it (12*13+5) is
    wrong. Else a policy could learn to repeat the question's calculation.

    `parts` counts kinds of wrong answers: `unparsable` (nothing stated, or no mathematics), `too_costly`
    (over a limit) and `unworked`; `repeats_question` are those of the last that stand in the prompt. Where a
    worker fails for another reason the verdict is NaN with an error. A gold answer that is a letter from A to
    J is compared as a choice, one that consists of words as words. Several threads may call it.

    The processes start with the first comparison.
    """

    ways: tuple[str, ...] = names(WAYS)
    """Where a result may be stated; the first that is found counts: answer_tag, boxed, answer_line,
    hash_marks; for an evaluation also phrase and last_value."""
    workers: int = 2
    """Processes that compare."""
    seconds: float = 0.4
    """CPU time of one comparison."""
    worked: bool = True
    """Where the gold answer is a number, the result has to be worked out."""
    kind: Literal["math"] = "math"
    apart: ClassVar[bool] = True

    def __post_init__(self) -> None:
        ways_named(self.ways, self.kind)

    def build(self, around: Around) -> "MathAnswer":
        """The verifier with its worker processes, after a self-test; UserError if the self-test fails."""
        own = replace(self)
        try:
            own.test()
        except BaseException:
            own.close()
            raise
        return own

    @cached_property
    def found_by(self) -> tuple[Way, ...]:
        return ways_named(self.ways, self.kind)

    @cached_property
    def pool(self) -> Pool:
        return Pool("menon.reward.math.worker:compare_answers", self.workers, self.seconds)

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        try:
            state = self.judge(prompt, completion, answer)
        except Broken as error:
            return Verdict(float("nan"), float("nan"), error=f"the math verifier failed: {error}")
        score = float(state == "right")
        parts = {name.replace(" ", "_"): float(state == name) for name in ("unparsable", "too costly")}
        if self.worked:
            repeated = state == "unworked" and repeats(self.result(prompt, completion), prompt)
            parts |= {"unworked": float(state == "unworked"), "repeats_question": float(repeated)}
        return Verdict(score, score, parts)

    def many(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Verdicts in the order of the answers; all workers are used, so a costly answer does not delay the
        others."""
        with ThreadPoolExecutor(self.pool.workers) as threads:
            return list(threads.map(lambda one: self(one.prompt, one.completion, one.answer or ""), asked))

    def judge(self, prompt: str, completion: str, answer: str) -> State:
        gold = core(answer)
        result = self.result(prompt, completion)
        whole = result if self.found_by == WAYS else after_thinking(prompt, completion) or ""
        if not gold:
            return "wrong"
        state = decide(gold, result, whole, lambda one, other: self.pool.ask(one, other))
        if state == "right" and self.worked and is_number(tidy(gold)) and not is_worked(tidy(strip(result))):
            return "unworked"
        return state

    def result(self, prompt: str, completion: str) -> str:
        """The result that the answer states; "" where it states none."""
        return stated(prompt, completion, self.found_by) or ""

    def test(self) -> None:
        for gold, result, right in KNOWN:
            found = self.tested(gold, result)
            if (found == "right") != right:
                raise UserError(
                    f"the math verifier finds {result} {found} where {gold} is asked, in its self-test; "
                    "install menon's dependencies again"
                )

    def tested(self, gold: str, result: str) -> State:
        """What it finds; on a machine that is busy it is asked again."""
        for tries in range(TRIES, 0, -1):
            try:
                found = self.judge("", f"\\boxed{{{result}}}", gold)
            except Broken as error:
                if tries == 1:
                    raise UserError(
                        f"the math verifier cannot start: {error}, {TRIES} times in a row; try again when "
                        "less runs on this machine"
                    ) from error
                continue
            if found != "too costly":
                break
        return found

    def spell(self, prompt: str, answer: str) -> str:
        """The shortest completion that states an answer; with it the gold answers of a data set are
        checked."""
        close = CLOSING if opens_thought(prompt) else ""
        return f"{close}\\boxed{{{core(answer)}}}"

    def close(self) -> None:
        self.pool.close()


def core(gold: str) -> str:
    """The result in a gold answer, which may be a box or a whole solution with one."""
    return (boxed(gold) or gold).strip()


def decide(gold: str, result: str, whole: str, ask: Callable[[str, str], State]) -> State:
    """Compares a result with the gold answer. `whole`: the text that the result was taken from, which may
    itself be the answer if the gold answer is prose."""
    wanted = choice.gold_letter(gold)
    if wanted is not None:
        found = choice.letter(result) or choice.mentioned(whole)
        return "unparsable" if found is None else "right" if found == wanted else "wrong"
    one, other = tidy(gold), tidy(strip(result))
    if not other or not one or _STRUCK.search(result):
        return "unparsable"
    if squeeze(one) in (squeeze(other), squeeze(tidy(result))):  # with its closing marks: 64°21'
        return "right"
    numbers = (
        decimal(one.replace(" ", "")),
        decimal(other.replace(" ", "") if not re.search(r"\d \d", other) else other),
    )
    if numbers[0] is not None and numbers[1] is not None:
        if numbers[0] == numbers[1]:
            return "right"
        if max(len(numbers[0][1]), len(numbers[1][1])) < FLOAT or numbers[1][2] >= 0:
            return "wrong"
    moment = same_moment(gold, strip(result))
    if moment is not None:
        return "right" if moment else "wrong"
    if set_in_words(gold) and set_in_words(gold) == set_in_words(strip(result)):
        return "right"
    one, other = (symbol if (symbol := set_in_words(text)) else text for text in (one, other))
    prose = _PIECES.sub(r"\1", gold).strip()
    if not set_in_words(gold) and _PROSE.fullmatch(prose):
        if words(prose) and words(prose) in (words(result), words(whole)) and not _DENIED.search(result):
            return "right"
        if len(prose) > 4 and not _DIGIT.search(prose):
            return "wrong"
    if max(len(one), len(other)) > LONGEST:
        return "too costly"
    try:
        state = ask(one, other)
        if state != "right" and GROUPED.search(result):  # 1,234 may be a list after all
            state = ask(one, tidy(strip(result), grouped=False))
    except Costly:
        return "too costly"
    return state


def set_in_words(text: str) -> str:
    """The empty set or the real numbers where words name them, else ""."""
    said = words(text) if len(text) <= LONGEST and not _DENIED.search(text) else ""
    return "\\emptyset " if said in NO_SOLUTION else "R" if said in ALL_REALS else ""


def strip(result: str) -> str:
    """The result without surrounding quotation marks, emphasis and full stops."""
    result = unquoted(_LATEX_QUOTES.sub(r'"\1"', result))
    while (inner := _QUOTED.fullmatch(result)) is not None:
        result = unquoted(inner[1] or inner[2])
    return _QUOTED_VALUE.sub(lambda found: found[1] or found[2], result)


def unquoted(result: str) -> str:
    return result.strip().strip("*`").rstrip(" \t\n.。\\").strip()
