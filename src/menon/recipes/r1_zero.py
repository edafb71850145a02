"""DeepSeek-R1-Zero (arXiv 2501.12948): GRPO with a very wide clip, and a reference that is reset."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import KL, PPOClip
from menon.loss.aggregation import SequenceMeanTokenMean
from menon.update.optimiser import Optimiser
from menon.update.reference import HardReset
from menon.update.terms import Term


def r1_zero() -> RunConfig:
    """The loss has .001 times k3 to the reference, which is reset to the policy every 400 steps. The clip
    range 10 (ratios up to 11, no lower bound) is stated only for the first stage of R1.
    """
    return RunConfig(
        recipe="r1_zero",
        advantage={"credit": GRPO()},
        objective={
            "policy": Term(PPOClip(clip_low=1.0, clip_high=10.0), SequenceMeanTokenMean()),
            "kl": Term(KL("k3"), SequenceMeanTokenMean(), coef=0.001),
        },
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2),
            reference="frozen",
            reference_update=HardReset(every=400),
        ),
    )


PAPER = {
    "prompts_per_step": 512,
    "samples_per_prompt": 16,
    "updates_per_step": 16,
    "max_new_tokens": 32768,
    "reference_update.every": 25,
    "learning_rate": 3e-6,
}
"""A step of the paper is one update, of 32 questions x 16 answers; 8192 answers are written at once and make
16 updates. So 400 steps of the paper are 25 steps here. From the paper's step 8200 on, answers may have 65536
tokens."""
