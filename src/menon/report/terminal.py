"""Shows a run to a person: a live bar on a terminal, plain lines elsewhere."""

import shutil
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from menon.record.beside import shown, with_interval
from menon.record.layout import Layout
from menon.types import Graded, Prompt, StepReport

SAMPLES = 6
"""Sample answers shown over a whole run."""
SAMPLE_LINES = 12
QUESTION_LINES = 6
"""Most lines of one answer, and of its question, that are shown."""
GIVEN = ("nll", "distill/divergence", "pairs/accuracy", "pairs/margin")
"""Numbers of a run on given text that are shown with each step and evaluation."""
TAUGHT = ("distill/divergence", "kl/teacher_k1")
"""How far the policy is from its teacher, in nats a token."""
WIDTH = 110
"""Characters of a line of a sample where there is no terminal."""
LAST = "evaluating the trained model and writing the report ..."
"""What is shown while there is no bar any more."""
MEMORY = 0.8
"""Weight of earlier steps in the moving average of the time per step, for the forecast of the time left."""


class Terminal:
    """Plain lines: no colours, no cursor movement, one line per step. `Live` shows the same events on a
    terminal."""

    def __init__(self, header: Mapping[str, str], stream: TextIO | None = None) -> None:
        self.header = header
        self.stream = stream or sys.stdout
        self.steps = 0
        self.folder = Path()
        self.seconds_per_step = 0.0
        self.began = 0.0
        self.seconds_after = 0.0
        """Expected seconds of the evaluation after the last step: as many as the one before the first step
        took."""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        self.folder, self.steps, self.began = folder, steps, time.monotonic()
        self.say(title(self.header))
        for label, text in {**self.header, "folder": str(folder)}.items():
            if label != "recipe":
                self.say(f"  {label:<9}{text}")
        if first_step > 1:
            self.say(f"  going on after step {first_step - 1}")
        self.say("")

    def evaluated(self, step: int, numbers: Mapping[str, float]) -> None:
        if step == 0:
            self.seconds_after = time.monotonic() - self.began
        self.say(evaluation(step, numbers))

    def stepped(self, report: StepReport) -> None:
        self.forecast(report)
        self.show(report)
        if report.step % max(1, self.steps // SAMPLES) == 0 and report.graded:
            whole = [
                g for g in report.graded if g.verdict.acc == g.verdict.acc
            ] or report.graded  # not a node within a tree
            self.sample(report, whole[report.step % len(whole)])
        if report.step == self.steps:
            self.last()

    def show(self, report: StepReport) -> None:
        parts = [f"{label} {text:>{width}}" for label, text, width in numbers_of(report)]
        step = f"step {report.step:>{len(str(self.steps))}}/{self.steps}"
        self.say("  ".join([step, *parts, f"{self.left(report)} left"]))

    def last(self) -> None:
        """Says what happens after the last step, which no bar shows."""
        self.say(LAST)

    def forecast(self, report: StepReport) -> None:
        took = report.metrics.get("time/step", 0.0)
        known = self.seconds_per_step
        self.seconds_per_step = took if not known else MEMORY * known + (1 - MEMORY) * took

    def left(self, report: StepReport) -> str:
        return duration((self.steps - report.step) * self.seconds_per_step + self.seconds_after)

    def sample(self, report: StepReport, graded: Graded) -> None:
        question, answer, mark = sample_of(graded)
        self.say("")
        for line in question:
            self.say(f"    {line}")
        for line in answer:
            self.say(f"    | {line}")
        self.say(f"    {mark}")
        self.say("")

    def notify(self, sentence: str) -> None:
        self.say(f"menon: {sentence}")

    def finished(self, report: Mapping[str, Any]) -> None:
        self.say("")
        for line in summary(report, self.folder):
            self.say(line)

    def say(self, line: str) -> None:
        encoding = (
            self.stream.encoding or "utf-8"
        )  # a character that the stream cannot encode must not end a run
        print(line.encode(encoding, "replace").decode(encoding), file=self.stream, flush=True)


class Live(Terminal):
    """A bar and a line of numbers at the bottom; everything else scrolls above them."""

    def __init__(self, header: Mapping[str, str], stream: TextIO | None = None) -> None:
        super().__init__(header, stream)
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console(file=self.stream, highlight=False)
        self.live = RichLive(console=self.console, refresh_per_second=4, transient=True)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.live.stop()

    def say(self, line: str) -> None:
        from rich.text import Text

        self.console.print(Text(line))

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        from rich.text import Text

        self.folder, self.steps, self.began = folder, steps, time.monotonic()
        self.console.print(Text(title(self.header), style="bold"))
        for label, text in {**self.header, "folder": str(folder)}.items():
            if label != "recipe":
                self.console.print(Text.assemble((f"  {label:<9}", "dim"), text))
        if first_step > 1:
            self.say(f"  going on after step {first_step - 1}")
        self.say("")
        self.live.start()
        self.live.update(Text("evaluating the model before training ...", style="dim"))

    def show(self, report: StepReport) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = Table.grid(padding=(0, 2))
        step = Text(f"step {report.step}/{self.steps}", style="bold")
        width = max(10, min(40, self.console.width - 34))
        done = ProgressBar(self.steps, report.step, width=width, complete_style="cyan", finished_style="cyan")
        bar.add_row(step, done, Text(f"{self.left(report)} left", style="dim"))
        numbers = Text("  ").join(
            Text.assemble((f"{label} ", "dim"), (f"{text:>{width}}", "cyan"))
            for label, text, width in numbers_of(report)
        )
        self.live.update(Group(bar, numbers))

    def last(self) -> None:
        from rich.text import Text

        self.live.update(Text(LAST, style="dim"))

    def sample(self, report: StepReport, graded: Graded) -> None:
        from rich.text import Text

        question, answer, mark = sample_of(graded, self.console.width - 4)
        right = graded.verdict.acc == 1
        numbers = "  ".join(f"{label} {text}" for label, text, _ in numbers_of(report)[:4])
        self.console.print(Text(f"step {report.step}  {numbers}", style="dim"))
        for line in question:
            self.console.print(Text(f"  {line}", style="bold"))
        for line in answer:
            self.console.print(Text(f"  {line}"))
        sign = {1.0: "✓", 0.0: "✗"}.get(graded.verdict.acc, "·")
        self.console.print(Text(f"  {sign} {mark}\n", style="green" if right else "yellow"))

    def notify(self, sentence: str) -> None:
        from rich.text import Text

        self.console.print(Text(f"menon: {sentence}", style="yellow"))

    def finished(self, report: Mapping[str, Any]) -> None:
        self.live.stop()
        super().finished(report)


def terminal(header: Mapping[str, str], stream: TextIO | None = None) -> Terminal:
    """`Live` for a terminal, `Terminal` for any other stream."""
    stream = stream or sys.stdout
    return (
        Live(header, stream)
        if stream.isatty() and shutil.get_terminal_size().columns >= 60
        else Terminal(header, stream)
    )


# The texts


def title(header: Mapping[str, str]) -> str:
    from menon import __version__

    return f"menon {__version__}  {header.get('recipe', '')}".rstrip()


def numbers_of(report: StepReport) -> list[tuple[str, str, int]]:
    """Label, text and width of a step's main numbers."""
    metrics = report.metrics
    seconds = metrics.get("time/step", 0.0)
    speed = metrics.get("tokens/generated", 0.0) / seconds if seconds else 0.0
    if "reward/mean" not in metrics and any(name.startswith("loss/") for name in metrics):
        return [*given_numbers(metrics), ("tokens/s", f"{speed:,.0f}", 6)]
    accuracy = [("train accuracy", f"{metrics['acc/mean']:.3f}", 5)] if "acc/mean" in metrics else []
    reward = [("reward", f"{metrics['reward/mean']:.3f}", 5)] if "reward/mean" in metrics else []
    taught = next((metrics[name] for name in TAUGHT if name in metrics), None)
    return [
        *accuracy,
        *reward,
        *([] if taught is None else [("from teacher", f"{taught:.3f}", 5)]),
        ("length", f"{metrics.get('len/mean', 0.0):.1f}", 5),
        ("entropy", f"{metrics.get('entropy/mean', 0.0):.3f} nats", 10),
        ("clipped", f"{metrics.get('clip/frac', 0.0):.3f}", 5),
        ("tokens/s", f"{speed:,.0f}", 6),
    ]


def given_numbers(metrics: Mapping[str, float]) -> list[tuple[str, str, int]]:
    """The main numbers of a step on given text: its losses by term, and what they measure."""
    losses = {name: value for name, value in metrics.items() if name.startswith("loss/")}
    shown = {name: metrics[name] for name in GIVEN if name in metrics}
    return [(name, f"{value:.3f}", 6) for name, value in (shown or losses).items()] + [
        ("length", f"{metrics.get('len/mean', 0.0):.1f}", 5)
    ]


def evaluation(step: int, numbers: Mapping[str, float]) -> str:
    when = "before" if step == 0 else f"step {step}"
    given = [f"{key} {numbers[key]:.3f}" for key in GIVEN if key in numbers]
    if "mean_length" not in numbers:
        return f"held out, {when}:  {'  '.join(given)}"
    known = [key for key in ("accuracy", "reward") if numbers.get(key) is not None]
    told = "".join(f"{key} {with_interval(numbers, key)}  " for key in known)
    return (
        f"held out, {when}:  {told}length {numbers.get('mean_length', 0.0):.1f}  "
        f"entropy {numbers.get('entropy', 0.0):.3f} nats" + "".join(f"  {each}" for each in given)
    )


def sample_of(graded: Graded, width: int = WIDTH) -> tuple[list[str], list[str], str]:
    """The lines of the question as it is in the data, the lines of the answer, the verdict. Long lines are
    folded at `width`; of a long answer the beginning and the end are shown, because the result is at the end.
    A model's text is untrusted: control characters are replaced, so that it cannot control the terminal."""
    rollout, verdict = graded.rollout, graded.verdict
    question = " ".join(printable(question_of(rollout.prompt)).split()) or "(empty prompt)"
    lines = shortened(wrapped(rollout.text.strip("\n").split("\n"), width), SAMPLE_LINES)
    if not verdict.applies:
        mark = "the reward does not apply"
    elif verdict.score != verdict.score:
        mark = f"could not be graded: {verdict.error}"
    else:
        mark = "right" if verdict.acc == 1 else "wrong" if verdict.acc == 0 else f"reward {verdict.score:g}"
        mark += (
            ""
            if verdict.acc == 1 or rollout.prompt.answer is None
            else f", the answer is {printable(rollout.prompt.answer)}"
        )
    cut = " (cut at max_new_tokens)" if rollout.finish == "length" else ""
    return shortened(wrapped([question], width), QUESTION_LINES), lines, mark + cut


def question_of(prompt: Prompt) -> str:
    """The question of the row, without the template around it; of a chat what the user said last."""
    question = prompt.columns.get("question", prompt.text)
    if isinstance(question, list):
        said = [message.get("content") for message in question if isinstance(message, Mapping)]
        question = said[-1] if said else prompt.text
    return str(question)


def wrapped(lines: Sequence[str], width: int) -> list[str]:
    """The lines folded between words, so that no character is lost."""
    return [
        piece
        for line in lines
        for piece in textwrap.wrap(printable(line), width, drop_whitespace=False, replace_whitespace=False)
        or [""]
    ]


def shortened(lines: Sequence[str], most: int) -> list[str]:
    """The lines, or the first and the last of them where there are more than `most`."""
    if len(lines) <= most:
        return list(lines)
    return [
        *lines[: most // 2],
        f"... ({len(lines) - most} lines)",
        *lines[len(lines) - (most - most // 2) :],
    ]


def printable(text: str) -> str:
    return "".join(
        c if c.isprintable() else " " if c in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def duration(seconds: float) -> str:
    """
    >>> duration(59.6), duration(3700)
    ('1:00', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(report: Mapping[str, Any], folder: Path) -> list[str]:
    """The lines at the end of a run: what changed, how long it took, where the files are, which command
    continues it."""
    before, after = report.get("before") or {}, report.get("after") or {}
    took = duration(float(report.get("wall_s", 0.0)))
    tokens = f"{int(report.get('generated_tokens', 0)):,}"
    written = "rows" not in after or "reward" in after
    steps = int(report.get("steps", 0))
    layout = Layout(folder)
    warnings = [f"menon: {sentence}" for sentence in report.get("warnings") or ()]
    return [
        *warnings,
        *compared(before, after),
        "",
        f"{steps} steps, {tokens} tokens {'written' if written else 'learned'}, {took}",
        "",
        f"  the report     {layout.page}",
        *([f"  every answer   {layout.transcripts}"] if written else []),
        f"  the numbers    {layout.metrics}, which `menon help metrics` explains",
        f"  the model      {layout.checkpoint(steps)}",
        f"  go on          menon train --resume {folder} steps={2 * steps}",
    ]


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each number of the held-out questions, before and after."""
    rows = [
        (label, with_interval(before, key, form), with_interval(after, key, form))
        for key, label, form in shown(before, after)
    ]
    if not rows:
        return []
    wide = max(8, *(len(cell) for _, *cells in rows for cell in cells))
    n = f"on {int(after['n']):,} held-out questions" if "n" in after else "on held-out questions"
    if "n" not in after and "rows" in after:
        n = f"on {int(after['rows']):,} held-out rows"
    lines = [f"{n:<35}{'before':>{wide}}   {'after':>{wide}}"]
    lines += [f"  {label:<33}{old:>{wide}} > {new:>{wide}}" for label, old, new in rows]
    if ("rows" not in after or "reward" in after) and not ("accuracy" in before and "accuracy" in after):
        lines.append("  the reward does not say which answers are right, so no accuracy is shown")
    return lines
