"""Function of a peer -> the adapter that runs our code on its records. An adapter maps names, rescales and
composes; it holds no formula of its own. Functions whose code does not exist here yet are listed with what
they wait for."""

from collections.abc import Callable

from golden.adapters import (
    entropy,
    groups,
    kl,
    losses,
    nemo,
    pairs,
    rewards,
    rollout,
    segments,
    token_advantages,
    trl,
    values,
    whitening,
)
from golden.records import Record

Adapter = Callable[[Record], None]

MODULES = (
    entropy,
    groups,
    kl,
    losses,
    nemo,
    pairs,
    rewards,
    rollout,
    segments,
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

WAITING_VARIANTS: dict[tuple[str, str], str] = {
    ("dpo_reference.loss.preference", "ipo"): PREFERENCE,
    ("openrlhf.loss.dpo", "ipo"): PREFERENCE,
    ("nemo_rl.loss.dpo", "average"): PREFERENCE,
}


def waits_for(record: Record) -> str:
    """What has to be built before this record can be run; "" if nothing."""
    if record.function == "trl.loss.dpo" and record.variant != "sigmoid":
        return PREFERENCE
    return WAITING.get(record.function) or WAITING_VARIANTS.get((record.function, record.variant), "")
