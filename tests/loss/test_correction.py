"""Example of docs/numerics.md, 19.3: w = .904837, 1.349859, 2.459603 | .951229, .818731; products
3.004166 / .778801; geometric 1.442917 / .882497."""

import pytest
import torch

from menon.correction import M2PO, OPSM, Importance, Reject
from menon.errors import UserError
from menon.loss import PolicyGradient, PPOClip
from menon.loss.aggregation import SelectedMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of
from worked import NEW, OLD, update, worked

ROLLOUT = [[-0.9, -0.8, -2.9], [-0.15, -1.3, 0]]
LOSS = [-1.2, -0.904837, -1.2, 0.452419, 0.911059]
W = [0.904837, 1.349859, 2.459603, 0.951229, 0.818731]


def batch():
    return worked(behaviour_logp=ROLLOUT)


def weights(*parts):
    """The five, from the loss of PPO's tokens."""
    term = Term(PPOClip(), TokenMean(), correction=parts)
    value, _ = update(term, batch())
    found = [rows_of(batch(), part(column_of(batch(), NEW).detach(), batch())) for part in parts]
    product = torch.stack(found).prod(0).tolist()
    product = product[0] + product[1][:2]
    assert value == pytest.approx(sum(w * loss for w, loss in zip(product, LOSS, strict=True)) / 5, abs=1e-6)
    return product


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Importance(), [*W[:2], 2, *W[3:]]),
        (Importance(low=0.9, high=1.2), [0.904837, 1.2, 1.2, 0.951229, 0.9]),
        (Importance("token", "drop", 0.9, 2.0), [*W[:2], 0, W[3], 0]),
        (Importance("sequence", high=10), [3.004166] * 3 + [0.778801] * 2),
        (Importance("sequence", "drop", high=3.0), [0] * 3 + [0.778801] * 2),
        (Importance("geometric"), [1.442917] * 3 + [0.882497] * 2),
        (Reject(1.2, 0.8), [0, 0, 0, 1, 1]),
        (Reject(2.0, 0.9, over="token"), [1, 1, 0, 1, 0]),
        (Reject(2.0, 0.9, over="max"), [0] * 5),
        (Reject(4.0, 0.8, over="sum"), [1, 1, 1, 0, 0]),
        # k2 = .005, .045, .405 | .00125, .02: sums .455 and .02125, means .151667 and .010625
        (Reject(0.3, divergence="k2", over="token"), [1, 1, 0, 1, 1]),
        (Reject(0.1, divergence="k2"), [0, 0, 0, 1, 1]),
        (Reject(0.46, divergence="k2", over="sum"), [1] * 5),
        # k3 = .004837, .049859, .559603 | .001229, .018731
        (Reject(0.018, divergence="k3", over="token"), [1, 0, 0, 1, 0]),
        (Reject(0.1, divergence="k3", over="max"), [0, 0, 0, 1, 1]),
    ],
    ids=str,
)
def test_weights(part, expected):
    assert weights(part) == pytest.approx(expected, abs=1e-6)


def test_the_whole_loss():
    """Example of docs/numerics.md, 19.3: truncated at 2 -.706188; IcePop [.5, 5] -.816493."""
    assert update(Term(PPOClip(), TokenMean(), correction=(Importance(),)), batch())[0] == pytest.approx(
        -0.706188, abs=1e-6
    )
    icepop = Importance("token", "drop", 0.5, 5.0)
    assert update(Term(PPOClip(), TokenMean(), correction=(icepop,)), batch())[0] == pytest.approx(
        -0.816493, abs=1e-6
    )


def test_several_multiply():
    """Token weights in sequences whose geometric mean is at most 1.2."""
    assert weights(Importance(), Reject(1.2)) == pytest.approx([0, 0, 0, *W[3:]], abs=1e-6)


def test_the_weight_has_no_gradient_and_no_denominator():
    """PPO's gradient times w: -.904837 * 1.349859 / 5 on token 1. A mean over selected tokens still counts
    all five."""
    for share in (TokenMean(), SelectedMean()):
        _, gradient = update(
            Term(PPOClip(), share, correction=(Importance("token", "drop", 0.9, 2.0),)), batch()
        )
        assert gradient == pytest.approx(
            [0, -0.904837 * 1.349859 / 5, 0, 0.452419 * 0.951229 / 5, 0], abs=1e-6
        )


