"""Dates on the wire, RFC 9110 §5.6.7."""

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from fileserve.server.clock import Instant, format_date

YEAR_9999 = 253_402_300_799


@given(st.integers(0, YEAR_9999))
def test_a_date_is_an_imf_fixdate(now_s: int) -> None:
    assert format_date(now_s).decode() == formatdate(now_s, usegmt=True)


def test_an_instant_is_read_from_the_clock_once_and_late() -> None:
    early, late = Instant(), Instant()
    first = early()
    assert late() >= first
    assert early() == first
