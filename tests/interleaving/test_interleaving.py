"""Each play in its short form; `make chaos` runs the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interleaving.choices import Choices, shorter
from tests.interleaving.run import Stage, staged
from worker.stack import RedisServer

#: Runs of each play: about fifteen seconds on one core, all in all.
SHORT = {"life": 24, "again": 30, "triggers": 15, "accounts": 4, "refused": 10, "stops": 15}


@pytest.fixture(scope="module")
def stage(bare_redis: RedisServer) -> Iterator[Stage]:
    with staged(bare_redis.url) as stage:
        yield stage


@pytest.mark.parametrize("play", SHORT)
def test_every_interleaving_keeps_the_promises(stage: Stage, play: str) -> None:
    stage.check(range(1, 1 + SHORT[play]), play=play)


def test_what_is_left_out_changes_no_other_decision() -> None:
    drawn, other = Choices(1), Choices(1)

    drawn("before", (1, 1, 1))

    names = [f"decision {number}" for number in range(50)]
    assert [drawn(name, (1, 1)) for name in names] == [other(name, (1, 1)) for name in names]


def test_the_decisions_that_matter_are_found() -> None:
    made = {f"decision {number}": 1 for number in range(100)}

    few = shorter(made, lambda some: {"decision 3", "decision 77"} <= some.keys())

    assert few == {"decision 3": 1, "decision 77": 1}
