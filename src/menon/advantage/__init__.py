"""Credit for each token: parts that set rewards, advantages and value targets, run in the order of a plan."""

from menon.advantage.entropy_coefficient import EntropyCoefficient
from menon.advantage.gae import GAE
from menon.advantage.gae_normalised import NormalisedGAE
from menon.advantage.gpg import GPG
from menon.advantage.grpo import GRPO
from menon.advantage.grpo_passk import GRPOPassK
from menon.advantage.kl_advantage import KLInAdvantage
from menon.advantage.kl_coefficient import KLCoefficient
from menon.advantage.kl_reward import KLInReward
from menon.advantage.length_reward import LengthReward
from menon.advantage.maxrl import MaxRL
from menon.advantage.opo import OPO
from menon.advantage.optimal_token import OptimalToken
from menon.advantage.overlong import Overlong
from menon.advantage.penalty_coefficient import PenaltyCoefficient
from menon.advantage.reinforce import Reinforce
from menon.advantage.reinforce_baseline import ReinforceBaseline
from menon.advantage.reinforce_pp import ReinforcePP
from menon.advantage.reinforce_pp_baseline import ReinforcePPBaseline
from menon.advantage.remax import ReMax
from menon.advantage.reward_norm import RewardNorm
from menon.advantage.rloo import RLOO
from menon.advantage.segment import SegmentCredit
from menon.advantage.truncated_reward import TruncatedReward
from menon.advantage.vapo import VAPO
from menon.advantage.whiten import Whiten

AdvantagePart = (
    EntropyCoefficient
    | GAE
    | GPG
    | GRPO
    | GRPOPassK
    | KLCoefficient
    | KLInAdvantage
    | KLInReward
    | LengthReward
    | MaxRL
    | NormalisedGAE
    | OPO
    | OptimalToken
    | Overlong
    | PenaltyCoefficient
    | Reinforce
    | ReinforceBaseline
    | ReinforcePP
    | ReinforcePPBaseline
    | ReMax
    | RewardNorm
    | RLOO
    | SegmentCredit
    | TruncatedReward
    | VAPO
    | Whiten
)
"""What a configuration file can name."""
