"""What a record says of our code."""

from dataclasses import dataclass
from typing import Literal

from golden.adapters.table import ADAPTERS, waits_for
from golden.departures import departure_of
from golden.harmless import harmless
from golden.records import Record

Outcome = Literal["passed", "failed", "departure", "not yet"]


@dataclass(frozen=True)
class Judgement:
    record: Record
    outcome: Outcome
    text: str = ""
    """Why, with the size of what differs."""


def judge(record: Record) -> Judgement:
    if waiting := waits_for(record):
        return Judgement(record, "not yet", waiting)
    if record.function not in ADAPTERS:
        return Judgement(record, "failed", "no adapter knows this function")
    try:
        ADAPTERS[record.function](record)
    except Exception as error:
        return Judgement(record, "failed", f"{type(error).__name__}: {error}")
    if not record.found:
        return Judgement(record, "failed", "nothing was compared")
    wrong = [found for found in record.found if not found.close]
    departure = departure_of(record)
    if unread := sorted(record.unread() - harmless(record)):
        return Judgement(record, "failed", f"no adapter reads {', '.join(unread)}")
    sizes = ", ".join(f"{found.name} by {found.size:.3g}" for found in wrong)
    if departure is None or (not wrong and departure.low == 0):
        return Judgement(record, "failed" if wrong else "passed", f"differs in {sizes}" if wrong else "")
    size = max(
        (found.size / (max(1.0, found.largest) if departure.relative else 1.0) for found in wrong),
        default=0.0,
    )
    if departure.low <= size <= departure.high:
        return Judgement(record, "departure", f"{departure.reason} (differs in {sizes})")
    stated = (
        f"a difference between {departure.low:.3g} and {departure.high:.3g} was stated ({departure.reason})"
    )
    return Judgement(record, "failed", f"{stated}, and it is {size:.3g}")
