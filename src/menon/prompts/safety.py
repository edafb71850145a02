"""Which answers of preference data are safe, and the filters on it (SafeRLHF, arXiv 2406.15513; filters:
arXiv 2404.10719)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from menon.errors import UserError
from menon.prompts.reader import at, reaches
from menon.prompts.sources import BadRow

Drop = Literal["unsafe", "both_unsafe", "both_safe"]
DROPPED: dict[Drop, str] = {
    "unsafe": "unsafe answers",
    "both_unsafe": "pairs of two unsafe answers",
    "both_safe": "pairs of two safe answers",
}
"""What they are counted as."""

NUMBERED = ("response_0", "response_1")
"""The answers of a pair in the order in which they were shown, as in SafeRLHF."""
PREFERRED = ("better_response_id", "safer_response_id")
"""The columns of SafeRLHF that say which of them is preferred."""


def check_drop(drop: Sequence[Drop], form: str) -> None:
    """UserError for a filter that the form of the rows has no use for."""
    usable = {"answers": {"unsafe"}, "pairs": {"both_unsafe", "both_safe"}}.get(form, set())
    if wrong := [name for name in drop if name not in usable]:
        which = f"{' or '.join(sorted(usable, reverse=True))} can be" if usable else "nothing can be"
        raise UserError(f"drop has {wrong[0]}, and with rows.form={form} {which} dropped; change drop")


def is_numbered(raw: Mapping[str, Any]) -> bool:
    return all(raw.get(name) is not None for name in NUMBERED)


def in_order(raw: Mapping[str, Any], column: str | None) -> tuple[str, str]:
    """The columns of the preferred answer and of the other, of a row with numbered answers."""
    there = [name for name in PREFERRED if raw.get(name) is not None]
    if column is None and len(there) != 1:
        which = " or ".join(there or PREFERRED)
        raise BadRow(f"has 'response_0' and 'response_1'; set columns.preferred={which}, whichever decides")
    name = column or there[0]
    number = at(raw, name) if reaches(raw, name) else None
    if number not in (0, 1):
        raise BadRow(f"'{name}' is {number!r}; the preferred answer is 0 or 1")
    return NUMBERED[int(number)], NUMBERED[1 - int(number)]


def are_safe(
    raw: Mapping[str, Any], answers: tuple[str, str], columns: tuple[str | None, str | None]
) -> tuple[bool, bool]:
    """Whether the answers in these columns are safe, by `columns` or, if the row names them so, by
    `is_ANSWER_safe`."""
    first, second = (
        flag(raw, column or f"is_{answer}_safe") for answer, column in zip(answers, columns, strict=True)
    )
    return first, second


def flag(raw: Mapping[str, Any], name: str) -> bool:
    if not reaches(raw, name):
        raise BadRow(
            f"no column '{name}' says whether an answer is safe, which drop needs; set columns.chosen_safe "
            "and columns.rejected_safe"
        )
    value = at(raw, name)
    if value not in (True, False):  # 1 and 0 are equal to them
        raise BadRow(f"'{name}' is {value!r}; an answer is safe (true) or not (false)")
    return bool(value)


def reason_to_drop(safe: tuple[bool, bool], drop: Sequence[Drop]) -> Drop | None:
    """Why a pair is left out; None: it stays."""
    if "both_unsafe" in drop and not any(safe):
        return "both_unsafe"
    return "both_safe" if "both_safe" in drop and all(safe) else None
