"""Which pair of key and secret is tried first."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.accounts import Credentials
from tasks.credentials import REFUSED_SECONDS, Pairs

NEWER, OLDER = (Credentials(SecretStr(name), SecretStr(name)) for name in ("newer", "older"))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_newer_goes_first_unless_it_was_refused_lately() -> None:
    clock = Clock()
    pairs = Pairs([NEWER, OLDER], clock)
    assert pairs.in_order() == [NEWER, OLDER]
    with capture_logs() as logs:
        pairs.refused(NEWER)
        pairs.refused(NEWER)  # by another thread, at the same time
    assert [(line["event"], line["pair"]) for line in logs] == [("credentials refused", "newer")]
    assert pairs.in_order() == [OLDER, NEWER]
    clock.now += REFUSED_SECONDS
    assert pairs.in_order() == [NEWER, OLDER]


def test_those_that_are_both_refused_are_both_tried() -> None:
    pairs = Pairs([NEWER, OLDER], Clock())
    pairs.refused(NEWER)
    pairs.refused(OLDER)
    assert pairs.in_order() == [NEWER, OLDER]


@pytest.mark.parametrize("pairs", [[NEWER], [NEWER, OLDER]])
def test_all_are_secrets(pairs: list[Credentials]) -> None:
    assert len(Pairs(pairs).secrets()) == 2 * len(pairs)