def test_masked_is_counted():
    term = Term(PPOClip(), TokenMean(), correction=(Importance("token", "drop", 0.9, 2.0),))
    _, metrics = loss_and_metrics(term, batch(), {"logp": column_of(batch(), NEW)})
    assert float(metrics["mismatch/masked"]) == pytest.approx(0.4)


def test_the_first_update_takes_the_policy_as_it_is():
    """w = exp(new - rollout) = exp(.2), exp(.2), exp(1.7) -> 2 | exp(-.15), exp(.4); PPO's loss there is
    -A."""
    value, gradient = update(Term(PPOClip(), TokenMean(), correction=(Importance(),)), batch(), first=True)
    w = [1.221403, 1.221403, 2, 0.860708, 1.491825]
    assert value == pytest.approx((-sum(w[:3]) + 0.5 * sum(w[3:])) / 5, abs=1e-6)
    assert gradient == pytest.approx([-w[0] / 5, -w[1] / 5, -w[2] / 5, 0.1 * w[3], 0.1 * w[4]], abs=1e-6)


def test_trainer_current_is_the_policy_now_in_every_update():
    """A loss without a ratio: off-policy REINFORCE with truncated weights."""
    term = Term(PolicyGradient(), TokenMean(), correction=(Importance(trainer="current"),))
    first, later = update(term, batch(), first=True), update(term, batch())
    assert first == later
    assert first[1][0] == pytest.approx(-1.221403 / 5, abs=1e-6)


def test_normalised_weights_have_mean_one():
    """Tokens, truncated at 2: sum 6.024656 / 5. Sequences, truncated at 2: (2 + .778801) / 2 = 1.389401."""
    term = Term(PPOClip(), TokenMean(), correction=(Importance(normalise=True),))
    assert update(term, batch())[0] == pytest.approx(-0.706188 / 1.204931, abs=1e-6)
    term = Term(PPOClip(), TokenMean(), correction=(Importance("sequence", normalise=True),))
    expected = (2 * (-1.2 - 0.904837 - 1.2) + 0.778801 * (0.452419 + 0.911059)) / 1.389401 / 5
    assert update(term, batch())[0] == pytest.approx(expected, abs=1e-6)


def test_opsm_lets_go_of_bad_answers_that_sank():
    """Means of old - new: -1/3 and -.25; of rollout - new: (-.2 - .2 - 1.7) / 3 and (.15 - .4) / 2 = -.125:
    nothing sank."""
    assert weights(OPSM()) == [1] * 5
    swapped = batch_of(
        [[1, 1, 1], [1, 1, 0]], old_logp=NEW, behaviour_logp=NEW, advantage=[[-1, 0.5, -1], [1, 1, 0]]
    )
    logp = column_of(swapped, OLD).detach()
    for part, expected in (
        (OPSM(0.3), [0, 1, 0]),
        (OPSM(0.34), [1, 1, 1]),
        (OPSM(0.3, "behaviour"), [0, 1, 0]),
    ):
        assert rows_of(swapped, part(logp, swapped))[0].tolist() == expected
        assert rows_of(swapped, part(logp, swapped))[1].tolist()[:2] == [1, 1]


def test_m2po_holds_the_mean_square():
    """Squares .01, .09, .81 | .0025, .04. In order the means are .0025, .00625, .0175, .035625, .1905."""
    for most, expected in (
        (0.2, [1] * 5),
        (0.04, [1, 1, 0, 1, 1]),
        (0.01, [1, 0, 0, 1, 0]),
        (0.001, [0, 0, 0, 1, 0]),
    ):
        columns = M2PO(most).prepare(batch(), lambda *needs: {})
        assert columns["m2po"][batch().trained].long().tolist() == expected
    term = Term(PPOClip(), TokenMean(), correction=(M2PO(0.04),))
    assert update(term, batch())[0] == pytest.approx((-0.388272 * 5 + 1.2) / 5, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Importance(low=1.5), "low 1.5 and high 2.0 of Importance bound a weight"),
        (lambda: Reject(0.5), "low 0.0 and high 0.5 of Reject bound a ratio"),
        (lambda: Reject(0.5, 0.1, "k3"), "Reject by k3 has one bound"),
        (lambda: OPSM(-1), "most of OPSM is -1"),
        (lambda: M2PO(0), "most of M2PO is 0"),
    ],
)
def test_refuses(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
