"""A teacher that is the policy: as it was, as it is, or a moving average; what it reads of a step's answers,
in numbers of its own forward pass."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.hints import StepHints
from menon.assembly.run import resume
from menon.batch import pack
from menon.config import changed
from menon.engines.hf_models import export, load_policy
from menon.engines.reprompted import Reprompted
from menon.errors import UserError
from menon.loss import Distill
from menon.prompts.sources import BadRow
from menon.python import train
from menon.recipes import recipe
from menon.record.reader import RunView
from menon.report.terminal import terminal
from menon.select import Hinted
from menon.source.protocols import Gathered
from menon.types import Graded, Prompt, Rollout, Verdict
from menon.update.host import Ask

END = 256


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("policy")
    export(tiny_model("qwen3", 0), tiny_tokenizer(), path)
    return str(path)


@pytest.fixture
def data(tmp_path) -> str:
    path = tmp_path / "rows.jsonl"
    rows = [{"question": f"{i}+2=", "answer": str(i + 2)} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


RULE = """
def score(completion, completion_ids, **_):
    right = float(sum(completion_ids) % 2)
    return {"score": right, "acc": right, "feedback": f"begins with {completion[:1]}"}
"""
"""A resumed run needs a reward with a name."""


def graded_by_tokens() -> Callable[..., dict]:
    """Gives a random model's answers 0 and 1 about equally, but for questions of which none is right; some of
    the wrong ones get feedback. (A closure runs in this process.)"""

    def score(prompt: str, completion: str, answer: str, completion_ids: list[int]) -> dict:
        right = float(sum(completion_ids) % 2 and int(answer) % 3 > 0)
        said = f"ends in {completion_ids[-1]}" if not right and completion_ids[0] % 2 else ""
        return {"score": right, "acc": right, "feedback": said}

    return score


def settings(policy: str, data: str, **more) -> dict:
    return {
        "model": policy,
        "data": data,
        "reward": graded_by_tokens(),
        "max_new_tokens": 4,
        "heldout": 2,
    } | {
        "prompts_per_step": 6,
        "samples_per_prompt": 4,
        "device": "cpu",
        "threads": 1,
        "report_questions": 0,
        **more,
    }


TEXTS = ["{q}? {right_answer}.{q}", "{q}! {feedback} {q}"]


def text_of(tokens: np.ndarray) -> str:
    return "".join(chr(token) for token in tokens.tolist() if token < END)


def expected_hint(graded: Graded, group: list[Graded]) -> str | None:
    """The text that SDPO's rule gives an answer: another right one of its group, or its feedback."""
    question, own = graded.rollout.prompt.text, graded.rollout.text
    right = [g.rollout.text for g in group if g.verdict.acc == 1 and g.rollout.text != own]
    right = [text for text in right[:1] if text.strip()]
    if right:
        return f"{question}? {right[0].strip()}.{question}"
    if graded.verdict.feedback:
        return f"{question}! {graded.verdict.feedback} {question}"
    return None


def test_the_teacher_reads_right_answers_and_feedback_of_the_step(policy, data):
    """Its log-probs and divergences are those of the model's own forward pass on the hinted prompt."""
    config = changed(recipe("sdpo"), settings(policy, data, teacher_question=TEXTS))
    with build(config) as run:
        for _ in range(2):  # the second step's hints take the place of the first one's
            step = run.source.next()
        batch, part = step.batch, Distill("jsd", top_k=100)
        (need,) = part.needs
        found = run.host.score(
            batch, [Ask("teacher", "logp", "teacher_logp"), Ask("policy", need, "divergence")]
        )
    model, _ = load_policy(policy)
    kinds = set()
    for place, graded in enumerate(step.graded):
        group = [g for g in step.graded if g.rollout.group == graded.rollout.group]
        hint = expected_hint(graded, group)
        assert batch.hinted is not None
        assert bool(batch.hinted[place]) == (hint is not None)
        kinds.add("none" if hint is None else "feedback" if "!" in hint else "right")
        prompt = graded.rollout.prompt.text if hint is None else hint
        answer = graded.rollout.answer_tokens
        rows = slice(int(batch.offset[place + 1]) - len(answer), int(batch.offset[place + 1]))
        teacher, own = (logits(model, text, answer) for text in (prompt, graded.rollout.prompt.text))
        logp = teacher.log_softmax(-1).gather(-1, torch.tensor(answer.tolist())[:, None])[:, 0]
        assert torch.allclose(found["teacher_logp"][rows], logp, atol=1e-5)
        assert torch.allclose(found["divergence"][rows], part.between(own, teacher), atol=1e-5)
    assert kinds == {"none", "feedback", "right"}
    share = float(step.metrics["teacher/hinted"])
    assert share == pytest.approx(float(batch.hinted.float().mean()))
    assert Hinted()(batch).sum() == sum(
        len(g.rollout.answer_tokens) for g, has in zip(step.graded, batch.hinted.tolist(), strict=True) if has
    )


