"""What a process makes once, and all of its threads share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.shared import shared


def test_threads_that_ask_at_once_get_the_same() -> None:
    threads = 8
    all_are_making = threading.Barrier(threads)

    @shared
    def get(name: str) -> object:
        all_are_making.wait(10)
        return object()

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(get, ["one"] * threads))
    assert len(set(map(id, found))) == 1
    assert get("one") is found[0]


def test_one_for_each_set_of_arguments_until_it_is_cleared() -> None:
    @shared
    def get(name: str, number: int = 0) -> list[str]:
        """What it is."""
        return [name] * number

    assert get("a", 1) is get("a", 1)
    assert get("a", 1) is not get("b", 1)
    assert get("a", number=2) == ["a", "a"]
    assert get.__doc__ == "What it is."
    before = get("a", 1)
    get.cache_clear()
    assert get("a", 1) is not before


def test_a_child_that_was_forked_off_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    @shared
    def get() -> object:
        return object()

    ours = get()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert get() is not ours
    assert get() is get()


def test_what_cannot_be_made_is_tried_again() -> None:
    tries = []

    @shared
    def get() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return len(tries)

    with pytest.raises(ValueError):
        get()
    assert get() == get() == 2
