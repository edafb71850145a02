"""Our side of a step does the work that was settled, and its reward leaves no group without a difference."""

import pytest

from menon.base import WEIGHTS
from side_by_side.menon_step_side import steps_of
from side_by_side.models import questions
from side_by_side.task import digits, read_questions, write_questions


@pytest.mark.parametrize(("text", "share"), [("", 0.0), ("12+3", 0.75), ("none", 0.0), ("#20\n", 0.5)])
def test_the_reward_is_the_share_of_digits(text, share):
    assert digits(text) == share


def test_questions_are_read_as_they_were_written(tmp_path):
    rows = questions(3)
    assert read_questions(write_questions(rows, tmp_path / "questions.jsonl")) == rows


@pytest.mark.skipif(not (WEIGHTS / "config.json").exists(), reason="the built-in base is not here")
def test_a_step_writes_the_settled_lengths_and_learns(tmp_path):
    path = write_questions(questions(40), tmp_path / "questions.jsonl")
    limits = [3, 9, 5, 7]
    steps = steps_of(str(WEIGHTS), path, "float32", samples=2, limits=limits)
    weights = steps.policy.weights()
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    assert steps.seconds() > 0
    assert steps.metric("tokens/generated") == sum(limits)
    assert steps.source.grade is not None
    moved = max(float((weights[name].detach() - before[name]).abs().max()) for name in before)
    # AdamW's first step moves a weight by about the learning rate, 1e-6.
    assert moved == pytest.approx(1e-6, rel=0.05)
