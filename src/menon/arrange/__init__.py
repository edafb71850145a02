"""What a step learns from: which answers of each group, and which of them are compared.

Parts run before the advantage stage and read rewards as they were graded. They set `learn` and `pair`; an
answer that is left out stays in the record and in its group's statistics.
"""

from menon.arrange.all_pairs import AllPairs
from menon.arrange.best_of import BestOf
from menon.arrange.best_worst import BestWorst
from menon.arrange.correct_of import CorrectOf
from menon.arrange.varied import Varied

ArrangePart = AllPairs | BestOf | BestWorst | CorrectOf | Varied
"""The parts that a configuration file can name."""
