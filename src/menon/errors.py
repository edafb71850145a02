"""Errors that a user can fix."""

from typing import Literal, NoReturn

OnBad = Literal["stop", "skip"]
"""What to do with rows that cannot be used: refuse to start, or leave them out and count them."""

SHOWN = 5
"""How many faults of a data set are listed one by one."""


class UserError(ValueError):
    """One clear sentence that says what to change; the command prints it without a stack trace."""

    exit_code = 2


class NothingLearned(UserError):
    """A run was stopped because its steps taught nothing."""

    exit_code = 3


def at_least(least: int, name: str, value: int) -> None:
    """UserError where a setting is below its least value."""
    if value < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")


def first_line(error: BaseException) -> str:
    """The first line of another library's error, to put into a sentence; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def refuse_rows(source: str, faults: list[str], total: int) -> NoReturn:
    """Raises a UserError with the first faults of a data set's rows, their number, and what to do."""
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    left = len(faults) < total
    advice = "Fix them, or leave them out with on_bad=skip." if left else "Fix them: there is no usable row."
    raise UserError(
        f"{source}: {len(faults)} of {total} rows cannot be used: {'; '.join(faults[:SHOWN])}{more}. {advice}"
    )
