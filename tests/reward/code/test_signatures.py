import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from menon.reward.code.signatures import Asked, Unusable, judge, shape_of
from menon.types import NOT_APPLICABLE, Verdict

ASKED = Asked("Q: 3+4=", "\\boxed{7}", "7", {"question": "3+4=", "level": 2}, "stop", [11, 12])


def ask(function, asked=ASKED):
    return judge(function, shape_of(function, "f"), asked)


def test_ours_gets_the_row_by_name():
    seen = {}

    def f(prompt, completion, answer, **columns):
        seen.update(columns, prompt=prompt, completion=completion, answer=answer)
        return 0.5

    assert ask(f) == Verdict(0.5, math.nan)
    assert seen == {
        "prompt": "Q: 3+4=",
        "completion": "\\boxed{7}",
        "answer": "7",
        "question": "3+4=",
        "level": 2,
        "finish": "stop",
        "completion_ids": [11, 12],
    }
    assert ask(lambda completion, level=0: completion == "\\boxed{7}" and level == 2) == Verdict(1.0, 1.0)


def trl_messages(completions, **kwargs):
    return [float("ok" in completion[0]["content"]) for completion in completions]


def trl_get(completions, **kwargs):
    return [float("ok" in completion.get("content")) for completion in completions]


@pytest.mark.parametrize("function", [trl_messages, trl_get])
def test_a_function_of_trl_that_expects_messages_where_there_are_texts(function):
    assert ask(function).error.endswith(
        ": the questions are texts here, and so is every completion; read it as it is, without [0]['content']"
    )


def test_a_function_of_trl_that_expects_texts_where_there_are_messages():
    def lower(completions, **kwargs):
        return [float("ok" in completion.lower()) for completion in completions]

    def other(completions, **kwargs):
        return [completions.nothing]

    chat = {"question": [{"role": "user", "content": "?"}]}
    said = judge(lower, "trl", Asked("p", "c", "a", chat)).error
    assert said.endswith(
        ": the questions are chat messages here, and so is every completion; its text is "
        "completion[0]['content']"
    )
    assert "the questions are" not in judge(other, "trl", Asked("p", "c", "a")).error


# As the documentation of TRL shows them.


def trl_length(completion_ids, **kwargs):
    return [float(len(ids)) for ids in completion_ids]


def trl_characters(completions, **kwargs):
    return [float(len(completion)) for completion in completions]


def trl_format(completions, **kwargs):
    completion_contents = [completion[0]["content"] for completion in completions]
    matches = [re.match(r"^\\boxed", content) for content in completion_contents]
    return [1.0 if match else 0.0 for match in matches]


def trl_ground_truth(completions, ground_truth, **kwargs):
    matches = [re.search(r"\\boxed\{(.*?)\}", completion) for completion in completions]
    contents = [match.group(1) if match else "" for match in matches]
    return [1.0 if c == gt else 0.0 for c, gt in zip(contents, ground_truth, strict=True)]


def trl_task(prompts, completions, task, **kwargs):
    return [
        0.25 if t == "math" else None
        for prompt, completion, t in zip(prompts, completions, task, strict=True)
    ]


async def trl_async(prompts, completions, **kwargs):
    import asyncio

    await asyncio.sleep(0.01)
    return [1.0 if completion else 0.0 for completion in completions]


def test_functions_of_trl():
    assert ask(trl_length).score == 2
    assert ask(trl_characters).score == 9
    assert ask(trl_async) == Verdict(1.0, 1.0)
    assert ask(trl_ground_truth).score == 1
    assert ask(trl_ground_truth, replace(ASKED, completion="8")).score == 0
    # A column of that name goes before the answer.
    assert ask(trl_ground_truth, replace(ASKED, columns={"ground_truth": "8"})).score == 0
    assert ask(trl_task, replace(ASKED, columns={"task": "math"})).score == 0.25
    assert ask(trl_task, replace(ASKED, columns={"task": "code"})) is NOT_APPLICABLE
    assert ask(lambda completions, **kwargs: None).error.startswith("the reward function returned a NoneType")
    assert (
        ask(lambda completions, **kwargs: [math.nan]).error
        == "the reward function returned NaN instead of a finite number"
    )
    assert ask(lambda completion: None).error == "the reward function returned None instead of a number"
    assert ask(trl_task).error.startswith(
        "the reward function needs 'task', and there is only answer, completion_ids, "
    )
    assert ask(trl_task).error.endswith("; take the parameter out, or give it a default")


def test_functions_of_trl_get_messages_where_the_row_has_them():
    messages = [{"role": "user", "content": "3+4?"}]
    chat = replace(ASKED, columns={"question": messages})
    assert ask(trl_format, chat).score == 1
    assert ask(lambda prompts, completions: [float(prompts == [messages])], chat).score == 1
    assert ask(lambda prompts, completions: [float(prompts == ["Q: 3+4="])]).score == 1


# As the documentation of verl shows it, and its dict.


def verl_length(data_source, solution_str, ground_truth, extra_info=None):
    return len(solution_str) / 100


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    right = solution_str == f"\\boxed{{{ground_truth}}}"
    return {"score": 1.0 if right else -1.0, "acc": right, "level": extra_info["level"], "pred": "7"}


def test_functions_of_verl():
    assert ask(verl_length).score == 0.09
    assert ask(compute_score) == Verdict(1.0, 1.0, {"level": 2.0})
    assert ask(compute_score, replace(ASKED, completion="8")) == Verdict(-1.0, 0.0, {"level": 2.0})
    told = {"data_source": "openai/gsm8k", "extra_info": {"split": "train"}}
    seen = []
    ask(
        lambda data_source, solution_str, ground_truth, extra_info: seen.append((data_source, extra_info)),
        replace(ASKED, columns=told),
    )
    assert seen == [("openai/gsm8k", {"split": "train"})]


