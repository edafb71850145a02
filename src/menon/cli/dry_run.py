"""The dry run of `menon check data`: from the words of `menon train` to what it shows."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.run import configured
from menon.cli.dry_run_given import dry_run_given, header, show
from menon.cli.golds import golds, spelt
from menon.cli.help import width_here
from menon.cli.trial import to_try
from menon.errors import at_least
from menon.report.terminal import question_of
from menon.report.text_lines import printable
from menon.settings import Tree, read, setting

if TYPE_CHECKING:
    from menon.assembly.dry_run import Tried
    from menon.types import Graded


UNREAD = ("unparsable", "judge_unparsable")
"""Parts of a verdict that say that a rule, or a judge, could not read what it was given."""


@dataclass(frozen=True)
class DryRun:
    """The settings of a dry run besides those of `menon train`."""

    n: int = 16
    """Most answers that are drawn, in groups of samples_per_prompt, or of half of it."""
    tokens: bool = False
    """Show the first prompt token by token."""

    def __post_init__(self) -> None:
        at_least(1, "n", self.n)


def own_words(words: Sequence[str]) -> tuple[list[str], Tree]:
    """The words of `menon train`, and the settings of the dry run alone among them."""
    own = {
        name: value for name, _, value in (word.partition("=") for word in words) if name in ("n", "tokens")
    }
    return [word for word in words if word.partition("=")[0] not in own], own


def dry_run(words: Sequence[str], own: Tree) -> int:
    """Shows what the run of these words would ask and earn; returns 0 if nothing speaks against it."""
    wanted = read(DryRun, own)
    asked, chosen = to_try(words, "a dry run is of a run that has not begun")
    from menon.assembly.dry_run import built_to_try, tried

    config = configured(asked.recipe, asked.changes, chosen.count, asked.again)
    if config.rows is not None:
        return dry_run_given(config, chosen, words)
    notes: list[str] = []
    with built_to_try(asked.recipe, asked.changes, chosen.count, asked.again, notes) as (
        run,
        settings,
        refusal,
    ):
        machine = f"{run.header['machine']}, {threads.plural(chosen.count, 'thread')} ({chosen.reason})"
        show(header({**run.header, "machine": machine}))
        show(f"menon: {note}" for note in notes)
        found = tried(run, settings, wanted.n)
        show(prompt_lines(found, setting(settings, "max_new_tokens"), wanted.tokens))
        show(answer_lines(found.graded, width_here()))
        against = [*(sign.sentence for sign in found.signs), *found.faults, *([refusal] if refusal else [])]
        show(["", summary(found.graded), *(f"menon: {sentence}" for sentence in against), ""])
        failed = golds_of(run, settings)
    if against or failed:
        return 1
    print(f"nothing speaks against it: {shlex.join(['menon', 'train', *words])}", flush=True)
    return 0


def prompt_lines(found: "Tried", max_new_tokens: int, tokens: bool) -> Iterator[str]:
    """The first prompt: how long it is, its gold answer, its text, and its tokens if they are wanted."""
    length = len(found.prompt.tokens)
    room = f"no limit known, {max_new_tokens} for the answer"
    if found.context is not None:
        left = found.context - length - max_new_tokens
        room = f"{found.context} fit, {max_new_tokens} of them for the answer, {left} left over"
    yield ""
    yield f"the first prompt   {threads.plural(length, 'token')}; {room}"
    yield from (f"  | {printable(line)}" for line in found.text.split("\n"))
    if found.prompt.answer is not None:
        yield f"  the answer is {printable(found.prompt.answer)}"
    if tokens:
        each = (f"{token}:{piece!r}" for token, piece in zip(found.prompt.tokens, found.pieces, strict=True))
        # A space within a token is no place for a line to end.
        line = " ".join(one.replace(" ", "\0") for one in each)
        yield from (f"  {part}".replace("\0", " ") for part in wrap(line, width_here() - 2))


def answer_lines(graded: "Sequence[Graded]", width: int) -> Iterator[str]:
    """A line for each question, and one for each answer to it, with as much of its end as fits."""
    for _, answers in groupby(graded, key=lambda one: one.rollout.group):
        own = list(answers)
        prompt = own[0].rollout.prompt
        gold = f"   the answer is {printable(prompt.answer)}" if prompt.answer is not None else ""
        question = " ".join(printable(question_of(prompt)).split())
        yield ""
        yield f"{end_of(question, width - len(gold), keep_begin=True)}{gold}"
        yield from (answer_line(one, width) for one in own)


def answer_line(one: "Graded", width: int) -> str:
    """How an answer ended, what it earned, and how its text ends, or why it was not graded."""
    rollout, error = one.rollout, one.verdict.error
    facts = f"  {rollout.finish:<7}{rollout.num_actions:>6} tokens  {verdict_of(one):<26}  "
    text = " ".join(printable(error or rollout.text).split())
    return f"{facts}{end_of(text, width - len(facts), keep_begin=bool(error))}".rstrip()


def verdict_of(one: "Graded") -> str:
    """Score and correctness of an answer, and whether the rule could read a result in it."""
    verdict = one.verdict
    if not verdict.applies:
        return "the reward does not apply"
    if verdict.score != verdict.score:
        return "not graded" if verdict.error else "not graded, a score of NaN"
    acc = {1.0: "  right", 0.0: "  wrong"}.get(verdict.acc, "")
    unread = "  unparsable" if any(verdict.parts.get(name) == 1 for name in UNREAD) else ""
    return f"score {verdict.score:<5.3g}{acc}{unread}"


def end_of(text: str, width: int, keep_begin: bool = False) -> str:
    """The end of a text that is longer than `width`, at least 20 characters of it, or its beginning."""
    width = max(width, 20)
    if len(text) <= width:
        return text
    return text[: width - 3] + "..." if keep_begin else "..." + text[3 - width :]


def summary(graded: "Sequence[Graded]") -> str:
    """The answers in one line."""
    from menon.record.metrics import varied
    from menon.record.tally import Tally

    tally = Tally.of(graded)
    counted = [g for g in graded if g.verdict.score == g.verdict.score]
    mean = sum(g.verdict.score for g in counted) / max(1, len(counted))
    groups, differ = len({g.rollout.group for g in graded}), sum(varied(counted))
    known = tally.right + tally.wrong == tally.answers
    parts = [
        f"reward {mean:.3g}" if counted else "no reward",
        f"{tally.right} right" if known else "not known which are right",
        f"{tally.cut} cut",
        f"{tally.unread} unparsable",
    ]
    if failed := len(graded) - len(counted):
        parts.append(f"{failed} without a score")
    if len(graded) > groups:
        parts.append(f"rewards differ in {differ} of {groups} groups")
    return f"{len(graded)} answers to {threads.plural(groups, 'question')}: {', '.join(parts)}"


def golds_of(run: Any, settings: Tree) -> int:
    """Checks the gold answers of the run's files by its own reward, where it is known how an answer is
    stated; returns the number of files with faults."""
    from menon.assembly.dry_run import online_of
    from menon.prompts.reader import Columns

    reward: Any = getattr(online_of(run).grade, "reward", None)
    files = [file for name in ("data", "heldout_data") if (file := setting(settings, name)) is not None]
    if not spelt(reward):
        print("gold answers are not checked: it is not known how an answer is stated for this reward")
        return 0
    if not files:
        print("every gold answer earns the full reward")  # a run on a task is not built otherwise
        return 0
    columns = read(Columns, setting(settings, "columns"))
    failed = 0
    for file in files:
        print(f"gold answers of {file}:")
        failed += golds(file, reward, columns)
    return failed
