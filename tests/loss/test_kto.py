"""Example of docs/numerics.md, 19.5: beta .1, z = .2; a desirable answer with q = 1: 1 - sigmoid(.08) =
.480011, an undesirable one with q = -1: 1 - sigmoid(.12) = .470036."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import pytest
import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, take
from menon.errors import UserError
from menon.loss import KTO
from menon.loss.aggregation import SequenceMean
from menon.loss.mismatched import mismatched
from menon.update.host import Ask, ModelHost
from menon.update.objective import Micro, loss_of, prepare
from menon.update.terms import MiniBatch, Term, Update
from rows import batch_of, column_of, rows_of

NEW = [[-1, -2], [-4, 0], [-3, 0]]
REF = [[-1.5, -2.5], [-3, 0], [-2, 0]]


@dataclass(frozen=True)
class Scores:
    """A host for answers after other prompts: the policy's log-probs are a number per token, the reference's
    0."""

    per_token: float
    roles: frozenset[str] = frozenset({"policy", "reference"})

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        (ask,) = asks
        number = 0.0 if ask.role == "reference" else self.per_token
        return {"logp": torch.where(batch.is_action, number, 0.0).to(batch.reward)}


def update(loss: KTO, batch: Batch, new: object, per_token: float):
    """Loss, gradient by rows, and metrics of one update."""
    part = MiniBatch(Update({"kto": Term(loss, SequenceMean())}), torch.arange(batch.num_sequences), True)
    job = prepare(part, batch, cast(ModelHost, Scores(per_token)))
    now = {"logp": column_of(batch, new)}
    value, metrics = loss_of(now, Micro(job.batch, job.terms))
    (gradient,) = torch.autograd.grad(value, now["logp"])
    found = {name: float(metric) for name, metric in metrics.items() if not name.startswith("kl/")}
    return float(value.detach()), rows_of(batch, gradient), found


def labelled(acc: Sequence[float] = (1, 0, 0), **given: object) -> Batch:
    """A good answer of two tokens, q = 1, and two bad ones of one, q = -1; three questions."""
    mask = [[1, 1], [1, 0], [1, 0]]
    return batch_of(mask, ref_logp=REF, **({"group": [0, 1, 2], "acc": list(acc)} | given))


def test_worked():
    """Four tokens after other prompts with .15 each are .6 in three answers: z = .2."""
    value, gradient, metrics = update(KTO(), labelled(), NEW, 0.15)
    assert value == pytest.approx((0.480011 + 2 * 0.470036) / 3, abs=1e-6)
    # -+ beta s (1 - s) / 3, s (1 - s) = .249600 at .08 and .249102 at .12
    assert gradient[0].tolist() == pytest.approx([-0.0249600 / 3] * 2, abs=1e-7)
    assert gradient[1:, 0].tolist() == pytest.approx([0.0249102 / 3] * 2, abs=1e-7)
    assert metrics == pytest.approx(
        {
            "loss/kto": value,
            "pairs/chosen_reward": 0.1,
            "pairs/rejected_reward": -0.1,
            "kto/accuracy": 1.0,
            "kto/kl": 0.2,
            "kto/desirable": 1 / 3,
        }
    )


def test_accuracy_counts_answers_on_their_side_of_z():
    """q = 1, -1, -1 and z = .2: labels 1, 1, 0 put one of three wrong; at the reference q = z = 0, and each
    counts one half."""
    _, _, metrics = update(KTO(), labelled([1, 1, 0]), NEW, 0.15)
    assert metrics["kto/accuracy"] == pytest.approx(2 / 3)
    _, _, metrics = update(KTO(), labelled(), REF, 0.0)
    assert metrics["kto/accuracy"] == 0.5


def test_weights_of_the_classes():
    value, _, _ = update(KTO(desirable_weight=2, undesirable_weight=0.5), labelled(), NEW, 0.15)
    assert value == pytest.approx((2 * 0.480011 + 0.5 * 2 * 0.470036) / 3, abs=1e-6)


def test_a_negative_estimate_counts_as_0():
    """1 - sigmoid(.1) = .475021 for all three."""
    value, _, metrics = update(KTO(), labelled(), NEW, -5.0)
    assert value == pytest.approx(0.475021, abs=1e-6)
    assert metrics["kto/kl"] == 0


@pytest.mark.parametrize(("label", "expected"), [(1, (0.480011 + 2 * 0.529964) / 3), (0, None)])
def test_an_update_of_one_class(label, expected):
    """All desirable: the others have 1 - sigmoid(-.12) = .529964; none: (1 - sigmoid(-.08) + 2 * .470036) /
    3, and a reward of desirable answers that nothing was counted for."""
    value, gradient, metrics = update(KTO(), labelled([label] * 3), NEW, 0.15)
    assert value == pytest.approx(expected or (0.519989 + 2 * 0.470036) / 3, abs=1e-6)
    assert gradient[:, 0].abs().min() > 0
    assert metrics["kto/desirable"] == label
    assert metrics["pairs/rejected_reward" if label else "pairs/chosen_reward"] == 0


def test_failed_and_empty_answers_take_no_part():
    """The failed one may have any label; the mean is over the two others, z = 3 * .1 / 2 = .15."""
    batch = batch_of(
        [[1, 1], [1, 0], [1, 0], [0, 0]],
        ref_logp=[*REF, [0, 0]],
        group=[0, 1, 2, 3],
        acc=[1.0, 0.0, float("nan"), 0.5],
        valid=[True, True, False, True],
    )
    value, gradient, metrics = update(KTO(), batch, [*NEW, [0, 0]], 0.1)
    assert metrics["kto/kl"] == pytest.approx(0.15)
    # 1 - sigmoid(.085) = .478763, 1 - sigmoid(.115) = .471282
    assert value == pytest.approx((0.478763 + 0.471282) / 2, abs=1e-6)
    assert gradient[2:].abs().max() == 0


def test_every_answer_after_the_prompt_of_the_group_before():
    """Group 7 asks "1 2", group 9 "6"; the group before 7 is 9, in the order of numbers, cyclic. In any order
    of the batch the sequences are the same."""
    batch = batch_of([[0, 1, 1], [1, 1, 1], [0, 1, 0]], lengths=[3, 3, 2], group=[7, 9, 7], acc=[1.0, 0, 0])
    batch = replace(batch, token=torch.tensor([1, 2, 3, 4, 6, 7, 8, 9, 1, 2, 5]))
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        found = mismatched(take(batch, torch.tensor(order)))
        texts = [found.token[a:b].tolist() for a, b in zip(found.offset, found.offset[1:], strict=False)]
        assert sorted(texts) == [[1, 2, 7, 8, 9], [6, 3, 4], [6, 5]]
        answers = [t for text in texts for t in text if t not in (1, 2, 6)]
        assert found.token[found.is_action].tolist() == answers
        assert found.group.tolist() == [[7, 9, 7][row] for row in order]
    assert ragged.lengths(found.offset).sum() == found.num_tokens


def test_an_observation_within_an_answer_is_not_trained():
    batch = batch_of([[1, 0, 1], [1, 0, 0]], group=[0, 1], acc=[1.0, 0.0])
    found = mismatched(replace(batch, token=torch.arange(10, 16)))
    assert found.token.tolist() == [14, 11, 12, 13, 10, 15]
    assert found.is_action.tolist() == [False, True, False, True, False, True]


def test_nothing_to_train():
    value, _, metrics = update(KTO(), batch_of([[0], [0]], ref_logp=[[0], [0]]), [[0], [0]], 0.1)
    assert value == 0
    assert set(metrics.values()) == {0}


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (labelled(group=[3, 3, 3]), "this update holds one prompt; put more prompts into an update"),
        (labelled([1, 0, 0.5]), r"acc 1 for a desirable answer .* answer 2 of the update has 0\.5"),
        (labelled([1, float("nan"), 0]), r"answer 1 of the update has nan"),
    ],
)
def test_refuses(batch, said):
    with pytest.raises(UserError, match=said):
        update(KTO(), batch, NEW, 0.1)


def test_refuses_settings():
    with pytest.raises(UserError, match=r"desirable_weight -1 and undesirable_weight 1\.0 of KTO"):
        KTO(desirable_weight=-1)
    with pytest.raises(UserError, match="beta of KTO is 0"):
        KTO(beta=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_log_probs_give_no_nan(dtype):
    """Whatever the distance to the reference, in the answers and in the estimate."""
    for far in (1e4, torch.inf, -torch.inf):
        batch = batch_of([[1], [1]], ref_logp=[[-1], [-1]], group=[0, 1], acc=[1.0, 0.0], dtype=dtype)
        part = MiniBatch(Update({"kto": Term(KTO(), SequenceMean())}), torch.arange(2), True)
        job = prepare(part, batch, cast(ModelHost, Scores(far)))
        for given in (-1e4, -torch.inf, 0.0):
            now = {"logp": column_of(batch, [[given], [-1]], dtype)}
            value, metrics = loss_of(now, Micro(job.batch, job.terms))
            assert torch.isfinite(value)
            assert torch.isfinite(torch.autograd.grad(value, now["logp"])[0]).all()
            assert not any(float(metric) != float(metric) for metric in metrics.values())
