"""Which curves a page draws, and from which metrics. A curve without any number is left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from menon.report.charts import Axis, Chart, Line, Points

Lines = Sequence[Mapping[str, Any]]
"""Lines of metrics.jsonl or evaluations.jsonl."""


def series(lines: Lines, name: str) -> Points:
    """Steps and values of a metric, where it is a number."""
    return [(float(line["step"]), float(line[name])) for line in lines if _is_number(line.get(name))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def curves(lines: Lines, evaluations: Lines, measures: Sequence[str] = ("accuracy", "reward")) -> list[Chart]:
    """The charts of a run that is judged by these `measures`; without accuracy among them, nothing is drawn
    that depends on which answers are right."""
    known = "accuracy" in measures
    charts = [
        *([_accuracy(lines, evaluations)] if known else []),
        _reward(lines, evaluations),
        _given("Loss on given text", "nll", lines, evaluations, Axis(unit="nats a token", low=0)),
        _teacher(lines, evaluations),
        _given("Pairs put right", "pairs/accuracy", lines, evaluations, SHARE),
        _given("Answers put right", "kto/accuracy", lines, evaluations, SHARE),
        _given("Margin of a pair", "pairs/margin", lines, evaluations, Axis()),
        _lengths(lines, known),
        Chart("Working and reflection", _shows(lines, evaluations), _shows_note(lines), SHARE),
        Chart("Entropy", _named(lines, ENTROPY), ENTROPY_NOTE, Axis(unit="nats", low=0)),
        _groups(lines, known),
        Chart("Clip", _named(lines, CLIP), CLIP_NOTE, Axis(low=0)),
        _divergence(lines),
        Chart("Critic", _named(lines, CRITIC), CRITIC_NOTE, Axis(high=1)),
        Chart("Gradient", _named(lines, {"grad_norm": "norm"}), GRADIENT_NOTE, Axis(low=0)),
        Chart("Speed", (Line("speed", speed(lines), 1),), SPEED_NOTE, Axis(unit="tokens a second", low=0)),
    ]
    return [chart for chart in charts if any(line.points for line in chart.lines)]


SHARE = Axis(low=0, high=1)
ENTROPY = {
    "entropy/mean": "mean",
    "entropy/p50": "median",
    "entropy/p80": "80th percentile",
    "entropy/p95": "95th percentile",
}
ACCURACY_NOTE = "Share of answers that are right."
REWARD_NOTE = "What the grader gives to an answer: mean and deviation over those of a step."
LENGTHS_NOTE = (
    "Tokens of an answer: means over the right and over the wrong ones; the percentile is over all."
)
LENGTHS_OF_ALL = "Tokens of an answer, over all answers."
ENTROPY_NOTE = "How undecided the policy is at a token that it writes; 0: it always writes the same one."
GROUPS = {"groups/all_correct": "all right", "groups/all_wrong": "all wrong"}
GROUPS_NOTE = (
    "Share of the prompts whose answers earned different rewards: only they teach an estimator that compares "
    "the answers of a group."
)
CLIP = {"clip/frac": "clipped", "clip/low": "below", "clip/high": "above"}
CLIP_NOTE = "Share of tokens whose gradient was cut off, over all updates of the step."
CRITIC = {"value/explained_var": "explained variance"}
CRITIC_NOTE = (
    "Share of the variance of the returns that the critic's values explain; at 0 or below they say no more "
    "than one number for all."
)
GIVEN_NOTES = {
    "nll": "Mean of -log pi over the tokens that are learned.",
    "pairs/accuracy": "Share of the pairs whose preferred answer is ahead.",
    "kto/accuracy": "Share of the answers that are on the side of z that their label says.",
    "pairs/margin": "How far the preferred answer is ahead, on average.",
}
GRADIENT_NOTE = (
    "How strongly an update pulls: the gradient's norm before it is clipped, mean over the step's updates."
)
KL_NOTE = "How far the policy is from the reference: summed over an answer's tokens, mean over answers."
TEACHER_NOTE = (
    "The divergence is that of the loss, over the vocabulary; the reverse KL is estimated by the tokens."
)
SPEED_NOTE = "Written tokens over the whole time of the step."
TONES = {
    "all right": 3,
    "all wrong": 2,
    "deviation": 4,
    "median": 3,
    "80th percentile": 5,
    "95th percentile": 4,
}
TONES |= {"below": 2, "above": 3}
"""Colours of lines by name; other lines have the first colour."""


def _named(lines: Lines, names: Mapping[str, str]) -> tuple[Line, ...]:
    return tuple(Line(label, series(lines, name), TONES.get(label, 1)) for name, label in names.items())


def _accuracy(lines: Lines, evaluations: Lines) -> Chart:
    held_out = Line("held out", series(evaluations, "accuracy"), 2, dots=True)
    training = Line("training", series(lines, "acc/mean"), 1)
    return Chart("Accuracy", (training, held_out), ACCURACY_NOTE, SHARE)


def _reward(lines: Lines, evaluations: Lines) -> Chart:
    held_out = Line("held out", series(evaluations, "reward"), 2, dots=True)
    training = _named(lines, {"reward/mean": "training", "reward/std": "deviation"})
    return Chart("Reward", (*training, held_out), REWARD_NOTE)


def _given(title: str, name: str, lines: Lines, evaluations: Lines, axis: Axis) -> Chart:
    held_out = Line("held out", series(evaluations, name), 2, dots=True)
    return Chart(title, (Line("training", series(lines, name), 1), held_out), GIVEN_NOTES[name], axis)


def _teacher(lines: Lines, evaluations: Lines) -> Chart:
    held_out = Line("held out", series(evaluations, "distill/divergence"), 2, dots=True)
    named = _named(lines, {"distill/divergence": "divergence", "kl/teacher_k1": "reverse KL"})
    return Chart("Distance to the teacher", (*named, held_out), TEACHER_NOTE, Axis(unit="nats a token"))


def _groups(lines: Lines, known: bool) -> Chart:
    """Runs of earlier versions have no `groups/varied`; there the groups with right and wrong answers stand
    for it."""
    name = "groups/varied" if series(lines, "groups/varied") else "groups/mixed"
    differ = Line("rewards differ", series(lines, name), 1)
    beside = _named(lines, GROUPS) if known else ()
    return Chart("What each group teaches", (differ, *beside), GROUPS_NOTE, SHARE)


def _lengths(lines: Lines, known: bool) -> Chart:
    """A mean over no answer is recorded as 0, and no answer is that short: such a point is left out."""
    names = {"len/correct": ("right", 3), "len/wrong": ("wrong", 2), "len/p95": ("95th percentile", 4)}
    if not known:
        names = {"len/mean": ("mean", 1), "len/p95": ("95th percentile", 4)}
    drawn = []
    for name, (label, tone) in names.items():
        drawn.append(Line(label, [(x, y) for x, y in series(lines, name) if y > 0], tone))
    title, note = ("Length by correctness", LENGTHS_NOTE) if known else ("Length", LENGTHS_OF_ALL)
    return Chart(title, tuple(drawn), note, Axis(unit="tokens", low=0))


def _shows(lines: Lines, evaluations: Lines) -> tuple[Line, ...]:
    known = series(lines, "shows/working") or series(lines, "shows/reflection")
    if not known:
        return (Line("reflecting words", series(lines, "refl/rate"), 5),)
    return (
        Line("show working", series(lines, "shows/working"), 1),
        Line("reflect", series(lines, "shows/reflection"), 5),
        Line("working, held out", series(evaluations, "working_share"), 1, dots=True),
        Line("reflection, held out", series(evaluations, "reflection_share"), 5, dots=True),
    )


def _shows_note(lines: Lines) -> str:
    if series(lines, "shows/working") or series(lines, "shows/reflection"):
        return "Share of answers, as the task tells them from their text."
    return (
        "Share of answers with wait, recheck, retry, alternatively or however; this task knows "
        "no working of its own."
    )


def _divergence(lines: Lines) -> Chart:
    """KL to the reference if there is one, else how far the updates moved the policy from the sampler."""
    if series(lines, "kl/seq"):
        line = Line("of a whole answer", series(lines, "kl/seq"), 1)
        return Chart("KL to the reference", (line,), KL_NOTE, Axis(unit="nats"))
    spread = [(x, y - 1) for x, y in series(lines, "ratio/max")]
    note = "New over old probability of a token, less 1. This run has no reference to measure a KL to."
    return Chart("Largest ratio", (Line("max ratio - 1", spread, 1),), note, Axis(low=0))


def speed(lines: Lines) -> Points:
    """Tokens written a second in each step."""
    seconds = dict(series(lines, "time/step"))
    return [
        (step, tokens / seconds[step])
        for step, tokens in series(lines, "tokens/generated")
        if seconds.get(step)
    ]


def times(lines: Lines) -> dict[str, float]:
    """Seconds by part of the step over the whole run, the largest first."""
    names = sorted(
        {name for line in lines for name in line if name.startswith("time/") and name != "time/step"}
    )
    total = {name.removeprefix("time/"): sum(y for _, y in series(lines, name)) for name in names}
    return dict(sorted(total.items(), key=lambda item: -item[1]))
