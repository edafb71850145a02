"""ReST-EM (arXiv 2312.06585): imitation of the right answers, a few of each question."""

from menon.arrange import CorrectOf
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def rest_em() -> RunConfig:
    """Up to ten right answers of the 32 to a question are learned by maximum likelihood.

    The paper writes answers to all its questions, trains the base model on the right ones to the end, and
    begins again with the better model as the writer. Here every step writes and goes on from the current
    policy; an iteration of the paper, from the base, is `menon train sft` on the right answers of a run's
    transcripts. RFT (arXiv 2308.01825) takes every distinct answer: `distinct=true`.
    """
    return RunConfig(
        recipe="rest_em",
        advantage={},
        arrange={"right": CorrectOf(most=10)},
        objective={"policy": Term(NLL(), TokenMean())},
        source=OnlineSource(prompts_per_step=8, samples_per_prompt=32),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )
