"""Errors that a user can fix."""

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NoReturn

OnBad = Literal["stop", "skip"]
"""What to do with rows that cannot be used: refuse to start, or leave them out and count them."""

SHOWN = 5
"""How many faults of a data set are listed one by one."""
MOST_NAMES = 8
"""A list of names that is longer than this is not printed in a message."""


class UserError(ValueError):
    """One clear sentence that says what to change; the command prints it without a stack trace."""

    exit_code = 2


class NothingLearned(UserError):
    """A run was stopped because its steps taught nothing."""

    exit_code = 3
    why = "nothing learned"
    """How the event `session_ended` says it."""


def at_least(least: int, name: str, value: int) -> None:
    """UserError where a setting is below its least value."""
    if value < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")


def first_line(error: BaseException) -> str:
    """The first line of another library's error, to put into a sentence; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def refuse_rows(source: str, faults: Sequence[tuple[str, str]], total: int) -> NoReturn:
    """Raises a UserError with the first faults of a data set's rows, their number, and what to do. A fault is
    the row and what is wrong with it; rows with the same fault are named once."""
    rows: dict[str, list[str]] = {}
    for row, fault in faults:
        rows.setdefault(fault, []).append(row)
    shown = list(rows.items())[:SHOWN]
    told = [
        f"{row}{fault}{f' (the same in {len(more)} more)' if more else ''}" for fault, (row, *more) in shown
    ]
    rest = len(faults) - sum(len(same) for _, same in shown)
    left = len(faults) < total
    advice = "Fix them, or leave them out with on_bad=skip." if left else "Fix them: there is no usable row."
    raise UserError(
        f"{source}: {len(faults)} of {total} rows cannot be used: {'; '.join(told)}"
        f"{f'; and {rest} more' if rest else ''}. {advice}"
    )


def nearest(name: str, names: Iterable[str], above: Iterable[str] = (), lists: str = "") -> str:
    """The end of a sentence about an unknown name: at most the three nearest names, or all if they are few.
    `lists` is the command that lists them all.

    >>> nearest("stepz", ["seed", "steps"])
    "; did you mean 'steps'?"
    >>> nearest("colour", ["pen", "size"])
    '; there are pen, size'
    """
    names = list(names)
    if not names:
        return "; there are no settings here"
    found = difflib.get_close_matches(name.lower(), names, 3, 0.6)
    likeness = [difflib.SequenceMatcher(None, near, name.lower()).ratio() for near in found]
    found = [near for near, ratio in zip(found, likeness, strict=True) if ratio > likeness[0] - 0.12]
    if found:
        *others, last = [f"'{'.'.join([*above, one])}'" for one in found]
        return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"
    if len(names) > MOST_NAMES and lists:
        return f"; `{lists}` lists them all"
    if len(names) > MOST_NAMES:
        names = difflib.get_close_matches(name, names, 3, 0.0)
    return f"; there are {', '.join('.'.join([*above, one]) for one in names)}"


def pip_install(extra: str) -> str:
    """The command that installs an extra of this package from where the package itself came: a checkout, a
    file, an address, or else an index."""
    from importlib import metadata  # takes longer to load than help takes to print
    from urllib.parse import unquote, urlsplit

    checkout = Path(__file__).parents[2]
    try:
        origin = json.loads(metadata.distribution("menon").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        origin = {}
    url, folder = str(origin.get("url", "")), origin.get("dir_info")
    if (checkout / "pyproject.toml").is_file():
        source = checkout
    elif folder is not None:
        source = Path(unquote(urlsplit(url).path))
    else:
        version_control = origin.get("vcs_info", {}).get("vcs")
        at = f" @ {version_control + '+' if version_control else ''}{url}" if url else ""
        return f"pip install 'menon[{extra}]{at}'"
    editable = "-e " if folder and folder.get("editable") else ""
    return f"pip install {editable}'{'.' if source == Path.cwd() else source}[{extra}]'"
