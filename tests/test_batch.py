"""Packing and taking, on two answers to "3+4=" and one that a grader failed on."""

import numpy as np
import pytest
import torch

from menon.batch import pack, take, to, tokens_of, unit_of
from menon.errors import UserError
from menon.types import Completion, Graded, Mean, Prompt, Request, Rollout, Sampling, Verdict, merge


def graded(answer: str, score: float, *, prompt: str = "3+4=", finish="stop", group=0) -> Graded:
    question = Prompt(0, np.frombuffer(prompt.encode(), dtype=np.uint8).astype(np.int32), prompt, "7")
    tokens = np.frombuffer(answer.encode(), dtype=np.uint8).astype(np.int32)
    numbers = -np.arange(1, len(tokens) + 1, dtype=np.float32)
    completion = Completion(
        Request(question),
        tokens,
        numbers,
        0 * numbers,
        -numbers,
        np.full(len(tokens), 3, dtype=np.int32),
        finish,
        answer,
    )
    return Graded(Rollout.of(completion, group), Verdict(score, float(score > 0)))


GRADED = [graded("7.~", 1.0), graded("8~", 0.0, finish="length"), graded("?", float("nan"), group=1)]


def test_pack_aligns_everything_to_the_token():
    batch = pack(GRADED)
    assert batch.offset.tolist() == [0, 7, 13, 18]
    assert bytes(batch.token.tolist()) == b"3+4=7.~3+4=8~3+4=?"
    assert batch.is_action.int().tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1]
    assert batch.position.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4]
    assert batch.behaviour_logp.tolist() == [0, 0, 0, 0, -1, -2, -3, 0, 0, 0, 0, -1, -2, 0, 0, 0, 0, -1]
    assert batch.version.tolist()[4:7] == [3, 3, 3]
    assert batch.finish.tolist() == [0, 1, 0]
    assert batch.group.tolist() == [0, 0, 1]


def test_an_outcome_sits_on_the_last_action():
    batch = pack(GRADED)
    assert batch.reward.nonzero().tolist() == [[6]]
    assert batch.outcome.tolist() == [1, 0, 0]


def test_a_failed_grader_leaves_an_invalid_sequence():
    batch = pack(GRADED)
    assert batch.valid.tolist() == [True, True, False]
    assert not batch.trained[13:].any()
    assert batch.action_lengths.tolist() == [3, 2, 0]


def test_an_empty_answer_keeps_its_reward():
    """It counts in group statistics and has no token that a loss could touch (docs/numerics.md, 3.3)."""
    batch = pack([graded("", -0.5)])
    assert batch.outcome.tolist() == [-0.5]
    assert not batch.trained.any()


def test_take_keeps_order_and_alignment():
    batch = pack(GRADED)
    taken = take(batch, torch.tensor([2, 0]))
    assert bytes(taken.token.tolist()) == b"3+4=?3+4=7.~"
    assert taken.offset.tolist() == [0, 5, 12]
    assert taken.reward.nonzero().tolist() == [[11]]
    assert taken.group.tolist() == [1, 0]
    assert tokens_of(batch.offset, torch.tensor([1])).tolist() == [7, 8, 9, 10, 11, 12]
    assert take(batch, torch.tensor([], dtype=torch.int64)).num_tokens == 0


def test_to_moves_every_tensor():
    moved = to(pack(GRADED), "meta")
    assert {moved.token.device.type, moved.offset.device.type, moved.acc.device.type} == {"meta"}


def test_units():
    batch = pack(GRADED)
    assert unit_of(batch, "sequence").tolist() == [0, 1, 2]
    assert unit_of(batch, "group").tolist() == [0, 0, 1]
    with pytest.raises(UserError, match="batch of preferences"):
        unit_of(batch, "pair")


def test_a_missing_column_names_who_asked():
    with pytest.raises(UserError, match="Mean needs 'ref_logp'"):
        pack(GRADED).need("ref_logp", Mean(0))


def test_metrics_say_how_they_add_up():
    total = merge({"a": Mean(3.0, 2.0)}, {"a": Mean(1.0, 2.0), "b": Mean(0.0, 0.0)})
    assert float(total["a"]) == 1.0
    assert float(total["b"]) == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_new_tokens", 0), ("temperature", -1.0), ("top_p", 0.0), ("top_k", -1), ("stop", ("",))],
)
def test_senseless_sampling_is_refused(field, value):
    with pytest.raises(UserError, match=field):
        Sampling(**{field: value})
