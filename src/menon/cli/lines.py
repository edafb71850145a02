"""Lines of a terminal: tables whose last column folds, texts of a model made visible, colours."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from menon.printable import console, printable

if TYPE_CHECKING:
    from rich.text import Text

NARROWEST, WIDEST = 72, 120
"""Bounds on the width of what is printed, in columns."""
LINE_BREAK, SPACE = "↵", "␣"
"""What stands for a line break, and for a space where it would not be seen."""
SURE, UNSURE = 0.05, 2.0
"""Entropies in nats: a token below the first has no colour; one at or above the second has the strongest."""
RIGHT, WRONG, QUIET = "green", "yellow", "dim"
"""Styles, which only a terminal shows."""
GAP = 2
"""Columns between the cells of a table."""
Cell = str | tuple[str, str] | list[str]
"""A cell of a table: a text, a text and its style, or several lines below each other."""


def slow(dtype: str, device: str) -> Iterator[str]:
    """A line about a dtype that is slow here."""
    from menon.assembly.models import device_of
    from menon.engines.machine import emulated

    if said := emulated(dtype, device_of(device)):
        yield said


class Screen:
    """Prints lines to standard output: in colours on a terminal, plain elsewhere."""

    def __init__(self) -> None:
        if reconfigure := getattr(sys.stdout, "reconfigure", None):
            reconfigure(errors="replace")  # a character that the output cannot encode is no error
        self.console = console(soft_wrap=True)
        self.width = max(NARROWEST, min(WIDEST, self.console.width))

    def say(self, lines: "Iterable[Text | str]", style: str = "") -> None:
        from rich.text import Text

        for line in lines:
            self.console.print(Text(line, style) if isinstance(line, str) else line)


def one_line(text: str) -> str:
    r"""The text on one line, with its line breaks visible.

    >>> one_line("3+4=7\n#7")
    '3+4=7↵#7'
    """
    return printable(text.replace("\r\n", "\n").replace("\n", LINE_BREAK), keep="")


def visible(piece: str) -> str:
    r"""The text of one token, in which spaces are seen too; a token without text of its own is `-`.

    >>> visible(" the"), visible("\n"), visible("")
    ('␣the', '↵', '-')
    """
    return one_line(piece).replace(" ", SPACE) or "-"


def cropped(text: str, width: int) -> str:
    """The text in at most `width` columns of a terminal; wide characters take two.

    >>> cropped("abcdefgh", 7)
    'abcd...'
    """
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 3).rstrip() + "..."


def folded_text(text: str, width: int, most: int = 0) -> list[str]:
    """A text in lines of `width` columns, between words where it can be; of more than `most` lines the
    beginning and the end (0: all).

    >>> folded_text("4+8=12↵12+9=21↵#21", 12), folded_text("a b c d", 2, 3)
    (['4+8=12↵', '12+9=21↵#21'], ['a ', '... (2 lines)', 'd'])
    """
    lines = []
    while text:
        lines.append(first_line(text, width))
        text = text[len(lines[-1]) :]
    if not most or len(lines) <= most:
        return lines or [""]
    end = len(lines) - most // 2
    return [*lines[: (most - 1) // 2], f"... ({end - (most - 1) // 2} lines)", *lines[end:]]


def first_line(text: str, width: int) -> str:
    """As much of the text as fits into `width` columns, at least one character."""
    from rich.cells import cell_len

    used, fits = 0, len(text)
    for place, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            fits = place
            break
    else:
        return text
    ends = (1 + text.rfind(mark, 0, fits) for mark in (LINE_BREAK, " "))
    return text[: next((end for end in ends if 2 * end > fits), max(1, fits))]


def heat(entropy: float) -> str:
    """The style of a token: the background is stronger the more uncertain the token was; "" for a sure
    one."""
    strength = min(1.0, max(0.0, (entropy - SURE) / (UNSURE - SURE)))
    return f"on rgb({90 + int(150 * strength)},70,40)" if strength > 0 else ""


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], left: Sequence[str]) -> "Iterator[Text]":
    """The lines of a table: columns named in `left` are aligned to the left, the others to the right."""
    from rich.cells import cell_len
    from rich.text import Text

    widths = [
        max(cell_len(line) for cell in (name, *(row[place] for row in rows)) for line in lines_of(cell))
        for place, name in enumerate(head)
    ]
    for number, row in enumerate([head, *rows]):
        for depth in range(max(len(lines_of(cell)) for cell in row)):
            line = Text(style=QUIET if number == 0 else "")
            for place, cell in enumerate(row):
                text = dict(enumerate(lines_of(cell))).get(depth, "")
                space = " " * (widths[place] - cell_len(text))
                style = cell[1] if isinstance(cell, tuple) else ""
                line.append(space if head[place] not in left else "")
                line.append(text, style or None)
                line.append((space if head[place] in left else "") + " " * GAP)
            line.rstrip()
            yield line


def lines_of(cell: Cell) -> list[str]:
    return [cell[0]] if isinstance(cell, tuple) else [cell] if isinstance(cell, str) else cell
