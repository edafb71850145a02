"""Losses that fit a policy to the optimum of a reward under a KL penalty: numbers worked out by hand.

Three answers of one prompt with r = 1, 0, 0 and log pi - log ref = .2, -.1, 0; beta .5.
"""

import math
from dataclasses import replace

import pytest
import torch

from menon.advantage import PosteriorWeights
from menon.errors import UserError
from menon.loss import DPO, ContrastiveDivergence, EnergyNCE, InfoNCA, TrajectoryBalance
from menon.loss.aggregation import PairMean, SequenceMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

MASK = [[1, 1], [1, 0], [1, 1]]
NEW = [[-1.0, -1.3], [-2.1, 0], [-0.5, -0.5]]  # sums -2.3, -2.1, -1
REF = [[-1.0, -1.5], [-2.0, 0], [-0.75, -0.25]]  # sums -2.5, -2, -1


def group(**changed):
    batch = batch_of(MASK, **({"ref_logp": REF, "outcome": [1.0, 0.0, 0.0]} | changed))
    return batch, {"logp": column_of(batch, NEW)}


def test_trajectory_balance():
    """r - beta h = .9, .05, 0, mean .316667: squares .340278, .071111, .100278, mean .170556; derivative by
    log pi 2 beta (mean - .9, ...) / 3."""
    batch, now = group()
    each = rows_of(batch, TrajectoryBalance(beta=0.5)(now, batch))
    assert each[0].tolist() == pytest.approx([0, 0.340278], abs=1e-6)
    assert each[1].tolist() == pytest.approx([0.071111, 0], abs=1e-6)
    assert each[2].tolist() == pytest.approx([0, 0.100278], abs=1e-6)
    value, gradient = value_and_gradient(Term(TrajectoryBalance(beta=0.5), SequenceMean()), batch, now)
    assert value == pytest.approx(0.170556, abs=1e-6)
    expected = [[-0.583333 / 3] * 2, [0.266667 / 3, 0], [0.316667 / 3] * 2]
    assert rows_of(batch, gradient).tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
    _, metrics = loss_and_metrics(Term(TrajectoryBalance(beta=0.5), SequenceMean()), batch, now)
    assert float(metrics["posterior/log_z"]) == pytest.approx(0.633333, abs=1e-6)


def test_trajectory_balance_of_equal_rewards_and_of_one_answer():
    """Equal rewards pull the log-ratios .2, -.1, 0 to their mean; a group of one stays as it is."""
    batch, now = group(outcome=[1.0, 1.0, 1.0])
    _, gradient = value_and_gradient(Term(TrajectoryBalance(beta=0.5), SequenceMean()), batch, now)
    pull = [0.5 * (h - 0.033333) / 3 for h in (0.2, -0.1, 0.0)]
    assert rows_of(batch, gradient)[:, 0].tolist() == pytest.approx(pull, abs=1e-6)
    batch, now = group(group=[0, 1, 2])
    value, gradient = value_and_gradient(Term(TrajectoryBalance(beta=0.5), SequenceMean()), batch, now)
    assert value == 0
    assert rows_of(batch, gradient).count_nonzero() == 0


def test_answers_whose_grader_failed_are_in_no_group():
    """Without the third answer the mean is .475, and InfoNCA has softmax(2, 0) = .880797 against
    softmax(.2, -.1) = .574443."""
    batch, now = group(valid=[True, True, False])
    each = rows_of(batch, TrajectoryBalance(beta=0.5)(now, batch))
    assert each.sum(1).tolist() == pytest.approx([0.180625, 0.180625, 0], abs=1e-6)
    expected = -0.880797 * math.log(0.574443) - 0.119203 * math.log(0.425557)
    each = rows_of(batch, InfoNCA(beta=0.5)(now, batch))
    assert each.sum(1).tolist() == pytest.approx([expected, expected, 0], abs=1e-5)


def test_infonca():
    """softmax(2, 0, 0) = .786986, .106507, .106507 against softmax(.2, -.1, 0) = .390694, .289433, .319873:
    .993085 for each answer; derivative by log pi: (share - wanted)."""
    batch, now = group()
    each = rows_of(batch, InfoNCA(beta=0.5)(now, batch))
    assert each[0, 1] == pytest.approx(0.993085, abs=1e-6)
    assert each.sum(1).tolist() == pytest.approx([0.993085] * 3, abs=1e-6)
    value, gradient = value_and_gradient(Term(InfoNCA(beta=0.5), SequenceMean()), batch, now)
    assert value == pytest.approx(0.993085, abs=1e-6)
    found = rows_of(batch, gradient)[:, 0].tolist()
    assert found == pytest.approx([0.390694 - 0.786986, 0.289433 - 0.106507, 0.319873 - 0.106507], abs=1e-5)
    _, metrics = loss_and_metrics(Term(InfoNCA(beta=0.5), SequenceMean()), batch, now)
    entropy = -(0.786986 * math.log(0.786986) + 2 * 0.106507 * math.log(0.106507))
    assert float(metrics["posterior/kl"]) == pytest.approx(0.993085 - entropy, abs=1e-5)


