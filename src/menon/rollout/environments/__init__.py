"""Environments in which a policy acts: tools and games, one file each."""

from menon.rollout.environments.agent import Agent
from menon.rollout.environments.calculator import Calculator
from menon.rollout.environments.grid_world import GridWorld
from menon.rollout.environments.guess_number import GuessNumber
from menon.rollout.environments.python_tool import PythonTool
from menon.rollout.environments.reasoning_gym import ReasoningGym
from menon.rollout.environments.verifiers import Verifiers

EnvironmentPart = Calculator | PythonTool | GuessNumber | GridWorld | ReasoningGym | Verifiers | Agent
"""Environments that a file can name."""
