"""Runs on given text: what they learn, measure, leave out, and go on with."""

import json
import math
from pathlib import Path

import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.given import build_given
from menon.assembly.run import resume
from menon.batch import Batch
from menon.cli import main
from menon.config import changed
from menon.engines.hf_models import export, load_policy
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.record.reader import RunView
from menon.report.terminal import terminal
from tiny_run import models_of


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3"), tiny_tokenizer(), path)
    return path


def sums(path: Path, count: int = 40) -> Path:
    rows = [{"question": f"{i}+1=", "completion": f" {i + 1}"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(path: Path, count: int = 40) -> Path:
    rows = [{"prompt": f"{i}+1=", "chosen": f" {i + 1}", "rejected": f" {i}?"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def log_probs(folder: Path, batch: Batch) -> torch.Tensor:
    """[N] the log-prob of each token, 0 for the first ones, by the model's own forward pass."""
    model, _ = load_policy(folder)
    found = torch.zeros(batch.num_tokens)
    for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
        ids = batch.token[start:end]
        with torch.no_grad():
            logp = model(ids[None]).logits[0].log_softmax(-1)
        found[start + 1 : end] = logp[:-1].gather(1, ids[1:, None])[:, 0]
    return found


def go_on(run: Path, **changes) -> dict:
    return resume(run, changes, terminal)


def settings(folder: Path, data: Path, **more) -> dict:
    return {"model": str(folder), "device": "cpu", "data": str(data), "rows_per_step": 4, **more}


def test_a_step_and_the_held_out_loss(folder, tmp_path):
    config = changed(recipe("sft"), settings(folder, sums(tmp_path / "sums.jsonl")))
    with build_given(config) as run:
        batch = run.source.next().batch
        held = run.measure.args[0]
        measured = run.measure()
    assert (batch.num_sequences, held.num_sequences) == (4, 4)
    asked = bytes(batch.token[: int(batch.offset[1])].tolist()[:-1]).decode()
    assert asked[: asked.index("=") + 1].endswith("+1=")
    assert bytes(batch.token[batch.is_action].tolist()[:2]).decode().startswith(" ")
    logp = log_probs(folder, held)[held.is_action]
    assert measured["nll"] == pytest.approx(-float(logp.mean()), rel=1e-5)
    assert measured["rows"] == 4
    assert run.header["data"].endswith("36 examples; all are seen in 9 steps")


def test_pairs_start_at_their_reference(folder, tmp_path):
    config = changed(recipe("dpo"), settings(folder, pairs(tmp_path / "pairs.jsonl")))
    with build_given(config) as run:
        batch = run.source.next().batch
        measured = run.measure()
        assert set(models_of(run)) == {"policy", "reference"}
    assert batch.pair.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.acc.tolist() == [1, 0] * 4
    assert measured["rows"] == 4


def test_a_run_from_python_and_its_resume(folder, tmp_path):
    """The weights of a run that stops and goes on are those of one that does not, bit for bit."""
    data = sums(tmp_path / "sums.jsonl")
    more = {"learning_rate": 1e-2, "save_every": 1, "heldout": 3}
    whole = train("sft", steps=4, out=str(tmp_path / "whole"), **settings(folder, data, **more))
    train("sft", steps=2, out=str(tmp_path / "cut"), **settings(folder, data, **more))
    again = go_on(tmp_path / "cut", steps=4)
    assert whole["after"]["nll"] < whole["before"]["nll"]
    assert again["after"] == whole["after"]
    first, second = (
        [json.loads(line)["fingerprint"] for line in (tmp_path / name / "metrics.jsonl").open()]
        for name in ("whole", "cut")
    )
    assert first == second
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "held-out rows the loss went from" in page
    assert "Loss on given text" in page
    assert "How far from the start" not in page


def test_questions_may_be_asked_before_and_after(folder, tmp_path):
    data = sums(tmp_path / "sums.jsonl")
    asked = {"task": "chain_sum", "source.heldout": 5, "report_questions": 0, "max_new_tokens": 4}
    report = train("sft", steps=1, out=str(tmp_path / "run"), **settings(folder, data, **asked))
    assert {"nll", "accuracy", "mean_length"} <= report["after"].keys()
    assert report["after"]["n"] == 5


def test_what_is_left_out_is_counted_in_the_report(folder, tmp_path):
    """Of twenty rows every second has a safe answer and every fourth two: 15 answers, seven of rows 10 to
    18."""
    rows = [
        {
            "prompt": f"{i}+1=",
            "response_0": f" {i + 1}",
            "response_1": " no",
            "is_response_0_safe": i % 2 == 0,
            "is_response_1_safe": i % 4 == 0,
        }
        for i in range(20)
    ]
    data = tmp_path / "safe.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "x"}]))
    more = {"drop": ["unsafe"], "on_bad": "skip", "max_tokens": 8}  # "10+1= 11" and the end are 9
    report = train("sft", steps=1, out=str(tmp_path / "run"), **settings(folder, data, **more))
    assert report["left_out"] == {
        "unsafe answers": 25,
        "rows that cannot be used": 1,
        "longer than 8 tokens": 7,
    }
    text = (tmp_path / "run" / "report.md").read_text()
    assert "Left out (unsafe answers: 25; rows that cannot be used: 1; longer than 8 tokens: 7)." in text


def test_rows_of_other_data_do_not_go_on(folder, tmp_path):
    data = sums(tmp_path / "sums.jsonl")
    train("sft", steps=1, out=str(tmp_path / "run"), **settings(folder, data, save_every=1))
    sums(data, 41)
    with pytest.raises(UserError, match="the rows are not those that this run began with"):
        go_on(tmp_path / "run", steps=2)


def test_what_is_refused(folder, tmp_path):
    data = sums(tmp_path / "sums.jsonl")
    with pytest.raises(UserError, match="learns from given text and has none; set data=FILE"):
        train("sft", model=str(folder), out=str(tmp_path / "a"))
    with pytest.raises(UserError, match="learns from pairs, and this run has none"):
        changed(recipe("sft"), {"objective": {"nll": {"loss": "dpo", "share": "pair_mean"}}})
    with pytest.raises(UserError, match="compares with a reference, and this run has none"):
        changed(recipe("dpo"), {"reference": "none"})
    with pytest.raises(UserError, match="asks one question only"):
        train("sft", **settings(folder, sums(tmp_path / "one.jsonl", 1)), out=str(tmp_path / "b"))
    with pytest.raises(UserError, match="rows are longer than 3 tokens; raise max_tokens"):
        train("sft", **settings(folder, data, max_tokens=3), out=str(tmp_path / "c"))


def test_a_teacher_of_another_vocabulary(folder, tmp_path):
    config = changed(recipe("sft"), settings(folder, sums(tmp_path / "sums.jsonl"), teacher="base"))
    with pytest.raises(UserError, match="has another vocabulary than the policy"):
        build_given(config).__enter__()


def clear(path: Path, count: int = 40) -> Path:
    """Pairs that can be told apart without the question."""
    rows = [{"prompt": f"{i}+1=", "chosen": f" {i + 1}", "rejected": " no"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labelled(path: Path, count: int = 40) -> Path:
    answers = ((f" {i + 1}" if i % 2 else " no") for i in range(count))
    rows = [{"prompt": f"{i}+1=", "completion": a, "label": bool(i % 2)} for i, a in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("loss", "at_start"),
    [
        ("dpo", math.log(2)),
        ("cdpo", math.log(2)),
        ("robust_dpo", math.log(2)),
        ("ipo", (1 / (2 * 0.1)) ** 2),
        ("slic", 1),
        ("kto", 0.5),
    ],
)
def test_losses_with_a_reference(loss, at_start, folder, tmp_path):
    """At the start the policy is its reference: every log-ratio is 0, and so the loss is known."""
    own = settings(folder, clear(tmp_path / "pairs.jsonl"), learning_rate=1e-2)
    out = tmp_path / "run"
    report = train("dpo", steps=2, out=str(out), **own, **{"objective.policy.loss": loss})
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert lines[0]["loss/policy"] == pytest.approx(at_start, rel=1e-5)
    assert lines[1]["loss/policy"] != pytest.approx(at_start, rel=1e-5)
    assert report["before"]["pairs/chosen_reward"] == pytest.approx(0, abs=1e-5)
    after = report["after"]
    assert after["pairs/chosen_reward"] > after["pairs/rejected_reward"]


@pytest.mark.parametrize("loss", ["simpo", "cpo", "orpo"])
def test_losses_without_a_reference(loss, folder, tmp_path):
    own = settings(folder, clear(tmp_path / "pairs.jsonl"), learning_rate=1e-2, reference="none")
    config = changed(recipe("dpo"), {**own, "objective.policy.loss": loss})
    with build_given(config) as run:
        assert set(models_of(run)) == {"policy"}
    report = train("dpo", steps=2, out=str(tmp_path / "run"), **own, **{"objective.policy.loss": loss})
    assert report["after"]["pairs/margin"] > report["before"]["pairs/margin"]


def test_kto_learns_from_labels(folder, tmp_path):
    own = settings(folder, labelled(tmp_path / "rows.jsonl"), learning_rate=1e-2)
    kto = {"objective.policy.loss": "kto", "rows.form": "labelled"}
    report = train("dpo", steps=4, evaluate_every=1, out=str(tmp_path / "run"), **own, **kto)
    view = RunView.open(tmp_path / "run")
    accuracies = {line["step"]: line["kto/accuracy"] for line in view.evaluations}
    assert accuracies[0] == 0.5
    assert accuracies[4] >= 0.7
    assert view.best() == max(range(1, 5), key=lambda step: accuracies[step])
    assert report["before"]["kto/desirable"] == pytest.approx(report["after"]["kto/desirable"])
    before, after = (report[when] for when in ("before", "after"))
    gap = [numbers["pairs/chosen_reward"] - numbers["pairs/rejected_reward"] for numbers in (before, after)]
    assert gap[0] == pytest.approx(0, abs=1e-5)
    assert gap[1] > 0.01


def test_what_preference_losses_are_refused(folder, tmp_path):
    def refused(sentence: str, **more) -> None:
        with pytest.raises(UserError, match=sentence):
            changed(recipe("dpo"), {name.replace("__", "."): value for name, value in more.items()})

    refused("learns from pairs, and this run has none", rows__form="labelled")
    refused(
        "compares with a reference, and this run has none", objective__policy__loss="ipo", reference="none"
    )
    refused(
        "set objective.policy.share=sequence_mean", objective__policy={"loss": "kto", "share": "pair_mean"}
    )


def test_the_dry_run_shows_what_is_learned(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    data = pairs(tmp_path / "pairs.jsonl")
    words = ["dpo", f"data={data}", f"model={folder}", "device=cpu", "threads=1", "rows_per_step=2"]
    assert main(["check", "data", *words]) == 0
    said = capsys.readouterr().out.splitlines()
    place = next(n for n, line in enumerate(said) if line.startswith("the first pair, preferred"))
    asked = said[place + 1].removeprefix("  read    | ")
    number = int(asked.removesuffix("+1="))
    assert said[place + 2].startswith(f"  learned |  {number + 1}")
    assert said[place + 5] == f"  read    | {asked}"
    assert said[place + 6].startswith(f"  learned |  {number}?")
    assert "4 held-out rows: pairs/accuracy 0.500  pairs/margin 0.000" in said


def test_runs_are_listed_by_what_they_measure(folder, tmp_path, capsys):
    train("sft", steps=1, out=str(tmp_path / "runs" / "a"), **settings(folder, sums(tmp_path / "sums.jsonl")))
    capsys.readouterr()
    assert main(["runs", str(tmp_path / "runs")]) == 0
    head, line = capsys.readouterr().out.splitlines()[:2]
    report = json.loads((tmp_path / "runs/a/report.json").read_text())
    assert "nll after" in head
    assert f"{report['before']['nll']:.3f}" in line
    assert f"{report['after']['nll']:.3f}" in line
