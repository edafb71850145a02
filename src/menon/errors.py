"""Errors that a user can fix."""

import difflib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

OnBad = Literal["stop", "skip"]
"""What to do with rows that cannot be used: refuse to start, or leave them out and count them."""

SHOWN = 5
"""How many causes are listed for which rows of a data set cannot be used."""
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


@dataclass(frozen=True)
class Fault:
    """Why a row of a data set cannot be used."""

    place: str
    """Where the row is, like `line 3`."""
    cause: str
    """The same words for rows that have the same cause."""
    about: str = ""
    """What is the row's own: how its question begins, how long it is."""

    @property
    def row(self) -> str:
        return f"{self.place} ({self.about})" if self.about else self.place


def causes_of(faults: Sequence[Fault], total: int) -> str:
    """Each cause once, the most frequent first, with its number of rows and the first of them. `total` is the
    number of rows that were looked at.

    >>> causes_of([Fault("line 3", "not JSON"), Fault("line 4", "empty"), Fault("line 9", "empty")], 9)
    '2 rows, first line 4: empty; line 3: not JSON'
    """
    found: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        found[fault.cause].append(fault)
    ranked = sorted(found.values(), key=len, reverse=True)
    told = [f"{rows_of_cause(own, total)}: {own[0].cause}" for own in ranked[:SHOWN]]
    if rest := sum(map(len, ranked[SHOWN:])):
        told.append(f"and {rest} more with {len(ranked) - SHOWN} other causes")
    return "; ".join(told)


def rows_of_cause(faults: Sequence[Fault], total: int) -> str:
    """The rows with one cause, in words."""
    first, count = faults[0], len(faults)
    if count == 1:
        return first.row
    if count < total:
        return f"{count} rows, first {first.row}"
    return f"all {count} rows, first {first.row}" if first.about else f"all {count} rows"


def refuse_rows(
    source: str, faults: Sequence[Fault], total: int, error: type[UserError] = UserError
) -> NoReturn:
    """Raises an error with the causes for which rows of a data set cannot be used, and what to do."""
    told, bad = causes_of(faults, total), f"{len(faults)} of {total} rows cannot be used"
    if len({fault.cause for fault in faults}) == 1 < len(faults):
        first, cause = faults[0].row, faults[0].cause
        told = told if len(faults) == total else f"{bad}, first {first}: {cause}"
    elif total > 1:
        told = f"{bad}: {told}"
    advice = ". Fix them, or leave them out with on_bad=skip." if len(faults) < total else ""
    raise error(f"{source}: {told}{advice}")


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


def offline_by(also: str) -> str:
    """The environment variable that keeps the Hugging Face hub from being asked, HF_HUB_OFFLINE or `also`; ""
    if none does."""
    set_to_true = ("1", "ON", "YES", "TRUE")
    return next((n for n in ("HF_HUB_OFFLINE", also) if os.environ.get(n, "").upper() in set_to_true), "")


def pip_install(extra: str) -> str:
    """The command that installs an extra of this package from where the package itself came."""
    source, editable = came_from()
    if isinstance(source, str):
        return f"pip install 'menon[{extra}]{f' @ {source}' if source else ''}'"
    folder = "." if source == Path.cwd() else source
    return f"pip install {'-e ' if editable else ''}'{folder}[{extra}]'"


def pip_install_alone() -> str:
    """The command that installs this package without its requirements, in an environment elsewhere."""
    return f"pip install --no-deps '{came_from()[0] or 'menon'}'"


def came_from() -> tuple[Path | str, bool]:
    """Where this package came from: the folder of a checkout, or the address of a file or repository; "" for
    an index. And whether it is installed as editable."""
    from importlib import metadata  # takes longer to load than help takes to print
    from urllib.parse import unquote, urlsplit

    checkout = Path(__file__).parents[2]
    try:
        origin = json.loads(metadata.distribution("menon").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        origin = {}
    url, folder = str(origin.get("url", "")), origin.get("dir_info")
    editable = bool(folder and folder.get("editable"))
    if (checkout / "pyproject.toml").is_file():
        return checkout, editable
    if folder is not None:
        return Path(unquote(urlsplit(url).path)), editable
    version_control = origin.get("vcs_info", {}).get("vcs")
    return f"{version_control}+{url}" if version_control else url, False
