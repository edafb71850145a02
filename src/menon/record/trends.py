"""Signs in the numbers of a run's steps: what becomes of entropy, length and repetition, cut and unread
answers, groups without signal; those of the machinery are in `machine_trends`. The limits are this project's,
not a paper's; each is far from what healthy runs of the built-in base show (benchmarks/results/diagnose.md).
"""

import math
from collections.abc import Callable, Iterator, Mapping

from menon.record.alarm import LITTLE, alarms
from menon.record.hacking import RISE, kind_of, rule_of
from menon.record.machine_trends import (
    clipped,
    disagreement,
    failing_graders,
    memory_growth,
    not_finite,
    some_skipped,
    terms_of,
    wrong_old,
)
from menon.record.sign import Sign
from menon.record.step_lines import (
    FEW_STEPS,
    SOME_STEPS,
    Lines,
    Settings,
    answers_of,
    at_start,
    each,
    known,
    latest,
    noise,
)
from menon.settings import setting

FEW_GROUPS = 1 / 8
"""Largest share of groups with different rewards with which a step hardly teaches."""
SOLVED = 0.9
"""Share of right answers from which on equal rewards are a success, if it was lower at the start."""
SHRUNK = 1 / 3
"""Length relative to the first step below which answers have collapsed."""
REPEATS, TIMES_REPEATED = 0.1, 2.5
"""The repeat score from which on answers repeat themselves, and how many times that of the first step."""
GROWN = 1.5
"""Length relative to the first step above which answers have grown."""
CUT = 0.25
"""Share of cut answers from which on what is learned is to be short."""


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
        long,
        cut,
        unread,
        few_groups,
        clipped,
        memory_growth,
    )
    for rule in rules:
        if lines and (sign := rule(lines, settings)) is not None:
            yield sign


def earns_no_more(lines: Lines, settings: Settings) -> bool:
    """Whether the share of right answers is known and has not risen since the first step, by more than two
    standard errors."""
    first, last = at_start(lines, "acc/mean"), latest(lines, "acc/mean")
    if first is None or last is None:
        return False
    n = answers_of(settings)
    return last <= first + 2 * math.hypot(noise(first, n), noise(last, FEW_STEPS * n))


# The policy


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
    first, last = at_start(lines, "reward/mean"), at_start(lines[-1:], "reward/mean")
    if first is None or last is None or len(lines) < FEW_STEPS:
        return None
    if last >= first - 0.5 * (lines[0].get("reward/std") or 0.0):
        return None
    rewards, entropies = known(lines, "reward/mean"), known(lines, "entropy/mean")
    if rewards is None or entropies is None:
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


def long(lines: Lines, settings: Settings) -> Sign | None:
    """Answers are cut because the reward pays for length: they have grown with it, and no more of them are
    right. Where room is what is missing, more answers become right as they grow."""
    first, last = at_start(lines, "len/mean"), latest(lines, "len/mean")
    before, now = at_start(lines, "reward/mean"), latest(lines, "reward/mean")
    limit, spread = setting(settings, "max_new_tokens"), at_start(lines, "reward/std")
    if first is None or last is None or before is None or now is None or limit is None:
        return None
    if last < GROWN * first or now - before <= RISE * (spread or 0.0) or now <= before:
        return None
    if not earns_no_more(lines, settings) or not each(lines, "trunc_rate", lambda share: share >= CUT):
        return None
    return Sign(
        "long",
        f"answers grow with the reward, and no more of them are right: {last:.1f} tokens, {first:.1f} in "
        f"step 1, reward {now:.3g}, {before:.3g} in step 1; {latest(lines, 'trunc_rate'):.0%} are cut at "
        f"max_new_tokens={limit}",
        f"look at what {rule_of(settings)} pays for in long answers, or charge for length "
        "(advantage.price={kind: linear_length}); more room would be filled, too",
    )


def cut(lines: Lines, settings: Settings) -> Sign | None:
    """Many answers are cut, though others give the step a signal: what is learned then is to be short."""
    share, limit = latest(lines, "trunc_rate"), setting(settings, "max_new_tokens")
    if share is None or limit is None or not each(lines, "trunc_rate", lambda share: share >= CUT):
        return None
    return Sign(
        "cut",
        f"{share:.0%} of the answers of the last {FEW_STEPS} steps were cut at max_new_tokens={limit}",
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
