"""Validators: entity tags and HTTP dates, between their wire form and values.

Implements RFC 9110 §8.8.3 (ETag), §8.8.3.2 (comparison), §5.6.1 (lists) and §5.6.7 (dates).

Strategy: grammar first, arithmetic after. A regular expression states exactly what the standard allows, with
possessive quantifiers, so that no text makes it backtrack; only what has passed it is turned into numbers, at most
four digits at a time. What is not valid is ``None``, never an exception: the caller ignores it, as §13.1 asks.
Dates are computed here because ``email.utils`` takes half a date for a date and a 33rd of January for a day.

Leaves out: where a validator comes from (``representation``), and what a comparison decides (``conditional``).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

__all__ = ["EntityTag", "format_http_date", "moment_of", "parse_entity_tag", "parse_entity_tags", "parse_http_date"]

# RFC 9110 §8.8.3: etagc = "!" / %x23-7E / obs-text; fields are decoded as Latin-1, so obs-text is 80-FF.
_ETAGC = r"[\x21\x23-\x7e\x80-\xff]"
_OPAQUE = re.compile(rf"{_ETAGC}*+")
# No possessive group: before Python 3.11.5 one that fails in the middle leaves the position there (gh-106052).
_ENTITY_TAG = re.compile(rf'(W/)?"({_ETAGC}*+)"')
_LIST_MEMBER = re.compile(rf"[ \t]*+(?:{_ENTITY_TAG.pattern}[ \t]*+)?(?:,|\Z)")

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Policy: the day name has to be one of the seven, but need not fit the date. It adds nothing to the instant, and
# §5.6.7 encourages robustness; a date typed by hand then does what its author means.
_LONG_DAY = "|".join(_DAYS)
_DAY = "|".join(day[:3] for day in _DAYS)
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_IMF_FIXDATE = re.compile(f"(?:{_DAY}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT")
_RFC850_DATE = re.compile(f"(?:{_LONG_DAY}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT")
_ASCTIME_DATE = re.compile(f"(?:{_DAY}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = -62_135_596_800  # 0001-01-01 00:00:00
_LAST_SECOND = 253_402_300_799  # 9999-12-31 23:59:59
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag: the text between its quotes, and whether it is weak.

    Raises ``ValueError`` when *opaque* holds a character that no entity tag can hold (a quote, a space, a control
    character, one beyond Latin-1), so that ``str(tag)`` is always a valid field value. RFC 9110 §8.8.3.
    """

    opaque: str
    weak: bool = False

    def __post_init__(self) -> None:
        if not _OPAQUE.fullmatch(self.opaque):
            raise ValueError(f"not the text of an entity tag: {self.opaque!r}")

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'

    def strongly_matches(self, other: "EntityTag") -> bool:
        """Return whether both are strong and their texts are equal. RFC 9110 §8.8.3.2."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def weakly_matches(self, other: "EntityTag") -> bool:
        """Return whether the texts are equal, be either of them weak or not. RFC 9110 §8.8.3.2."""
        return self.opaque == other.opaque


def parse_entity_tag(value: str) -> EntityTag | None:
    """Return the entity tag that is the whole of *value*, or ``None`` when it is not one. RFC 9110 §8.8.3.

    >>> parse_entity_tag('W/"a,b"')
    EntityTag(opaque='a,b', weak=True)
    """
    matched = _ENTITY_TAG.fullmatch(value)
    return EntityTag(matched[2], weak=matched[1] is not None) if matched else None


def parse_entity_tags(value: str) -> tuple[EntityTag, ...] | Literal["*"] | None:
    """Return the members of an If-Match or If-None-Match value in their order, ``"*"``, or ``None`` when it is invalid.

    A comma inside the quotes belongs to its tag. Empty members are skipped, and a list of nothing else is the empty
    tuple; one invalid member makes the whole value invalid. RFC 9110 §13.1.1, §13.1.2, §5.6.1.
    """
    if value == "*":
        return "*"
    tags: list[EntityTag] = []
    position = 0
    while position < len(value):
        matched = _LIST_MEMBER.match(value, position)
        if matched is None:
            return None
        if matched[2] is not None:
            tags.append(EntityTag(matched[2], weak=matched[1] is not None))
        position = matched.end()
    return tuple(tags)


def parse_http_date(value: str, now_s: int) -> int | None:
    """Return the instant of an HTTP date in seconds since 1970, or ``None`` when *value* is not one.

    Takes the three forms of RFC 9110 §5.6.7, exact in case and spacing; *now_s* places the two-digit year of the second
    form. Never raises.

    >>> parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now_s=0)
    784111777
    """
    matched = _IMF_FIXDATE.fullmatch(value) or _RFC850_DATE.fullmatch(value) or _ASCTIME_DATE.fullmatch(value)
    if matched is None:
        return None
    month = _MONTHS.index(matched["month"]) + 1
    day, hour, minute, second = (int(matched[name]) for name in ("day", "hour", "minute", "second"))
    year = int(matched["year"])
    if len(matched["year"]) == 2:
        year = _year_near(now_s, year, (month, day, hour, minute, second))
    return _instant(year, month, day, _second_of_day(hour, minute, second))


def format_http_date(seconds: int) -> str:
    """Return *seconds* since 1970 as an IMF-fixdate. RFC 9110 §5.6.7.

    The form has four digits for the year: instants outside of the years 1 to 9999 become the nearest that it can show.

    >>> format_http_date(0)
    'Thu, 01 Jan 1970 00:00:00 GMT'
    """
    moment = moment_of(seconds)
    day, month = _DAYS[moment.weekday()][:3], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"


def moment_of(seconds: int) -> datetime:
    """Return the instant *seconds* after 1970 in UTC, or the nearest of the years 1 to 9999, which dates can tell."""
    return _EPOCH + timedelta(seconds=min(max(seconds, _FIRST_SECOND), _LAST_SECOND))


def _year_near(now_s: int, two_digits: int, rest: tuple[int, int, int, int, int]) -> int:
    """Return the latest year with these last two digits whose instant is at most 50 years after now.

    *rest* is month, day, hour, minute and second. Counted in calendar years, as §5.6.7 words it.
    """
    now = moment_of(now_s)
    farthest = now.year + 50
    year = farthest - (farthest - two_digits) % 100
    if year == farthest and rest > (now.month, now.day, now.hour, now.minute, now.second):
        return year - 100
    return year


def _second_of_day(hour: int, minute: int, second: int) -> int | None:
    # §5.6.7 allows 23:59:60 for a leap second; time since 1970 does not count it, so it is the midnight that follows.
    in_range = hour < 24 and minute < 60 and (second < 60 or (hour, minute, second) == (23, 59, 60))
    return hour * 3600 + minute * 60 + second if in_range else None


def _instant(year: int, month: int, day: int, second_of_day: int | None) -> int | None:
    if second_of_day is None:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH.toordinal()
    except ValueError:  # no such day, or a year that the calendar does not have (0)
        return None
    return days * _DAY_SECONDS + second_of_day
