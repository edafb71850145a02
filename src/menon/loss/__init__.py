"""One number per token (or per unit, on its last action token), and how much each token weighs."""

from menon.loss.cispo import CISPO
from menon.loss.dpo import DPO
from menon.loss.entropy_bonus import EntropyBonus
from menon.loss.exact_kl import ExactKL
from menon.loss.gspo import GSPO
from menon.loss.kl import KL
from menon.loss.nll import NLL
from menon.loss.pg import PolicyGradient
from menon.loss.ppo_clip import PPOClip
from menon.loss.value import ValueLoss

LossPart = CISPO | DPO | EntropyBonus | ExactKL | GSPO | KL | NLL | PolicyGradient | PPOClip | ValueLoss
"""What a configuration file can name."""