def test_infonca_of_two_answers_with_hard_labels_is_dpo():
    """A reward of 1 at beta .01 has all the weight: -log sigmoid(h_w - h_l) = DPO at beta 1."""
    given = {"ref_logp": [[-1.0, -1.5], [-2.0, 0]], "outcome": [1.0, 0.0], "pair": [0, 0], "acc": [1.0, 0.0]}
    batch = batch_of(MASK[:2], **given)
    now = {"logp": column_of(batch, NEW[:2])}
    dpo, by_dpo = value_and_gradient(Term(DPO(beta=1), PairMean()), batch, now)
    now = {"logp": column_of(batch, NEW[:2])}
    nca, by_nca = value_and_gradient(Term(InfoNCA(beta=0.01), SequenceMean()), batch, now)
    assert nca == pytest.approx(dpo, abs=1e-12)
    assert torch.allclose(torch.nan_to_num(by_nca), torch.nan_to_num(by_dpo), atol=1e-12)
    assert nca == pytest.approx(-math.log(0.574443), abs=1e-5)


def noise(acc, **changed):
    """Log-ratios .7 and -.3: energies -.7 and .3."""
    new = [[-1.0, -1.3], [-2.3, 0], [-1.3, 0]]
    ref = [[-1.5, -1.5], [-2.0, 0], [-1.0, 0]]
    batch = batch_of([[1, 1], [1, 0], [1, 0]][: len(acc)], ref_logp=ref[: len(acc)], acc=acc, **changed)
    return batch, {"logp": column_of(batch, new[: len(acc)])}


def test_energy_nce():
    """softplus(-.7) = .403186, softplus(-.3) = .554355, together .957541."""
    batch, now = noise([1.0, 0.0])
    term = Term(EnergyNCE(), SequenceMean())
    value, gradient = value_and_gradient(term, batch, now)
    assert 2 * value == pytest.approx(0.957541, abs=1e-6)
    # sigmoid(-.7) = .331812 pulls the first up, sigmoid(-.3) = .425557 the second down
    assert rows_of(batch, gradient)[:, 0].tolist() == pytest.approx([-0.331812 / 2, 0.425557 / 2], abs=1e-6)
    _, metrics = loss_and_metrics(term, batch, now)
    assert float(metrics["energy/data"]) == pytest.approx(-0.7)
    assert float(metrics["energy/reference"]) == pytest.approx(0.3)
    assert float(metrics["energy/accuracy"]) == 1


def test_energy_nce_of_pairs():
    """Where an answer of the reference stands beside each of the data, pairs are told apart by .7 + .3."""
    batch, now = noise([1.0, 0.0], pair=[0, 0])
    _, metrics = loss_and_metrics(Term(EnergyNCE(), SequenceMean()), batch, now)
    assert float(metrics["pairs/accuracy"]) == 1
    assert float(metrics["pairs/margin"]) == pytest.approx(1.0)


def test_energy_nce_with_twice_as_many_answers_of_the_reference():
    """log k = log(1/2): softplus(-.7 + log 2) and two of softplus(-.3 - log 2)."""
    batch, now = noise([1.0, 0.0, 0.0])
    value, _ = value_and_gradient(Term(EnergyNCE(), SequenceMean()), batch, now)
    data = math.log1p(math.exp(-0.7 + math.log(2)))
    assert 3 * value == pytest.approx(data + 2 * math.log1p(math.exp(-0.3 - math.log(2))), abs=1e-9)


def test_energy_nce_of_a_head():
    loss = EnergyNCE(energy="head")
    assert [need.name for need in loss.needs] == ["reward"]
    assert loss.reads == ()
    batch, _ = noise([1.0, 0.0])
    now = {"reward_after": column_of(batch, [[9.0, 0.7], [-0.3, 0]])}
    value, gradient = value_and_gradient(Term(loss, SequenceMean()), batch, now)
    assert 2 * value == pytest.approx(0.957541, abs=1e-6)
    assert rows_of(batch, gradient).tolist() == [
        pytest.approx([0, -0.331812 / 2], abs=1e-6),
        pytest.approx([0.425557 / 2, 0], abs=1e-6),
    ]


