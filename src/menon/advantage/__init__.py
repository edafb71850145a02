"""Credit for each token: parts that set rewards, advantages and value targets, run in the order of a plan."""

from menon.advantage.gae import GAE
from menon.advantage.grpo import GRPO
from menon.advantage.kl_reward import KLInReward
from menon.advantage.reinforce import Reinforce
from menon.advantage.rloo import RLOO
from menon.advantage.whiten import Whiten

AdvantagePart = GAE | GRPO | KLInReward | Reinforce | RLOO | Whiten
"""What a configuration file can name."""
