"""The preference model's score as reward, by docs/numerics.md, 13.7."""

import json
import math

import numpy as np
import pytest

from menon.errors import UserError
from menon.reward.code.signatures import Asked
from menon.reward.grade import BatchGrading, grading_of
from menon.reward.preference import Preference


class Scoring:
    def __init__(self, *scores: float):
        self.scores = list(scores)
        self.batches: list[list[str]] = []

    def __call__(self, texts):
        self.batches.append(list(texts))
        return [self.scores.pop(0) for _ in texts]


def asked(completion: str, finish: str = "stop") -> Asked:
    return Asked("p:", completion, None, {"question": "q"}, finish)


def test_normalised_then_clipped():
    """(5 - 1) / 2 = 2; (-60 - 1) / 2 = -30.5 -> -20; (1 - 1) / 2 = 0."""
    verdicts = Preference(Scoring(5.0, -60, 1), mean=1, std=2).many([asked("a"), asked("b"), asked("c")])
    assert [v.score for v in verdicts] == [2, -20, 0]
    assert [v.parts["raw"] for v in verdicts] == [5, -60, 1]
    assert all(math.isnan(v.acc) and not v.error for v in verdicts)


@pytest.mark.parametrize(("missing_end", "reward"), [(0, 0), (1, 2), (0.5, 1), (-3, -3)])
def test_an_answer_without_its_end(missing_end, reward):
    scoring = Scoring(2, 2)
    verdicts = Preference(scoring, missing_end=missing_end).many([asked("cut", "length"), asked("whole")])
    assert [v.score for v in verdicts] == [reward, 2]
    assert scoring.batches == [["p:whole"]] if missing_end <= 0 else [["p:cut", "p:whole"]]


def test_agrees_with_openrlhf(shared):
    cases = json.loads((shared / "golden" / "openrlhf.reward.stop_properly.json").read_text())["cases"]
    for case in cases:
        scores, cut = (case["inputs"][name]["data"] for name in ("score", "truncated"))
        reward = Preference(
            lambda texts: [float(t) for t in texts], missing_end=case["settings"]["coef"], clip=1e9
        )
        answers = [
            Asked("", str(score), None, {}, "length" if c else "stop")
            for score, c in zip(scores, cut, strict=True)
        ]
        assert [v.score for v in reward.many(answers)] == pytest.approx(
            case["outputs"]["reward"]["data"], rel=1e-8
        )
    assert cases


def test_batches_and_templates():
    scoring = Scoring(*range(5))
    reward = Preference(scoring, template="Human: {question}\n\nAssistant: {response}", batch_size=2)
    assert [v.score for v in reward.many([asked(text) for text in ("a", "{question}", "c")])] == [0, 1, 2]
    assert scoring.batches[0] == ["Human: q\n\nAssistant: a", "Human: q\n\nAssistant: {question}"]
    assert len(scoring.batches[1]) == 1
    assert reward("p", "x", "", question="q").score == 3
    assert isinstance(grading_of(reward), BatchGrading)


def broken(texts):
    raise RuntimeError("no memory")


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (broken, "raised RuntimeError: no memory"),
        (lambda texts: [1.0, 2.0], "returned 2 results for 1 answers"),
        (lambda texts: [math.nan], "returned nan as a score"),
        (lambda texts: ["1"], "returned '1' as a score"),
        (lambda texts: 1.0, "returned float instead of a list"),
    ],
)
def test_a_model_that_fails_gives_nan(score, why):
    (verdict,) = Preference(score).many([asked("x")])
    assert math.isnan(verdict.score)
    assert verdict.error.startswith("the preference model " + why)


def test_an_array_is_a_list():
    assert Preference(lambda texts: np.array([1.5])).many([asked("x")])[0].score == 1.5


@pytest.mark.parametrize(
    "settings", [{"std": 0}, {"clip": -1}, {"batch_size": 0}, {"time_limit": 0}, {"template": "{question}"}]
)
def test_settings_are_checked(settings):
    with pytest.raises(UserError):
        Preference(Scoring(), **settings)
