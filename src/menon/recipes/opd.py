"""On-policy distillation: the policy writes, a teacher scores each token (arXiv 2306.13649, 2306.08543)."""

from menon.advantage import Teacher
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def opd() -> RunConfig:
    """A_t = -(log pi_t - log teacher_t), no reward, no return-to-go: the policy gradient of the reverse KL at
    each token. Rewards are graded and reported.

    The same on the whole vocabulary: `advantage.credit=null objective.policy.loss='{kind: distill,
    divergence: reverse}'`. With a reward: `advantage='{credit: grpo, teacher: {kind: teacher, coef: 0.1,
    adds: true}}'`.
    """
    return RunConfig(
        recipe="opd",
        advantage={"credit": Teacher()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        source=OnlineSource(prompts_per_step=32, samples_per_prompt=4),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4)), teacher=""),
    )
