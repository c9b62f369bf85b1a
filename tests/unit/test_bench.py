"""`make bench` says of each bound whether it holds."""

from __future__ import annotations

import pytest

from tests.benchmarks.peers.__main__ import Bound
from tests.benchmarks.peers.contestants import CONTESTANTS, DRAMATIQ, OURS
from tests.benchmarks.peers.measure import Figures


def runs(*jobs: float) -> list[Figures]:
    return [Figures(jobs_per_second=one) for one in jobs]


@pytest.mark.parametrize(
    ("ours", "bound", "holds"),
    [
        ((900, 1_300, 1_200), {"least": 1.2}, True),
        ((900, 1_100, 1_300), {"least": 1.2}, False),
        ((900, 1_000, 2_000), {"most": 1.0}, True),
        ((900, 1_001, 2_000), {"most": 1.0}, False),
    ],
)
def test_a_bound_is_about_the_ratio_of_the_middles(
    ours: tuple[float, ...], bound: dict[str, float], holds: bool
) -> None:
    measured = {OURS.name: runs(*ours), DRAMATIQ.name: runs(10, 1_000, 9_000)}
    row, does = Bound("jobs", lambda one: one.jobs_per_second, DRAMATIQ, **bound).row(measured)
    assert does is holds
    assert ("**NO**" in row) is not holds


def test_each_contestant_has_a_name_and_a_module_of_its_own() -> None:
    assert len({one.name for one in CONTESTANTS}) == len(CONTESTANTS)
    assert len({one.module for one in CONTESTANTS}) == len(CONTESTANTS)
