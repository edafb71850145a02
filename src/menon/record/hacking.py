"""Signs that what is optimised no longer means what it should: a learned reward is exploited, or pairs are
learned by heart. The limits are this project's, not a paper's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from menon.record.sign import Sign
from menon.settings import setting

WINDOW = 5
"""Steps whose numbers are averaged."""
RISE = 0.5
"""Deviations of the first step's reward by which a reward must rise before it counts as risen."""
CERTAIN = 4
"""Standard errors by which a share must differ before that is said."""
APART = 0.15
"""Least distance of the accuracies of learned and of held-out pairs."""
HIGH = 0.95
"""Held-out accuracy before the first step above which there is little to rise."""
MODELS = ("preference", "judge")
"""Rewards that are models, which a policy can exploit."""
ACCURACIES = ("pairs/accuracy", "kto/accuracy")

Line = Mapping[str, Any]


def exploited(lines: Sequence[Line], settings: Mapping[str, Any]) -> Sign | None:
    """The policy earns more of a reward that is a model, and its answers are no more often right: no more
    than in the first steps, or less than in some earlier ones. None where that is not known."""
    if kind_of(setting(settings, "reward")) not in MODELS or len(lines) < 2 * WINDOW:
        return None
    if not all("acc/mean" in line for line in lines):
        return None
    rewards, right = (averages([line[name] for line in lines]) for name in ("reward/mean", "acc/mean"))
    spread = lines[0]["reward/std"]
    answers = setting(settings, "prompts_per_step") * setting(settings, "samples_per_prompt") * WINDOW
    found = [start for start in range(len(rewards) - WINDOW) if rewards[-1] - rewards[start] > RISE * spread]
    start = max(found, key=lambda start: right[start], default=None)
    if start is None:
        return None
    mean, change = (right[start] + right[-1]) / 2, right[-1] - right[start]
    noise = math.sqrt(2 * mean * (1 - mean) / answers)
    if change > (noise if start == 0 else -CERTAIN * noise):
        return None
    how = "did not rise" if change > -noise else "fell"
    return Sign(
        "exploited",
        f"since steps {start + 1} to {start + WINDOW} the reward rose from {rewards[start]:.3g} to "
        f"{rewards[-1]:.3g}, and the share of right answers {how} ({right[start]:.3f}, now "
        f"{right[-1]:.3f}): the policy learns what {rule_of(settings)} likes, not what is right",
        f"{held_back(settings)}, or train the reward on answers of this policy",
    )


def averages(numbers: Sequence[float]) -> list[float]:
    """The mean over each `WINDOW` numbers in a row."""
    return [sum(numbers[end - WINDOW : end]) / WINDOW for end in range(WINDOW, len(numbers) + 1)]


def held_back(settings: Mapping[str, Any]) -> str:
    """What keeps this policy nearer to its reference."""
    for place in ("advantage", "objective"):
        for name, part in (setting(settings, place) or {}).items():
            within, at = (part, "") if place == "advantage" else (part.get("loss") or {}, ".loss")
            if "beta" in within:
                return f"raise {place}.{name}{at}.beta, now {within['beta']:g}"
    return "lower learning_rate or steps"


def by_heart(evaluations: Sequence[Line], settings: Mapping[str, Any]) -> Sign | None:
    """The pairs (or labelled answers) that were learned from are put right far more often than held-out ones,
    and these no more often than at an earlier evaluation. None where nothing is measured on both."""
    now = evaluations[-1]
    name = next((name for name in ACCURACIES if f"learned/{name}" in now and name in now), None)
    if name is None or len(evaluations) < 2:
        return None
    learned, fresh = now[f"learned/{name}"], now[name]
    error = math.sqrt(fresh * (1 - fresh) / now["rows"])
    noise = math.hypot(error, math.sqrt(learned * (1 - learned) / now["learned/rows"]))
    best = max(evaluations[:-1], key=lambda line: line.get(name, 0.0))
    if learned - fresh < max(APART, CERTAIN * noise) or fresh - best.get(name, 0.0) > error:
        return None
    when = f"after step {best['step']}" if best["step"] else "before step 1"
    return Sign(
        "by_heart",
        f"of what it learned from {learned:.0%} is put right, of held-out rows {fresh:.0%} ({best[name]:.0%} "
        f"{when}): the run learns its rows by heart",
        f"take more rows, fewer steps, or lower learning_rate, now {setting(settings, 'learning_rate')}",
    )


def flat(evaluations: Sequence[Line], lines: Sequence[Line], settings: Mapping[str, Any]) -> Sign | None:
    """The reward has risen in training, and what is measured on held-out questions has not: their accuracy,
    or their reward where it is not known. None where there is no evaluation before the first step."""
    window = min(WINDOW, len(lines) // 2)
    if window < 2 or len(evaluations) < 2 or evaluations[0].get("step") != 0:
        return None
    (start, end, risen), begin, now = ends_of(lines, window, settings), evaluations[0], evaluations[-1]
    names = [n for n in ("accuracy", "reward") if begin.get(n) is not None and now.get(n) is not None]
    if not risen or not names or (names[0] == "accuracy" and begin["accuracy"] >= HIGH):
        return None
    known = names[0]
    ends = [[line.get(f"{known}_{side}", math.nan) for side in ("low", "high")] for line in (begin, now)]
    error = math.hypot(*((high - low) / 4 for low, high in ends))
    right = [line.get("acc/mean") or 0.0 for line in lines]
    more_right = (sum(right[-window:]) - sum(right[:window])) / window
    if not now[known] - begin[known] <= error or error < more_right < 2 * error:
        return None
    return Sign(
        "flat",
        f"the reward rose in training from {start:.3g} to {end:.3g} (means of {window} steps), and the "
        f"{known} on {now.get('n', 0):.0f} held-out questions did not: {begin[known]:.3g} before step 1, "
        f"{now[known]:.3g} after step {now['step']}",
        "take more questions, fewer steps, or lower learning_rate: it learns its questions by heart"
        if more_right > error
        else f"look at what {rule_of(settings)} pays for, besides right answers",
    )


def ends_of(lines: Sequence[Line], window: int, settings: Mapping[str, Any]) -> tuple[float, float, bool]:
    """The mean reward of the first and of the last `window` steps, and whether it has risen: by half a
    deviation of their rewards, and by more than chance."""
    rewards = [line.get("reward/mean") for line in (*lines[:window], *lines[-window:])]
    known = [math.nan if value is None else float(value) for value in rewards]
    spread = sum(line.get("reward/std") or 0.0 for line in (*lines[:window], *lines[-window:])) / (2 * window)
    prompts, samples = (setting(settings, name) or 1 for name in ("prompts_per_step", "samples_per_prompt"))
    start, end = sum(known[:window]) / window, sum(known[window:]) / window
    least = max(RISE, CERTAIN * math.sqrt(2 / (window * prompts * samples)))
    return start, end, end - start > spread * least


def kind_of(reward: Any) -> Any:
    return reward.get("kind", "of your own") if isinstance(reward, Mapping) else reward


def rule_of(settings: Mapping[str, Any]) -> str:
    reward = setting(settings, "reward")
    name = kind_of(reward)
    return (
        f"reward={name}" if name else "the task's rule" if not setting(settings, "data") else "reward=exact"
    )
