"""Controllers: parts with a state that steer the coefficient of a term from what a run measures."""

from menon.control.entropy_coefficient import EntropyCoefficient
from menon.control.kl_coefficient import KLCoefficient
from menon.control.penalty_coefficient import PenaltyCoefficient

ControlPart = EntropyCoefficient | KLCoefficient | PenaltyCoefficient
"""The parts that a configuration file can name."""
