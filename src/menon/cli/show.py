"""`menon show RUN step=5 group=3 answer=2`: a step of a run, one of its groups, one answer token by token."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import understand
from menon.errors import UserError

if TYPE_CHECKING:
    from rich.text import Text

    from menon.record.group import Answer
    from menon.record.heartbeat import Heartbeat
    from menon.record.reader import RunView

EXAMPLE = "like menon show runs/mine step=5 group=3 answer=2"
USAGE = f"menon show takes a run's folder, a step, and maybe a group and an answer, {EXAMPLE}"
STEPS = "menon show {path} step=N shows what a step wrote; there are the steps {steps}"
NAMES = ("step", "group", "answer")


def show(words: Sequence[str]) -> int:
    """Shows what a step of a run wrote, and what it learned from that. step=5 lists the step's groups:
    question, rewards, their mean. With group=3 one group: every answer with reward, acc, length, finish and
    advantage, and the ratios of the update that learned from it, for which the run needs record=full. With
    answer=2 also one answer token by token: probability, entropy, advantage, ratio.

    Groups and answers have the numbers of the transcript, which begin at 0. Of a run of spo_tree group=3
    draws a tree, node by node with its value, and answer=2 shows its node 2. The run may still be going on.

    Without a step it shows what each worker process of a run (samplers, ranks, vLLM) has to do, while the run
    goes on, or last had to do, if the run died.

    --json prints the answers as a JSON list and nothing else; of one answer its tokens too; without a step
    one object with the workers.
    """
    rest, alone = json_alone(words)
    folder, numbers = asked_by(rest)
    from menon.cli.lines import Screen
    from menon.record.reader import RunView, ranges

    view = RunView.open(folder)
    if "step" not in numbers:
        if view.heartbeat is not None:
            show_workers(view, view.heartbeat, alone)
            return 0
        view.transcripts.require()
        raise UserError(f"{USAGE}; {folder} has the steps {ranges(view.transcripts.steps)}")
    if alone:
        print_json(as_data(view, numbers))
        return 0
    screen = Screen()
    screen.say(lines(view, numbers, screen.width))
    return 0


def show_workers(view: "RunView", found: "Heartbeat", alone: bool) -> None:
    """Prints what the workers of a run have to do, and how to see its steps."""
    from menon.cli import show_workers
    from menon.cli.lines import Screen
    from menon.record.reader import ranges

    if alone:
        print_json(show_workers.as_data(view))
        return
    screen = Screen()
    screen.say(show_workers.worker_lines(view, found))
    if steps := view.transcripts.steps:
        screen.say([STEPS.format(path=view.path, steps=ranges(steps))])


def asked_by(words: Sequence[str]) -> tuple[Path, Mapping[str, int]]:
    """The run's folder, and the numbers that were given by name."""
    found = understand(words, no_option="there is no option {option}; " + USAGE)
    if len(found.plain) != 1 or found.settings.keys() - set(NAMES):
        raise UserError(USAGE)
    for name, value in found.settings.items():
        if not str(value).isdecimal():
            raise UserError(f"{name} takes a number, not '{value}'; {USAGE}")
    numbers = {name: int(value) for name, value in found.settings.items()}
    for name, above in (("answer", "group"), ("group", "step")):
        if name in numbers and above not in numbers:
            raise UserError(f"{name}={numbers[name]} needs a {above} too, {EXAMPLE}")
    return Path(found.plain[0]), numbers


def as_data(view: "RunView", numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """The stored values of a step's answers, of those of a group, or of one answer with its tokens. UserError
    if there is none with that number."""
    from menon.cli.show_step import check_group, groups_of
    from menon.record.group import ROW, read_group

    step, group = numbers["step"], numbers.get("group")
    if group is None:
        stored = view.transcripts.columns(step)
        return view.transcripts.rows(step, [name for name in ROW if name in stored])
    check_group(groups_of(view, step), group, f"step {step} of {view.path}")
    answers = read_group(view, step, group)
    if "answer" not in numbers:
        return [{name: answer.row[name] for name in ROW if name in answer.row} for answer in answers]
    one = chosen(answers, numbers["answer"], step, group)
    pieces: Sequence[str | None] = one.pieces or [None] * len(one.is_action)
    columns = {"is_action": one.is_action, "trained": one.trained, **one.columns}
    if one.ratio is not None:
        columns |= {"ratio": one.ratio.before, "ratio_after": one.ratio.after}
    tokens = [
        {"text": text, **{name: values[place] for name, values in columns.items()}}
        for place, text in enumerate(pieces)
    ]
    return [{**{name: one.row[name] for name in ROW if name in one.row}, "tokens": tokens}]


def lines(view: "RunView", numbers: Mapping[str, int], width: int) -> "Iterator[Text | str]":
    """The lines about a step, a group or an answer. UserError if there is none with that number."""
    from menon.cli.show_answer import answer_lines
    from menon.cli.show_group import asked, group_lines
    from menon.cli.show_step import check_group, groups_of, is_tree, step_lines
    from menon.cli.show_tree import drawn
    from menon.record.group import read_group

    step = numbers["step"]
    if "group" not in numbers:
        yield from step_lines(view, step, width)
        return
    group, groups = numbers["group"], groups_of(view, step)
    check_group(groups, group, f"step {step} of {view.path}")
    answers = read_group(view, step, group)
    if "answer" in numbers:
        yield from answer_lines(view, step, group, chosen(answers, numbers["answer"], step, group), width)
    elif is_tree(groups):
        yield from asked(answers[0], width)
        yield from drawn([answer.row for answer in answers], width)
    else:
        yield from group_lines(view, step, group, answers, width)


def chosen(answers: "Sequence[Answer]", number: int, step: int, group: int) -> "Answer":
    """The answer of that number; of a tree the node. UserError if there is none, with those that there
    are."""
    from menon.record.reader import ranges

    name, noun = ("node", "node") if answers[0].row["node"] >= 0 else ("sample", "answer")
    numbered = {answer.row[name]: answer for answer in answers}
    if number not in numbered:
        there = ranges(sorted(numbered))
        raise UserError(f"group {group} of step {step} has no {noun} {number}; it has {there}")
    return numbered[number]
