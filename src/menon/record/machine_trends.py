"""Signs in the numbers of the steps that concern the machinery: graders, updates, weights, memory. The limits
are this project's, not a paper's."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.record.hacking import kind_of, rule_of
from menon.record.sign import Sign
from menon.record.step_lines import (
    FEW_STEPS,
    SOME_STEPS,
    Lines,
    Settings,
    answers_of,
    at_start,
    known,
    latest,
)
from menon.settings import setting

CLIPPED = 0.08
"""Share of clipped tokens from which on clips decide too much; healthy runs of the base have .01."""
OF_ANSWERS = ("gspo", "geo_mean", "vespo")
"""Losses whose ratio is one number per answer: their clips are meant to leave out more."""
CLIPPED_ANSWERS = 0.9
"""Share of clipped answers from which on that is too many."""
FAILED = 0.02
"""Share of answers whose grader failed from which on it is no accident."""
APART = {"float32": 1e-3, "float64": 1e-3}
"""Mean distance of the log-probs of sampler and learner, in nats a token, by the run's dtype; ten times what
the first step may show."""
APART_OTHERWISE = 0.15
OLD_APART = "old_logp/apart"
"""Name in a line for `old_apart`; it is not recorded."""
WARM_UP, LEAST_STEPS = 3, 8
"""First steps whose memory does not count, and how many must come after them."""
GROWTH, GROWTH_GIB = 0.25, 0.2
"""Growth of memory since then, relative and in GiB, from which on it is named."""


def terms_of(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """The terms of the objective by name."""
    terms = setting(settings, "objective")
    found = terms.items() if isinstance(terms, Mapping) else ()
    return {name: term for name, term in found if isinstance(term, Mapping)}


def failing_graders(lines: Lines, settings: Settings) -> Sign | None:
    """Graders fail on some answers, too few of them to stop the run."""
    failed = [float(line.get("reward/failed") or 0) for line in lines[-SOME_STEPS:]]
    share = sum(failed) / len(failed) / answers_of(settings)
    if len(failed) < FEW_STEPS or share < FAILED or sum(count > 0 for count in failed) < FEW_STEPS:
        return None
    return Sign(
        "graders",
        f"{rule_of(settings)} failed on {share:.1%} of the answers of the last {len(failed)} steps, which "
        "teach nothing",
        "fix what it raises; the column error of the transcripts has the words",
    )


# Updates and weights


def clipped(lines: Lines, settings: Settings) -> Sign | None:
    """Clips decide a large part of the tokens, or of the answers."""
    share, updates = latest(lines, "clip/frac", SOME_STEPS), setting(settings, "updates_per_step")
    of_answers = any(kind_of(term.get("loss")) in OF_ANSWERS for term in terms_of(settings).values())
    if share is None or updates is None or share < (CLIPPED_ANSWERS if of_answers else CLIPPED):
        return None
    return Sign(
        "clipped",
        f"{share:.0%} of what the last {SOME_STEPS} steps learned from is clipped and has no gradient",
        f"lower updates_per_step, now {updates}, or learning_rate, now "
        f"{setting(settings, 'learning_rate')}, or widen the bounds of objective.*.loss",
    )


def not_finite(lines: Lines, settings: Settings) -> Sign | None:
    """The loss or the gradient of the last step is no number, and no update was skipped for it."""
    last = lines[-1]
    if last.get("update/skipped"):
        return None
    names = [name for name in last if name == "grad_norm" or name.startswith("loss/")]
    wrong = [name for name in names if last[name] is None or not math.isfinite(last[name])]
    if not wrong:
        return None
    return Sign(
        "not_finite",
        f"{', '.join(wrong)} of the step is no finite number",
        f"look for huge rewards or log-probs of -inf, or lower learning_rate, now "
        f"{setting(settings, 'learning_rate')}",
    )


def some_skipped(lines: Lines, settings: Settings) -> Sign | None:
    """Updates of the last step were skipped because their gradients were not finite, which no healthy run has
    even once."""
    if not lines[-1].get("update/skipped"):
        return None
    skipped = [float(line.get("update/skipped") or 0) for line in lines]
    steps = sum(count > 0 for count in skipped)
    means = [value for line in lines if (value := line.get("reward/mean")) is not None]
    largest = max(means, key=abs, default=0)
    return Sign(
        "skipped",
        f"updates were skipped in {steps} of {len(lines)} steps ({sum(skipped):.0f} in all), because their "
        "gradients are not finite",
        f"look for huge rewards (the largest mean of a step is {largest:.3g}), or lower learning_rate, now "
        f"{setting(settings, 'learning_rate')}",
    )


def of_older_weights(settings: Settings) -> bool:
    """Whether text may be of older weights than those that learn from it; runs of earlier versions of menon
    say so by `ahead`."""
    return bool(setting(settings, "staleness") or setting(settings, "ahead"))


def disagreement(lines: Lines, settings: Settings) -> Sign | None:
    """Sampler and learner have other log-probs of the same text: from the first step on, or since then; or
    the sampler's weights do not change."""
    if same := same_weights(lines):
        return same
    exact = setting(settings, "truncation") == "exact"
    first, last = at_start(lines, "mismatch/abs"), latest(lines, "mismatch/abs")
    dtype = setting(settings, "dtype")
    limit = APART.get(str(dtype), APART_OTHERWISE)
    expected = exact or of_older_weights(settings) or "replay/old" in lines[-1]
    if expected or first is None or last is None or last <= limit:
        return None
    said = f"log-probs of sampler and learner differ by {last:.2g} nats a token"
    if first > limit:
        return Sign(
            "apart",
            f"{said}, from the first step on, and at most {limit:g} is rounding: they compute different "
            "models or temperatures",
            "compare the sampler's dtype, temperature and template with the learner's, or take dtype=float32",
        )
    return Sign(
        "stale",
        f"{said}, and by {first:.2g} in step 1, when their weights were the same: the sampler does not hold "
        "the learner's weights",
        "look at the weight channel (events of kind published), and start the sampler anew",
    )


