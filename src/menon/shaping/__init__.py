"""Rewards changed before credit is given: penalties on length and truncation, KL, normalisation."""

from menon.shaping.answer_probability import AnswerProbability
from menon.shaping.kl_reward import KLInReward
from menon.shaping.length_reward import LengthReward
from menon.shaping.linear_length import LinearLength
from menon.shaping.overlong import Overlong
from menon.shaping.reward_norm import RewardNorm
from menon.shaping.truncated_reward import TruncatedReward

ShapingPart = (
    AnswerProbability | KLInReward | LengthReward | LinearLength | Overlong | RewardNorm | TruncatedReward
)
"""The parts that a configuration file can name."""
