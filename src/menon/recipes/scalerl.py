"""ScaleRL (The Art of Scaling Reinforcement Learning Compute, arXiv 2510.13786)."""

from menon.advantage import GRPO, Whiten
from menon.arrange import Varied
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import CISPO
from menon.loss.aggregation import PromptMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def scalerl() -> RunConfig:
    """CISPO with ratios up to 5, every prompt weighs the same, rewards against the group's mean and over the
    deviation of the whole step, groups of equal rewards left out, solved questions not asked again.

    Logits are fp32 in every run. Not here: answers that are interrupted when they think for too long.
    """
    return RunConfig(
        recipe="scalerl",
        arrange={"varied": Varied()},
        advantage={"credit": GRPO(std_mode="none"), "scale": Whiten(scope="sequence", centre=False)},
        objective={"policy": Term(CISPO(low=0.0, high=5.0), PromptMean())},
        source=OnlineSource(order="unsolved"),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4)),
    )


PAPER = {
    "prompts_per_step": 384,
    "samples_per_prompt": 16,
    "updates_per_step": 8,
    "max_new_tokens": 14336,
}
"""Updates of 768 answers, which are learned from up to 8 updates late. In the paper text is written while the
model learns; here 8 updates follow the text of a step. Answers have 12,288 tokens of thought and 2,048 after
it. The learning rate is not the paper's."""
