import math
from dataclasses import replace

import numpy as np
import pytest

from menon.prompts.tasks import ChainSum
from menon.reward.exact import ExactMatch
from menon.reward.grade import Grading, grading_of
from menon.types import Completion, Prompt, Request, Rollout, Sampling, Verdict


def rollout(text, finish="stop", columns=None):
    prompt = Prompt(0, np.array([1, 2], dtype=np.int32), "Q: 3+4=", "7", columns or {})
    tokens = np.array([5, 6, 0], dtype=np.int32)
    zeros = np.zeros(3, dtype=np.float32)
    return Rollout.of(
        Completion(Request(prompt, Sampling()), tokens, zeros, zeros, zeros, tokens * 0, finish, text),
        group=0,
    )


def test_a_reward_gets_the_answer_and_the_row():
    seen = {}

    def reward(prompt, completion, answer, **columns):
        seen.update(columns, prompt=prompt, completion=completion, answer=answer)
        return 1.0

    grading = Grading(reward)
    assert grading(
        rollout("seven", "length", {"question": "3+4=", "level": 2, "completion": "a column", "answer": "9"})
    ) == Verdict(1, 1)
    assert seen == {
        "prompt": "Q: 3+4=",
        "completion": "seven",
        "answer": "7",
        "question": "3+4=",
        "level": 2,
        "finish": "length",
        "completion_ids": [5, 6, 0],
    }


def test_built_in_rewards_grade():
    assert Grading(ExactMatch())(rollout("#### 7")) == Verdict(1, 1)
    assert Grading(ChainSum().grade)(rollout("3+4=7\n#7")) == Verdict(1, 1)
    assert Grading(ChainSum().grade)(rollout("#8")) == Verdict(0, 0)


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_truncated_answer_keeps_its_score(finish):
    assert Grading(ExactMatch())(rollout("\\boxed{7} and", finish)).score == 1


def test_a_reward_that_raises_is_a_nan_verdict():
    verdict = Grading(lambda completion: completion.missing)(rollout("7"))
    assert math.isnan(verdict.score)
    assert "raised AttributeError" in verdict.error


def test_what_an_answer_shows_is_told_and_never_scored():
    def reward(prompt: str, completion: str, answer: str) -> dict:
        return {"score": 0.25, "acc": 1.0, "part": 0.5}

    shows = {"working": lambda text: "=" in text, "reflection": lambda text: "wait" in text}
    verdict = grading_of(reward, shows)(rollout("1+1=2"))
    assert verdict == replace(grading_of(reward)(rollout("1+1=2")), shows={"working": 1.0, "reflection": 0.0})
    assert (verdict.score, verdict.acc, verdict.parts) == (0.25, 1.0, {"part": 0.5})
