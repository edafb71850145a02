"""Counts over the graded answers of a step, from which signs are read."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from menon.types import Graded


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
    alike: float
    """Share of the answers whose text another answer to the same question has too."""
    goes_on: int
    """Answers that were cut and hold the gold answer as a word in their first half: they go on after it."""
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
            alike=sum(sum(Counter(own)[text] > 1 for text in own) for own in several) / max(1, len(counted)),
            goes_on=sum(g.rollout.finish == "length" and states_early(g) for g in counted),
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


def states_early(graded: Graded) -> bool:
    """Whether the gold answer is in the first half of the answer, and not in the prompt."""
    gold, text = (graded.rollout.prompt.answer or "").strip(), graded.rollout.graded_text
    if not gold or holds_word(gold, graded.rollout.prompt.text):
        return False
    return holds_word(gold, text[: len(text) // 2])


def holds_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def in_words(graded: Graded) -> bool:
    """Whether the question has letters, as no sum has; those of a template do not count."""
    prompt = graded.rollout.prompt
    return any(map(str.isalpha, str(prompt.columns.get("question", prompt.text))))
