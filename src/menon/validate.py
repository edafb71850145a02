"""Which parts of a run work together: a configuration that cannot work is refused with the reason."""

from typing import Any

from menon.columns import CriticSettings, Setup, check_columns, needs_of, reads_of
from menon.errors import UserError
from menon.parts import Checks, compares
from menon.rollout.protocols import sizes_of
from menon.update.protocols import VALUE, Head, Inside


def check(setup: Setup) -> None:
    """UserError for parts that do not work together."""
    if not setup.objective:
        raise UserError("objective holds no term; give it one, like objective.policy.loss=ppo_clip")
    if setup.critic is not None and not setup.critic.objective:
        raise UserError(
            "critic.objective holds no term; give it one, or leave the critic out with critic=null"
        )
    check_columns(setup)
    for name, part in setup.parts():
        if compares(part):
            check_comparison(setup, name)
        if isinstance(part, Checks):
            part.check(name, setup.around)
    check_rollout(setup)
    check_terms(setup)
    check_heads(setup)
    if setup.exact:
        check_exact(setup)
    if setup.critic is not None:
        check_critic(setup, setup.critic)


def check_comparison(setup: Setup, name: str) -> None:
    """UserError if a part compares the answers to one prompt and there is only one."""
    if setup.around.samples_per_prompt < 2:
        raise UserError(f"{name} compares the answers to one prompt; set samples_per_prompt to at least 2")
    size = sizes_of(setup.rollout, setup.around)
    if size.sequences < 2 * setup.around.prompts_per_step:
        raise UserError(
            f"{name} compares the answers to one prompt, and the rollout keeps one of each; let it keep more"
        )


def check_rollout(setup: Setup) -> None:
    if getattr(setup.rollout, "forks", False) and setup.environment is not None:
        raise UserError(
            "segments continue from the middle of an answer, and an environment's state cannot be restored; "
            "leave the environment out"
        )
    size = sizes_of(setup.rollout, setup.around)
    if size.max_age > 1 and not setup.old_is_behaviour:
        raise UserError(
            f"{size.unit} that wait were not written by the policy before the step; set old=behaviour, or "
            "rollout.max_age=1"
        )


def check_terms(setup: Setup) -> None:
    """UserError for terms whose parts do not work together, or that are in the wrong objective."""
    apart = setup.critic is None or not setup.critic.shared_trunk
    for name, term in setup.objective.items():
        check_old(setup, name, term)
        if apart and VALUE in needs_of(term.loss):
            raise UserError(f"objective.{name}.loss is the critic's; name it critic.objective.{name}.loss")
    for where, objective in setup.objectives().items():
        for name, term in objective.items():
            check_unit(f"{where}.{name}", term)


def check_heads(setup: Setup) -> None:
    """UserError if a loss reads a head that the policy lacks, or no loss reads the one it has."""
    read: set[str] = set()
    for name, term in setup.objective.items():
        heads = {need.name for need in needs_of(term.loss) if isinstance(need, Head)} - {VALUE.name}
        read |= heads
        if lacking := heads - {setup.head}:
            raise UserError(
                f"objective.{name}.loss={kind_of(term.loss)} reads the head '{min(lacking)}', which the "
                f"policy does not have; set head={min(lacking)}, or start from the recipe reward_model"
            )
    if setup.head and setup.head not in read:
        raise UserError(
            f"head={setup.head} gives the policy a head that no loss of this run reads; set "
            "objective.policy.loss=bradley_terry, or head=none"
        )
    if setup.head and setup.natural:
        raise UserError("a natural step measures the KL of a policy, and a head has none; set natural=null")
    losses = [term.loss for term in setup.objective.values()]
    if setup.natural and any(isinstance(need, Inside) for loss in losses for need in needs_of(loss)):
        raise UserError(
            "a natural step measures the KL of a policy, and the maps to a teacher's layers have none; set "
            "natural=null"
        )


def check_exact(setup: Setup) -> None:
    """UserError unless log-probs over the tokens that could be drawn are all that the parts need."""
    if not setup.around.sampling.top_k:
        raise UserError(
            "truncation=exact stores the tokens that could be drawn at each place, and without top_k those "
            "may be all; set top_k too, like top_k=200"
        )
    if setup.natural:
        raise UserError(
            "a natural step measures the KL over all tokens, and truncation=exact learns over the kept ones; "
            "set truncation=ignored or natural=null"
        )
    for name, part in setup.parts():
        if "collision" in getattr(part, "reads", ()):
            raise UserError(
                f"{name} reads probabilities of all tokens, and truncation=exact learns over the kept ones; "
                "set truncation=ignored, or choose another part"
            )


