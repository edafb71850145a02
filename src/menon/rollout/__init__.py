"""How the text of a step is written: groups of answers, segments and trees with sampled values,
environments."""

from menon.rollout.best_of import BestOf
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.greedy import GreedyBaseline
from menon.rollout.groups import Groups
from menon.rollout.segments import Segments
from menon.rollout.trees import Trees

RolloutPart = BestOf | DynamicSampling | GreedyBaseline | Groups | Segments | Trees
"""The rollouts that a configuration file can name."""
