"""Text on its way to a terminal or a page. A model, a program, a data set or a run folder may have written
it, so nothing in it may steer what shows it."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

STEERS = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, escape sequences with them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of writing
    "\u180e\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # invisible, or breaks of a line
    "\ud800-\udfff"  # halves of a pair, which no output can encode
    "\U000e0000-\U000e0fff]"  # tags
)
TAB = "    "
PROGRESS = re.compile("(?:[\r\n]|\x1b\\[A)*")
"""How a progress bar of a library begins what it writes."""


def printable(text: str, keep: str = "\n\t") -> str:
    r"""The text with every character that could steer a terminal replaced, except those in `keep`.

    >>> printable("a\x1b[2J\tb\n\r")
    'a�[2J\tb\n�'
    """
    if text.isprintable():
        return text
    return STEERS.sub(lambda found: found[0] if found[0] in keep else "\N{REPLACEMENT CHARACTER}", text)


class PrintableStream:
    """A stream whose text is made printable; everything else is that of the stream itself."""

    def __init__(self, stream: TextIO, progress: bool = False) -> None:
        self.stream = stream
        self.progress = progress
        """Whether libraries draw progress bars on it."""

    def write(self, text: str) -> int:
        bar = PROGRESS.match(text) if self.progress else None
        start = bar.end() if bar else 0
        self.stream.write(text[:start] + printable(text[start:].replace("\t", TAB), keep="\n"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def printable_output() -> Iterator[None]:
    """Makes all text printable that is written to standard output and standard error meanwhile."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = PrintableStream(out), PrintableStream(err, progress=True)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def unfiltered(stream: TextIO) -> TextIO:
    """The stream itself, for text that is to steer the terminal."""
    return stream.stream if isinstance(stream, PrintableStream) else stream


def console(stream: TextIO | None = None, **options: Any) -> "Console":
    """A console of rich, which writes colours and moves the cursor; the texts in them are made printable."""
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        def render(self, *asked: Any, **more: Any) -> Iterator[Segment]:
            for part in super().render(*asked, **more):
                yield part if part.control else Segment(printable(part.text), part.style)

    return PrintableConsole(file=unfiltered(stream or sys.stdout), highlight=False, **options)
