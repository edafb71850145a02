"""Runs that learn from a teacher: what they measure, mix, refuse, and go on with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.given import build_given
from menon.assembly.run import resume
from menon.batch import Batch
from menon.config import changed
from menon.engines.hf_models import export, load_policy
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.update.host import Ask
from taught import exported, file_of_sums


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """A policy, a teacher, and a model with fewer tokens."""
    small = len(ALPHABET) + 1
    made = {
        "policy": (tiny_model("qwen3", 0), tiny_tokenizer()),
        "teacher": (tiny_model("qwen3", 3, hidden=32), tiny_tokenizer()),
        "other": (tiny_model("qwen3", 1, vocab=small), tiny_tokenizer(small)),
    }
    return exported(made, tmp_path_factory)


@pytest.fixture
def sums(tmp_path) -> Path:
    return file_of_sums(tmp_path)


def settings(models: dict[str, Path], **more) -> dict:
    return {"model": str(models["policy"]), "teacher": str(models["teacher"]), "device": "cpu", **more}


def logits_at(folder: Path, batch: Batch) -> torch.Tensor:
    """[A, V] the logits that predict the learned tokens, by the model's own forward pass."""
    model, _ = load_policy(folder)
    found = []
    for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
        with torch.no_grad():
            logits = model(batch.token[None, start:end]).logits[0]
        found.append(logits[:-1][batch.is_action[start + 1 : end]])
    return torch.cat(found)


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_what_distillation_on_logits_measures(models, sums):
    """At T = 2 over the whole vocabulary, and -log pi at T = 1, each half of the loss."""
    config = changed(recipe("distill_logits"), settings(models, data=str(sums), rows_per_step=4))
    with build_given(config) as run:
        held, measured = run.measure.args[0], run.measure()
    student, teacher = (logits_at(models[name], held) for name in ("policy", "teacher"))
    p, q = ((logits / 2).log_softmax(-1) for logits in (teacher, student))
    assert measured["distill/divergence"] == pytest.approx(
        float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-5
    )
    logp = student.log_softmax(-1).gather(-1, held.token[held.is_action][:, None])
    assert measured["nll"] == pytest.approx(-float(logp.mean()), rel=1e-5)
    assert measured["distill/divergence"] > 0.01


def test_the_loss_of_a_step_is_both_halves(models, sums, tmp_path):
    out = tmp_path / "run"
    train("distill_logits", **settings(models, data=str(sums), out=str(out), steps=2, rows_per_step=4))
    for line in metrics_of(out):
        assert line["loss/teacher"] == pytest.approx(0.5 * 4 * line["distill/divergence"], rel=1e-5)
        assert line["loss/nll"] == pytest.approx(0.5 * line["nll"], rel=1e-5)


def test_memory_settings_change_nothing_but_rounding(models, sums, tmp_path):
    told = []
    for size in (64, 8192):
        out = tmp_path / str(size)
        more = {"data": str(sums), "steps": 2, "rows_per_step": 6, "tokens_per_forward": size}
        train("distill_logits", **settings(models, out=str(out), **more))
        told.append(metrics_of(out)[-1])
    for name in ("loss/teacher", "grad_norm", "distill/divergence"):
        assert told[0][name] == pytest.approx(told[1][name], rel=1e-4)


@pytest.mark.parametrize("name", ["distill_logits", "gkd", "opd"])
def test_a_run_that_stops_and_goes_on(name, models, sums, tmp_path):
    """Its weights are those of a run that does not stop, bit for bit."""
    data = {} if name == "opd" else {"data": str(sums), "rows_per_step": 4, "heldout": 3}
    more = {**data, "prompts_per_step": 4, "max_new_tokens": 6, "save_every": 3, "threads": 1}
    asked = {"task": "chain_sum", "source.heldout": 3, "report_questions": 0} if name == "opd" else {}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(name, **settings(models, out=str(whole), steps=5, **more, **asked))
    train(name, **settings(models, out=str(parts), steps=3, **more, **asked))
    resume(parts, {"steps": 5}, terminal)
    prints = [[line["fingerprint"] for line in metrics_of(run)] for run in (whole, parts)]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 5


def test_gkd_takes_turns_with_answers_of_the_policy(models, sums, tmp_path):
    """Every second step is written by the policy, to the questions of the rows, and not graded."""
    out = tmp_path / "run"
    more = {"rows_per_step": 4, "prompts_per_step": 3, "max_new_tokens": 6, "steps": 4}
    report = train("gkd", **settings(models, data=str(sums), out=str(out), **more))
    lines = metrics_of(out)
    written = ["reward/mean" in line for line in lines]
    assert written == [True, False, True, False]
    assert all(line["distill/divergence"] > 0 for line in lines)
    assert all("acc/mean" not in line for line in lines)
    assert report["after"]["distill/divergence"] > 0
    assert sorted(path.name for path in (out / "transcripts").glob("step_*")) == [
        "step_000001.parquet",
        "step_000003.parquet",
    ]


