"""Tasks of reasoning-gym."""

import sys

import pytest

from menon.errors import UserError
from menon.rollout.environments.reasoning_gym import ReasoningGym
from menon.rollout.turns import Turns, environment_alone
from menon.types import Prompt, Request, Sampling, no_tokens
from scripted import ScriptedSampler


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UserError, match=r"install it by pip install .*\[reasoning-gym\]'"):
        ReasoningGym("basic_arithmetic")


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self):
        pytest.importorskip("reasoning_gym")

    def test_names_and_settings_are_checked(self):
        with pytest.raises(UserError, match="has no data set 'basic_arithmetik'"):
            ReasoningGym("basic_arithmetik")
        with pytest.raises(UserError, match="refuses the settings of 'basic_arithmetic'"):
            ReasoningGym("basic_arithmetic", {"min_term": 1})

    def test_rows_are_different_questions_and_the_splits_share_none(self):
        gym = ReasoningGym("basic_arithmetic", {"min_terms": 2, "max_terms": 3})
        train, held = gym.rows("train", 40, 0), gym.rows("heldout", 20, 0)
        questions = [row["question"] for row in train + held]
        assert (len(train), len(held), len(set(questions))) == (40, 20, 60)
        assert gym.rows("train", 5, 1) == gym.rows("train", 5, 1) != gym.rows("train", 5, 2)

    def test_right_answers_earn_1(self):
        gym = ReasoningGym("basic_arithmetic")
        rows = gym.rows("train", 4, 0)
        said = {
            0: rows[0]["answer"],
            1: f"thinking\n<answer> {rows[1]['answer']} </answer> done",
            2: "no idea",
            3: "",
        }
        prompts = [Prompt(i, no_tokens(), row["question"], row["answer"], row) for i, row in enumerate(rows)]
        requests = [Request(prompt, Sampling(200)) for prompt in prompts]
        turns = Turns(
            gym,
            lambda text, before: [ord(c) for c in text],
            lambda tokens: "".join(chr(t) for t in tokens if t),
        )
        graded = turns(
            requests, range(4), ScriptedSampler(lambda request: said[request.prompt.index]), environment_alone
        )
        assert [g.verdict.score for g in graded[:2]] == [1, 1]
        assert [g.verdict.acc for g in graded] == [1, 1, 0, 0]
        assert all(g.verdict.score < 1 for g in graded[2:])

    def test_another_question_is_refused(self):
        with pytest.raises(UserError, match="not one of reasoning-gym"):
            ReasoningGym("basic_arithmetic").reset(Prompt(0, no_tokens(), "q"), 0)
