"""Credit for each token: estimators of advantages and value targets, and parts that change advantages after
them."""

from menon.advantage.gae import GAE
from menon.advantage.gae_normalised import NormalisedGAE
from menon.advantage.gpg import GPG
from menon.advantage.grpo import GRPO
from menon.advantage.grpo_passk import GRPOPassK
from menon.advantage.kl_advantage import KLInAdvantage
from menon.advantage.maxrl import MaxRL
from menon.advantage.opo import OPO
from menon.advantage.optimal_token import OptimalToken
from menon.advantage.posterior_weights import PosteriorWeights
from menon.advantage.reinforce import Reinforce
from menon.advantage.reinforce_baseline import ReinforceBaseline
from menon.advantage.reinforce_pp import ReinforcePP
from menon.advantage.reinforce_pp_baseline import ReinforcePPBaseline
from menon.advantage.remax import ReMax
from menon.advantage.rloo import RLOO
from menon.advantage.segment import SegmentCredit
from menon.advantage.teacher import Teacher
from menon.advantage.vapo import VAPO
from menon.advantage.whiten import Whiten

AdvantagePart = (
    GAE
    | GPG
    | GRPO
    | GRPOPassK
    | KLInAdvantage
    | MaxRL
    | NormalisedGAE
    | OPO
    | OptimalToken
    | PosteriorWeights
    | Reinforce
    | ReinforceBaseline
    | ReinforcePP
    | ReinforcePPBaseline
    | ReMax
    | RLOO
    | SegmentCredit
    | Teacher
    | VAPO
    | Whiten
)
"""The parts that a configuration file can name."""
