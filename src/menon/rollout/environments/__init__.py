"""What a policy acts in: tools and games, one file each."""

from menon.rollout.environments.calculator import Calculator
from menon.rollout.environments.grid_world import GridWorld
from menon.rollout.environments.guess_number import GuessNumber

EnvironmentPart = Calculator | GuessNumber | GridWorld
"""Environments that a file can name."""
