"""How long an answer says to wait, in all the ways in which it may be told."""

from __future__ import annotations

import pytest

from tasks.rate_headers import announced
from tasks.retry_after import MAX_WAIT, retry_after

EARLIER, LATER = "Tue, 14 Nov 2023 21:13", "Tue, 14 Nov 2023 23:13"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "15"}, 15.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 -0000"}, 30.0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0.0),
        ({"Retry-After": "Tue, 14 Nov 2000 22:13:50 GMT"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "3600"}, MAX_WAIT),
        ({"Retry-After": "Wed, 15 Nov 2023 20:13:20 GMT"}, MAX_WAIT),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "Tue, 99 Nov 99999999999 22:13:50 GMT"}, None),
        ({"X-RateLimit-Reset": "1700000020"}, 20.0),
        ({"x-rate-limit-reset": "1700000021"}, 21.0),
        ({"X-RateLimit-Reset": "1699999990"}, 0.0),
        ({"X-RateLimit-Reset": "1600000000"}, None),
        ({"X-RateLimit-Reset": "1700003600"}, MAX_WAIT),
        ({"X-RateLimit-Reset": "9999999999"}, None),
        ({"X-RateLimit-Reset": "?", "X-Rate-Limit-Reset": "1700000022"}, 22.0),
        ({"Retry-After": "7", "X-RateLimit-Reset": "1700000020"}, 7.0),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "1700000020"}, 20.0),
        # An hour before and after the local clock: the server's own counts.
        ({"Retry-After": EARLIER + ":50 GMT", "Date": EARLIER + ":20 GMT"}, 30.0),
        ({"Retry-After": LATER + ":50 GMT", "date": LATER + ":20 GMT"}, 30.0),
        ({"X-RateLimit-Reset": "1699996420", "Date": EARLIER + ":20 GMT"}, 20.0),
        ({"X-RateLimit-Reset": "1700003620", "Date": LATER + ":20 GMT"}, 20.0),
        ({"Retry-After": "9", "Date": LATER + ":20 GMT"}, 9.0),
        ({"X-RateLimit-Reset": "1700000020", "Date": "today"}, 20.0),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=1_700_000_000, reset=True) == seconds


#: How 30 seconds ahead may be told.
FORMS = {
    "seconds": "1700000030",
    "milliseconds": "1700000030000",
    "microseconds": "1700000030000000",
    "nanoseconds": "1700000030000000000",
    "a part of a second": "1700000030.0",
    "milliseconds and a part": "1700000030000.25",
    "as Go prints a float": "1.70000003e+09",
    "milliseconds so": "1.70000003e+12",
    "a delay": "30",
    "a delay with a part": "30.0",
    "a delay with a sign": "+30",
    "a delay in quotes": '"30"',
    "a duration": "30s",
    "a duration in milliseconds": "30000ms",
    "a duration in minutes": "0m30s",
    "an HTTP date": "Tue, 14 Nov 2023 22:13:50 GMT",
    "an ISO date": "2023-11-14T22:13:50Z",
    "an ISO date with an offset": "2023-11-15T00:13:50.000+02:00",
    "an ISO date without a zone": "2023-11-14 22:13:50",
    "twice": "1700000030, 1700000030",
    "twice in other forms": "1700000030000, 7",
    "with a policy": "30, 30;w=60",
    "twice an HTTP date": "Tue, 14 Nov 2023 22:13:50 GMT, Tue, 14 Nov 2023 22:13:50 GMT",
}

#: What makes no sense in any unit.
NONSENSE = {
    "negative": "-30",
    "negative instant": "-1700000030",
    "no number": "later",
    "not a number": "nan",
    "endless": "inf",
    "beyond all numbers": "1e999",
    "another century": "9999999999",
    "another century in milliseconds": "99999999999999",
    "hexadecimal": "0x6553f11e",
    "a list of nothing": ", ,",
    "a list without end": "30," * 50_000,
    "another year": "2033-11-14T22:13:50Z",
}


@pytest.mark.parametrize("name", ["Retry-After", "X-RateLimit-Reset", "X-Rate-Limit-Reset"])
class TestEachHeader:
    @pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
    def test_is_read_in_every_form(self, name: str, text: str) -> None:
        seconds = retry_after({name: text}, now=1_700_000_000, reset=True)
        assert seconds == pytest.approx(30, abs=0.001)

    @pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE)
    def test_is_no_advice_where_it_makes_no_sense(self, name: str, text: str) -> None:
        assert retry_after({name: text}, now=1_700_000_000, reset=True) is None


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_limit_is_announced_with_a_reset_in_any_form(text: str) -> None:
    headers = {
        "X-RateLimit-Limit": "500, 500;w=60",
        "X-RateLimit-Remaining": "7",
        "X-RateLimit-Reset": text,
    }
    told = announced(headers, now=1_700_000_000)
    assert told is not None
    assert told == pytest.approx((500, 7, 30, told.ends), abs=0.001)
    assert told.ends in (0, 1_700_000_030)  # whole seconds, and none of a delay


@pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE)
def test_a_limit_with_a_reset_that_makes_no_sense_is_not_announced(text: str) -> None:
    headers = {"X-RateLimit-Limit": "500", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": text}
    assert announced(headers, now=1_700_000_000) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": "limit=500, remaining=7, reset=30"},
        {"RateLimit-Limit": "500", "RateLimit-Remaining": "7", "RateLimit-Reset": "30"},
        {"RateLimit-Limit": "500", "RateLimit": '"default";r=7;t=30'},
    ],
    ids=["in one", "in three", "of the latest draft"],
)
def test_the_headers_of_the_ietf_are_read_too(headers: dict[str, str]) -> None:
    assert announced(headers, now=1_700_000_000) == (500, 7, 30, 0)
    assert retry_after(headers, now=1_700_000_000, reset=True) == 30


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2044 00:00:00 GMT"])
def test_a_date_that_is_far_from_the_reset_does_not_count(date: str) -> None:
    headers = {"X-RateLimit-Reset": "1700000030", "Date": date}
    assert retry_after(headers, now=1_700_000_000, reset=True) == 30


def test_a_reset_is_told_of_rate_limits_alone() -> None:
    assert retry_after({"X-RateLimit-Reset": "1700000020"}, now=1_700_000_000) is None


@pytest.mark.parametrize("reset", ["60000", "3600", "1700003600"])
def test_hours_with_calls_left_are_in_another_unit_or_by_a_clock_that_is_off(reset: str) -> None:
    headers = {"X-RateLimit-Limit": "500", "X-RateLimit-Reset": reset}
    assert announced({**headers, "X-RateLimit-Remaining": "499"}, now=1_700_000_000) is None
    assert announced({**headers, "X-RateLimit-Remaining": "0"}, now=1_700_000_000) is not None
