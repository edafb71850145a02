"""GSPO (arXiv 2507.18071): one ratio and one clip per answer."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import GSPO
from menon.loss.aggregation import SequenceMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def gspo() -> RunConfig:
    """Clip 3e-4/4e-4 on the geometric mean of an answer's token ratios, no KL; four updates a step, as in the
    paper.

    The clip ranges are for answers of hundreds of tokens and more: in short answers the mean ratio moves
    further.
    """
    return RunConfig(
        recipe="gspo",
        advantage={"credit": GRPO()},
        objective={"policy": Term(GSPO(clip_low=3e-4, clip_high=4e-4), SequenceMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4)),
    )


PAPER = {"learning_rate": 1e-6}
"""The recipe already has the published clip ranges and four updates; the other numbers are not stated."""
