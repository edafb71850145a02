"""Weights for text that another policy wrote: a sampler that differs from the trainer, or weights that are
older.

With w_t = pi_old / pi_behaviour and l_t the loss after any clip, a term sums w'_t l_t; w' is the product of
the weights of the parts below. Tokens with weight 0 still count in every denominator. On the first update of
a step pi_old is the current policy.
"""

from menon.correction.importance import Importance
from menon.correction.m2po import M2PO
from menon.correction.opsm import OPSM
from menon.correction.reject import Reject

CorrectionPart = Importance | M2PO | OPSM | Reject
"""The parts that a configuration file can name."""
