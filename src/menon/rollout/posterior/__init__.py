"""Draws from the optimum of a reward under a KL penalty to the sampler's own distribution
(docs/posterior.md)."""

from menon.rollout.posterior.bon import BestOfN
from menon.rollout.posterior.imh import IndependentMH
from menon.rollout.posterior.power import Power
from menon.rollout.posterior.rejection import Rejection
from menon.rollout.posterior.rso import RSO
from menon.rollout.posterior.sir import SIR
from menon.rollout.posterior.smc import SMC
from menon.rollout.posterior.soft_bon import SoftBestOfN
from menon.rollout.posterior.suffix_mh import SuffixMH

PosteriorPart = BestOfN | IndependentMH | Power | Rejection | RSO | SIR | SMC | SoftBestOfN | SuffixMH
"""The methods that a command can name."""
