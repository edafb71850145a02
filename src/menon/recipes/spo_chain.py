"""SPO-chain (arXiv 2505.23564): credit for segments that are cut at tokens of low probability."""

from menon.advantage import SegmentCredit, Whiten
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import KL, PPOClip
from menon.loss.aggregation import SelectedMean, SequenceMean
from menon.rollout.segments import Segments
from menon.select import ProbabilityMask
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def spo_chain() -> RunConfig:
    """Answers are cut before every fifth token with a probability below .9, and the value of the state at
    each cut is estimated by nine new answers from there. Only tokens with a probability below .9 are trained;
    their advantages are whitened. The loss has 1e-4 times k3 to the initial model.

    The .9 of the cuts is `rollout.threshold`; the mask and the whitening each have their own `below`. Without
    the mask: `objective.policy.select=null objective.policy.share=token_mean advantage.credit.below=1
    advantage.whiten.below=1`.
    """
    return RunConfig(
        recipe="spo_chain",
        advantage={"credit": SegmentCredit(below=0.9), "whiten": Whiten(below=0.9)},
        objective={
            "policy": Term(
                PPOClip(clip_low=0.2, clip_high=0.2, limit=10), SelectedMean(), ProbabilityMask(below=0.9)
            ),
            "kl": Term(KL("k3"), SequenceMean(), coef=1e-4),
        },
        source=OnlineSource(
            rollout=Segments(partition="cutpoints", interval=5, threshold=0.9, value_samples=9),
            prompts_per_step=16,
            samples_per_prompt=4,
        ),
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2), reference="frozen"
        ),
    )


PAPER = {
    "prompts_per_step": 64,
    "samples_per_prompt": 8,
    "updates_per_step": 8,
    "max_new_tokens": 1024,
    "temperature": 0.6,
    "top_p": 0.9,
    "learning_rate": 1e-6,
}
"""512 answers a step in updates of 64, drawn with top-p .9 and learned from as if drawn from all tokens. The
authors make two passes over them; here it is one."""
