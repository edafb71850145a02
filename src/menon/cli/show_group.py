"""One group: question, gold answer, every answer with its reward and advantage, and the ratios of the update
that learned from it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from menon.cli.lines import GAP, QUIET, RIGHT, WRONG, Cell, folded_text, one_line, table
from menon.cli.show_step import counted, hint, number_text
from menon.record.group import Answer
from menon.record.transcripts import UNASKED
from menon.settings import setting

if TYPE_CHECKING:
    from rich.text import Text

    from menon.record.reader import RunView

LINES = 6
"""Most lines of a question, and of an answer in the table."""
SAME = 1e-5
"""Rewards and advantages that differ by no more are the same; those of tokens are stored as float32."""
LABEL = 11
"""Columns of the labels of a head."""


class Clip(NamedTuple):
    """Bounds of a loss on the ratio of a token."""

    kind: str
    low: float
    high: float

    def clips(self, ratio: NDArray[np.float64], advantage: NDArray[np.float64]) -> NDArray[np.bool_]:
        """[T] the bound decides the loss of the token."""
        return ((ratio < self.low) & (advantage < 0)) | ((ratio > self.high) & (advantage > 0))


def clip_of(settings: Mapping[str, Any]) -> Clip | None:
    """The clip range of the run's loss; None if it bounds something else than the ratio of a token."""
    from menon.loss import LossPart

    by_token = {part.kind for part in get_args(LossPart) if part.unit == "token"}
    for loss in losses(settings):
        if loss.get("kind") in by_token and {"clip_low", "clip_high"} <= loss.keys():
            return Clip(loss["kind"], 1 - loss["clip_low"], 1 + loss["clip_high"])
    return None