def logits(model, prompt: str, answer: np.ndarray) -> torch.Tensor:
    """[T, V] what predicts the answer's tokens after a prompt."""
    before = np.frombuffer(prompt.encode(), np.uint8).astype(np.int64)
    with torch.no_grad():
        every = model(torch.tensor([[*before.tolist(), *answer.tolist()]])).logits[0]
    return every[len(before) - 1 : -1]


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_the_teacher_follows_the_policy(rate, policy, data):
    """After a step it is rate policy + (1 - rate) teacher, weight by weight."""
    config = changed(recipe("sdpo"), settings(policy, data, teacher_rate=rate))
    with build(config) as run:
        start = {name: w.clone() for name, w in run.host.models["teacher"].weights().items()}
        after = learn_once(run)
        for name, weight in run.host.models["teacher"].weights().items():
            assert torch.allclose(weight, start[name].lerp(after[name], rate), atol=1e-7)
        assert any(not torch.equal(weight, start[name]) for name, weight in after.items())


def test_the_teacher_is_the_policy_as_it_is(policy, data):
    """It reads the hint with the weights that the last step left."""
    config = changed(recipe("self_distill"), settings(policy, data, teacher="policy"))
    with build(config) as run:
        learn_once(run)
        batch = run.source.next().batch
        found = run.host.score(batch, [Ask("teacher", "logp", "teacher_logp")])["teacher_logp"]
        other = run.host.models["teacher"].reprompted(batch)
        expected = run.host.score(other, [Ask("policy", "logp")])["logp"]
        assert torch.equal(found[batch.is_action], expected[other.is_action])
        moved = run.host.models["policy"].weights()
        fresh = dict(load_policy(policy)[0].named_parameters())
        assert any(not torch.equal(moved[name], weight) for name, weight in fresh.items())


def learn_once(run) -> dict[str, torch.Tensor]:
    """One step; the policy's weights after it."""
    from menon.record.clock import Clock
    from menon.step import improve

    improve(1, run.source.next(), run.plan, run.host, run.plan.initial_state(), Clock())
    return {name: w.clone() for name, w in run.host.models["policy"].weights().items()}


@pytest.mark.parametrize(
    "more",
    [
        {"recipe": "sdpo", "teacher_question": TEXTS},
        {"recipe": "sdpo", "teacher": "policy", "teacher_rate": 0},
        {"recipe": "self_distill", "teacher_rate": 0.5},
    ],
    ids=repr,
)
def test_a_run_that_stops_and_goes_on(more, policy, data, tmp_path):
    """Its weights are those of a run that does not stop, bit for bit; a moving teacher is saved with it."""
    more = dict(more)
    given = settings(policy, data, save_every=2, reward=f"{tmp_path}/rule.py:score", **more)
    (tmp_path / "rule.py").write_text(RULE)
    name = given.pop("recipe")
    prints = []
    for run, first in (("whole", 4), ("parts", 2)):
        train(name, **given, out=str(tmp_path / run), steps=first)
        if first < 4:
            resume(tmp_path / run, {"steps": 4}, terminal)
        prints.append([line["fingerprint"] for line in metrics_of(tmp_path / run)])
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 4


def test_a_run_that_is_written_beside_goes_on_with_the_same_questions(policy, data, tmp_path):
    """What was lost with the first session is asked again, by the newest weights."""
    (tmp_path / "rule.py").write_text(RULE)
    given = settings(policy, data, reward=f"{tmp_path}/rule.py:score", save_every=2, staleness=1)
    given |= {"teacher_question": TEXTS, "steps": 4}
    asked = []
    for name, first in (("whole", 4), ("parts", 2)):
        train("sdpo", **{**given, "steps": first}, out=str(tmp_path / name))
        if first < 4:
            resume(tmp_path / name, {"steps": 4}, terminal)
        view = RunView.open(tmp_path / name)
        asked.append([row["prompt_index"] for step in range(1, 5) for row in view.transcripts.rows(step)])
    assert asked[0] == asked[1]


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_with_a_reward_in_one_objective(policy, data, tmp_path):
    """GRPO learns from every answer, the teacher's term from those with a hint."""
    more = {"advantage.credit": "grpo", "objective.policy": {"loss": "ppo_clip"}, "teacher_question": TEXTS}
    train("sdpo", **settings(policy, data, out=str(tmp_path / "run"), steps=2, record="full", **more))
    for line in metrics_of(tmp_path / "run"):
        assert 0 < line["teacher/hinted"] < 1
        assert line["loss/teacher"] > 0
        assert line["teacher/no_room"] == 0


# The hints of a step, by hand


