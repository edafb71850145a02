"""The evaluation object: same texts as ever for one sample, more of them from streams of their own, and their
numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.errors import UserError
from menon.eval.run import (
    AnswerEquivalence,
    Evaluation,
    Item,
    items_of,
    key_of,
    numbers_of,
    plain_item,
    read_item,
)
from menon.rollout.groups import answer
from menon.types import NOT_APPLICABLE, Request, Rollout, Sampling, Verdict
from scripted import ScriptedSampler, is_gold, question

VOCAB = 40
NAN = float("nan")
SAMPLING = Sampling(max_new_tokens=6)
BALLOT = AnswerEquivalence(lambda graded: graded.rollout.text or None, str.__eq__)


def sampler(seed: int = 0) -> TorchSampler:
    return TorchSampler(tiny_model(vocab=VOCAB), tiny_tokenizer(VOCAB), seed=seed)


def tokens(graded) -> list[list[int]]:
    return [g.rollout.tokens.tolist() for g in graded]


def test_one_sample_is_what_a_plain_request_gives():
    prompts = tuple(prompt(10 + i, f"{i}*{i}=", str(i * i), VOCAB) for i in range(4))
    graded = Evaluation(prompts, is_gold, SAMPLING)(sampler())
    requests = [Request(p, SAMPLING, purpose="evaluate") for p in prompts]
    plain = answer(requests, range(4), sampler(), is_gold)
    assert tokens(graded) == tokens(plain)
    assert [g.rollout.group for g in graded] == [g.rollout.group for g in plain] == [0, 1, 2, 3]
    assert all(np.array_equal(a.rollout.logp, b.rollout.logp) for a, b in zip(graded, plain, strict=True))


def test_more_samples_keep_the_first_and_differ_from_training():
    prompts = tuple(prompt(i, f"{i}*{i}=", str(i * i), VOCAB) for i in range(3))
    one, four = (Evaluation(prompts, is_gold, SAMPLING, samples)(sampler()) for samples in (1, 4))
    assert tokens(four)[::4] == tokens(one)
    assert [(g.rollout.group, g.rollout.sample) for g in four] == [(p, s) for p in range(3) for s in range(4)]
    assert len({tuple(row) for row in tokens(four)}) > 6
    trained = answer([Request(p, SAMPLING) for p in prompts], range(3), sampler(), is_gold)
    assert tokens(trained) != tokens(one)
    assert tokens(Evaluation(prompts, is_gold, SAMPLING)(sampler(seed=1))) != tokens(one)


def test_an_empty_set_and_no_sample_are_refused():
    with pytest.raises(UserError, match="there is no question to evaluate with"):
        Evaluation((), is_gold, SAMPLING)
    with pytest.raises(UserError, match="samples is 0"):
        Evaluation((question(0),), is_gold, SAMPLING, samples=0)


def scripted() -> list[Item]:
    """Two questions, gold 7, four samples: 7 8 8 (silent), and 7 7 9 7 of which the last is cut off."""
    texts = {0: ["7", "8", "8", ""], 1: ["7", "7", "9", "7777777"]}
    prompts = (question(0), question(1))
    sampling = Sampling(max_new_tokens=4)
    sampler = ScriptedSampler(lambda request: texts[request.prompt.index][request.sample])
    return items_of(Evaluation(prompts, is_gold, sampling, 4)(sampler), 4, BALLOT)


def test_items_keep_every_sample():
    first, second = scripted()
    assert first == Item(
        question=0,
        key=key_of(question(0)),
        answer="7",
        acc=(1.0, 0.0, 0.0, 0.0),
        score=(1.0, 0.0, 0.0, 0.0),
        stated=("7", "8", "8", None),
        kind=(0, 1, 1, -1),
        length=(2, 2, 2, 1),
        finish=("stop",) * 4,
    )
    assert (second.stated, second.kind) == (("7", "7", "9", "7777"), (0, 0, 1, 2))
    assert (second.length, second.finish) == ((2, 2, 2, 4), ("stop", "stop", "stop", "length"))
    assert first.key != second.key


def test_numbers_by_hand():
    numbers = numbers_of(scripted(), k=4)
    value = {
        name: number["value"]
        for name, number in numbers.items()
        if isinstance(number, dict) and "value" in number
    }
    assert value == {
        "avg@4": (1 / 4 + 2 / 4) / 2,
        "reward": (1 / 4 + 2 / 4) / 2,
        "pass@1": 3 / 8,
        "pass@2": pytest.approx((1 / 2 + 5 / 6) / 2),  # 1 - C(3,2)/C(4,2), 1 - C(2,2)/C(4,2)
        "pass@4": 1.0,
        "maj@1": 3 / 8,
        "maj@2": pytest.approx(
            (3 / 6 + 5 / 6) / 2
        ),  # question 1: 7 wins in 01 02 03; question 2: in all but {2, 3}
        "maj@4": 0.5,
        "cons@4": 0.5,
    }
    assert numbers["no_answer"] == 1 / 8
    assert numbers["mean_length"] == 17 / 8
    assert numbers["trunc_rate"] == 1 / 8
    assert (numbers["n"], numbers["samples"], numbers["failed"]) == (2, 4, 0)
    assert (numbers["pass@4"]["low"], numbers["pass@4"]["high"]) == (1.0, 1.0)
    assert (numbers["avg@4"]["low"], numbers["avg@4"]["high"]) == (0.25, 0.5)


def test_more_than_the_samples_is_refused():
    with pytest.raises(
        UserError, match="pass@5 needs 5 samples of each question and there are 4; set samples=5 or more"
    ):
        numbers_of(scripted(), k=5)


def test_failed_graders_are_counted_and_in_no_number():
    def grade(rollout: Rollout) -> Verdict:
        return Verdict(NAN, NAN, error="broke") if rollout.text == "8" else is_gold(rollout)

    prompts = (question(0), question(1))
    sampler = ScriptedSampler(lambda request: "78"[request.sample] if request.prompt.index == 0 else "8")
    items = items_of(Evaluation(prompts, grade, SAMPLING, 2)(sampler), 2)
    numbers = numbers_of(items, k=2)
    assert numbers["avg@2"]["value"] == 1.0  # question 1 has no number at all
    assert numbers["pass@2"] == {"value": None, "low": None, "high": None}
    assert numbers["failed"] == 3
    assert "maj@2" not in numbers  # it is not known how these answers compare
    assert items[1].error == "broke"


def test_questions_that_the_reward_does_not_apply_to_are_counted_apart():
    def grade(rollout: Rollout) -> Verdict:
        return NOT_APPLICABLE if rollout.prompt.index == 1 else is_gold(rollout)

    sampler = ScriptedSampler(lambda request: "8")
    items = items_of(Evaluation((question(0, answer="8"), question(1)), grade, SAMPLING, 2)(sampler), 2)
    numbers = numbers_of(items, k=2)
    assert (numbers["avg@2"]["value"], numbers["failed"], numbers["not_applicable"]) == (1.0, 0, 2)
    assert [read_item(plain_item(item)).not_applicable for item in items] == [0, 2]


def test_items_come_back_from_json():
    items = [*scripted(), replace(scripted()[0], acc=(NAN, 1.0, 0.0, NAN), kind=(), parts={"a": (1.0, 0.5)})]
    back = [read_item(json.loads(json.dumps(plain_item(item), allow_nan=False))) for item in items]
    assert back[:2] == items[:2]
    assert np.array_equal(back[2].acc, items[2].acc, equal_nan=True)
    assert (back[2].kind, back[2].parts) == ((), {"a": (1.0, 0.5)})


def test_parts_are_means_over_all_samples():
    def grade(rollout: Rollout) -> Verdict:
        return Verdict(
            1.0, 1.0, {"length": float(len(rollout.text)), **({"odd": 1.0} if rollout.text == "7" else {})}
        )

    sampler = ScriptedSampler(lambda request: "7" * (1 + request.sample + 2 * request.prompt.index))
    items = items_of(Evaluation((question(0), question(1)), grade, SAMPLING, 2)(sampler), 2)
    assert [item.parts for item in items] == [{"length": (1.0, 2.0)}, {"length": (3.0, 4.0)}]
    assert numbers_of(items, k=1)["parts"] == {"length": 2.5}


def test_a_template_does_not_change_the_key():
    rendered = replace(question(0, "Q: how?\nA:"), columns={"question": "how?"})
    assert key_of(rendered) == key_of(replace(question(0, "how?"), columns={"question": "how?"}))
    assert key_of(rendered) != key_of(replace(rendered, answer="8"))
