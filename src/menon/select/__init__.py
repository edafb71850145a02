"""Which tokens a term counts."""

from menon.select.probability import ProbabilityMask
from menon.select.top_entropy import TopEntropy
from menon.select.truncated import NotTruncated

SelectPart = NotTruncated | ProbabilityMask | TopEntropy
"""What a configuration file can name."""
