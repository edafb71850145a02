"""Several teachers: each row by its own, in all forms of distillation, and what is refused."""

import json
from pathlib import Path

import pytest
import torch

from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.derived import size_of_model
from menon.assembly.given import build_given
from menon.assembly.memory import Needs, own_process
from menon.assembly.run import resume
from menon.assembly.teachers import unused
from menon.batch import Batch
from menon.config import Models, changed
from menon.engines.hf_models import export, load_policy
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.update.host import Ask


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """A policy, two teachers, and a model with fewer tokens."""
    small = len(ALPHABET) + 1
    made = {
        "policy": (tiny_model("qwen3", 0), tiny_tokenizer()),
        "even": (tiny_model("qwen3", 3, hidden=32), tiny_tokenizer()),
        "odd": (tiny_model("qwen3", 4), tiny_tokenizer()),
        "other": (tiny_model("qwen3", 1, vocab=small), tiny_tokenizer(small)),
    }
    paths = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, (model, tokenizer) in made.items():
        export(model, tokenizer, paths[name])
    return {name: str(path) for name, path in paths.items()}


def rows(count: int = 40, **more: str) -> list[dict[str, str]]:
    return [
        {"question": f"{i}+1=", "completion": f" {i + 1}", "answer": str(i + 1)}
        | {"subject": ("odd", "even")[i % 2]}
        | more
        for i in range(count)
    ]


@pytest.fixture
def data(tmp_path):
    def write(found: list[dict[str, str]]) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
        return str(path)

    return write


def settings(models: dict[str, str], data: str, **more) -> dict:
    teachers = {name: models[name] for name in ("even", "odd")}
    return {"model": models["policy"], "data": data, "teachers": teachers, "teacher_by": "subject"} | {
        "max_new_tokens": 5,
        "device": "cpu",
        **more,
    }


def direct(folder: str, batch: Batch) -> torch.Tensor:
    """[A] log-probs of the actions, by the model's own forward pass."""
    model, _ = load_policy(folder)
    found = []
    for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
        with torch.no_grad():
            logp = model(batch.token[None, start:end]).logits[0].log_softmax(-1)
        given = logp[:-1].gather(-1, batch.token[start + 1 : end, None])[:, 0]
        found.append(given[batch.is_action[start + 1 : end]])
    return torch.cat(found)


def check_scores(run, batch: Batch, models: dict[str, str]) -> None:
    """Each answer has the numbers of the teacher that its question's first number names."""
    found = run.host.score(batch, [Ask("teacher", "logp", "teacher_logp")])["teacher_logp"][batch.is_action]
    expected = {name: direct(models[name], batch) for name in ("even", "odd")}
    assert float((expected["even"] - expected["odd"]).abs().min()) > 1e-4
    sequence = torch.repeat_interleave(torch.arange(batch.num_sequences), batch.lengths)[batch.is_action]
    seen = set()
    for number, start in enumerate(batch.offset[:-1].tolist()):
        until_plus = bytes(batch.token[start : start + 3].tolist()).split(b"+")[0]
        name = ("odd", "even")[int(until_plus) % 2]
        seen.add(name)
        assert torch.allclose(found[sequence == number], expected[name][sequence == number], atol=1e-5)
    assert seen == {"even", "odd"}


def test_answers_that_are_written_are_scored_by_their_row_s_teacher(models, data):
    config = changed(recipe("opd"), settings(models, data(rows()), prompts_per_step=8, samples_per_prompt=2))
    with build(config) as run:
        check_scores(run, run.source.next().batch, models)


@pytest.mark.parametrize("name", ["distill_logits", "gkd"])
def test_given_and_written_answers(name, models, data):
    config = changed(recipe(name), settings(models, data(rows()), rows_per_step=8, prompts_per_step=8))
    with build_given(config) as run:
        steps = [run.source.next() for _ in range(2)]
        assert [bool(step.graded) for step in steps] == [name == "gkd", False]
        for step in steps:
            check_scores(run, step.batch, models)
        check_scores(run, run.measure.args[0], models)  # the held-out rows


FULL = {"advantage.credit": None, "objective.policy.loss": {"kind": "distill", "divergence": "reverse"}}


@pytest.mark.parametrize("name", ["opd", "full", "gkd", "distill_logits"])
def test_a_run_that_stops_and_goes_on(name, models, data, tmp_path):
    """Its weights are those of a run that does not stop, bit for bit; memory settings change rounding."""
    given = settings(models, data(rows()), prompts_per_step=4, heldout=3, save_every=2, threads=1)
    given |= {"report_questions": 0} if name in ("opd", "full") else {"rows_per_step": 4}
    given |= FULL if name == "full" else {}
    started = "opd" if name == "full" else name
    prints = []
    for run, first in (("whole", 4), ("parts", 2)):
        train(started, **given, out=str(tmp_path / run), steps=first)
        if first < 4:
            resume(tmp_path / run, {"steps": 4}, terminal)
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        prints.append([json.loads(line)["fingerprint"] for line in lines])
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 4


