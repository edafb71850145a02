"""One number per token (or per unit, on its last action token), and how much each token weighs."""

from menon.loss.attention_maps import AttentionMaps
from menon.loss.bradley_terry import BradleyTerry
from menon.loss.cdpo import CDPO
from menon.loss.cispo import CISPO
from menon.loss.clip_cov import ClipCov
from menon.loss.contrastive_divergence import ContrastiveDivergence
from menon.loss.cpo import CPO
from menon.loss.distill import Distill
from menon.loss.dpo import DPO
from menon.loss.dppo import DPPO
from menon.loss.dual_clip import DualClip
from menon.loss.dvo import DVO
from menon.loss.energy_nce import EnergyNCE
from menon.loss.entropy_bonus import EntropyBonus
from menon.loss.exact_kl import ExactKL
from menon.loss.features import Features
from menon.loss.geo_mean import GeoMean
from menon.loss.gspo import GSPO
from menon.loss.gspo_token import GSPOToken
from menon.loss.infonca import InfoNCA
from menon.loss.ipo import IPO
from menon.loss.kl import KL
from menon.loss.kl_cov import KLCov
from menon.loss.kto import KTO
from menon.loss.nll import NLL
from menon.loss.old_kl import OldKL
from menon.loss.orpo import ORPO
from menon.loss.pg import PolicyGradient
from menon.loss.ppo_clip import PPOClip
from menon.loss.robust_dpo import RobustDPO
from menon.loss.sapo import SAPO
from menon.loss.simpo import SimPO
from menon.loss.slic import SLiC
from menon.loss.surrogate import Surrogate
from menon.loss.trajectory_balance import TrajectoryBalance
from menon.loss.value import ValueLoss
from menon.loss.vespo import VESPO

LossPart = (
    AttentionMaps
    | BradleyTerry
    | CDPO
    | CISPO
    | ClipCov
    | ContrastiveDivergence
    | CPO
    | Distill
    | DPO
    | DPPO
    | DualClip
    | DVO
    | EnergyNCE
    | EntropyBonus
    | ExactKL
    | Features
    | GeoMean
    | GSPO
    | GSPOToken
    | InfoNCA
    | IPO
    | KL
    | KLCov
    | KTO
    | NLL
    | OldKL
    | ORPO
    | PolicyGradient
    | PPOClip
    | RobustDPO
    | SAPO
    | SimPO
    | SLiC
    | Surrogate
    | TrajectoryBalance
    | ValueLoss
    | VESPO
)
"""The parts that a configuration file can name."""
