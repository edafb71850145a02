"""The entropies and scores of a run, to which laws are fitted."""

from collections.abc import Callable
from typing import Any

from menon.errors import UserError
from menon.record.reader import RunView
from menon.study import entropy_law


def attempt(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a part of the study, or {"missing": why} if it raises UserError."""
    try:
        return part()
    except UserError as error:
        return {"missing": str(error)}


def points(view: RunView) -> tuple[str, list[float], list[float]]:
    """The source of the scores, and the entropies H_k and scores R_k of the same weights.

    The evaluation after step k is paired with the training text of step k + 1, which the same weights wrote.
    If there are too few evaluations for a fit, the score is the accuracy on the training questions; these
    were new to the policy if the run asked none twice. Where accuracy is not known, the score is the reward.
    """
    held_out, training = ("accuracy", "acc/mean") if view.accuracy_known else ("reward", "reward/mean")
    lines = [line for line in view.metrics if line.get("entropy/mean") is not None]
    entropy = {line["step"]: line["entropy/mean"] for line in lines}
    measured = [e for e in view.evaluations if e["step"] + 1 in entropy]
    if len(measured) >= entropy_law.LEAST_POINTS:
        return "held out", [entropy[e["step"] + 1] for e in measured], [e[held_out] for e in measured]
    scored = [line for line in lines if line.get(training) is not None]
    return (
        "training questions",
        [line["entropy/mean"] for line in scored],
        [line[training] for line in scored],
    )
