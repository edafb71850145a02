"""Whole runs: each recipe is a function that returns a `RunConfig`."""

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from menon.base import BASES
from menon.errors import UserError, nearest

if TYPE_CHECKING:
    from menon.config import RunConfig

ONLINE = {
    "grpo": "groups of answers compared with each other, PPO clip, no critic, no KL",
    "reinforce": "whitened return-to-go; plain policy gradient",
    "ppo": "a critic, GAE with lambda = gamma = 1, clip .2, no KL: the Open-Reasoner-Zero setting",
    "dapo": "grpo with clip-higher, dynamic sampling and a soft penalty on answers near the limit",
    "gspo": "one ratio and one clip per answer",
    "cispo": "the importance weight is clipped, the gradient of every token stays",
    "scalerl": "cispo, every prompt weighs the same, no groups of equal rewards, no solved questions",
    "sapo": "a smooth gate instead of a clip",
    "clip_cov": "a few tokens that would collapse the entropy are left out",
    "kl_cov": "a penalty on the few tokens that would collapse the entropy",
    "top_entropy": "80/20: dapo on the fifth of the tokens with the highest entropy",
    "ppo_penalty": "PPO with an adaptive KL penalty instead of a clip",
    "trpo": "a natural-gradient step within a trust region",
    "rloo": "each answer against the mean of the others; sums over tokens, on-policy",
    "drgrpo": "grpo without the deviation and without the answer's length in the denominator",
    "opo": "each answer against the length-weighted mean of its group; exactly on-policy",
    "gpg": "the policy gradient alone, rescaled for groups without signal",
    "maxrl": "centred rewards over the pass rate: towards maximum likelihood",
    "remax": "the greedy answer's reward as the baseline",
    "grpo_passk": "only an answer better than its whole group is credited",
    "reinforce_pp": "REINFORCE++: return-to-go with a KL penalty, whitened over the step",
    "reinforce_pp_baseline": "REINFORCE++ against the mean of the group",
    "vapo": "a pretrained critic, lambda by length, clip-higher, imitation of correct answers",
    "grpo_paper": "grpo as first published: every answer weighs the same, a KL to the start in the loss",
    "r1_zero": "grpo_paper with a very wide clip, a small KL and a reference that is reset every 400 steps",
    "realhf_ppo": "a critic, a KL in the reward, a reference that follows the policy, large batches",
    "spo_chain": "credit for segments between uncertain tokens, by fresh answers from where each begins",
    "spo_tree": "credit for segments of fixed length, by a tree of answers to each question",
    "vineppo": "credit for lines, by fresh answers from where each begins; no critic",
    "grpo_masked": "grpo on tokens with a probability below .9",
    "raft": "imitation of the best of its own answers to each question",
    "rest_em": "imitation of its own right answers, at most ten to a question",
    "iterative_dpo": "DPO on the best and the worst of its own answers to each question",
    "calculator": "grpo with a calculator at hand: answers in turns, observations not trained on",
}
"""Recipes that learn from what their policy writes, and from nothing else."""
TAUGHT = {
    "opd": "on-policy distillation: the policy writes, teacher=FOLDER scores each token; no reward is needed",
    "self_distill": "the policy learns from itself as it was at the start and read the answer, or a hint",
    "sdpo": "the policy learns from itself, which read another right answer of the group, or feedback",
}
"""Recipes whose policy writes, and learns from a teacher."""
GIVEN = {
    "sft": "maximum likelihood of given answers: data=FILE",
    "distill_logits": "given answers, with the distributions of teacher=FOLDER at their tokens",
    "distill_features": "distill_logits, and the hidden states of teacher=FOLDER, layer by layer",
    "gkd": "the distributions of teacher=FOLDER, on given answers and on those that the policy writes",
    "dpo": "given pairs: the preferred answer gains on the other",
    "reward_model": "given pairs: a score for texts, which reward=preference reads",
    "energy_nce": "given answers against the model's own: the policy becomes their distribution",
    "contrastive_divergence": "given answers against chains: a score whose best policy writes like them",
}
"""Recipes that learn from given text, `data=FILE`."""
RECIPES = ONLINE | TAUGHT | GIVEN
"""Name of each recipe -> a description in one line. The recipe is the function of that name, in the module of
that name."""
PIPELINES = {
    "distill_data": "teacher=FOLDER writes answers, a verifier chooses, and the policy imitates those",
    "judge": "a policy explores, its reward labels its answers, a small judge imitates the labels",
    "star": "rounds of imitating its own right answers, hinted at where it has none, from the base each time",
    "r1": "cold start, RL by rules, SFT on filtered answers, RL with a reward model, a smaller student",
}
"""Recipes of several stages: name -> a description in one line. The settings and the stages are those of a
class in the module of that name (`class_of`)."""


POLICY_RATE, CRITIC_RATE = 1e-6, 5e-6
"""Learning rates of Open-Reasoner-Zero, for models of .5 B to 32 B weights. The rates for a model of a
million weights would make such a model diverge."""
SCALES = ("laptop", "paper")
UNSTATED: dict[str, Any] = {"prompts_per_step": 128, "samples_per_prompt": 64, "max_new_tokens": 8000}
"""Settings of Open-Reasoner-Zero, used by scale=paper where a paper states no number."""


def recipe(name: str, model: str = "base", scale: str = "laptop") -> "RunConfig":
    """The configuration of a recipe by name.

    At scale laptop, the constants of the algorithm are the paper's, and the sizes of the batch, the length of
    answers and the learning rates fit the built-in base. Another model has its own learning rates, and its
    context decides the length. At scale paper, all published numbers are used: `PAPER` in the recipe's
    module.
    """
    from menon.config import changed

    if name in PIPELINES:
        raise UserError(
            f"{name} is a recipe of several stages and no single run; `menon train {name}` runs it"
        )
    if name not in RECIPES:
        raise UserError(
            f"there is no recipe '{name}'{nearest(name, RECIPES | PIPELINES, lists='menon help recipes')}"
        )
    if scale not in SCALES:
        raise UserError(
            f"scale is '{scale}'; it takes laptop (sizes for the built-in base) or paper (the published "
            "numbers)"
        )
    module = import_module(f"menon.recipes.{name}")
    config: RunConfig = getattr(module, name)()
    if scale == "laptop" and model in BASES:
        return config
    models = config.models
    policy = replace(models.policy, optimiser=replace(models.policy.optimiser, learning_rate=POLICY_RATE))
    critic = models.critic
    if critic is not None:
        critic = replace(critic, optimiser=replace(critic.optimiser, learning_rate=CRITIC_RATE))
    source = replace(config.source, max_new_tokens=None)
    config = replace(config, source=source, models=replace(models, policy=policy, critic=critic))
    if scale == "laptop":
        return config
    if not hasattr(module, "PAPER"):
        raise UserError(
            f"no published numbers of the recipe '{name}' are known here; leave scale=paper out, or take a "
            f"recipe that has them: {', '.join(published())}"
        )
    return changed(config, UNSTATED, module.PAPER, {"scale": "paper"})


def class_of(pipeline: str) -> str:
    """The name of the class of a pipeline.

    >>> class_of("distill_data"), class_of("r1")
    ('DistillData', 'R1')
    """
    return "".join(word.title() for word in pipeline.split("_"))


def published() -> list[str]:
    """The recipes whose published numbers are known, for scale=paper."""
    return [name for name in RECIPES if hasattr(import_module(f"menon.recipes.{name}"), "PAPER")]
