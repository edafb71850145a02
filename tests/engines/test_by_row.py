"""Several teachers: every token has the number of its row's teacher, whatever stands beside it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import tiny_model
from menon.batch import Batch, pack_examples, take
from menon.engines.by_row import ByRow
from menon.engines.in_process import InProcessHost
from menon.engines.reprompted import Reprompted, key_of
from menon.engines.torch_scorer import TorchScorer
from menon.loss import Distill
from menon.types import Example
from menon.update.host import Ask

TEACHERS = (1, 0, 1, 0)


def batch(size: int = 4) -> Batch:
    """Answers of 1 to 4 tokens after prompts of two."""
    rows = [
        Example(
            np.array([5 + i, 6, *range(1, i + 2)], dtype=np.int32),
            np.array([False, False] + [True] * (i + 1)),
            teacher=TEACHERS[i],
        )
        for i in range(size)
    ]
    return pack_examples([(row,) for row in rows])


@pytest.fixture(scope="module")
def models():
    first, second = TorchScorer(tiny_model("qwen3", 1, 20)), TorchScorer(tiny_model("qwen3", 2, 24))
    return {
        "policy": TorchScorer(tiny_model("qwen3", 0, 20)),
        "teacher": ByRow({"first": first, "second": second}, 20),
        "first": first,
        "second": second,
    }


def owned(whole: Batch, number: int) -> torch.Tensor:
    """[A] whether an action belongs to the teacher of this number."""
    lengths = whole.offset.diff()
    assert whole.teacher is not None
    return (torch.repeat_interleave(whole.teacher, lengths) == number)[whole.is_action]


def test_every_token_is_scored_by_its_own_teacher(models):
    whole = batch()
    found = models["teacher"].score(whole, ["logp", "entropy"])
    for name in ("logp", "entropy"):
        alone = [models[teacher].score(whole, [name])[name] for teacher in ("first", "second")]
        assert float((alone[0] - alone[1])[whole.is_action].abs().min()) > 1e-4
        for number in (0, 1):
            mine = owned(whole, number)
            assert torch.allclose(
                found[name][whole.is_action][mine], alone[number][whole.is_action][mine], atol=1e-6
            )
        assert not found[name][~whole.is_action].any()


def test_logits_of_any_places_in_any_order(models):
    whole = batch()
    places = whole.is_action.nonzero()[:, 0][[7, 0, 3, 9, 1]]
    found = models["teacher"].logits(whole)(places)
    mine = torch.zeros(whole.num_tokens, dtype=torch.int64)
    mine[whole.is_action] = owned(whole, 1).long()
    for number, teacher in enumerate(("first", "second")):
        here = mine[places] == number
        expected = models[teacher].logits(whole)(places)[:, :20]
        assert here.any()
        assert torch.allclose(found[here], expected[here], atol=1e-6)
    assert found.shape == (5, 20)  # padding of the second model is cut off
    assert models["teacher"].logits(whole)(places[:0]).shape == (0, 20)


def test_the_divergence_from_each_teacher(models):
    whole, part = batch(), Distill("reverse")
    (need,) = part.needs
    found = InProcessHost(models).score(whole, [Ask("policy", need)])[need.name][whole.is_action]
    places = whole.is_action.nonzero()[:, 0]
    own = models["policy"].logits(whole)(places)
    for number, teacher in enumerate(("first", "second")):
        expected = part.between(own, models[teacher].logits(whole)(places)[:, :20])
        mine = owned(whole, number)
        assert torch.allclose(found[mine], expected[mine], atol=1e-6)
        assert float(expected.min()) > 1e-3


def test_a_batch_without_the_column_and_parts_of_a_batch(models):
    """Where all sequences have the first teacher there is no column; a part keeps its rows' teachers."""
    whole = batch()
    first = replace(whole, teacher=None)
    assert torch.equal(
        models["teacher"].score(first, ["logp"])["logp"], models["first"].score(first, ["logp"])["logp"]
    )
    some = take(whole, torch.tensor([2]))
    assert torch.equal(
        models["teacher"].score(some, ["logp"])["logp"], models["second"].score(some, ["logp"])["logp"]
    )
    assert (
        pack_examples(
            [(replace(r, teacher=0),) for r in [Example(np.ones(2, np.int32), np.array([False, True]))]]
        ).teacher
        is None
    )


def test_weights_have_the_names_of_their_teachers(models):
    names = models["teacher"].weights()
    assert len(names) == len(models["first"].weights()) + len(models["second"].weights())
    assert all(name.startswith(("first.", "second.")) for name in names)


def test_a_hint_keeps_the_teacher(models):
    """A teacher with a hint among several: the second reads another prompt, and nobody else's row moves."""
    whole = batch()
    prompts = {key_of(np.array([5 + i, 6], dtype=np.int32)): np.array([9, 8, 7], np.int32) for i in range(4)}
    hinted = Reprompted(models["teacher"], prompts)
    found = hinted.score(whole, ["logp"])["logp"][whole.is_action]
    other = hinted.reprompted(whole)
    assert other.teacher is not None
    assert other.teacher.tolist() == list(TEACHERS)
    for number, teacher in enumerate(("first", "second")):
        expected = models[teacher].score(other, ["logp"])["logp"][other.is_action]
        mine = owned(whole, number)
        assert torch.allclose(found[mine], expected[mine], atol=1e-6)
