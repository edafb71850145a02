"""Menon: reinforcement learning with verifiable rewards on language models."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["evaluate", "train"]


def train(recipe: str = "grpo", /, **overrides: Any) -> dict[str, Any]:
    """Trains and gives the report (`report.json` of the run folder).

    Overrides are the settings of the command, and may hold objects; dotted names are written as nested
    dictionaries or as `**{"objective.policy.loss.clip_high": 0.28}`.

    >>> menon.train("grpo", data="sums.jsonl", model="my-model", reward=mine, steps=20)  # doctest: +SKIP
    """
    from menon.assembly.run import start
    from menon.report.terminal import terminal

    return start(recipe, (dict(overrides),), terminal)


def evaluate(model: str = "base", /, **settings: Any) -> dict[str, Any]:
    """Evaluates a model, stores every verdict, and gives the numbers: the last line of `menon eval`.

    Settings are those of the command (`menon.eval.config.EvalConfig`).

    >>> menon.evaluate("runs/mine", task="chain_sum", n=200, k=8)["avg@8"]  # doctest: +SKIP
    """
    from menon.assembly.evaluate import evaluate as measured
    from menon.assembly.evaluate import summary

    return summary(measured({"model": model, **settings})[0])
