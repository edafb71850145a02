"""What is said of an adapter's learning rate before a run begins."""

from collections.abc import Iterator

from menon.config import Policy
from menon.errors import UserError

TIMES = 10
"""The best learning rate of an adapter, as a multiple of the best one of all weights: Schulman and Thinking
Machines Lab, "LoRA Without Regret" (2025), for supervised and reinforcement learning, whatever the rank; the
rule of tinker-cookbook (hyperparam_utils) has the same factor."""


def advice_on_rate(policy: Policy, name: str, scale: str) -> Iterator[str]:
    """A sentence for a run whose adapter learns at the rate that its recipe, by its name, has for all
    weights. The rate stays as it is."""
    from menon.recipes import recipe

    if policy.adapter is None:
        return
    try:
        usual = recipe(name, policy.model, scale).models.policy.optimiser.learning_rate
    except UserError:  # a file of settings without a recipe of ours
        return
    rate = policy.optimiser.learning_rate
    if rate == usual:
        yield (
            f"learning_rate={rate:g} is the recipe's rate for all weights; an adapter learns best at about "
            f"{TIMES} times as much, so set learning_rate={rate * TIMES:g}, or keep it to compare"
        )
