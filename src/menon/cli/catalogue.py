"""What can be looked up: the stages of a run with their kinds of part, and the settings of `menon train` in
the groups in which its help shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from menon.cli.source_text import Part, Setting, all_settings_of, members


@dataclass(frozen=True)
class Stage:
    """A place in a configuration that is filled by a part of one of several kinds."""

    name: str
    place: str
    """The setting that chooses the part; NAME is any name."""
    module: str
    union: str
    sentence: str
    page: str
    """The page of its parts, and of any without one of their own in `PAGES`."""
    also: tuple[str, ...] = ()
    """Other words for it."""

    @property
    def parts(self) -> list[Part]:
        return members(self.module, self.union)


ALGORITHMS = "docs/algorithms/README.md"
STAGES = (
    Stage(
        *("reward", "reward", "config", "RewardPart"),
        "How an answer is judged. Without one, a task judges its own answers, and data uses exact. Your own "
        "function is file.py:name.",
        "docs/rewards.md",
        ("rewards", "verifier", "grader"),
    ),
    Stage(
        *("task", "task", "prompts.tasks", "Task"),
        "Generated questions with an exact verifier. Your own dataclass is file.py:Class.",
        "docs/tasks.md",
        ("tasks",),
    ),
    Stage(
        *("environment", "environment", "rollout.environments", "EnvironmentPart"),
        "What answers the policy turn by turn: a tool or a game. Your own dataclass is file.py:Class.",
        "docs/environments.md",
        ("environments", "tool", "tools"),
    ),
    Stage(
        *("sampler", "sampler", "engine_settings", "SamplerPart"),
        "Who writes the answers: the built-in sampler, or an engine of another library.",
        "docs/vllm.md",
        ("samplers", "vllm"),
    ),
    Stage(
        *("rollout", "rollout", "rollout", "RolloutPart"),
        "How the answers of a step are written.",
        ALGORITHMS,
        ("rollouts", "collector"),
    ),
    Stage(
        *("arrange", "arrange.NAME", "arrange", "ArrangePart"),
        "Which answers of a step are learned from, and which two are a pair. The others stay in the record.",
        "docs/algorithms/rejection_sampling.md",
        ("arrangement", "rejection_sampling"),
    ),
    Stage(
        *("shaping", "advantage.NAME", "shaping", "ShapingPart"),
        "Changes rewards before the estimator. The order of the table advantage is the order in which parts "
        "run.",
        "docs/algorithms/shaping.md",
    ),
    Stage(
        *("advantage", "advantage.NAME", "advantage", "AdvantagePart"),
        "Credit for each token: the estimator, by convention advantage.credit, and parts after it that "
        "change advantages.",
        ALGORITHMS,
        ("advantages", "credit", "estimator"),
    ),
    Stage(
        *("control", "advantage.NAME", "control", "ControlPart"),
        "Steers the coefficient of a term of the objective by what the run measures.",
        ALGORITHMS,
        ("controller", "controllers"),
    ),
    Stage(
        *("loss", "objective.NAME.loss", "loss", "LossPart"),
        "One number per token, or per answer on its last token. The term of the policy is objective.policy.",
        ALGORITHMS,
        ("losses", "objective"),
    ),
    Stage(
        *("share", "objective.NAME.share", "loss.aggregation", "AggregationPart"),
        "The loss aggregation: how much each token weighs in the update's loss.",
        ALGORITHMS,
        ("aggregation", "loss_aggregation"),
    ),
    Stage(
        *("select", "objective.NAME.select", "select", "SelectPart"),
        "The tokens that a term counts; without one every trained token.",
        ALGORITHMS,
        ("selection",),
    ),
    Stage(
        *("correction", "objective.NAME.correction", "correction", "CorrectionPart"),
        "Weights for text that another policy wrote; a list, whose weights are multiplied.",
        "docs/algorithms/rollout_correction.md",
        ("corrections",),
    ),
    Stage(
        *("posterior", "method", "rollout.posterior", "PosteriorPart"),
        "How `menon posterior` draws from the best policy for a reward and a KL penalty. A run has none.",
        "docs/posterior.md",
        ("method", "methods"),
    ),
    Stage(
        *("reference_update", "reference_update", "update.reference", "ReferencePart"),
        "How a reference follows the policy.",
        "docs/algorithms/kl.md",
    ),
)
"""In the order in which a step uses them."""

PAGES = {
    **dict.fromkeys(("judge", "rubric", "preference"), "docs/judge.md"),
    "code": "docs/sandbox.md",
    **dict.fromkeys(("sft", "dpo", "reward_model"), "docs/given_text.md"),
    **dict.fromkeys(
        ("trajectory_balance", "dvo", "infonca", "energy_nce", "posterior_weights", "contrastive_divergence"),
        "docs/posterior.md",
    ),
    "calculator": "docs/environments.md",
    "star": "docs/pipelines.md",
    "r1": "docs/r1.md",
    **{
        kind: f"docs/algorithms/{page}.md"
        for page, kinds in {
            "reinforce": ("reinforce", "reinforce_baseline", "whiten"),
            "reinforce_pp": ("reinforce_pp", "reinforce_pp_baseline"),
            "gae": ("gae", "gae_normalised"),
            "kl": ("kl", "kl_in_advantage", "kl_in_reward", "kl_coefficient", "exact_kl"),
            "preference_ppo": ("realhf_ppo",),
            "overlong": ("overlong", "truncated_reward", "not_truncated"),
            "entropy": ("entropy", "entropy_coefficient"),
            "ppo_kl_penalty": ("old_kl", "penalty_coefficient", "ppo_penalty"),
            "trpo": ("trpo", "early_stop"),
            "gspo": ("gspo", "gspo_token", "sequence_length_mean"),
            "pg": ("pg", "surrogate"),
            "grpo_masked": ("grpo_masked", "probability"),
            "vapo": ("vapo", "nll", "correct"),
            "dynamic_sampling": ("dynamic_sampling",),
            "rejection_sampling": ("raft", "rest_em", "iterative_dpo", "best_of"),
            "cispo": ("cispo", "scalerl"),
            "remax": ("remax", "greedy_baseline"),
            "spo_chain": ("spo_chain", "segment", "segments"),
            "spo_tree": ("spo_tree", "tree"),
            "grpo": ("grpo", "grpo_paper", "r1_zero"),
            "ppo_clip": ("ppo_clip", "ppo"),
            "distillation": ("distill", "distill_logits", "gkd", "distill_data"),
            "features": ("features", "attention_maps", "distill_features"),
            "opd": ("opd", "teacher", "ungraded"),
            "self_distillation": ("self_distill", "sdpo", "hinted"),
            "preferences": (
                *("dpo", "cdpo", "robust_dpo", "ipo", "slic", "simpo", "cpo", "orpo", "kto"),
                "bradley_terry",
            ),
        }.items()
        for kind in kinds
    },
    **{
        kind: f"docs/algorithms/{kind}.md"
        for kind in (
            *("gpg", "maxrl", "opo", "optimal_token", "rloo", "grpo_passk", "clip_cov", "kl_cov"),
            *("dppo", "dual_clip", "geo_mean", "sapo", "value", "vespo", "top_entropy", "dapo", "drgrpo"),
            *("vineppo", "answer_probability"),
        )
    },
    "dapo": "docs/algorithms/dynamic_sampling.md",
}
"""Recipe or kind of part -> its page, where it is not the page of its stage."""


def page_of(name: str, stage: Stage | None = None) -> str:
    """The page of a recipe or of a kind of part, as a path in the repository."""
    return PAGES.get(name, stage.page if stage else ALGORITHMS)


@cache
def all_parts() -> tuple[tuple[Stage, Part], ...]:
    """Every kind of part with its stage."""
    return tuple((stage, part) for stage in STAGES for part in stage.parts)


# The settings of a run

OWNERS = {
    "control": ("config", "Control"),
    "source": ("config", "OnlineSource"),
    "source.columns": ("prompts.reader", "Columns"),
    "source.few_shot": ("prompts.few_shot", "FewShot"),
    "rows": ("prompts.given", "GivenText"),
    "rows.columns": ("prompts.given", "GivenColumns"),
    "models.policy": ("config", "Policy"),
    "models.policy.optimiser": ("update.optimiser", "Optimiser"),
    "models.policy.natural": ("update.optimiser", "NaturalGradient"),
    "models.policy.adapter": ("update.adapter", "Adapter"),
    "engine": ("engine_settings", "Engine"),
    "": ("config", "RunConfig"),
    "objective.policy": ("update.terms", "Term"),
    "models": ("config", "Models"),
    "models.critic": ("config", "Critic"),
}
"""Place in a configuration -> module and dataclass whose fields are its settings."""


@dataclass(frozen=True)
class Listed:
    """A setting of a run, and where it is."""

    short: str
    """The name to type: the shortest that is not ambiguous."""
    full: str
    setting: Setting


@dataclass(frozen=True)
class Group:
    """Settings that answer one question of a user."""

    name: str
    sentence: str
    names: tuple[str, ...]
    """Short names, in their order; NAME.* are all settings of that table."""


GROUPS = (
    Group(
        "questions",
        "what is asked",
        (
            *(
                "data",
                "columns.*",
                "heldout_data",
                "heldout",
                "heldout_seed",
                "on_bad",
                "task",
                "environment",
                "max_turns",
            ),
            *("template", "few_shot.*", "template_arguments", "order"),
        ),
    ),
    Group(
        "given text",
        "learned as it stands; in sft, dpo and the like data= is rows.data",
        ("rows.*",),
    ),
    Group("reward", "what an answer is worth", ("reward", "graded_text", "advantage")),
    Group(
        "step",
        "how much is written and learned in a step, and by which loss",
        (
            *(
                "steps",
                "minutes",
                "stop_without_signal",
                "prompts_per_step",
                "samples_per_prompt",
                "max_new_tokens",
            ),
            *("temperature", "top_p"),
            *(
                "top_k",
                "truncation",
                "stop",
                "keep_special_tokens",
                "rollout",
                "arrange",
                "staleness",
                "updates_per_step",
                "old",
                "objective",
            ),
            "objective.policy.*",
        ),
    ),
    Group(
        "model",
        "what is trained, and how its weights move",
        (
            *("model", "learning_rate", "warmup_updates", "schedule", "total_updates", "final_fraction"),
            *("clip_norm", "weight_decay", "betas", "eps", "natural.*", "adapter.*"),
            *("reference", "reference_update"),
            *("teacher", "teachers", "teacher_by", "teacher_rate", "teacher_question", "add_tokens", "head"),
            "critic.*",
        ),
    ),
    Group(
        "memory and speed",
        "change a run's numbers by rounding only",
        ("device", "dtype", "threads", "tokens_per_forward", "sampler", "slots", "fixed_slots"),
    ),
    Group(
        "processes and hosts",
        "where models live and text is written (docs/cluster.md)",
        ("ranks", "checkpointing", "offload", "samplers", "colocated", "placement"),
    ),
    Group(
        "record",
        "what a run writes down",
        (
            *("out", "seed", "scale", "save_every", "save_dtype", "evaluate_every", "report_questions"),
            *("record", "tracker", "wandb_project"),
        ),
    ),
)
TABLES = {
    "source.columns",
    "source.few_shot",
    "rows",
    "rows.columns",
    "models.policy",
    "models.policy.optimiser",
    "models.policy.natural",
    "models.policy.adapter",
} | {"models.critic"}
"""Settings that are tables whose own settings are listed instead."""


@cache
def run_settings() -> dict[str, Listed]:
    """Every setting of `menon train` by its short name."""
    listed: dict[str, Listed] = {}
    for owner, (module, cls) in OWNERS.items():
        for setting in all_settings_of(module, cls):
            full = f"{owner}.{setting.name}" if owner else setting.name
            if full not in TABLES:
                short = short_of(owner, setting.name)
                listed[short] = Listed(short, full, setting)
    return listed


def short_of(owner: str, name: str) -> str:
    """The shortest name of a setting. Those of given text keep their whole name, because questions have the
    same. Those of the critic, of columns, of examples, of the natural gradient and of an adapter keep the
    name of their table, because their own is used elsewhere or says too little; terms have names of the
    user's."""
    if owner.startswith("rows"):
        return f"{owner}.{name}"
    if owner.endswith((".critic", ".columns", ".few_shot", ".natural", ".adapter")):
        return f"{owner.rpartition('.')[2]}.{name}"
    return f"{owner}.{name}" if owner == "objective.policy" else name


def in_group(group: Group) -> Iterator[Listed]:
    """The settings of a group."""
    listed = run_settings()
    for name in group.names:
        table = name.removesuffix("*")
        yield from (
            one
            for short, one in listed.items()
            if short == name or (table != name and short.startswith(table))
        )
