"""Example of docs/numerics.md, 19.3: the mean of rho - 1 - d is .141439, the mean ratio 1.441439."""

import pytest
import torch

from menon.errors import UserError
from menon.loss import Surrogate
from menon.loss.aggregation import TokenMean
from menon.select import EarlyStop
from menon.update.objective import prepare
from menon.update.terms import MiniBatch, Term, Update
from rows import Known, column_of
from worked import NEW, worked


@pytest.mark.parametrize(
    ("select", "first", "kept"),
    [
        (EarlyStop(kl=0.142), False, 5),
        (EarlyStop(kl=0.141), False, 0),
        (EarlyStop(kl=0.141), True, 5),
        (EarlyStop(kl=None, ratio=1.442), False, 5),
        (EarlyStop(kl=None, ratio=1.441), False, 0),
        (EarlyStop(kl=0.142, ratio=1.441), False, 0),
    ],
)
def test_all_or_nothing(select, first, kept):
    part = MiniBatch(Update({"term": Term(Surrogate(), TokenMean(), select)}), torch.arange(2), first)
    job = prepare(part, worked(), Known({"logp": column_of(worked(), NEW)}))
    assert int((job.terms["term"].weight != 0).sum()) == kept


def test_refuses_a_stop_that_stops_nothing():
    with pytest.raises(UserError, match="EarlyStop needs kl or ratio"):
        EarlyStop(kl=None)
    with pytest.raises(UserError, match=r"ratio 0\.5 above 1"):
        EarlyStop(ratio=0.5)