# As the documentation of OpenRLHF shows them.


def openrlhf_tensor(queries, prompts, labels):
    return torch.tensor(
        [
            float(q == p + "\\boxed{" + label + "}")
            for q, p, label in zip(queries, prompts, labels, strict=True)
        ]
    )


def openrlhf_dict(queries, prompts, labels):
    reward = torch.full((len(queries),), 0.5)
    return {"rewards": reward, "scores": reward * 0, "extra_logs": {"dummy_scores": 0.75, "tensor": reward}}


def test_functions_of_openrlhf():
    assert ask(openrlhf_tensor) == Verdict(1.0, 1.0)
    assert ask(openrlhf_dict) == Verdict(0.5, 0.0, {"dummy_scores": 0.75})
    assert ask(lambda queries, prompts, labels, **kwargs: {"rewards": [2.0], "scores": [-1.0]}) == Verdict(
        2.0, math.nan
    )


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (True, Verdict(1.0, 1.0)),
        (False, Verdict(0.0, 0.0)),
        (0.99, Verdict(0.99, math.nan)),
        (-1, Verdict(-1.0, math.nan)),
        (np.float32(0.5), Verdict(0.5, math.nan)),
        (torch.tensor(2.0), Verdict(2.0, math.nan)),
        ({"score": 0.1}, Verdict(0.1, math.nan)),
        ({"score": 0.1, "acc": True, "format": 0.1, "why": "text"}, Verdict(0.1, 1.0, {"format": 0.1})),
        (Verdict(0.3, 1.0, {"format": 0.3}), Verdict(0.3, 1.0, {"format": 0.3})),
    ],
)
def test_results_of_our_signature(result, verdict):
    assert ask(lambda completion: result) == verdict


def test_a_verdict_may_leave_correctness_unknown():
    verdict = ask(lambda completion: Verdict(0.3, math.nan))
    assert verdict.score == 0.3
    assert math.isnan(verdict.acc)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (math.nan, "returned NaN instead of a finite number"),
        (math.inf, "returned inf instead of a finite number"),
        (None, "returned None instead of a number"),
        ("1", "returned a str instead of a number"),
        ([1.0], "returned a list instead of a number"),
        (object(), "returned an object instead of a number"),
        (torch.zeros(2), "returned a Tensor instead of a number"),
        (10**400, "returned inf instead of a finite number"),
        (-(10**400), "returned -inf instead of a finite number"),
        (1j, "returned a complex instead of a number"),
        ({}, "returned a dict without 'score' (it has nothing)"),
        ({"reward": 1}, "returned a dict without 'score' (it has 'reward')"),
        ({"score": None}, "returned None instead of a number"),
        ({"score": 1, "acc": math.nan}, "returned an acc of NaN instead of a finite number"),
        ({"score": 1, "acc": 2}, "returned an acc of 2; it must be from 0 to 1"),
        (Verdict(math.nan, 0.0), "returned NaN instead of a finite number"),
        (Verdict(math.nan, math.nan, error="the judge is offline"), "the judge is offline"),
    ],
)
def test_a_result_that_is_no_number_is_a_nan_verdict_with_a_sentence(result, error):
    verdict = ask(lambda completion: result)
    assert math.isnan(verdict.score)
    assert math.isnan(verdict.acc) or error == "returned NaN instead of a finite number"
    assert verdict.error in (f"the reward function {error}", error)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ([], "returned 0 numbers for 1 answer"),
        ([1.0, 0.0], "returned 2 numbers for 1 answer"),
        (torch.zeros(8), "returned 8 numbers for 1 answer"),
        (1.0, "returned a float instead of a list with one number per answer"),
        ([math.nan], "returned NaN instead of a finite number"),
        ([[1.0]], "returned a list instead of a number"),
    ],
)
def test_a_list_must_hold_one_number(result, error):
    for function in (lambda completions: result, lambda queries: result):
        assert ask(function).error == f"the reward function {error}"


def test_what_a_function_raises_is_told_with_its_place():
    def f(completion):
        return 1 / 0

    line = f.__code__.co_firstlineno + 1
    assert (
        ask(f).error
        == f"the reward function raised ZeroDivisionError: division by zero (test_signatures.py:{line})"
    )

    def deep(completion):
        return re.compile("(")

    assert ask(deep).error.endswith(f"(test_signatures.py:{deep.__code__.co_firstlineno + 1})")

    def leaves(completion):
        raise SystemExit(3)

    assert ask(leaves).error.startswith("the reward function raised SystemExit: 3 (test_signatures.py:")

    def long(completion):
        raise ValueError("line\n" * 1000)

    assert len(ask(long).error) < 400
    assert "\n" not in ask(long).error


def test_other_signatures_are_refused_with_the_four_that_can_be_called():
    for function in (
        lambda text, gold: 1.0,
        lambda *args: 1.0,
        lambda **kwargs: 1.0,
        partial(lambda a, b: 1.0, 1),
    ):
        with pytest.raises(Unusable) as caught:
            shape_of(function, "my.py:score")
        message = str(caught.value)
        assert message.startswith("my.py:score takes (")
        assert message.count("f(") == 4
    with pytest.raises(Unusable, match=r"my\.py:Score is a class; name a function, or an object"):
        shape_of(Verdict, "my.py:Score")
    with pytest.raises(Unusable, match=r"my\.py:LIMIT is an int; name a function"):
        shape_of(3, "my.py:LIMIT")
