"""What a record says of our code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from golden.adapters.table import ADAPTERS, waits_for
from golden.departures import Departure, departures_of
from golden.harmless import harmless
from golden.records import Difference, Record

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
    stated = departures_of(record)
    if unread := sorted(record.unread() - harmless(record)):
        return Judgement(record, "failed", f"no adapter reads {', '.join(unread)}")
    wrong = [found for found in record.found if not found.close]
    sizes = ", ".join(f"{found.name} by {found.size:.3g}" for found in wrong)
    must_show = [departure for departure in stated if departure.low > 0]
    if not wrong and not must_show:
        return Judgement(record, "passed")
    if not stated:
        return Judgement(record, "failed", f"differs in {sizes}")
    for departure in must_show if not wrong else stated:
        if departure.low <= size_of(wrong, departure) <= departure.high:
            return Judgement(record, "departure", f"{departure.reason} (differs in {sizes})")
    texts = "; or ".join(
        f"a difference between {each.low:.3g} and {each.high:.3g} was stated ({each.reason}), and it is "
        f"{size_of(wrong, each):.3g}"
        for each in stated
    )
    return Judgement(record, "failed", texts)


def size_of(wrong: Sequence[Difference], departure: Departure) -> float:
    """The largest of some differences, as the departure measures them."""
    return max(
        (found.size / (max(1.0, found.largest) if departure.relative else 1.0) for found in wrong),
        default=0.0,
    )