@pytest.mark.parametrize(
    ("acc", "words"),
    [
        ([1.0, 1.0], "an update has none of the reference (acc 0); take more rows to a step"),
        ([0.0, 0.0], "an update has none of the data (acc 1)"),
        ([1.0, math.nan], "needs acc 1 for an answer of the data and 0 for one of the reference"),
    ],
)
def test_energy_nce_refuses_answers_of_one_kind(acc, words):
    batch, now = noise(acc)
    with pytest.raises(UserError) as error:
        value_and_gradient(Term(EnergyNCE(), SequenceMean()), batch, now)
    assert words in str(error.value)


def test_posterior_weights():
    """G softmax(r / beta) = 3 (.786986, .106507, .106507); with r / beta + log ref - log q the log-ratios
    -.2, .1, 0 are added: softmax(1.8, .1, 0) = .741844, .135521, .122624."""
    batch, _ = group()
    done = PosteriorWeights(beta=0.5, written_by="reference")(batch)
    found = rows_of(done, done.advantage)
    assert found[0].tolist() == pytest.approx([2.360958] * 2, abs=1e-5)
    assert found[1].tolist() == pytest.approx([0.319521, 0], abs=1e-5)
    batch, _ = group(behaviour_logp=NEW)
    done = PosteriorWeights(beta=0.5)(batch)
    total = math.exp(1.8) + math.exp(0.1) + 1
    expected = [3 * math.exp(1.8) / total, 3 * math.exp(0.1) / total, 3 / total]
    assert rows_of(done, done.advantage)[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_posterior_weights_skip_a_group_of_equal_rewards_and_failed_graders():
    batch, _ = group(outcome=[1.0, 1.0, 1.0])
    assert PosteriorWeights(written_by="reference")(batch).advantage.count_nonzero() == 0
    batch, _ = group(valid=[True, True, False])
    done = PosteriorWeights(beta=0.5, written_by="reference")(batch)
    assert rows_of(done, done.advantage).sum(1).tolist() == pytest.approx(
        [2 * 2 * 0.880797, 2 * 0.119203, 0], abs=1e-5
    )


@pytest.mark.parametrize("part", [TrajectoryBalance, InfoNCA, PosteriorWeights])
def test_a_scale_is_positive(part):
    with pytest.raises(UserError, match="positive"):
        part(beta=0)


def energies():
    """Scores .7 and -.2 of given answers, -.3 and .4 of the states of chains beside them."""
    batch = batch_of([[1, 1], [1, 0], [1, 0], [1, 1]], acc=[1.0, 0.0, 1.0, 0.0], pair=[0, 0, 1, 1])
    return batch, {"reward_after": column_of(batch, [[9.0, 0.7], [-0.3, 0], [-0.2, 0], [5.0, 0.4]])}


def test_contrastive_divergence():
    """Half of E_data - E_model = -.25 + .05, with the derivatives -1/4 and 1/4 at the last tokens. The first
    pair is put right, the second is not."""
    batch, now = energies()
    term = Term(ContrastiveDivergence(), SequenceMean())
    value, gradient = value_and_gradient(term, batch, now)
    assert value == pytest.approx((-0.25 + 0.05) / 2)
    assert rows_of(batch, gradient).tolist() == [[0, -0.25], [0.25, 0], [-0.25, 0], [0, 0.25]]
    _, metrics = loss_and_metrics(term, batch, now)
    assert float(metrics["energy/data"]) == pytest.approx(-0.25)
    assert float(metrics["energy/model"]) == pytest.approx(-0.05)
    assert float(metrics["pairs/accuracy"]) == 0.5
    assert float(metrics["pairs/margin"]) == pytest.approx((1.0 - 0.6) / 2)


def test_a_chain_that_has_not_moved_is_a_pair_of_the_mean_too():
    """Two equal texts cancel, and the other pair weighs no more for it; the metrics of pairs leave them
    out."""
    batch = batch_of([[1, 0]] * 4, acc=[1.0, 0.0, 1.0, 0.0], pair=[0, 0, 1, 1])
    batch = replace(batch, token=torch.tensor([0, 5, 0, 5, 0, 5, 0, 6]))
    now = {"reward_after": column_of(batch, [[0.3, 0], [0.3, 0], [0.7, 0], [0.1, 0]])}
    term = Term(ContrastiveDivergence(), SequenceMean())
    value, gradient = value_and_gradient(term, batch, now)
    assert value == pytest.approx((-0.3 + 0.3 - 0.7 + 0.1) / 4)
    assert rows_of(batch, gradient)[:, 0].tolist() == [-0.25, 0.25, -0.25, 0.25]
    _, metrics = loss_and_metrics(term, batch, now)
    assert float(metrics["pairs/dropped"]) == 1
    assert float(metrics["pairs/margin"]) == pytest.approx(0.6)
