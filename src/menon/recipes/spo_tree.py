"""SPO-tree (arXiv 2505.23564): credit for segments of fixed length, by a tree of answers to each question."""

from menon.advantage import SegmentCredit, Whiten
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import KL, PPOClip
from menon.loss.aggregation import SelectedMean, SequenceMean
from menon.rollout.trees import Trees
from menon.select import ProbabilityMask
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def spo_tree() -> RunConfig:
    """Every question grows a tree; the advantage of an edge is the value at its end minus the value at its
    start. At most 32 edges of a question are trained in a step, the others wait for up to 8 steps. Only
    tokens with a probability below .9 are trained, advantages are whitened over them, and the loss has 1e-4
    times k3 to the initial model. The ratio is to the policy that wrote the edge.

    The .9 of the mask and of the whitening are their `below`.
    """
    return RunConfig(
        recipe="spo_tree",
        advantage={"credit": SegmentCredit(), "whiten": Whiten(below=0.9)},
        objective={
            "policy": Term(
                PPOClip(clip_low=0.2, clip_high=0.2, limit=10), SelectedMean(), ProbabilityMask(below=0.9)
            ),
            "kl": Term(KL("k3"), SequenceMean(), coef=1e-4),
        },
        source=OnlineSource(
            rollout=Trees(branching=(4, 4, 4), segment_tokens=(8,), edges_per_step=256),
            prompts_per_step=8,
            samples_per_prompt=1,
        ),
        models=Models(
            policy=Policy(old="behaviour", optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2),
            reference="frozen",
        ),
    )


PAPER = {
    "prompts_per_step": 16,
    "samples_per_prompt": 1,
    "updates_per_step": 8,
    "max_new_tokens": 1024,
    "temperature": 0.6,
    "top_p": 0.9,
    "rollout": {"branching": [6, 6, 6], "segment_tokens": [30], "edges_per_step": 1024},
    "learning_rate": 1e-6,
}
"""RhoMath-1.1B on GSM8K: 1024 edges a step in updates of 128. Segments have 100 tokens on MATH, 600 for long
answers of R1-Distill-1.5B (32 questions, 512 edges). Answers are drawn with top-p .9 and learned from as if
drawn from all tokens."""
