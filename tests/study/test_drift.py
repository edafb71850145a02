"""KL by position, against numbers worked out by hand and against the models' own logits."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.batch import Batch
from menon.engines.added_tokens import add_tokens
from menon.engines.hf_models import export, load_policy
from menon.errors import UserError
from menon.loop import loop
from menon.record.reader import RunView
from menon.record.spans import pieces_of
from menon.record.transcripts import read_transcript
from menon.study.drift import by_position, drift, text_of_tokens
from tiny_run import VOCAB, Watching, opened, tiny_run


def test_positions():
    """Answers of 2 and 1 tokens behind prompts of 1: KL .4 and .2 on the first tokens, .6 on the only second
    one."""
    batch = Batch(
        offset=torch.tensor([0, 3, 5]),
        token=torch.zeros(5, dtype=torch.int64),
        is_action=torch.tensor([False, True, True, False, True]),
        reward=torch.zeros(5),
        group=torch.zeros(2, dtype=torch.int64),
        finish=torch.zeros(2, dtype=torch.int64),
        valid=torch.ones(2, dtype=torch.bool),
        acc=torch.zeros(2),
    )
    found = by_position(batch, np.array([9.0, 0.4, 0.6, 9.0, 0.2]))
    assert found["sequence_kl"] == pytest.approx(0.6)
    assert found["first_token_kl"] == pytest.approx(0.3)
    assert found["first_token_share"] == pytest.approx(0.5)
    assert found["per_position"] == pytest.approx([0.3, 0.6])
    assert found["reach"] == [1.0, 0.5]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps, and the settings that name the model that it started from."""
    path = tmp_path_factory.mktemp("run")
    export(tiny_model(vocab=VOCAB), tiny_tokenizer(VOCAB), path / "start")
    with opened(path / "run") as folder:
        loop(tiny_run(steps=2), folder, Watching())
    return path / "run", {"model": str(path / "start"), "tokens_per_forward": 64, "device": "cpu"}


def test_against_the_models_own_logits(run):
    path, settings = run
    found = drift(RunView(path), settings)
    start, _ = load_policy(settings["model"])
    trained, _ = load_policy(path / "checkpoints" / "step_000002")
    total = first = 0.0
    rows = read_transcript(path / "evaluations" / "step_000002.parquet")
    for row in rows:
        with torch.no_grad():
            logp, other = (
                m(input_ids=torch.tensor([row["tokens"]])).logits[0, :-1].log_softmax(-1)
                for m in (trained, start)
            )
        kl = (logp.exp() * (logp - other)).sum(-1).double().numpy()[np.array(row["is_action"][1:])]
        total += kl.sum()
        first += kl[0]
    assert total > 0.01
    assert found.numbers["sequence_kl"] == pytest.approx(total / len(rows), rel=1e-4)
    assert found.numbers["first_token_kl"] == pytest.approx(first / len(rows), rel=1e-4)
    assert found.numbers["answers"] == len(rows)
    assert sum(kl for _, kl in found.after[0]) == pytest.approx(
        sum(p * r for p, r in zip(found.numbers["per_position"], found.numbers["reach"], strict=True)) * 2
        - sum(kl for _, kl in found.after[1]),
        rel=1e-6,
    )


def test_a_policy_that_has_not_moved_is_at_no_distance(run):
    path, settings = run
    found = drift(RunView(path), settings | {"model": str(path / "checkpoints" / "step_000002")})
    assert found.numbers["sequence_kl"] == 0
    assert found.numbers["first_token_share"] == 0


def test_tokens_that_the_run_has_added_are_in_the_start_too(run, tmp_path):
    """The start is read from a folder without them."""
    path, settings = run
    shutil.copytree(path, tmp_path / "run")
    start, tokenizer = load_policy(settings["model"])
    add_tokens(start, tokenizer, ["<new>"], "start")
    checkpoint = tmp_path / "run" / "checkpoints" / "step_000002"
    export(start, tokenizer, checkpoint)
    new = {**settings, "add_tokens": ["<new>"]}
    assert drift(RunView(tmp_path / "run"), new).numbers["sequence_kl"] == pytest.approx(0, abs=1e-6)


def test_marks_are_the_text_of_the_tokens(run, tmp_path):
    """As they were recorded; and decoded again where the folder does not hold them."""
    path, settings = run
    found = drift(RunView(path), settings)
    view = RunView(path)
    for step, marks in ((0, found.before), (2, found.after)):
        rows = view.answers.rows(step, ["text", "text_start", "is_action"])
        assert sorted(marks) == list(range(len(rows)))
        for number, row in enumerate(rows):
            begin = row["text_start"][row["is_action"].index(True)]
            assert "".join(text for text, _ in marks[number]) == row["text"][begin:]
        stored = [pieces_of(row["text"], row["text_start"]) for row in rows]
        batch, tokenizer = view.answers.batch(step), tiny_tokenizer(VOCAB)
        assert text_of_tokens(view, step, batch, tokenizer) == stored
        old = tmp_path / str(step) / "evaluations" / f"step_{step:06d}.parquet"
        old.parent.mkdir(parents=True)
        table = pq.read_table(view.answers.path(step)).drop_columns(["text", "text_start"])
        pq.write_table(table, old)
        assert text_of_tokens(RunView(tmp_path / str(step)), step, batch, tokenizer) == stored


def test_a_folder_without_answers(tmp_path):
    with pytest.raises(
        UserError, match="holds no answers of an evaluation before and after training; let the run go"
    ):
        drift(RunView(tmp_path), {})