@pytest.mark.parametrize(("share", "given"), [(0.25, 3), (1, 0), (0, 4)])
def test_the_share_of_written_steps(share, given, models, sums):
    more = {"data": str(sums), "written_share": share, "rows_per_step": 4, "prompts_per_step": 2}
    config = changed(recipe("gkd"), settings(models, max_new_tokens=4, **more))
    with build_given(config) as run:
        steps = [run.source.next() for _ in range(4)]
    assert sum(not step.graded for step in steps) == given
    questions = {answer.rollout.prompt.text for step in steps for answer in step.graded}
    assert all(question.endswith("+1=") for question in questions)


def test_written_answers_to_questions_that_are_named_are_graded(models, sums):
    more = {"data": str(sums), "task": "chain_sum", "prompts_per_step": 2, "max_new_tokens": 4, "heldout": 3}
    config = changed(recipe("gkd"), settings(models, **more))
    with build_given(config) as run:
        first = run.source.next()
        assert run.evaluate is not None
    assert {answer.verdict.acc for answer in first.graded} <= {0.0, 1.0}
    assert all(answer.rollout.prompt.answer for answer in first.graded)


def test_on_policy_distillation_scores_the_written_tokens(models):
    config = changed(
        recipe("opd"), settings(models, task="chain_sum", prompts_per_step=3, max_new_tokens=5, heldout=2)
    )
    with build(config) as run:
        batch = run.source.next().batch
        assert run.host.roles == {"policy", "teacher"}
        asks = [Ask("policy", "logp", "old_logp"), Ask("teacher", "logp", "teacher_logp")]
        scored = replace(batch, **run.host.score(batch, asks))
        given = run.plan.advantage["credit"](scored).advantage
    token = batch.token[batch.is_action][:, None]
    logits = [logits_at(models[name], batch) for name in ("policy", "teacher")]
    own, other = (each.log_softmax(-1).gather(-1, token)[:, 0] for each in logits)
    assert torch.allclose(given[batch.is_action], other - own, atol=1e-5)
    assert float((other - own).abs().max()) > 0.1


def test_a_teacher_beside_a_reward(models):
    """The advantage of the combination in the recipe's docstring: that of GRPO plus .1 log-ratio, and both
    forms of the teacher beside GRPO lower the sum of their terms."""
    asked = {"task": "chain_sum", "prompts_per_step": 3, "samples_per_prompt": 4, "max_new_tokens": 5}
    both = {"credit": "grpo", "teacher": {"kind": "teacher", "coef": 0.1, "adds": True}}
    config = changed(recipe("opd"), settings(models, **asked, heldout=2, advantage=both))
    with build(config) as run:
        batch = run.source.next().batch
        asks = [Ask("policy", "logp", "old_logp"), Ask("teacher", "logp", "teacher_logp")]
        scored = replace(batch, **run.host.score(batch, asks), reward=torch.zeros(batch.num_tokens))
        last = batch.offset[1:] - 1
        scored.reward[last] = torch.arange(batch.num_sequences).float()  # 0 1 2 3, 4 5 6 7, ...
        alone = run.plan.advantage["credit"](scored)
        given = run.plan.advantage["teacher"](alone).advantage
    token = batch.token[batch.is_action][:, None]
    logits = [logits_at(models[name], batch) for name in ("policy", "teacher")]
    own, other = (each.log_softmax(-1).gather(-1, token)[:, 0] for each in logits)
    expected = alone.advantage[batch.is_action] + 0.1 * (other - own)
    assert torch.allclose(given[batch.is_action], expected, atol=1e-5)
    groups = alone.advantage[last].view(3, 4)  # (r - 1.5) / the deviation of 0 1 2 3, which is 1.291
    assert torch.allclose(groups, torch.tensor([-1.5, -0.5, 0.5, 1.5]) / 1.290994, atol=1e-4)


def test_two_terms_of_one_objective(models, tmp_path):
    """GRPO and the reverse KL over the vocabulary: the gradient of the sum is clipped and stepped once."""
    asked = {"task": "chain_sum", "prompts_per_step": 3, "samples_per_prompt": 4, "max_new_tokens": 5}
    term = {"loss": {"kind": "distill", "divergence": "reverse"}, "coef": 0.1}
    more = {"advantage.credit": "grpo", "objective.teacher": term, "heldout": 2, "report_questions": 0}
    out = tmp_path / "run"
    train(
        "opd",
        **settings(
            models, **asked, **more, out=str(out), steps=2, reward=lambda completion, **_: len(completion) % 2
        ),
    )
    for line in metrics_of(out):
        assert line["loss/teacher"] == pytest.approx(0.1 * line["distill/divergence"], rel=1e-5)
        assert line["reward/std"] > 0
        assert line["grad_norm"] > 0


def test_a_constant_reward_does_not_stop_a_run_with_a_teacher(models, tmp_path):
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps({"question": f"{i}+2="}) + "\n" for i in range(20)))
    out = tmp_path / "run"
    more = {"data": str(data), "reward": "ungraded", "steps": 12, "prompts_per_step": 2, "max_new_tokens": 4}
    report = train("opd", **settings(models, out=str(out), report_questions=0, **more))
    assert report["steps"] == 12
    (warning,) = report["warnings"]  # and none says that equal rewards teach nothing
    assert warning == "100% of the answers were cut at max_new_tokens=4; raise max_new_tokens"
    assert "accuracy" not in report["after"]
    line = metrics_of(out)[-1]
    assert line["reward/std"] == 0
    assert line["kl/teacher_k1"] != 0
    assert line["kl/teacher_k3"] > 0
    assert line["kl/teacher_seq"] == pytest.approx(line["kl/teacher_k1"] * line["len/mean"], rel=1e-4)


