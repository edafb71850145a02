"""How answers are compared with each other for votes: the reward decides when two answers are the same."""

from collections.abc import Callable, Sequence
from typing import Any

from menon.eval.measure import WithinTolerance
from menon.eval.run import AnswerEquivalence
from menon.reward.choice import MultipleChoice, letter
from menon.reward.exact import ExactMatch, same
from menon.reward.extract import WAYS, Way, stated
from menon.reward.math.answer import MathAnswer, decide
from menon.reward.pool import Broken
from menon.thought import after_thinking
from menon.types import Graded


def equivalence_of_task(task: Any) -> AnswerEquivalence | None:
    """Two answers are the same if the task reads the same stated answer in both; None for a task that reads
    none."""
    said = getattr(task, "stated", None)
    return None if said is None else AnswerEquivalence(lambda graded: said(answer_text(graded)), str.__eq__)


def answer_text(graded: Graded) -> str:
    """What the policy wrote after its thought."""
    return after_thinking(graded.rollout.prompt.text, graded.rollout.graded_text) or ""


def equivalence_of(reward: Any) -> AnswerEquivalence | None:
    """How a reward's answers are compared, by the reward itself; None where it has no answers to compare."""
    if isinstance(reward, ExactMatch):
        return AnswerEquivalence(stated_by(WAYS), same)
    if isinstance(reward, MultipleChoice):
        said = stated_by(reward.ways)
        return AnswerEquivalence(lambda graded: letter(said(graded) or ""), str.__eq__)
    if isinstance(reward, WithinTolerance):
        return AnswerEquivalence(stated_by(reward.ways), reward.alike)
    if isinstance(reward, MathAnswer):
        return AnswerEquivalence(stated_by(reward.found_by), equal_by(reward))
    return None


def stated_by(ways: Sequence[Way]) -> Callable[[Graded], str | None]:
    """A function that finds the answer stated in a graded rollout, by the first of these ways that finds
    one."""
    return lambda graded: stated(graded.rollout.prompt.text, graded.rollout.graded_text, ways)


def equal_by(reward: MathAnswer) -> Callable[[str, str], bool]:
    """The verifier's own comparison, with the answer that was stated first in the gold's place."""

    def equal(first: str, other: str) -> bool:
        try:
            return decide(first, other, other, reward.pool.ask) == "right"
        except Broken:
            return False

    return equal