def check_unit(name: str, term: Any) -> None:
    """UserError if a loss with one number per answer, or per pair, is weighed by another unit, or a loss per
    answer is corrected or selected by tokens: its number lies on one token, whose weight would stand for the
    whole answer."""
    per, share = getattr(term.loss, "per", None), getattr(term.share, "per", None)
    if per == "pair" and share not in (None, "pair"):
        raise UserError(f"{name}.loss gives one number per pair; set {name}.share=pair_mean")
    if per != "sequence":
        if getattr(term.share, "needs_one_number", False):
            raise UserError(
                f"{name}.share={kind_of(term.share)} multiplies the number of an answer by its tokens, and "
                f"{name}.loss gives numbers per token; set {name}.share=sequence_mean, which adds them up"
            )
        return
    if share not in (None, "sequence"):
        raise UserError(f"{name}.loss gives one number per answer; set {name}.share=sequence_mean")
    if getattr(term.select, "per", None) == "token":
        raise UserError(
            f"{name}.loss gives one number per answer, and {name}.select={kind_of(term.select)} chooses "
            f"among tokens; leave the selection out, or set {name}.loss=gspo_token"
        )
    for part in term.correction:
        if fits := getattr(part, "fits_answers", ""):
            raise UserError(
                f"{name}.loss gives one number per answer, and {name}.correction={kind_of(part)} weighs "
                f"single tokens; {fits}, or set {name}.loss=gspo_token"
            )


def kind_of(part: Any) -> str:
    return str(getattr(part, "kind", type(part).__name__))


def check_old(setup: Setup, name: str, term: Any) -> None:
    """UserError for losses and corrections that need an old policy which this run does not have."""
    weighed = any(getattr(part, "trainer", "") == "current" for part in term.correction)
    if getattr(term.loss, "on_policy", False) and not weighed and setup.updates_per_step > 1:
        raise UserError(
            f"objective.{name}.loss={kind_of(term.loss)} assumes that the policy wrote the text, which is "
            f"wrong after the first of {setup.updates_per_step} updates; set updates_per_step=1, take a loss "
            f"with a ratio, like ppo_clip, or weigh it: objective.{name}.correction="
            "'[{kind: importance, trainer: current}]'"
        )
    if setup.old_is_behaviour and any(
        {"old_logp", "behaviour_logp"} <= set(reads_of(part)) for part in term.correction
    ):
        raise UserError(
            f"objective.{name}.correction compares the old policy with the sampler, and old=behaviour takes "
            "one for the other; set trainer=current in it, or old=trainer"
        )


def check_critic(setup: Setup, critic: CriticSettings) -> None:
    if critic.shared_trunk and critic.updates_per_step != setup.updates_per_step:
        raise UserError(
            f"a critic on the policy's trunk learns in the policy's updates, {setup.updates_per_step} a "
            f"step; set critic.updates_per_step={setup.updates_per_step}"
        )
    if critic.shared_trunk and setup.natural:
        raise UserError(
            "a natural step measures the policy's KL alone, not that of a value head; set "
            "critic.shared_trunk=false"
        )
    if critic.pretrain_steps:
        check_pretraining(setup, critic)
    for name, term in critic.objective.items():
        if not critic.shared_trunk and "logp" in needs_of(term.loss):
            own = "" if hasattr(term.loss, "needs") else ", or say needs = (VALUE,) of menon.update.protocols"
            raise UserError(
                f"critic.objective.{name}.loss is the policy's; name it objective.{name}.loss{own}"
            )
    if critic.shared_trunk and (both := setup.objective.keys() & critic.objective.keys()):
        raise UserError(
            f"the objectives of policy and critic are summed, and both have a term '{min(both)}'; rename one"
        )


def check_pretraining(setup: Setup, critic: CriticSettings) -> None:
    """UserError unless a critic that learns alone learns whole returns, and has its own trunk."""
    if critic.shared_trunk:
        raise UserError(
            "a critic on the policy's trunk cannot learn before it; set critic.shared_trunk=false"
        )
    for name, part in setup.advantage.items():
        setting = getattr(part, "returns_by", "")
        if setting and getattr(part, setting) != 1:
            raise UserError(
                f"a critic that learns alone learns whole returns, and advantage.{name}.{setting} is "
                f"{getattr(part, setting):g}; set it to 1, or critic.pretrain_steps=0 (vapo with alpha=0 "
                "keeps a lam of the policy's own)"
            )