def test_a_teacher_that_reads_the_answer(models, tmp_path):
    """Policy and teacher are one model, so that their distance is the hint's."""
    data, out = tmp_path / "hints.jsonl", tmp_path / "run"
    rows = [{"question": f"{i}+2=", "answer": str(i + 2), "hint": f"{i + 2}!"} for i in range(20)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = {"data": str(data), "heldout": 2, "prompts_per_step": 3, "max_new_tokens": 4, "steps": 2}
    asked = {"model": str(models["policy"]), "device": "cpu", "report_questions": 0, "threads": 1}
    config = changed(recipe("self_distill"), {**asked, **more, "teacher_question": "{hint} {q}"})
    with build(config) as run:
        read = run.host.models["teacher"].prompts
        assert bytes(read[np.frombuffer(b"7+2=", np.uint8).astype(np.int32).tobytes()].tolist()) == b"9! 7+2="
    train("self_distill", **asked, **more, out=str(out), teacher_question="{q}{answer}\n{q}")
    assert all(line["distill/divergence"] > 0.001 for line in metrics_of(out))
    train("self_distill", **asked, **more, out=str(tmp_path / "same"), teacher_question="{q}")
    assert metrics_of(tmp_path / "same")[0]["distill/divergence"] == pytest.approx(0, abs=1e-6)


def test_hints_that_cannot_be_given(models, tmp_path):
    data = tmp_path / "rows.jsonl"
    rows = [{"question": f"{i // 2}+2=", "answer": str(i)} for i in range(20)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = settings(models, data=str(data), max_new_tokens=4) | {"teacher": "start"}
    for question, sentence in (
        ("{q} {demonstration}", r"puts in \{demonstration\}, and the row of .* has no such column"),
        ("{answer} {q}", "two rows ask the same .* and give the teacher different hints"),
    ):
        config = changed(recipe("self_distill"), given | {"teacher_question": question})
        with pytest.raises(UserError, match=sentence), build(config):
            pass
    for name, change, sentence in (
        ("self_distill", {"teacher": None}, "teacher_question is read by a teacher"),
        ("self_distill", {"teacher_question": "hint"}, r"has no \{q\}"),
        ("distill_logits", {"teacher_question": "{q}"}, "this run learns from given text"),
    ):
        with pytest.raises(UserError, match=sentence):
            changed(recipe(name), change)


# What is refused


def test_a_teacher_that_is_not_named(sums):
    for name in ("opd", "distill_logits", "gkd"):
        with pytest.raises(UserError, match="none is named; set teacher=FOLDER"):
            train(name, out="unused", **({} if name == "opd" else {"data": str(sums)}))


def test_no_teacher_at_all():
    with pytest.raises(UserError, match="learns from a teacher, and this run has none; set teacher=FOLDER"):
        changed(recipe("opd"), {"teacher": None})


def test_a_teacher_with_other_tokens(models, sums):
    wrong = settings(models, data=str(sums)) | {"teacher": str(models["other"])}
    with (
        pytest.raises(UserError, match="has another vocabulary than the policy"),
        build_given(changed(recipe("distill_logits"), wrong)),
    ):
        pass


def test_another_teacher_under_the_same_name(models, sums, tmp_path):
    teacher, out = tmp_path / "teacher", tmp_path / "run"
    shutil.copytree(models["teacher"], teacher)
    given = settings(models, data=str(sums), out=str(out), steps=2, rows_per_step=4) | {
        "teacher": str(teacher)
    }
    train("distill_logits", **given)
    export(tiny_model("qwen3", 9, hidden=32), tiny_tokenizer(), teacher)
    with pytest.raises(UserError, match=r"the weights of the teacher .* changed since the run began"):
        resume(out, {"steps": 3}, terminal)


def test_shares_that_cannot_be():
    with pytest.raises(UserError, match=r"written_share is 1\.5; it is a share of the steps, 0 to 1"):
        changed(recipe("gkd"), {"written_share": 1.5})
    with pytest.raises(UserError, match=r"these rows are pairs; set rows\.form=answers"):
        changed(recipe("dpo"), {"written_share": 0.5})


def test_rows_that_ask_nothing_and_rewards_without_gold_answers(models, tmp_path, sums):
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"{i}+1= {i + 1}"}) + "\n" for i in range(20)))
    for more, sentence in (
        ({"data": str(texts)}, "ask no question that the policy could answer; set written_share=0"),
        ({"data": str(sums), "reward": "math"}, "name questions with source.data=FILE or task="),
    ):
        config = changed(recipe("gkd"), settings(models, max_new_tokens=4, **more))
        with pytest.raises(UserError, match=sentence), build_given(config):
            pass
