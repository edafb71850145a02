"""Runs that put written answers beside given ones: what stands there, what they learn, how they go on."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.given import build_given
from menon.assembly.run import resume
from menon.config import changed
from menon.engines.hf_models import export, load_policy
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.update.host import Ask
from menon.update.protocols import Head

HEAD = {"head": "reward", "objective.policy.loss": {"kind": "energy_nce", "energy": "head"}}


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3"), tiny_tokenizer(), path)
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Answers that a model of random weights hardly writes."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [{"question": f"{i}+1=", "completion": f" {i + 1}."} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(folder: Path, data: Path, **more) -> dict:
    own = {"model": str(folder), "data": str(data), "rows_per_step": 8, "learning_rate": 1e-3}
    return {**own, "device": "cpu", "save_every": 1, "source.max_new_tokens": 12, "moves": 2, **more}


def built(name: str, folder: Path, data: Path, **more):
    return build_given(changed(recipe(name), settings(folder, data, **more)))


def texts(batch) -> list[str]:
    rows = torch.tensor_split(batch.token, batch.offset[1:-1])
    return [bytes(t for t in row.tolist() if t < 256).decode(errors="replace") for row in rows]


def test_new_answers_of_the_reference_stand_beside_given_ones(folder, data):
    with built("energy_nce", folder, data) as run:
        one, two = run.source.next().batch, run.source.next().batch
        held = run.measure.args[0]
        measured = run.measure()
    assert (measured["energy/data"], measured["energy/reference"]) == (0, 0)
    assert measured["rows"] == 3
    assert run.header["step"] == "8 examples, each beside a written answer, learning rate 0.001"
    assert one.acc.tolist() == [1, 0] * 8
    asked = [text[: text.index("=") + 1] for text in texts(one)]
    assert asked[::2] == asked[1::2]
    assert all(text.endswith(".") for text in texts(one)[::2])
    assert int(one.action_lengths.max()) <= 12
    written = [text.removeprefix(start) for text, start in zip(texts(one)[1::2], asked[::2], strict=True)]
    assert len(set(written)) > 4
    assert set(texts(held)[::2]).isdisjoint(texts(one)[::2] + texts(two)[::2])
    assert held.acc.tolist() == [1, 0] * 3


def test_chains_begin_at_given_answers_and_take_what_scores_high(folder, data):
    """After 40 moves the states of the chains score well above the answers that the reference writes, and a
    chain whose proposals all score lower by far stays at the given answer."""
    with built("contrastive_divergence", folder, data, moves=40) as run:
        policy = run.host.models["policy"]
        torch.nn.init.normal_(
            policy.heads["reward"].weight, std=3.0, generator=torch.Generator().manual_seed(0)
        )
        need = Ask("policy", Head("reward", "after"))
        batch = run.source.next().batch
        score = run.host.score(batch, [need])["reward_after"][batch.offset[1:] - 1]
        held = run.measure.args[0]
        new = run.host.score(held, [need])["reward_after"][held.offset[1:] - 1]
    chain, reference = score[1::2], new[1::2]
    assert float(chain.mean()) > float(reference.mean()) + float(reference.std())


@pytest.mark.parametrize("name", ["energy_nce", "contrastive_divergence"])
def test_a_stopped_run_goes_on_bit_for_bit(name, folder, data, tmp_path):
    """The chains too: every row comes again within the four steps."""
    whole = train(name, steps=6, out=str(tmp_path / "whole"), **settings(folder, data))
    train(name, steps=4, out=str(tmp_path / "cut"), **settings(folder, data))
    again = resume(tmp_path / "cut", {"steps": 6}, terminal)
    assert again["after"] == whole["after"]
    one, other = (
        load_file(tmp_path / run / "checkpoints" / "latest" / "model.safetensors") for run in ("whole", "cut")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_score_learns_to_tell_given_answers_from_written_ones(folder, data, tmp_path):
    more = settings(folder, data, learning_rate=1e-2)
    chains = train("contrastive_divergence", steps=8, out=str(tmp_path / "chains"), **more)
    assert chains["before"]["pairs/margin"] == 0
    assert chains["after"]["pairs/margin"] > 0.05
    nce = train("energy_nce", steps=8, out=str(tmp_path / "nce"), **more, **HEAD)
    assert nce["before"]["energy/accuracy"] == 0.5
    assert nce["after"]["energy/accuracy"] > 0.9
    for run in ("chains", "nce"):
        weights = load_file(tmp_path / run / "checkpoints" / "latest" / "model.safetensors")
        assert weights["score.weight"].abs().max() > 0


def test_a_policy_becomes_the_distribution_of_given_answers(folder, data, tmp_path):
    """Its log-prob of held-out answers rises by nats."""
    more = settings(folder, data, learning_rate=1e-2)
    train("energy_nce", steps=12, out=str(tmp_path / "run"), **more)
    with built("energy_nce", folder, data) as run:
        held = run.measure.args[0]
        before = run.host.score(held, [Ask("policy", "logp")])["logp"]
        run.host.load(tmp_path / "run" / "checkpoints" / "latest")
        after = run.host.score(held, [Ask("policy", "logp")])["logp"]
    given = torch.repeat_interleave(held.acc == 1, held.offset.diff())
    assert float((after - before)[given].sum()) / 3 > 2
    assert math.isfinite(float(after.sum()))
    load_policy(tmp_path / "run" / "checkpoints" / "latest")


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("energy_nce", {"reference_update": "hard_reset"}, "a reference that stays as it is"),
        ("energy_nce", {"reference": "none"}, "compares with a reference, and this run has none"),
        (
            "contrastive_divergence",
            {"reference": "none"},
            "are written by the reference, and this run has none",
        ),
        (
            "energy_nce",
            {"negatives": "chains"},
            "draws by the score of the policy's head; set head=reward",
        ),
        ("contrastive_divergence", {"source.max_new_tokens": 2}, "given answers are longer than 2 tokens"),
        ("contrastive_divergence", {"negatives": "none"}, "learns from pairs, and this run has none"),
        ("energy_nce", {"rows.form": "labelled"}, "puts another answer beside each whole given one"),
        ("energy_nce", {"train_on_prompt": True}, "leave truncate, train_on_prompt and written_share out"),
        ("energy_nce", {"moves": 0}, "moves is 0"),
    ],
)
def test_what_is_refused(name, more, words, folder, data):
    with pytest.raises(UserError) as error, built(name, folder, data, **more):
        pass
    assert words in str(error.value)
