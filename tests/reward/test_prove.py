import numpy as np
import pytest

from menon.errors import UserError
from menon.prompts.reader import read_rows
from menon.prompts.render import render
from menon.prompts.tasks import ChainSum
from menon.reward.exact import ExactMatch
from menon.reward.grade import Grading
from menon.reward.prove import prove_golds
from menon.types import Prompt

EXACT = Grading(ExactMatch())


def prompts(*answers, text="Q:"):
    return [Prompt(i, np.array([1], dtype=np.int32), text, answer) for i, answer in enumerate(answers)]


def test_good_golds_are_proved():
    for text in ("Q:", "Assistant: <think>", "Assistant: <think>\nOkay,", "[THINK]"):
        good = prompts("18", "\\frac{1}{2}", "Paris", text=text)
        assert prove_golds(good, EXACT, ExactMatch().spell) == (good, 0)


def test_a_gold_that_its_own_verifier_rejects_is_named_or_skipped():
    mixed = prompts("18", "}{", "7", "$")
    with pytest.raises(UserError) as caught:
        prove_golds(mixed, EXACT, ExactMatch().spell)
    assert str(caught.value).startswith(
        "gold answers: 1 of 4 rows cannot be used: row 2 ('Q:'): its own answer '}{' earns 0 and is not "
        "counted as correct. "
    )
    assert prove_golds(mixed, EXACT, ExactMatch().spell, on_bad="skip") == ([mixed[0], mixed[2], mixed[3]], 1)


def test_a_reward_that_fails_tells_why():
    def broken(completion, answer):
        raise RuntimeError("no judge")

    with pytest.raises(
        UserError,
        match=r"row 1 \('.*'\): its own answer '18' the reward function raised RuntimeError: no judge",
    ):
        prove_golds(prompts("18"), Grading(broken), lambda prompt, answer: answer)


def test_task_rows_are_proved_by_the_tasks_own_grader():
    task = ChainSum()
    sums, _ = render(
        task.rows("train", 50, seed=0), "none", lambda text, special: [1], context=100, max_new_tokens=50
    )
    assert prove_golds(sums, Grading(task.grade), lambda prompt, answer: f"#{answer}") == (sums, 0)


def test_gsm8k_under_every_template_is_proved(shared):
    rows, _ = read_rows(shared / "data" / "gsm8k_test.jsonl")
    for template in ("none", "orz"):
        questions, _ = render(rows, template, lambda text, special: [1], context=100, max_new_tokens=50)
        assert prove_golds(questions, EXACT, ExactMatch().spell) == (questions, 0)
