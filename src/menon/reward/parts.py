"""Every reward that a configuration names by its kind."""

from menon.reward.code.tests import CodeTests
from menon.reward.judge import Judge
from menon.reward.preference import Preference
from menon.reward.rubric import Rubric
from menon.reward.rules import RulePart
from menon.reward.ungraded import Ungraded

RewardPart = Judge | Rubric | Preference | CodeTests | Ungraded | RulePart
