"""Signs in the numbers of a run's steps: entropy, length, repetition, clips, groups without signal, failed
graders, updates that are not finite, sampler and learner apart, memory. The limits are this project's, not a
paper's; each one is far from what healthy runs of the built-in base show (benchmarks/results/diagnose.md).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.record.alarm import LITTLE, alarms
from menon.record.hacking import kind_of, rule_of
from menon.record.sign import Sign
from menon.settings import setting

Line = Mapping[str, Any]
Lines = Sequence[Line]
Settings = Mapping[str, Any]

FEW_STEPS = 2
"""Steps over which a number is averaged, so that one step is no trend."""
SOME_STEPS = 4
"""The same for shares of groups, of which a step may have few."""
FEW_GROUPS = 1 / 8
"""Largest share of groups with different rewards with which a step hardly teaches."""
SOLVED = 0.9
"""Share of right answers from which on equal rewards are a success, if it was lower at the start."""
SHRUNK = 1 / 3
"""Length relative to the first step below which answers have collapsed."""
REPEATS, TIMES_REPEATED = 0.1, 2.5
"""The repeat score from which on answers repeat themselves, and how many times that of the first step."""
CLIPPED = 0.08
"""Share of clipped tokens from which on clips decide too much; healthy runs of the base have .01."""
OF_ANSWERS = ("gspo", "geo_mean", "vespo")
"""Losses whose ratio is one number per answer: their clips are meant to leave out more."""
CLIPPED_ANSWERS = 0.5
"""Share of clipped answers from which on that is too many."""
CUT = 0.25
"""Share of cut answers from which on what is learned is to be short."""
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


def trends(lines: Lines, settings: Settings) -> Iterator[Sign]:
    """The signs that the steps so far show, all of them, as of the last step."""
    rules: tuple[Callable[[Lines, Settings], Sign | None], ...] = (
        failing_graders,
        disagreement,
        wrong_old,
        not_finite,
        some_skipped,
        worse,
        stopped_exploring,
        repetition,
        short,
        cut,
        unread,
        few_groups,
        clipped,
        memory_growth,
    )
    for rule in rules:
        if lines and (sign := rule(lines, settings)) is not None:
            yield sign


def known(lines: Lines, name: str) -> list[float] | None:
    """The numbers of a metric, one per line; None where a line has none, or one that is not finite."""
    values = [line.get(name) for line in lines]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return [float(value) for value in values]  # type: ignore[arg-type]


def latest(lines: Lines, name: str, steps: int = FEW_STEPS) -> float | None:
    """The mean of a metric over the last `steps` lines; None before there are as many, or where one lacks
    it."""
    values = known(lines[-steps:], name)
    return None if values is None or len(values) < steps else sum(values) / steps


def each(lines: Lines, name: str, holds: Callable[[float], bool], steps: int = FEW_STEPS) -> bool:
    """Whether something holds of a metric in each of the last `steps` lines: one step is no trend."""
    values = known(lines[-steps:], name)
    return values is not None and len(values) == steps and all(map(holds, values))


def at_start(lines: Lines, name: str) -> float | None:
    values = known(lines[:1], name)
    return values[0] if values else None


def answers_of(settings: Settings) -> int:
    """Answers of a step."""
    return int((setting(settings, "prompts_per_step") or 1) * (setting(settings, "samples_per_prompt") or 1))


def noise(share: float, count: float) -> float:
    """The standard error of a share; of one near 0 or 1 that of one answer in as many."""
    share = min(max(share, 1 / count), 1 - 1 / count) if count > 1 else 0.5
    return math.sqrt(share * (1 - share) / count)


def earns_no_more(lines: Lines, settings: Settings) -> bool:
    """Whether the share of right answers is known and has not risen since the first step, by more than two
    standard errors."""
    first, last = at_start(lines, "acc/mean"), latest(lines, "acc/mean")
    if first is None or last is None:
        return False
    n = answers_of(settings)
    return last <= first + 2 * math.hypot(noise(first, n), noise(last, FEW_STEPS * n))


# The policy


def terms_of(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """The terms of the objective by name."""
    terms = setting(settings, "objective")
    found = terms.items() if isinstance(terms, Mapping) else ()
    return {name: term for name, term in found if isinstance(term, Mapping)}


def calmer(settings: Settings) -> str:
    """What keeps the entropy where it is: the coefficient of a term on it, where the run has one."""
    for name, term in terms_of(settings).items():
        if kind_of(term.get("loss")) == "entropy":
            coef = term.get("coef", 1)
            return f"bring objective.{name}.coef, now {coef:g}, nearer to 0, or lower learning_rate"
    return f"lower learning_rate, now {setting(settings, 'learning_rate')}"


def worse(lines: Lines, settings: Settings) -> Sign | None:
    """Collapse or explosion of the policy: its entropy is far from that of the first step, and it earns less
    than at the start. None while there is no such thing."""
    rewards, entropies = known(lines, "reward/mean"), known(lines, "entropy/mean")
    if rewards is None or entropies is None or len(lines) < FEW_STEPS:
        return None
    if rewards[-1] >= rewards[0] - 0.5 * (lines[0].get("reward/std") or 0.0):
        return None
    for alarm in alarms(entropies, rewards):
        if alarm.kind == "explosion" or entropies[-1] < entropies[0]:
            return Sign(
                alarm.kind,
                f"the policy is worse than at the start: reward {rewards[-1]:.3g}, {rewards[0]:.3g} in step "
                f"1, and {alarm.why} ({entropies[-1]:.3g} nats, {entropies[0]:.3g} in step 1)",
                calmer(settings),
            )
    return None


def stopped_exploring(lines: Lines, settings: Settings) -> Sign | None:
    """Entropy collapse before the questions are solved: the policy writes nearly the same answer every time,
    wrong ones too."""
    entropies, varied = known(lines[-FEW_STEPS:], "entropy/mean"), latest(lines, "groups/varied")
    first, right = at_start(lines, "entropy/mean"), latest(lines, "acc/mean")
    if not entropies or first is None or varied is None or right is None or len(lines) <= FEW_STEPS:
        return None
    if max(entropies) >= LITTLE * first or varied > 2 * FEW_GROUPS or right >= SOLVED + 0.05:
        return None
    return Sign(
        "collapse",
        f"the entropy is {entropies[-1]:.3g} nats, {first:.3g} in step 1, {1 - right:.0%} of the answers are "
        f"wrong, and only in {varied:.0%} of the groups do answers earn differently: the policy has stopped "
        "exploring",
        f"{calmer(settings)}, or hold the entropy up with the recipe clip_cov or kl_cov",
    )


def short(lines: Lines, settings: Settings) -> Sign | None:
    """Length collapse: answers are a third as long as in the first step, and no more of them are right."""
    first, last = at_start(lines, "len/mean"), latest(lines, "len/mean")
    if first is None or last is None or not earns_no_more(lines, settings):
        return None
    if not each(lines, "len/mean", lambda length: length < SHRUNK * first):
        return None
    right = latest(lines, "acc/mean")
    return Sign(
        "short",
        f"answers are {last:.1f} tokens long, {first:.1f} in step 1, and {right:.0%} of them are right, "
        f"{at_start(lines, 'acc/mean'):.0%} in step 1",
        price_of_length(settings)
        or f"look for what pays for short answers in {rule_of(settings)}, or lower learning_rate, now "
        f"{setting(settings, 'learning_rate')}",
    )


def price_of_length(settings: Settings) -> str:
    """What to lower where a part makes long answers cost; "" without one."""
    prices = {"linear_length": "slope", "length_reward": "factor", "overlong": "factor"}
    parts = setting(settings, "advantage")
    for name, part in parts.items() if isinstance(parts, Mapping) else ():
        if isinstance(part, Mapping) and (knob := prices.get(str(part.get("kind")))):
            return f"lower advantage.{name}.{knob}, now {part.get(knob)}"
    return ""


def repetition(lines: Lines, settings: Settings) -> Sign | None:
    """Answers repeat themselves, and more than at the start."""
    first, last = at_start(lines, "repeat_score"), latest(lines, "repeat_score")
    if first is None or last is None:
        return None
    if not each(lines, "repeat_score", lambda score: score >= max(REPEATS, TIMES_REPEATED * first)):
        return None
    if not earns_no_more(lines, settings) and latest(lines, "acc/mean") is not None:
        return None
    return Sign(
        "repetition",
        f"answers repeat themselves: repeat_score {last:.2f}, {first:.2f} in step 1",
        f"look at what {rule_of(settings)} pays for, add the reward repetition to it, or lower "
        f"learning_rate, now {setting(settings, 'learning_rate')}",
    )


# The answers


def cut(lines: Lines, settings: Settings) -> Sign | None:
    """Many answers are cut, though others give the step a signal: what is learned then is to be short."""
    share = latest(lines, "trunc_rate")
    if share is None or not each(lines, "trunc_rate", lambda share: share >= CUT):
        return None
    return Sign(
        "cut",
        f"{share:.0%} of the answers of the last {FEW_STEPS} steps were cut at max_new_tokens="
        f"{setting(settings, 'max_new_tokens')}",
        "raise max_new_tokens",
    )


def unread(lines: Lines, settings: Settings) -> Sign | None:
    """At least half of the answers state no result, and no fewer than before."""
    name = "reward/parts/unparsable"
    shares, first = known(lines[-SOME_STEPS:], name), latest(lines[: -FEW_STEPS or None], name)
    last = latest(lines, name)
    if not shares or len(shares) < SOME_STEPS or last is None or first is None:
        return None
    if min(shares) < 0.5 or last < first - 0.05:
        return None
    return Sign(
        "unread",
        f"{last:.0%} of the answers of the last {FEW_STEPS} steps state no result that {rule_of(settings)} "
        "can read",
        "take a template that asks for one, or other reward.ways",
    )


def few_groups(lines: Lines, settings: Settings) -> Sign | None:
    """Hardly a group has answers that earn differently, so hardly any compares."""
    varied = latest(lines, "groups/varied", SOME_STEPS)
    right, first = latest(lines, "acc/mean", SOME_STEPS), at_start(lines, "acc/mean")
    if varied is None or varied >= FEW_GROUPS or setting(settings, "teacher") is not None:
        return None
    if right is not None and first is not None and right >= SOLVED and first < right - 0.05:
        return None  # learned
    of = ""
    easy = False
    if right is not None:
        good, bad = (latest(lines, f"groups/all_{kind}", SOME_STEPS) or 0 for kind in ("correct", "wrong"))
        of, easy = f" ({good:.0%} are all right, {bad:.0%} all wrong)", good > bad
    samples = setting(settings, "samples_per_prompt")
    return Sign(
        "few_groups",
        f"only in {varied:.0%} of the groups of the last {SOME_STEPS} steps do answers earn differently{of}",
        "take harder questions, or order=unsolved"
        if easy
        else f"take easier questions, raise samples_per_prompt, now {samples}, or temperature, now "
        f"{setting(settings, 'temperature')}",
    )


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


# The updates


def clipped(lines: Lines, settings: Settings) -> Sign | None:
    """Clips decide a large part of the tokens, or of the answers."""
    share = latest(lines, "clip/frac", SOME_STEPS)
    of_answers = any(kind_of(term.get("loss")) in OF_ANSWERS for term in terms_of(settings).values())
    if share is None or share < (CLIPPED_ANSWERS if of_answers else CLIPPED):
        return None
    return Sign(
        "clipped",
        f"{share:.0%} of what the last {SOME_STEPS} steps learned from is clipped and has no gradient",
        f"lower updates_per_step, now {setting(settings, 'updates_per_step')}, or learning_rate, now "
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
    """Updates were skipped, in several steps, because their gradients were not finite."""
    skipped = [float(line.get("update/skipped") or 0) for line in lines]
    steps = sum(count > 0 for count in skipped)
    if steps < FEW_STEPS or not skipped[-1]:
        return None
    means = [value for line in lines if (value := line.get("reward/mean")) is not None]
    largest = max(means, key=abs, default=0)
    return Sign(
        "skipped",
        f"{sum(skipped):.0f} updates in {steps} of {len(lines)} steps were skipped, because their gradients "
        "are not finite",
        f"look for huge rewards (the largest mean of a step is {largest:.3g}), or lower learning_rate, now "
        f"{setting(settings, 'learning_rate')}",
    )


def disagreement(lines: Lines, settings: Settings) -> Sign | None:
    """Sampler and learner have other log-probs of the same text: from the first step on, or since then; or
    the sampler's weights do not change."""
    if same := same_weights(lines):
        return same
    ahead, exact = setting(settings, "ahead") or 0, setting(settings, "truncation") == "exact"
    first, last = at_start(lines, "mismatch/abs"), latest(lines, "mismatch/abs")
    dtype = setting(settings, "dtype")
    limit = APART.get(str(dtype), APART_OTHERWISE)
    if ahead or exact or first is None or last is None or last <= limit or "replay/old" in lines[-1]:
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
    if setting(settings, "ahead") or setting(settings, "truncation") == "exact":
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
    values = known(lines[WARM_UP:], "memory/gib")
    if values is None or len(values) < LEAST_STEPS:
        return None
    begin, middle, end = (
        sorted(part)[len(part) // 2] for part in (values[:3], values[len(values) // 2 - 1 :][:3], values[-3:])
    )
    rising = sum(b > a for a, b in pairwise(values)) / (len(values) - 1)
    grown = end - begin
    if grown < max(GROWTH * begin, GROWTH_GIB) or rising < 0.75 or end - middle < grown / 3:
        return None
    each = grown / (len(values) - 2)
    return Sign(
        "memory",
        f"the run holds {end:.2f} GiB, {begin:.2f} after step {WARM_UP + 1}, {1024 * each:.0f} MiB more with "
        "each step",
        f"look for what {rule_of(settings)} or another part of your own keeps, or resume from checkpoints "
        "(save_every)",
    )
