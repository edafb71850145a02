"""The tables of docs/oracle.md: every estimator and objective has a row, and rows say what the code gives."""

from pathlib import Path
from typing import Any, get_args

import pytest

from menon.arrange import AllPairs, CorrectOf
from menon.config import CreditPart
from menon.loss import DPO, NLL, LossPart
from menon.loss.aggregation import PairMean, SequenceMean
from menon.select import SelectPart
from menon.shaping import ShapingPart
from menon.update.terms import Term
from oracle import Reset, exact, gradient, measured, policy, right, shaped, singles, tables
from toy import log_probability

PAGE = Path(__file__).parents[2] / "docs" / "oracle.md"
PREFERENCES = {"bradley_terry", "cdpo", "cpo", "dpo", "ipo", "kto", "orpo", "robust_dpo", "simpo", "slic"}
NO_ESTIMATOR = {
    *("attention_maps", "features", "contrastive_divergence", "energy_nce", "value"),
    *("entropy_coefficient", "kl_coefficient", "penalty_coefficient"),
    "hinted",  # it says which answers a term is about
    *PREFERENCES,
    *(part.kind for part in get_args(ShapingPart)),
}
"""Shaping changes the aim and estimates nothing; some of it has a row all the same."""
ROWS = {row.name: row for rows in tables().values() for row in rows}


def kinds_in(part: Any) -> set[str]:
    return {part.kind} if hasattr(part, "kind") else set()


def test_every_part_has_a_row():
    named = set().union(
        *(kinds_in(part) for row in ROWS.values() for part in (*row.parts, row.term.loss, row.term.select))
    )
    every = {part.kind for union in (CreditPart, LossPart, SelectPart) for part in get_args(union)}
    assert every - NO_ESTIMATOR <= named


def test_the_page_has_these_rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert {
        line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| `")
    } == ROWS.keys()


@pytest.mark.parametrize(
    "name",
    [
        *("`rloo`", "`grpo`, std_mode bessel", "`gspo`", "`kl`, estimator k2"),
        "`answer_probability`, debias false, then `rloo`",
    ],
)
def test_the_page_says_what_the_code_gives(name):
    assert ROWS[name].line() in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_true_gradient_by_differences():
    """Against the change of the expected reward itself, and a policy that is worth climbing."""
    theta = policy()
    batch, step = singles("shaped"), 1e-5
    value = (log_probability(batch, theta).exp() * batch.outcome).sum()
    climbed = theta.detach() + step * gradient(value, theta)
    gain = float((log_probability(batch, climbed).exp() * batch.outcome).sum() - value.detach())
    assert gain / step == pytest.approx(float(exact("shaped").square().sum()), rel=1e-4)
    assert {right(a) for a in ((1, 2), (0, 2), (1, 1, 1))} == {0.0, 1.0}
    assert shaped((1, 2)) == 1.125


def test_gradients_that_are_measured_are_not_zero():
    row = ROWS["`rloo`"]
    assert float(measured(row.parts, row.term, "binary").norm()) > 0.05


def test_imitation_and_pairs_of_own_answers():
    """With a pass rate of q and groups of three: the likelihood of the right answers has the gradient of q
    times (1 - (1 - q)^3) / q, and DPO at its reference beta / 2 P(mixed) / (q (1 - q)), P = 3 q (1 - q)."""
    batch = singles("binary")
    q = float((log_probability(batch, policy().detach()).exp() * batch.outcome).sum())
    imitation = measured((CorrectOf(),), Term(NLL(), SequenceMean()), "binary")
    pairs = measured((Reset(), AllPairs()), Term(DPO(beta=2), PairMean()), "binary")
    assert (imitation - (1 - (1 - q) ** 3) / q * exact("binary")).abs().max() < 1e-10
    assert (pairs - 3 * exact("binary")).abs().max() < 1e-10
    assert exact("binary").norm() > 0.01
