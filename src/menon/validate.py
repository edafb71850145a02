"""Which parts of a run go together: a configuration without sense is refused with the reason."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from menon.advantage import SegmentCredit
from menon.errors import UserError
from menon.parts import Around, Checks
from menon.rollout.protocols import sizes_of
from menon.rollout.segments import Segments
from menon.shaping import Overlong
from menon.update.protocols import VALUE, Reduction
from menon.update.terms import AnyTerm

if TYPE_CHECKING:
    from menon.config import Critic, RunConfig

COMPARES = ("grpo", "rloo", "reinforce_pp_baseline", "grpo_passk", "opo", "optimal_token", "gpg", "maxrl")
"""Kinds of advantage that compare the answers to one prompt."""
ESTIMATORS = (
    *COMPARES,
    "gae",
    "gae_normalised",
    "vapo",
    "reinforce",
    "reinforce_baseline",
    "reinforce_pp",
    "remax",
    "segment",
)
"""Kinds that make advantages from rewards."""
SAMPLES_VALUES = ("segments", "tree")
"""Kinds of rollout that do."""
RETURNS = ("gae", "gae_normalised", "vapo")
"""Those that also make what a critic learns."""
ANSWER_LOSSES = ("gspo", "geo_mean")
"""Losses that give one number per answer, at its last token."""
TOKEN_SHARES = ("token_mean", "selected_mean", "sequence_mean_token_mean", "prompt_mean")
"""Shares that count the tokens of answers."""
TOKEN_SELECTS = ("top_entropy", "probability")
"""Selections among the tokens of an answer."""
SHAPES = ("kl_in_reward", "overlong", "truncated_reward", "length_reward", "reward_norm")
"""Kinds that change rewards."""
AFTER = ("whiten", "kl_in_advantage")
"""Kinds that change advantages."""


def check(config: "RunConfig", around: Around) -> None:
    """Parts that ask for what the run does not have."""
    if not config.objective:
        raise UserError("objective holds no term; give it one, like objective.policy.loss=ppo_clip")
    for name, part in parts_of(config):
        reads = set(getattr(part, "reads", ()))
        needs = getattr(part, "needs", ())
        reference = "ref_logp" in reads or any(
            isinstance(need, Reduction) and need.other == "reference" for need in needs
        )
        if reference and config.models.reference == "none":
            raise UserError(f"{name} compares with a reference, and this run has none; set reference=frozen")
        if (reads & {"value", "value_after"} or VALUE in needs) and config.models.critic is None:
            raise UserError(
                f"{name} needs a critic, and this run has none; start from the recipe ppo, or give the "
                "run a critic"
            )
        if "baseline" in reads and getattr(config.source.rollout, "kind", "") != "greedy_baseline":
            raise UserError(
                f"{name} compares with greedy answers, and this run writes none; set rollout=greedy_baseline"
            )
        if "state_value" in reads and getattr(config.source.rollout, "kind", "") not in SAMPLES_VALUES:
            raise UserError(
                f"{name} needs sampled values, and this run samples none; set "
                f"rollout={' or '.join(SAMPLES_VALUES)}"
            )
        if "advantage" in reads and not config.advantage:
            raise UserError(
                f"{name} needs advantages, and this run has no advantage part; set advantage.credit=grpo"
            )
        if (term := getattr(part, "term", None)) is not None and term not in terms_of(config):
            raise UserError(
                f"{name} steers the term '{term}', which the objective does not have; add "
                f"objective.{term}.loss"
            )
        if getattr(part, "unit", "") == "pair":
            raise UserError(
                f"{name} learns from preferences, and this run writes single answers; choose another loss"
            )
        if getattr(part, "kind", "") in COMPARES and config.source.samples_per_prompt < 2:
            raise UserError(
                f"{name} compares the answers to one prompt; set samples_per_prompt to at least 2"
            )
        if isinstance(part, Overlong) and part.limit > (room := config.source.max_new_tokens):
            raise UserError(
                f"{name} counts up to {part.limit} tokens, and answers have room for {room}; set "
                f"{name}.limit={room}"
            )
    if config.models.critic is not None:
        check_critic(config, config.models.critic)
    if isinstance(config.source.rollout, Checks):
        config.source.rollout.check("rollout", around)
    if sizes_of(config.source.rollout, around).max_age > 1 and config.models.policy.old == "trainer":
        raise UserError(
            "edges that wait were not written by the policy before the step; set old=behaviour, or "
            "rollout.max_age=1"
        )
    check_segments(config)
    check_order(config)
    check_terms(config)


def check_segments(config: "RunConfig") -> None:
    """Rollouts that go on from the middle of an answer."""
    own = config.source.rollout
    if getattr(own, "kind", "") not in SAMPLES_VALUES:
        return
    if config.source.environment is not None:
        raise UserError(
            "segments go on from the middle of an answer, which no environment can; leave the environment out"
        )
    for name, part in config.advantage.items():
        if isinstance(own, Segments) and isinstance(part, SegmentCredit) and part.method != "rloo":
            raise UserError(
                f"advantage.{name}.method={part.method} compares a node with its siblings, and segments "
                "have none; "
                f"set advantage.{name}.method=rloo, or rollout=tree"
            )


def check_order(config: "RunConfig") -> None:
    """Parts of the advantage stage that come too late or too early."""
    names = list(config.advantage)
    kinds = [getattr(part, "kind", "") for part in config.advantage.values()]
    for place, name in enumerate(names):
        before = kinds[:place]
        earlier = [names[index] for index, kind in enumerate(before) if kind in ESTIMATORS]
        if earlier and kinds[place] in ESTIMATORS:
            raise UserError(
                f"advantage.{name} would replace what advantage.{earlier[0]} gave; take one away, as by "
                f"advantage.{earlier[0]}=null"
            )
        if kinds[place] in SHAPES and not set(before) <= set(SHAPES):
            order = ", ".join(f"{n}: ..." for n in [name, *(n for n in names if n != name)])
            raise UserError(
                f"advantage.{name} changes rewards and so comes before the others; write "
                f"advantage='{{{order}}}'"
            )
        if kinds[place] in AFTER and not set(before) - set(SHAPES):
            raise UserError(
                f"advantage.{name} changes advantages and so comes after an estimator; put one before it, "
                "like grpo"
            )


def check_terms(config: "RunConfig") -> None:
    """Terms whose parts do not go together, or that stand in the wrong objective."""
    apart = config.models.critic is None or not config.models.critic.shared_trunk
    for name, term in config.objective.items():
        kind, select = getattr(term.loss, "kind", ""), getattr(term.select, "kind", "")
        check_old(config, name, term)
        if apart and VALUE in term.loss.needs:
            raise UserError(f"objective.{name}.loss is the critic's; name it critic.objective.{name}.loss")
        if kind in ANSWER_LOSSES and getattr(term.share, "kind", "") in TOKEN_SHARES:
            raise UserError(
                f"objective.{name}.loss gives one number per answer; set objective.{name}.share=sequence_mean"
            )
        if kind in ANSWER_LOSSES and select in TOKEN_SELECTS:
            raise UserError(
                f"objective.{name}.loss gives one number per answer, and objective.{name}.select={select} "
                "chooses among tokens; "
                f"leave the selection out, or set objective.{name}.loss=gspo_token"
            )


def check_old(config: "RunConfig", name: str, term: AnyTerm) -> None:
    """Losses and corrections that ask how far the policy is from the one that wrote the text."""
    weighed = any(getattr(part, "trainer", "") == "current" for part in term.correction)
    if getattr(term.loss, "kind", "") == "pg" and not weighed and config.models.policy.updates_per_step > 1:
        raise UserError(
            f"objective.{name}.loss=pg takes the text for the policy's own, which after the first of "
            f"{config.models.policy.updates_per_step} "
            "updates it is not; set updates_per_step=1, take a loss with a ratio, like ppo_clip, or "
            "weigh it: "
            f"objective.{name}.correction='[{{kind: importance, trainer: current}}]'"
        )
    if config.models.policy.old == "behaviour" and any(
        {"old_logp", "behaviour_logp"} <= set(part.reads) for part in term.correction
    ):
        raise UserError(
            f"objective.{name}.correction compares the old policy with the sampler, and old=behaviour "
            "takes one for the other; "
            "set trainer=current in it, or old=trainer"
        )


def check_critic(config: "RunConfig", critic: "Critic") -> None:
    if not critic.objective:
        raise UserError(
            "critic.objective holds no term; give it one, or leave the critic out with critic=null"
        )
    if critic.shared_trunk and critic.updates_per_step != config.models.policy.updates_per_step:
        raise UserError(
            f"a critic on the policy's trunk learns in the policy's updates, {config.models.policy.updates_per_step} a "
            "step; "
            f"set critic.updates_per_step={config.models.policy.updates_per_step}"
        )
    if critic.shared_trunk and config.models.policy.natural is not None:
        raise UserError(
            "a natural step measures the policy's KL alone, not that of a value head; set "
            "critic.shared_trunk=false"
        )
    if critic.pretrain_steps:
        check_pretraining(config, critic)
    parts = config.advantage.values()
    made = [
        getattr(part, "kind", "") in RETURNS or not type(part).__module__.startswith("menon.")
        for part in parts
    ]
    for name, term in critic.objective.items():
        if "ret" in term.loss.reads and not any(made):
            raise UserError(
                f"critic.objective.{name}.loss learns returns, and no advantage part makes them; set "
                "advantage.credit=gae, "
                "or leave the critic out with critic=null"
            )
        if not critic.shared_trunk and "logp" in term.loss.needs:
            raise UserError(f"critic.objective.{name}.loss is the policy's; name it objective.{name}.loss")
    if critic.shared_trunk and (both := config.objective.keys() & critic.objective.keys()):
        raise UserError(
            f"the objectives of policy and critic are summed, and both have a term '{min(both)}'; rename one"
        )


def check_pretraining(config: "RunConfig", critic: "Critic") -> None:
    """A critic learns alone from whole returns, and only where it can be moved without the policy."""
    if critic.shared_trunk:
        raise UserError(
            "a critic on the policy's trunk cannot learn before it; set critic.shared_trunk=false"
        )
    for name, part in config.advantage.items():
        field = {"gae": "lam", "gae_normalised": "lam", "vapo": "lam_critic"}.get(
            getattr(part, "kind", ""), ""
        )
        if field and getattr(part, field) != 1:
            raise UserError(
                f"a critic that learns alone learns whole returns, and advantage.{name}.{field} is "
                f"{getattr(part, field):g}; "
                f"set it to 1, or critic.pretrain_steps=0 (vapo with alpha=0 keeps a lam of the policy's own)"
            )


def terms_of(config: "RunConfig") -> set[str]:
    return {*config.objective, *(config.models.critic.objective if config.models.critic is not None else {})}


def parts_of(config: "RunConfig") -> Iterator[tuple[str, Any]]:
    """Every part with its name in the configuration."""
    for name, part in config.advantage.items():
        yield f"advantage.{name}", part
    if config.source.environment is not None:
        yield "environment", config.source.environment
    if config.source.task is not None:
        yield "task", config.source.task
    objectives = {"objective": config.objective} | (
        {"critic.objective": config.models.critic.objective} if config.models.critic else {}
    )
    for where, objective in objectives.items():
        for name, term in objective.items():
            yield f"{where}.{name}.loss", term.loss
            yield f"{where}.{name}.share", term.share
            if term.select is not None:
                yield f"{where}.{name}.select", term.select
            for correction in term.correction:
                yield f"{where}.{name}.correction", correction
