"""Best temperature and vote, on answers whose every verdict is known."""

from collections.abc import Iterator

import numpy as np
import pytest

from helpers import prompt
from menon.eval.probe import VOTES, Probe
from menon.eval.run import AnswerEquivalence, Evaluation
from menon.types import Completion, Request, Rollout, Sampling, Verdict
from scripted import RoundSampler


class Told(RoundSampler):
    """Writes what `say(question, sample, temperature)` says."""

    def __init__(self, say):
        self.say = say

    def write(self, requests: list[Request]) -> Iterator[Completion]:
        for r in requests:
            text = self.say(r.prompt.index, r.sample, r.sampling.temperature)
            one = np.zeros(1, dtype=np.float32)
            number = np.zeros(1, dtype=np.int32)
            yield Completion(r, number, one, one, one, number, "stop", text)


def grade(rollout: Rollout) -> Verdict:
    acc = float("nan") if rollout.text == "broken" else float(rollout.text == rollout.prompt.answer)
    return Verdict(acc, acc)


BALLOT = AnswerEquivalence(lambda graded: graded.rollout.text, str.__eq__)


def probe(say, questions: int = 2, equivalence: AnswerEquivalence | None = BALLOT) -> dict:
    prompts = tuple(prompt(i, f"{i}=", "a") for i in range(3))
    return Probe(Evaluation(prompts, grade, Sampling()), questions, equivalence)(Told(say))


def test_numbers():
    """Question 0: three of eight are right, but no wrong answer comes twice, so the vote is right. Question
    1: one of eight is right, and b wins. At .3 both are right, greedily one, at .6 none; a third question is
    not asked."""
    votes = {0: ["a", "a", "a", "b", "c", "d", "e", "f"], 1: ["a", "b", "b", "b", "c", "d", "e", "f"]}

    def say(question: int, sample: int, temperature: float) -> str:
        assert question < 2
        if temperature == 1:
            return votes[question][sample]
        return "a" if temperature == 0.3 or (temperature == 0 and question == 0) else "x"

    assert probe(say) == {
        "accuracy_at": {"0": 0.5, "0.3": 1.0, "0.6": 0.0, "1": 4 / 16},
        "best_accuracy": 1.0,
        "best_temperature": 0.3,
        "maj_at_8": 0.5,
        "best_reward": 1.0,
        "best_reward_temperature": 0.3,
        "probe_n": 2.0,
    }


def test_the_lowest_of_equal_temperatures_is_told():
    assert probe(lambda *_: "a")["best_temperature"] == 0


def test_without_a_way_to_compare_there_is_no_vote():
    assert "maj_at_8" not in probe(lambda *_: "a", equivalence=None)


def test_answers_that_could_not_be_graded_are_in_no_number():
    found = probe(lambda question, sample, temperature: "broken" if question == 0 else "a")
    assert found["accuracy_at"] == {"0": 1.0, "0.3": 1.0, "0.6": 1.0, "1": 1.0}
    assert found["maj_at_8"] == 1.0
    assert probe(lambda *_: "broken") == {}


def test_fewer_questions_than_asked_for():
    assert probe(lambda *_: "a", questions=50)["probe_n"] == 3


def test_each_answer_is_asked_once():
    seen = []
    probe(lambda *name: seen.append(name) or "a", questions=1)
    assert sorted(seen) == [(0, sample, 1.0) for sample in range(VOTES)] + [
        (0, 8, 0.0),
        (0, 9, 0.3),
        (0, 10, 0.6),
    ]


def test_with_a_real_sampler_the_first_answer_is_the_evaluations_own():
    from helpers import tiny_model, tiny_tokenizer
    from menon.engines.decoding.torch_sampler import TorchSampler

    texts: list[tuple[int, int, str]] = []

    def note(rollout: Rollout) -> Verdict:
        texts.append((rollout.prompt.index, rollout.sample, rollout.text))
        return Verdict(0.0, 0.0)

    prompts = tuple(prompt(i, f"{i}=", "a") for i in range(2))
    evaluation = Evaluation(prompts, note, Sampling(6))
    evaluation(TorchSampler(tiny_model(), tiny_tokenizer(), seed=3))
    alone, texts[:] = {(q, text) for q, _, text in texts}, []
    Probe(evaluation, 2)(TorchSampler(tiny_model(), tiny_tokenizer(), seed=3))
    assert {(q, text) for q, sample, text in texts if sample == 0} == alone


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_model_that_is_always_the_same(share):
    found = probe(lambda *_: "a" if share else "b")
    assert set(found["accuracy_at"].values()) == {share}
    assert found["maj_at_8"] == found["best_accuracy"] == share