def graded(answer: str, acc: float = 0.0, feedback: str = "", index: int = 0, before: str = "") -> Graded:
    prompt, given = tokens(f"q{index}"), tokens(before)
    written = tokens(answer)
    zeros = np.zeros(len(prompt) + len(given) + len(written), np.float32)
    rollout = Rollout(
        Prompt(index, prompt, f"q{index}", "7", {"question": f"q{index}"}),
        np.concatenate([prompt, given, written]),
        np.array([False] * (len(prompt) + len(given)) + [True] * len(written)),
        zeros,
        None,
        None,
        zeros.astype(np.int32),
        "stop",
        before + answer,
        group=index,
    )
    return Graded(rollout, Verdict(acc, acc, feedback=feedback))


def tokens(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def told(answers: list[Graded], context: int = 100, texts: tuple[str, ...] = tuple(TEXTS)):
    """What the teacher reads of each answer, and the step."""
    teacher = Reprompted(None, {})  # type: ignore[arg-type]  # nothing is scored

    def encode(row):
        if "bad" in row["question"]:
            raise BadRow("cannot be read")
        return tokens(row["question"])

    step = StepHints(texts, teacher, encode, context)(Gathered(pack(answers), tuple(answers)))
    read = [text_of(teacher.answers[g.rollout.tokens.astype(np.int32).tobytes()]) for g in answers]
    assert step.batch.hinted is not None
    return read, step.batch.hinted.tolist(), step.metrics


def test_no_answer_is_its_own_demonstration():
    read, hinted, _ = told([graded("no"), graded("a", 1), graded("a", 1), graded("b", 1, index=1)])
    assert read == ["q0? a.q0", "q0", "q0", "q1"]
    assert hinted == [True, False, False, False]
    read, hinted, _ = told([graded("a", 1), graded("b", 1)])
    assert read == ["q0? b.q0", "q0? a.q0"]


def test_feedback_where_no_answer_is_right_and_thoughts_left_out():
    read, _, _ = told([graded("no", feedback="off by 1"), graded("maybe")])
    assert read == ["q0! off by 1 q0", "q0"]
    read, _, _ = told([graded("no", feedback="off by 1"), graded("<think>long</think> 7 ", 1)])
    assert read[0] == "q0? 7.q0"
    read, hinted, _ = told([graded("no"), graded("<think>never closed", 1)])
    assert (read[0], hinted[0]) == ("q0", False)


def test_hints_that_do_not_fit_or_cannot_be_read():
    """8 tokens of the hint "q0? a.q0" and 2 of the answer "no"."""
    answers = [graded("no"), graded("a", 1)]
    for context, hinted in ((10, True), (9, False)):
        read, has, metrics = told(answers, context)
        assert has == [hinted, False]
        assert read[0] == ("q0? a.q0" if hinted else "q0")
        assert float(metrics["teacher/no_room"]) == (not hinted)
    assert told([graded("no"), graded("bad", 1)])[1] == [False, False]


def test_a_text_for_every_answer_and_a_beginning_that_was_given():
    texts = ("{q}? {right_answer}", "{q} is {answer}")
    read, hinted, _ = told([graded("no"), graded("a", 1)], texts=texts)
    assert (read, hinted) == (["q0? a", "q0 is 7"], [True, True])
    read, _, _ = told([graded("no", before="so "), graded("a", 1)], texts=texts)
    assert read[0] == "q0? aso "


# What is refused


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("self_distill", {"teacher": "policy", "teacher_question": None}, "teacher=policy reads what the"),
        ("opd", {"teacher": "policy"}, "reads what the policy reads and says what it says; set teacher_que"),
        ("opd", {"teacher": "x", "teacher_rate": 0.1}, "must begin as the policy; set teacher=start"),
        ("sdpo", {"teacher_rate": 1.5}, r"teacher_rate is 1\.5; it is a share of the policy, 0 to 1"),
        (
            "sdpo",
            {"teacher_question": ["{q} {answer}", "{q} {feedback}"]},
            "text 1 of teacher_question",
        ),
        ("sdpo", {"teacher_question": "{q} {answer}"}, r"holds neither \{right_answer\} nor \{feedback\}"),
        ("sdpo", {"teacher_question": ["{q} {feedback}", "hint"]}, r"has no \{q\}"),
    ],
)
def test_what_cannot_be(name, change, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(recipe(name), change)


def test_a_column_that_rows_lack_is_said_before_the_run(policy, data):
    config = changed(recipe("sdpo"), settings(policy, data, teacher_question="{q} {right_answer} {clue}"))
    with pytest.raises(UserError, match=r"puts in \{clue\}, and the row of .* has no such"), build(config):
        pass


def test_a_reward_that_does_not_say_what_is_right(policy, data, tmp_path):
    given = settings(policy, data, steps=1, out=str(tmp_path / "run")) | {
        "reward": lambda completion, **_: 0.3
    }
    with pytest.raises(UserError, match="teacher_question needs to know which answers are right"):
        train("sdpo", **given)