def losses(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The losses of the policy's objective, as the run's settings have them."""
    for term in (settings.get("objective") or {}).values():
        if isinstance(term, Mapping) and isinstance(loss := term.get("loss"), Mapping):
            yield loss


def asked(answer: Answer, width: int) -> "Iterator[Text]":
    """The lines of the question, which is shown as the policy read it, and of the gold answer."""
    row = answer.row
    yield from labelled("question", one_line(row["prompt"].strip("\n")) or "(empty)", width, "bold")
    if row["answer"] is not None:
        yield from labelled("gold", one_line(row["answer"]), width)


def labelled(label: str, text: str, width: int, style: str = "") -> "Iterator[Text]":
    """A label and a text beside it, folded."""
    from rich.text import Text

    for number, line in enumerate(folded_text(text, width - LABEL, LINES)):
        yield Text.assemble((f"{label if number == 0 else '':<{LABEL}}", QUIET), (line, style))


def group_lines(
    view: "RunView", step: int, group: int, answers: Sequence[Answer], width: int
) -> "Iterator[Text | str]":
    """The lines about a group: question, its rewards, a table of its answers, a table of their ratios."""
    from rich.text import Text

    yield Text(f"step {step}, group {group}: {counted(len(answers), 'answer')}", style="bold")
    yield ""
    yield from asked(answers[0], width)
    yield from rewards(view, answers, width)
    yield ""
    yield from answer_table(answers, width)
    yield ""
    yield from ratio_lines(view, step, answers)
    yield ""
    yield from hint("one answer", view, step=step, group=group, answer=answers[0].row["sample"])


def rewards(view: "RunView", answers: Sequence[Answer], width: int) -> "Iterator[Text]":
    """Mean and deviation of the rewards, after shaping too where that changed them, and the parts that made
    advantages of them."""
    graded = [answer for answer in answers if not math.isnan(answer.row["score"])]
    yield from labelled("reward", spread([answer.row["score"] for answer in graded]), width)
    if is_shaped(answers):
        yield from labelled("shaped", spread([answer.outcome for answer in graded]), width)
    kinds = [str(part.get("kind")) for part in (view.settings.get("advantage") or {}).values()]
    if kinds:
        yield from labelled("advantage", "by " + ", ".join(map(one_line, kinds)), width)


def spread(values: Sequence[float]) -> str:
    """The mean of the values and their standard deviation, over n - 1 as estimators take it."""
    if not values:
        return "the grader failed on every answer"
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return f"mean {mean:.3f}"
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"mean {mean:.3f}, standard deviation {deviation:.3f} (over n - 1)"


def is_shaped(answers: Sequence[Answer]) -> bool:
    """Whether what advantages were made of differs from the rewards."""
    return any(abs(answer.outcome - answer.row["score"]) > SAME for answer in answers)


def answer_table(answers: Sequence[Answer], width: int) -> "Iterator[Text | str]":
    """The lines of the table of answers; texts are folded in its last column."""
    shaped, per_token = is_shaped(answers), any(varies(answer) for answer in answers)
    head = ["answer", "reward", *["shaped"] * shaped, "acc", "tokens", "finish", "advantage", "text"]
    room = width - sum(len(name) + GAP for name in head[:-1])
    rows: list[list[Cell]] = [
        [
            str(answer.row["sample"]),
            reward_cell(answer),
            *[number_text(answer.outcome)] * shaped,
            "-" if math.isnan(answer.row["acc"]) else f"{answer.row['acc']:g}",
            str(answer.num_actions),
            answer.row["finish"],
            advantage_text(answer),
            [*folded_text(one_line(answer.row["completion"]), room, LINES), *remarks(answer, room)],
        ]
        for answer in answers
    ]
    yield from table(head, rows, ["finish", "text"])
    if per_token:
        yield ""
        yield from notes("Advantages differ from token to token; their mean over the answer is shown.")


def reward_cell(answer: Answer) -> tuple[str, str]:
    """The reward with the style of the verdict."""
    score, acc = answer.row["score"], answer.row["acc"]
    if math.isnan(score):
        return "none" if answer.row["error"] == UNASKED else "failed", WRONG
    return number_text(score), {1.0: RIGHT, 0.0: WRONG}.get(acc, "")


def varies(answer: Answer) -> bool:
    """Whether tokens of the answer have different advantages."""
    return bool(len(answer.advantage)) and float(np.ptp(answer.advantage)) > SAME


def advantage_text(answer: Answer) -> str:
    """The advantage of an answer, `-` where no token of it was learned from."""
    return signed(float(answer.advantage.mean())) if len(answer.advantage) else "-"


def signed(value: float) -> str:
    """
    >>> signed(1.2076), signed(0.0), signed(float("nan"))
    ('+1.208', '0.000', '-')
    """
    return "-" if math.isnan(value) else f"{value:+.3f}" if value else "0.000"


def remarks(answer: Answer, width: int) -> list[str]:
    """Lines below the text of an answer: parts of its verdict, why the grader failed, what was not learned
    from."""
    row = answer.row
    parts = ", ".join(f"{one_line(name)} {number_text(value)}" for name, value in row["parts"].items())
    words = [f"parts: {parts}"] if parts else []
    words += [one_line(row["error"])] if row["error"] else []
    words += ["not learned from"] if not row["learn"] else []
    return [line for word in words for line in folded_text(f"({word})", width)]


def notes(*sentences: str) -> "Iterator[Text]":
    from rich.text import Text

    for sentence in sentences:
        yield Text(sentence, style=QUIET)


def ratio_lines(view: "RunView", step: int, answers: Sequence[Answer]) -> "Iterator[Text | str]":
    """The lines of the table of ratios, or why there is none."""
    ratios = [answer.ratio for answer in answers if answer.ratio is not None]
    if not ratios:
        yield from notes(*without_ratios(view, step))
        return
    clip = clip_of(view.settings)
    yield "Each token's ratio: its probability in the update that learned from the answer,"
    yield f"divided by that {before_text(view)}; mean after: when that update was made."
    head = ["answer", "update", "tokens", "mean", "min", "max", *["clipped"] * (clip is not None)]
    yield from table([*head, "mean after"], [ratio_row(answer, clip) for answer in answers], [])
    yield ""
    yield from notes(f"The policy had {counted(ratios[0].updates, 'update')} in this step.")
    if any(ratio.first for ratio in ratios):
        yield from notes("In the first every ratio is 1, because the policy has not changed yet.")
    yield from notes(*clip_sentences(view, clip))


def before_text(view: "RunView") -> str:
    """Whose probability is below in a ratio."""
    behaviour = setting(view.settings, "old", "trainer") == "behaviour"
    return "when it was written" if behaviour else "before the step"


def without_ratios(view: "RunView", step: int) -> Iterator[str]:
    """Why there are no ratios."""
    if step in view.updates.steps:
        yield "No update of the policy in this step learned from this, so there are no ratios."
    elif setting(view.settings, "record") == "full":
        yield "The updates of this step are not in the folder, so no ratios are shown."
    else:
        yield "The ratios of this run were not stored. A run with record=full stores the"
        yield "log-probs before and after every update."


def ratio_row(answer: Answer, clip: Clip | None) -> list[str]:
    """The cells of one answer in the table of ratios; `-` for what is not known."""
    ratio, clipped = answer.ratio, [] if clip is None else ["-"]
    if ratio is None:
        return [str(answer.row["sample"]), *["-"] * 5, *clipped, "-"]
    before, after = ratio.before[answer.trained], ratio.after[answer.trained]
    cells = [str(answer.row["sample"]), str(ratio.update), str(len(before))]
    if not len(before) or np.isnan(before).all():
        return [*cells, *["-"] * 3, *clipped, "-"]
    if clip is not None and len(answer.advantage):
        clipped = [f"{100 * clip.clips(before, answer.advantage).mean():.1f} %"]
    middle = [f"{value:.3f}" for value in (before.mean(), before.min(), before.max())]
    return [*cells, *middle, *clipped, f"{after.mean():.3f}"]


def clip_sentences(view: "RunView", clip: Clip | None) -> Iterator[str]:
    """Which tokens the loss clips."""
    if clip is not None:
        yield f"clipped by {clip.kind}: ratios above {clip.high:g} where the advantage is positive, below"
        yield f"{clip.low:g} where it is negative. Such tokens have no gradient."
    elif kinds := [one_line(str(loss.get("kind"))) for loss in losses(view.settings)]:
        yield f"The loss ({', '.join(kinds)}) clips no single tokens by their ratios."
