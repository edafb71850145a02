"""Shows a run to a person: a live bar on a terminal, plain lines elsewhere."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from menon.printable import console, unfiltered
from menon.record.beside import shown, with_interval
from menon.record.layout import Layout
from menon.report.text_lines import at_gaps, duration, in_rows, on_one_line, shortened, wrapped
from menon.types import Graded, Prompt, StepReport

SAMPLES = 6
"""Sample answers shown over a whole run."""
SAMPLE_LINES = 12
QUESTION_LINES = 6
"""Most lines of one answer, and of its question, that are shown."""
GIVEN = ("nll", "distill/divergence", "distill/features", "pairs/accuracy", "pairs/margin", "kto/accuracy")
"""Numbers of a run on given text that are shown with each step and evaluation."""
TAUGHT = ("distill/divergence", "kl/teacher_k1")
"""How far the policy is from its teacher, in nats a token."""
WIDTH = 110
"""Characters of a line of a sample where there is no terminal."""
START = "loading the model and the questions ..."
FIRST = "evaluating the model before training ..."
WRITING = "writing the answers of the first step ..."
LAST = "evaluating the trained model and writing the report ..."
"""What is shown while there is no bar yet, and none any more."""
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
        for label, text in header_lines({**self.header, "folder": str(folder)}, WIDTH):
            self.say(f"{label}{text}")
        if first_step > 1:
            self.say(f"  going on after step {first_step - 1}")
        self.say("")
        if first_step == 1:
            self.say(FIRST)

    def evaluated(self, step: int, numbers: Mapping[str, float]) -> None:
        if step == 0:
            self.seconds_after = time.monotonic() - self.began
        for line in self.in_width(evaluation(step, numbers)):
            self.say(line)

    def in_width(self, line: str) -> list[str]:
        """A line of numbers as it is written: whole where there is no terminal."""
        return [line]

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
        from rich.live import Live as RichLive

        self.console = console(self.stream)
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
        for label, text in header_lines({**self.header, "folder": str(folder)}, self.console.width):
            self.console.print(Text.assemble((label, "dim"), text))
        if first_step > 1:
            self.say(f"  going on after step {first_step - 1}")
        self.say("")
        self.live.start()
        self.live.update(Text(FIRST if first_step == 1 else "", style="dim"))

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
        lines = []
        for row in in_rows(numbers_of(report), self.console.width):
            cells = [
                Text.assemble((f"{label} ", "dim"), (f"{text:>{wide}}", "cyan")) for label, text, wide in row
            ]
            lines.append(Text("  ").join(cells))
        self.live.update(Group(bar, *lines))

    def in_width(self, line: str) -> list[str]:
        return at_gaps(line, self.console.width)

    def evaluated(self, step: int, numbers: Mapping[str, float]) -> None:
        from rich.text import Text

        super().evaluated(step, numbers)
        if step == 0:
            self.live.update(Text(WRITING, style="dim"))

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


@contextmanager
def starting(stream: TextIO | None = None) -> Iterator[Callable[[Mapping[str, str]], Terminal]]:
    """Says on a terminal that a run is being prepared, until its header is shown or an error comes, and gives
    the function that shows the header and what follows."""
    stream = stream or sys.stdout
    waiting = stream.isatty()

    def show(header: Mapping[str, str]) -> Terminal:
        clear()
        return terminal(header, stream)

    def clear() -> None:
        nonlocal waiting
        if waiting:
            print("\r\x1b[K", end="", file=unfiltered(stream), flush=True)
        waiting = False

    if waiting:
        print(START, end="", file=stream, flush=True)
    try:
        yield show
    finally:
        clear()


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


def header_lines(header: Mapping[str, str], width: int) -> Iterator[tuple[str, str]]:
    """Label and text of each line of a header but the recipe's; a long text is folded below itself."""
    for label, text in header.items():
        if label == "recipe":
            continue
        start = f"  {label:<9}"
        folded = textwrap.wrap(
            text, max(width - len(start), 30), break_long_words=False, break_on_hyphens=False
        )
        for line in folded or [""]:
            yield start, line
            start = " " * len(start)


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
        ("entropy", f"{metrics.get('entropy/mean', metrics.get('entropy/mc', 0.0)):.3f} nats", 10),
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
    Each is one line, whatever a model wrote."""
    rollout, verdict = graded.rollout, graded.verdict
    question = " ".join(on_one_line(question_of(rollout.prompt)).split()) or "(empty prompt)"
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
            else f", the answer is {on_one_line(rollout.prompt.answer)}"
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


def summary(report: Mapping[str, Any], folder: Path) -> list[str]:
    """The lines at the end of a run: what changed, how long it took, where the files are, which command
    continues it."""
    before, after = report.get("before") or {}, report.get("after") or {}
    took = duration(float(report.get("wall_s", 0.0)))
    tokens = f"{int(report.get('generated_tokens', 0)):,}"
    written = "rows" not in after or "reward" in after
    steps = int(report.get("steps", 0))
    more = "" if "minutes" in report else f" steps={2 * steps}"
    layout = Layout(folder)
    warnings = [f"menon: {sentence}" for sentence in report.get("warnings") or ()]
    return [
        *warnings,
        *compared(before, after),
        *(["", str(report["verdict"]["sentence"])] if "verdict" in report else []),
        "",
        f"{steps} step{'s' * (steps != 1)}, {tokens} tokens {'written' if written else 'learned'}, {took}",
        "",
        f"  the report     {layout.page}",
        *([f"  every answer   {layout.transcripts}"] if written else []),
        f"  the numbers    {layout.metrics}",
        f"  the model      {layout.checkpoint(steps)}",
        f"  go on          menon train --resume {folder}{more}",
        "",
        "what the numbers mean: menon help metrics",
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
