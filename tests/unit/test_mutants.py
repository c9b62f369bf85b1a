"""The lists of mutations are kept up with the Lua steps, and with what protects secrets."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.mutants import LISTS, LUA, Mutation, mutations
from worker.stack import ROOT

ALL = [one for name in LISTS for one in mutations(name)]


@pytest.mark.parametrize("mutation", ALL, ids=lambda one: f"{one.step}: {one.why}")
def test_each_can_be_made(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    assert mutation.applied(text) != text
    assert all((ROOT / test.partition("::")[0]).exists() for test in mutation.tests)


def test_every_step_has_some() -> None:
    count = Counter(one.step for one in mutations() if one.file.parent == LUA)
    assert {path.stem for path in (ROOT / LUA).glob("*.lua")} == set(count)
    assert min(count.values()) >= 2
