"""Example of docs/numerics.md, 19.3. rho = 1.349859, .904837, 2.225541 | .904837, 1.822119; log pi = -.7,
-.6, -1.2 | -.3, -.9; A = 1
| -.5."""

import pytest

from menon.errors import UserError
from menon.loss import CISPO
from menon.loss.aggregation import Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

OLD = [[-1, -0.5, -2], [-0.2, -1.5, 0]]
NEW = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
ADVANTAGE = [[1, 1, 1], [-0.5, -0.5, 0]]

BOTH = [
    0.896,
    0.542902,
    1.536,
    -0.135726,
    -0.576,
]  # 1.28 * .7, .904837 * .6, 1.28 * 1.2, -.904837 * .5 * .3, -1.28 * .5 * .9
UPPER = [0.944901, 0.542902, 2.670649, -0.135726, -0.819953]


def case():
    batch = batch_of([[1, 1, 1], [1, 1, 0]], old_logp=OLD, advantage=ADVANTAGE)
    return batch, {"logp": column_of(batch, NEW)}


@pytest.mark.parametrize(
    ("loss", "tokens", "totals"),
    [
        (CISPO(0.8, 1.28), BOTH, [0.452635, 0.317886, 1.131588, 0.282897]),
        (CISPO(high=5), UPPER, [0.640555, 0.454156, 1.601387, 0.400347]),
    ],
)
def test_values(loss, tokens, totals):
    batch, now = case()
    assert loss(now, batch)[batch.trained].tolist() == pytest.approx(tokens, abs=1e-6)
    shares = [TokenMean(), SequenceMeanTokenMean(), SequenceMean(), Constant(4)]
    found = [value_and_gradient(Term(loss, share), batch, now)[0] for share in shares]
    assert found == pytest.approx(totals, abs=1e-6)


def test_gradient_of_held_tokens_stays():
    """-clip(rho) A / 5: held tokens (0, 2 and the last) weigh 1.28."""
    batch, now = case()
    _, gradient = value_and_gradient(Term(CISPO(0.8, 1.28), TokenMean()), batch, now)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([-0.256, -0.180967, -0.256], abs=1e-6)
    assert rows_of(batch, gradient)[1].tolist() == pytest.approx([0.090484, 0.128, 0], abs=1e-6)
    _, metrics = loss_and_metrics(Term(CISPO(0.95, 1.28), TokenMean()), batch, now)
    assert [float(metrics[f"clip/{side}"]) for side in ("frac", "low", "high")] == pytest.approx(
        [1, 0.4, 0.6]
    )
    assert float(metrics["ratio/mean"]) == pytest.approx(1.441439, abs=1e-6)


def test_refuses_bounds_that_do_not_enclose_one():
    with pytest.raises(
        UserError, match=r"low 0\.0 and high 0\.28 of CISPO .* epsilon_high=0\.28 is high=1\.28$"
    ):
        CISPO(high=0.28)
