"""Which tokens a term counts."""

from menon.select.correct import Correct
from menon.select.early_stop import EarlyStop
from menon.select.hinted import Hinted
from menon.select.probability import ProbabilityMask
from menon.select.top_entropy import TopEntropy
from menon.select.truncated import NotTruncated

SelectPart = Correct | EarlyStop | Hinted | NotTruncated | ProbabilityMask | TopEntropy
"""The selections that a configuration file can name."""