def test_rows_of_a_task_belong_to_the_teacher_of_its_name(models, data):
    more = {"task": "chain_sum", "teacher_by": "teacher", "prompts_per_step": 2}
    teachers = {"other_task": models["odd"], "chain_sum": models["even"]}
    given = settings(models, "", **more) | {"data": None, "teachers": teachers}
    with build(changed(recipe("opd"), given)) as run:
        batch = run.source.next().batch
        assert batch.teacher is not None
        assert batch.teacher.tolist() == [1] * batch.num_sequences
    wrong = given | {"teachers": {"sums": models["odd"]}}
    sentence = r"belongs to the teacher 'chain_sum' \(the task\), and there are sums; add teachers.chain_sum="
    with pytest.raises(UserError, match=sentence), build(changed(recipe("opd"), wrong)):
        pass


def test_memory_counts_every_teacher_once(models):
    policy, teacher = size_of_model(models["policy"]), size_of_model(models["even"])
    assert policy is not None
    assert teacher is not None
    several = {"a": models["even"], "b": models["even"], "c": "start"}
    config = changed(recipe("opd"), {"model": models["policy"], "teachers": several})
    assert own_process(Needs.of(config), policy)["teacher"] == 4 * (teacher.parameters + policy.parameters)
    one = changed(recipe("self_distill"), {"teacher": "policy"})
    assert "teacher" not in own_process(Needs.of(one), policy)


# What is refused


@pytest.mark.parametrize("name", ["opd", "distill_logits"])
@pytest.mark.parametrize(
    ("more", "column", "sentence"),
    [
        (
            {"subject": "law"},
            "subject",
            r"belongs to the teacher 'law' \('subject'\), and there are even, odd",
        ),
        ({}, "topic", r"has no column 'topic', which says which of the teachers scores it; .* teacher_by="),
    ],
)
def test_rows_without_a_teacher(name, more, column, sentence, models, data):
    config = changed(recipe(name), settings(models, data(rows(**more)), teacher_by=column))
    with pytest.raises(UserError, match=sentence), (build if name == "opd" else build_given)(config):
        pass


def test_rows_without_a_teacher_may_be_left_out(models, data):
    found = [*rows(), *rows(4, subject="law", question="9+9=")]
    said: list[str] = []
    config = changed(recipe("distill_logits"), settings(models, data(found), on_bad="skip"))
    with build_given(config, said.append):
        pass
    assert any(
        sentence.startswith("4 of") and "rows are left out: unreadable" in sentence for sentence in said
    )


def test_one_of_the_teachers_has_other_tokens(models, data):
    given = settings(models, data(rows())) | {"teachers": {"even": models["even"], "odd": models["other"]}}
    sentence = rf"the teacher {models['other']} has another vocabulary than the policy"
    with pytest.raises(UserError, match=sentence), build(changed(recipe("opd"), given)):
        pass


def test_a_teacher_that_no_row_names(models, data):
    teachers = dict.fromkeys(("even", "odd", "law"), models["odd"])
    said: list[str] = []
    given = settings(models, data(rows()), prompts_per_step=2) | {"teachers": teachers}
    with build(changed(recipe("opd"), given), said.append):
        pass
    assert any("no row belongs to the teacher law;" in sentence for sentence in said)
    both = Models(teachers={"a": "x", "b": "y", "c": "z"})
    assert unused(both, {1}).startswith("no row belongs to the teacher a (nor to c); its weights")
    assert unused(both, {0, 1, 2}) == ""


def test_another_teacher_under_the_same_name(models, data, tmp_path):
    given = settings(models, data(rows()), out=str(tmp_path / "run"), steps=1, rows_per_step=4)
    train("distill_logits", **given)
    export(tiny_model("qwen3", 9), tiny_tokenizer(), Path(models["odd"]))
    with pytest.raises(UserError, match="the weights of one of the teachers changed since the run began"):
        resume(tmp_path / "run", {"steps": 2}, terminal)
    export(tiny_model("qwen3", 4), tiny_tokenizer(), Path(models["odd"]))


def test_one_teacher_and_several():
    with pytest.raises(UserError, match="teacher and teachers are both given"):
        changed(recipe("opd"), {"teacher": "a", "teachers.b": "c"})
    assert changed(recipe("opd"), {"teachers.b": "c"}).models.teachers == {"b": "c"}
