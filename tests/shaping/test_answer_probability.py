"""RLPR's reward by hand, its filter, and runs that use or refuse it."""

import json
import math

import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.advantage import GRPO
from menon.assembly.run import resume
from menon.config import changed
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.shaping import AnswerProbability
from rows import batch_of, rows_of

START = {"deviation": math.nan}
PROB = [[0, 0.75, 0], [0, 0, 0.5], [0, 0.25, 0], [0, 0, 0]]
PRIOR = [[0, 0.5, 0], [0, 0, 0.5], [0, 0.5, 0], [0, 0, 0.5]]
MASK = [[1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1]]


def step(**more):
    return batch_of(MASK, outcome=[1, 0, 1, 0], **{"answer_prob": PROB, "answer_prior": PRIOR} | more)


def test_the_probability_in_place_of_the_reward():
    """.75 - .5, .5 - .5, and .25 - .5 and 0 - .5 clipped to 0, on the last token; nothing is left of the
    grader's reward, and correctness stays."""
    batch = step(acc=[1.0, 0.0, 1.0, 0.0])
    shaped, state = AnswerProbability()(batch, START)
    assert rows_of(batch, shaped.reward).tolist() == [[0, 0.25, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert shaped.acc is batch.acc
    assert math.isnan(state["deviation"])
    plain, _ = AnswerProbability(debias=False)(batch, START)
    assert plain.outcome.tolist() == [0.75, 0.5, 0.25, 0]


def test_a_part_of_the_graders_reward():
    """.25 + .5, 0 + 0, 0 + .5, 0 + 0."""
    assert AnswerProbability(keep=0.5)(step(), START)[0].outcome.tolist() == [0.75, 0, 0.5, 0]


def test_empty_answers_and_failed_graders_stay():
    batch = batch_of(
        [[0, 0], [1, 1], [1, 1]],
        outcome=[1, 0.5, 1],
        valid=[True, False, True],
        answer_prob=[[0, 0], [0, 0.75], [0, 0.75]],
    )
    shaped, _ = AnswerProbability(debias=False)(batch, START)
    assert shaped.outcome.tolist() == [1, 0.5, 0.75]
    nothing = batch_of([[0, 0]], outcome=[1], answer_prob=[[0, 0]])
    assert AnswerProbability(debias=False)(nothing, START)[0] is nothing


def test_groups_that_hardly_deviate_teach_nothing():
    """Deviations .125 and .25 (population), mean .1875: the first step filters nothing, the next, at .8 of
    that mean, the first group, whose rewards become their mean .625. The mean then moves by a tenth."""
    groups = {"group": [0, 0, 1, 1], "answer_prob": [[0, 0.75, 0], [0, 0, 0.5], [0, 0.5, 0], [0, 0, 0]]}
    part = AnswerProbability(debias=False, least=0.8, decay=0.9)
    shaped, state = part(step(**groups), START)
    assert shaped.outcome.tolist() == [0.75, 0.5, 0.5, 0]
    assert state == {"deviation": 0.1875}
    shaped, after = part(step(**groups), {"deviation": 0.25})
    assert shaped.outcome.tolist() == [0.625, 0.625, 0.5, 0]
    assert after == {"deviation": pytest.approx(0.9 * 0.25 + 0.1 * 0.1875)}
    credited = GRPO(std_mode="none")(shaped)
    assert rows_of(shaped, credited.advantage)[:2].abs().max() == 0
    assert part.compares
    assert not AnswerProbability().compares


def test_the_prior_matters_to_a_centred_estimator_through_the_clip_alone():
    batch = step(answer_prior=[[0, 0.125, 0], [0, 0, 0.125], [0, 0.125, 0], [0, 0, 0]])
    with_prior, without = (
        GRPO(std_mode="none")(AnswerProbability(debias=debias)(batch, START)[0]).advantage
        for debias in (True, False)
    )
    assert float((with_prior - without).abs().max()) > 0.01  # the last answer has r = 0 and is not clipped
    alike = step(
        answer_prob=[[0, 0.75, 0], [0, 0, 0.5], [0, 0.25, 0], [0, 0, 0.25]],
        answer_prior=[[0, 0.125, 0], [0, 0, 0.125], [0, 0.125, 0], [0, 0, 0.125]],
    )
    one, other = (
        GRPO(std_mode="none")(AnswerProbability(debias=debias)(alike, START)[0]).advantage
        for debias in (True, False)
    )
    assert torch.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"marker": ""}, "it is the text that stands before a final answer, like # or <answer>"),
        ({"keep": -1}, "keep and least must be 0 or more"),
        ({"decay": 1}, "decay from 0 to below 1"),
    ],
)
def test_refused(given, said):
    with pytest.raises(UserError, match=said):
        AnswerProbability(**given)


def test_where_it_does_not_fit(tmp_path):
    part = {"kind": "answer_probability"}
    with pytest.raises(UserError, match=r"advantage\.reward changes rewards and so comes before"):
        changed(recipe("grpo"), {"advantage": {"credit": "grpo", "reward": part}})
    with pytest.raises(UserError, match="and this run learns from given text; leave it out"):
        changed(recipe("sft"), {"advantage": {"reward": part}})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", 1), tiny_tokenizer(), path)
    return str(path)


def small(model: str, tmp_path, rows: list[dict]) -> dict:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = {"prompts_per_step": 4, "samples_per_prompt": 4, "max_new_tokens": 12, "report_questions": 0}
    return {"model": model, "data": str(data), "device": "cpu", "threads": 1, "heldout": 2} | sizes


def test_a_run_measures_it(model, tmp_path):
    """A random model writes bytes; those of e mark an answer here, and few answers have one."""
    rows = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(12)]
    out = tmp_path / "run"
    part = {"kind": "answer_probability", "marker": "e", "debias": False}
    train(
        "grpo",
        **small(model, tmp_path, rows),
        out=str(out),
        steps=2,
        advantage={"reward": part, "credit": "grpo"},
        stop_without_signal=False,
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert 0 <= line["answer_prob/mean"] <= line["answer_prob/placed"] < 1
        assert line["acc/mean"] == 0  # the grader's, as ever


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"question": f"{i % 11}+1=", "answer": str(i)} for i in range(24)],
            "two rows ask the same .* and have different answers; keep one of them",
        ),
        (
            [{"question": f"{i}+1="} for i in range(12)],
            "the row of '.*' has none; give every row an 'answer'",
        ),
    ],
)
def test_questions_without_one_answer(rows, said, model, tmp_path):
    part = {"kind": "answer_probability"}
    with pytest.raises(UserError, match=said):
        train(
            "grpo",
            **small(model, tmp_path, rows),
            reward="ungraded",
            out=str(tmp_path / "run"),
            advantage={"reward": part, "credit": "grpo"},
            steps=1,
        )


def test_a_run_that_stops_and_goes_on(model, tmp_path):
    """With the running deviation that the filter compares with; bit for bit."""
    rows = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(12)]
    part = {"kind": "answer_probability", "marker": "e", "debias": False, "least": 0.5}
    given = small(model, tmp_path, rows) | {"advantage": {"reward": part, "credit": "grpo"}, "save_every": 2}
    given |= {"stop_without_signal": False, "learning_rate": 1e-2}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("grpo", **given, out=str(whole), steps=4)
    train("grpo", **given, out=str(parts), steps=2)
    resume(parts, {"steps": 4}, terminal)
    prints = [
        [json.loads(line)["fingerprint"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (whole, parts)
    ]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) > 1
