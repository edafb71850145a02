"""Times of day and dates, which are compared as what they are and never calculated."""

import re
from dataclasses import dataclass

from menon.reward.math.text import unwrapped

_MONTHS = """
january jan januar janvier enero gennaio janeiro январь января
february feb februar février fevrier febrero febbraio fevereiro февраль февраля
march mar märz mars marzo março март марта
april apr avril abril aprile апрель апреля
may mai mayo maggio maio май мая
june jun juni juin junio giugno junho июнь июня
july jul juli juillet julio luglio julho июль июля
august aug août agosto август августа
september sep sept septembre septiembre settembre setembro сентябрь сентября
october oct oktober octobre octubre ottobre outubro октябрь октября
november nov novembre noviembre novembro ноябрь ноября
december dec dezember décembre diciembre dicembre dezembro декабрь декабря
"""
MONTHS = {
    name: place for place, line in enumerate(_MONTHS.strip().split("\n"), start=1) for name in line.split()
}
LONGEST = 80
"""Most characters of a time or a date."""

_MARKUP = re.compile(r"\\(?:text\w*|mathrm|mathsf|mbox|rm)(?![A-Za-z])\s*\{?|[{}$~*]|\\[,;:! ]")
_JOINED = re.compile(r"(?<=\d) ?([:-]) ?(?=\d\d)")
_TIME = re.compile(
    r"(\d{1,2})(?:[:.h](\d{2}))?(?::(\d{2}))?\s*"
    r"(?:(a|p)\.?\s?m\.?|(?:o'?clock)?(?: ?in the (morning|afternoon|evening))?|(noon|midnight))?"
)
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]")
_NUMBERS = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_MONTH_DAY = re.compile(r"(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]")
_NAMED = re.compile(
    r"(?:the )?(?:(\d{1,2})|([^\W\d]+)\.?)\s*(?:st|nd|rd|th|er|\.|º)?\s*(?:of |de )?"
    r"(?:(\d{1,2})(?:st|nd|rd|th)?|([^\W\d]+)\.?),?\s*(?:(?:de |of )?(\d{4}))?"
)


@dataclass(frozen=True)
class Time:
    hour: int
    minute: int
    second: int
    half: str
    """a, p, or "" where the text does not say which half of the day."""

    def same(self, other: "Time") -> bool:
        """Whether two times are one; the half of the day may be missing on one side."""
        if (self.minute, self.second) != (other.minute, other.second):
            return False
        if bool(self.half) == bool(other.half) or self.hour == other.hour:
            return (self.hour, self.half) == (other.hour, other.half) or (
                self.hour == other.hour and not (self.half and other.half)
            )
        named, plain = (self, other) if self.half else (other, self)
        return plain.hour == named.hour % 12 + 12 * (named.half == "p")


@dataclass(frozen=True)
class Date:
    readings: tuple[tuple[int, int, int], ...]
    """(year, month, day), with 0 for a year that is not stated; two where month and day may be either way
    round, the first as it is written."""

    def same(self, other: "Date") -> bool:
        """Two dates that may be read either way are the same only if they are written in the same order."""
        if len(self.readings) == len(other.readings) == 2:
            return self.readings == other.readings
        return bool(set(self.readings) & set(other.readings))


Moment = Time | Date


def same_moment(gold: str, stated: str) -> bool | None:
    """Whether two texts name the same time or date; None if neither is one. A text like 3:45 is a time only
    beside another one."""
    one, other = moment(gold), moment(stated)
    if isinstance(one, Time) and isinstance(other, Time):
        return one.same(other)
    if isinstance(one, Date) or isinstance(other, Date):
        return isinstance(one, Date) and isinstance(other, Date) and one.same(other)
    if any(isinstance(each, Time) and each.half for each in (one, other)):
        return False
    return None


def moment(text: str) -> Moment | None:
    if len(text) > LONGEST or not any(letter.isdigit() for letter in text):
        return None
    plain = _MARKUP.sub(" ", unwrapped(text).replace("\\!", "")).lower().replace("：", ":").replace("∶", ":")
    plain = _JOINED.sub(r"\1", " ".join(plain.split())).strip(" .,")
    plain = plain.removeprefix("at ").removeprefix("on ")
    return time_of(plain) or date_of(plain)


def time_of(text: str) -> Time | None:
    """2:30 PM, 9 a.m., 14:05; only digits with a colon, or a number with its half of the day."""
    found = _TIME.fullmatch(text) or _TIME.fullmatch(text + ".")
    if found is None or not (found[4] or found[5] or found[6] or ":" in text):
        return None
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if hour > 24 or minute > 59 or second > 59 or (found[4] and not 1 <= hour <= 12):
        return None
    half = found[4] or {"noon": "p", "midnight": "a", "morning": "a", None: ""}.get(found[6] or found[5], "p")
    return Time(hour, minute, second, half)


def date_of(text: str) -> Date | None:
    if found := _ISO.fullmatch(text):
        year, month, day = (int(part) for part in found.groups() if part)
        return dated(year, month, day)
    if found := _MONTH_DAY.fullmatch(text):
        return dated(0, int(found[1]), int(found[2]))
    if found := _NUMBERS.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        ways = [dated(year, *pair) for pair in dict.fromkeys([(first, second), (second, first)])]
        readings = tuple(reading for way in ways if way for reading in way.readings)
        return Date(readings) if readings else None
    if found := _NAMED.fullmatch(text):
        names = [name for name in (found[2], found[4]) if name]
        days = [day for day in (found[1], found[3]) if day]
        if len(names) == len(days) == 1 and names[0] in MONTHS:
            return dated(int(found[5] or 0), MONTHS[names[0]], int(days[0]))
    return None


def dated(year: int, month: int, day: int) -> Date | None:
    return Date(((year, month, day),)) if 1 <= month <= 12 and 1 <= day <= 31 else None
