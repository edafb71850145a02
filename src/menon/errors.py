"""Mistakes that a user can mend."""

from typing import Literal, NoReturn

OnBad = Literal["stop", "skip"]
"""What to do with rows that cannot be used: refuse to start, or leave them out and count them."""

SHOWN = 5
"""Faults of a data set that are told one by one."""


class UserError(ValueError):
    """One clear sentence that says what to change; the command prints it without a stack trace."""


def at_least(least: int, name: str, value: int) -> None:
    """UserError where a setting is below its least value."""
    if value < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")


def refuse_rows(source: str, faults: list[str], total: int) -> NoReturn:
    """The first faults of a data set's rows, how many there are, and the way out."""
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    left = len(faults) < total
    advice = "Mend them, or leave them out with on_bad=skip." if left else "Mend them: there is no other."
    raise UserError(
        f"{source}: {len(faults)} of {total} rows cannot be used: {'; '.join(faults[:SHOWN])}{more}. {advice}"
    )
