"""What an asynchronous run did with its text, read from its folder: was anything lost, was anything favoured,
how old was it?

Written and learned are counted apart: the source writes down the length of each answer as the sampler ends it
(event `wrote`), before anything could choose among them; what was learned from is in the transcripts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from menon.record.reader import RunView
from menon.streams import stream

DRAWS = 999
"""Permutations of the test; the least p that it can give is one in a thousand."""


def asynchrony(view: RunView) -> dict[str, Any]:
    """The part of a report about asynchronous writing; {} for a run that wrote no text beside its updates.

    groups: asked, trained, dropped, and asked_again (by a process that took the place of another). lengths:
    how many answers were written and learned from for the steps that are done, their mean lengths, the
    Kolmogorov-Smirnov distance of the two distributions, and the p of a permutation test of "which answers
    are learned from does not depend on their length". staleness: share of the tokens, by how many versions
    older they were than the weights that learned from them. waited_s: seconds for which learning waited.
    """
    wrote = {event["step"]: event for event in view.events if event["kind"] == "wrote"}
    steps = [step for step in view.transcripts.steps if step in wrote]
    if not steps:
        return {}
    rows = {step: view.transcripts.rows(step, ["group", "is_action", "version"]) for step in steps}
    trained = {step: [sum(row["is_action"]) for row in rows[step]] for step in steps}
    asked = sum(wrote[step]["groups"] for step in steps)
    groups = sum(len({row["group"] for row in rows[step]}) for step in steps)
    ages: Counter[int] = Counter()
    for step in steps:
        for row in rows[step]:
            pairs = zip(row["is_action"], row["version"], strict=True)
            ages.update(step - 1 - version for action, version in pairs if action)
    return {
        "groups": {
            "asked": asked,
            "trained": groups,
            "dropped": asked - groups,
            "asked_again": sum(event["again"] for event in wrote.values()),
        },
        "lengths": favour({step: wrote[step]["lengths"] for step in steps}, trained),
        "staleness": {str(age): count / ages.total() for age, count in sorted(ages.items())},
        "waited_s": sum(event["seconds"] for event in view.events if event["kind"] == "waited"),
    }


def favour(
    written: Mapping[int, Sequence[int]], trained: Mapping[int, Sequence[int]], draws: int = DRAWS
) -> dict[str, Any]:
    """Compares the lengths of the answers that were written for each step with those that were learned from.

    The statistic is the largest difference of the two cumulative distributions, all steps together. Under
    the hypothesis that the length does not matter, any choice of as many answers of each step is as likely as
    the one that was made, so p = (1 + number of random choices with at least this distance) / (1 + draws).
    Choices are within steps, because lengths change as a policy learns. If all answers were learned from, p
    is 1.
    """
    steps = sorted(written)
    all_written = np.concatenate([np.asarray(written[step], dtype=np.int64) for step in steps])
    all_trained = np.concatenate([np.asarray(trained[step], dtype=np.int64) for step in steps])
    found = distance(all_trained, all_written)
    p = 1.0
    if len(all_trained) < len(all_written):
        rng = stream(0, "favour", len(all_written))
        as_far = 0
        for _ in range(draws):
            chosen = [rng.permutation(written[step])[: len(trained[step])] for step in steps]
            as_far += distance(np.concatenate(chosen), all_written) >= found - 1e-12
        p = (1 + as_far) / (1 + draws)
    return {
        "written": len(all_written),
        "trained": len(all_trained),
        "mean_written": float(all_written.mean()) if len(all_written) else 0.0,
        "mean_trained": float(all_trained.mean()) if len(all_trained) else 0.0,
        "distance": found,
        "p": p,
    }


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance of two samples; 1 if one of them alone is empty.

    >>> distance(np.array([1, 1, 2]), np.array([1, 2, 2]))
    0.3333333333333333
    """
    if not len(one) or not len(other):
        return float(len(one) != len(other))
    values = np.union1d(one, other)
    shares = [np.searchsorted(np.sort(part), values, side="right") / len(part) for part in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())
