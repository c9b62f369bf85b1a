"""Each play in its short form; `make chaos` runs the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interleaving.choices import Choices, shorter
from tests.interleaving.run import Run, Stage, staged
from worker.stack import RedisServer

#: Runs of each play: about fifteen seconds on one core, all in all.
SHORT = {"life": 40, "again": 40, "triggers": 25, "accounts": 6, "refused": 15, "stops": 25}


@pytest.fixture(scope="module")
def stage(bare_redis: RedisServer) -> Iterator[Stage]:
    with staged(bare_redis.url) as stage:
        yield stage


@pytest.mark.parametrize("play", SHORT)
def test_every_interleaving_keeps_the_promises(stage: Stage, play: str) -> None:
    stage.check(range(1, 1 + SHORT[play]), play=play)


def test_a_seed_is_one_history(stage: Stage) -> None:
    first, second = (told(stage.run(7, play="life", shows=True)) for _ in range(2))

    assert first == second


def test_a_run_is_told_by_the_decisions_that_are_not_plain(stage: Stage) -> None:
    drawn = stage.run(7, play="life", shows=True)

    again = stage.run(7, play="life", shows=True, forced=drawn.made)

    assert told(again) == told(drawn)


def told(run: Run) -> tuple[object, ...]:
    return run.broken, run.made, run.commands, run.excused, [line[:60] for line in run.story]


def test_what_is_left_out_changes_no_other_decision() -> None:
    drawn, other = Choices(1), Choices(1)

    drawn("before", (1, 1, 1))

    names = [f"decision {number}" for number in range(50)]
    assert [drawn(name, (1, 1)) for name in names] == [other(name, (1, 1)) for name in names]


def test_the_decisions_that_matter_are_found() -> None:
    made = {f"decision {number}": 1 for number in range(100)}

    few = shorter(made, lambda some: {"decision 3", "decision 77"} <= some.keys())

    assert few == {"decision 3": 1, "decision 77": 1}
