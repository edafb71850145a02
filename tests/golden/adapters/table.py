"""Function of a peer -> the adapter that runs our code on its records. An adapter maps names, rescales and
composes; it holds no formula of its own. Functions whose code does not exist here yet are listed with what
they wait for."""

from collections.abc import Callable, Mapping
from typing import Any

from golden.adapters import (
    areal,
    entropy,
    groups,
    kl,
    losses,
    nemo,
    pairs,
    rewards,
    rollout,
    segments,
    skyrl,
    token_advantages,
    trl,
    values,
    whitening,
)
from golden.records import Record

Adapter = Callable[[Record], None]

MODULES = (
    areal,
    entropy,
    groups,
    kl,
    losses,
    nemo,
    pairs,
    rewards,
    rollout,
    segments,
    skyrl,
    token_advantages,
    trl,
    values,
    whitening,
)
ADAPTERS: dict[str, Adapter] = {
    name: adapter for module in MODULES for name, adapter in module.ADAPTERS.items()
}

PREFERENCE, DISTILLATION = "preference losses", "distillation"
OPTIONAL = "an estimator or loss that nobody has built here"
WAITING: dict[str, str] = {
    "areal.loss.dpo": PREFERENCE,
    "openrlhf.loss.reward_model": PREFERENCE,
    "spo.loss.dvo": PREFERENCE,
    "trl.loss.cpo_simpo": PREFERENCE,
    "trl.loss.kto": PREFERENCE,
    "trl.loss.orpo": PREFERENCE,
    "trl.loss.reward_model": PREFERENCE,
    "nemo_rl.loss.distillation_topk": DISTILLATION,
    "prime_rl.loss.ref_kl": DISTILLATION,
    "trl.advantage.minillm": DISTILLATION,
    "trl.loss.gkd_jsd": DISTILLATION,
}
"""Functions without an adapter."""


def waits_for(record: Record) -> str:
    """What has to be built before this record can be run; "" if nothing."""
    settings = record.settings
    if settings.get("ipo", False) or settings.get("preference_average_log_probs", False):
        return PREFERENCE
    if record.function == "trl.loss.dpo" and not plain_dpo(settings):
        return PREFERENCE
    return WAITING.get(record.function, "")


def plain_dpo(settings: Mapping[str, Any]) -> bool:
    """TRL's pair of sigmoids on whole answers against the reverse KL, and nothing else."""
    return (
        settings.get("loss_types", ["sigmoid"]) == ["sigmoid"]
        and settings.get("f_divergence_type", "reverse_kl") == "reverse_kl"
        and settings.get("ld_alpha") is None
        and not settings.get("use_weighting", False)
    )
