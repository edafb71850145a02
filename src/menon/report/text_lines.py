"""Text for a terminal: lines that fit a width, and what a model wrote, made printable."""

import textwrap
from collections.abc import Sequence

from menon.printable import printable


def in_rows(numbers: Sequence[tuple[str, str, int]], width: int) -> list[list[tuple[str, str, int]]]:
    """The numbers in as many rows as it takes, so that a label and its number stay on one line.

    >>> in_rows([("a", "1", 5), ("b", "2", 5), ("c", "3", 5)], 16)
    [[('a', '1', 5), ('b', '2', 5)], [('c', '3', 5)]]
    """
    rows: list[list[tuple[str, str, int]]] = [[]]
    used = 0
    for number in numbers:
        label, text, wide = number
        size = len(label) + 1 + max(len(text), wide)
        if rows[-1] and used + 2 + size > width:
            rows.append([])
        used = used + 2 + size if rows[-1] else size
        rows[-1].append(number)
    return rows


def at_gaps(line: str, width: int) -> list[str]:
    """The line folded at its gaps of two spaces, what follows indented.

    >>> at_gaps("held out:  accuracy 0.1  length 3", 24)
    ['held out:  accuracy 0.1', '    length 3']
    """
    first, *cells = line.split("  ")
    lines = [first]
    for cell in cells:
        if len(lines[-1]) + 2 + len(cell) <= width:
            lines[-1] += f"  {cell}"
        else:
            lines.append(f"    {cell}")
    return lines


def wrapped(lines: Sequence[str], width: int) -> list[str]:
    """The lines folded between words, so that no character is lost."""
    return [
        piece
        for line in lines
        for piece in textwrap.wrap(on_one_line(line), width, drop_whitespace=False, replace_whitespace=False)
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


def on_one_line(text: str) -> str:
    """The text made printable, with a space for each tab and line break."""
    return printable(text.translate({ord(blank): " " for blank in "\t\n\r"}))


def duration(seconds: float) -> str:
    """
    >>> duration(59.6), duration(3700)
    ('1:00', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