def old_apart(columns: Mapping[str, NDArray[Any]]) -> float | None:
    """Mean distance of the policy's log-probs before the step's updates from those of the sampler, over the
    tokens that have both; None without any."""
    old, behaviour, acts = (columns.get(name) for name in ("old_logp", "behaviour_logp", "is_action"))
    if old is None or behaviour is None or acts is None or old is behaviour:
        return None
    distance = np.abs(old[acts].astype(np.float64) - behaviour[acts])
    both = np.isfinite(distance)
    return float(distance[both].mean()) if both.any() else None


def wrong_old(lines: Lines, settings: Settings) -> Sign | None:
    """The ratio is not 1 before the first update: the old log-probs are of another policy than the one that
    wrote the text, though the learner's own agree with the sampler's."""
    if of_older_weights(settings) or setting(settings, "truncation") == "exact":
        return None
    limit = APART.get(str(setting(settings, "dtype")), APART_OTHERWISE)
    apart, mismatch = latest(lines, OLD_APART), latest(lines, "mismatch/abs")
    if apart is not None and apart > limit and (mismatch is None or mismatch <= limit):
        said = f"before the first update old log-probs differ from the sampler's by {apart:.2g} nats a token"
        return Sign(
            "ratio",
            f"{said}, so ratios are not 1 there ({math.exp(apart):.3f} and its inverse)",
            "look at what scores old_logp: it must be the policy that wrote the text, at its temperature and "
            "without dropout",
        )
    ratio = latest(lines, "ratio/mean")
    single = setting(settings, "updates_per_step") == 1
    if not single or ratio is None or abs(ratio - 1) <= 10 * limit:
        return None
    return Sign(
        "ratio",
        f"the mean ratio of the only update of a step is {ratio:.3f}, and it must be 1",
        "look at what scores old_logp, or take old=trainer",
    )


def same_weights(lines: Lines) -> Sign | None:
    """Steps with updates after which the sampler holds the same weights as before."""
    prints = [line.get("fingerprint") for line in lines[-SOME_STEPS:]]
    moved = all(
        (line.get("grad_norm") or 0) > 0
        and (line.get("learning_rate") or 0) > 0
        and not line.get("update/skipped")
        for line in lines[-SOME_STEPS:]
    )
    if len(prints) < SOME_STEPS or not prints[-1] or len(set(prints)) > 1 or not moved:
        return None
    return Sign(
        "stale",
        f"the sampler holds the same weights after each of the last {SOME_STEPS} steps, though updates were "
        "made",
        "look at the weight channel (events of kind published), or raise learning_rate, if the steps are "
        "below the precision of the weights",
    )


def memory_growth(lines: Lines, settings: Settings) -> Sign | None:
    """The memory of the run's processes grows from step to step and does not settle."""
    count, half = len(lines) - WARM_UP, WARM_UP + (len(lines) - WARM_UP) // 2
    if count < LEAST_STEPS:
        return None
    parts = [
        known(part, "memory/gib")
        for part in (lines[WARM_UP : WARM_UP + 3], lines[half - 1 : half + 2], lines[-3:])
    ]
    if any(part is None for part in parts):
        return None
    begin, middle, end = (sorted(part)[len(part) // 2] for part in parts if part is not None)
    grown = end - begin
    if grown < max(GROWTH * begin, GROWTH_GIB) or end - middle < grown / 3:
        return None
    values = known(lines[WARM_UP:], "memory/gib")
    if values is None or sum(b > a for a, b in pairwise(values)) < 0.75 * (len(values) - 1):
        return None
    each = grown / (len(values) - 2)
    return Sign(
        "memory",
        f"the run holds {end:.2f} GiB, {begin:.2f} after step {WARM_UP + 1}, {1024 * each:.0f} MiB more with "
        "each step",
        f"look for what {rule_of(settings)} or another part of your own keeps, or resume from checkpoints "
        "(save_every)",
    )
