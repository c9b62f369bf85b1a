"""How long an answer says to wait, in all the ways in which it may be told."""

from __future__ import annotations

import pytest

from tasks.retry_after import retry_after

EARLIER, LATER = "Tue, 14 Nov 2023 21:13", "Tue, 14 Nov 2023 23:13"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "15"}, 15.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 -0000"}, 30.0),
        ({"Retry-After": "Tue, 14 Nov 2000 22:13:50 GMT"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "9" * 400}, 3600.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "Tue, 99 Nov 99999999999 22:13:50 GMT"}, None),
        ({"X-RateLimit-Reset": "1700000020"}, 20.0),
        ({"x-rate-limit-reset": "1700000021"}, 21.0),
        ({"X-RateLimit-Reset": "1600000000"}, 0.0),
        ({"X-RateLimit-Reset": "9999999999"}, 3600.0),
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


def test_a_reset_is_told_of_rate_limits_alone() -> None:
    assert retry_after({"X-RateLimit-Reset": "1700000020"}, now=1_700_000_000) is None
