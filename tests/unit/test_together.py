"""What several threads ask for goes together, and each gets its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks import together
from tasks.bounded import within
from tasks.together import MOST, NoAnswer, Together


class Server:
    """Doubles what it is asked; each round trip waits until it is `open`."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def ask(self, numbers: Sequence[int]) -> list[Any]:
        self.asked.append(list(numbers))
        self.open.wait(10)
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


def test_who_is_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WAIT_SECONDS", 10)
    server = Server()
    assert Together(server.ask).run(4) == 8
    assert server.asked == [[4]]


def test_those_who_come_together_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)
    server = Server()
    asking = Together(server.ask)
    asking.run(1)  # so that more are likely
    numbers = range(2, 22)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(asking.run, numbers)) == [2 * number for number in numbers]
    assert len(server.asked) == 2 and sorted(server.asked[1]) == list(numbers)


def test_there_are_no_more_in_one_round_trip_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)
    server = Server()
    asking = Together(server.ask)
    with ThreadPoolExecutor(MOST + 20) as pool:
        assert sum(pool.map(asking.run, range(MOST + 20))) == (MOST + 20) * (MOST + 19)
    assert max(map(len, server.asked)) == MOST


def test_an_error_is_raised_to_the_one_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)
    asking = Together(Server().ask)
    asking.run(1)
    with ThreadPoolExecutor(2) as pool:
        good, bad = pool.submit(asking.run, 3), pool.submit(asking.run, -3)
        assert good.result(10) == 6
        with pytest.raises(ValueError, match="-3"):
            bad.result(10)


def test_what_fails_for_all_is_raised_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)

    def ask(numbers: Sequence[int]) -> list[int]:
        if len(numbers) > 1:
            raise ConnectionError("gone")
        return list(numbers)

    asking = Together(ask)
    asking.run(1)
    with ThreadPoolExecutor(3) as pool:
        for one in [pool.submit(asking.run, number) for number in range(3)]:
            with pytest.raises(ConnectionError, match="gone"):
                one.result(10)


def test_nobody_waits_longer_than_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)
    server = Server()
    asking = Together(server.ask)
    asking.run(0)
    server.open.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asking.run, 1)
        while not asking._waiting:
            time.sleep(0.001)
        with within(0.05), pytest.raises(NoAnswer):
            asking.run(2)
        server.open.set()
        assert first.result(10) == 2


def test_a_thread_that_is_ended_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)

    def ask(numbers: Sequence[int]) -> list[int]:
        if len(numbers) > 1:
            raise SystemExit
        return list(numbers)

    asking = Together(ask)
    asking.run(0)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            asking.run(1)
        except BaseException as error:  # noqa: BLE001  what the thread is ended by, too
            ended.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {type(error) for error in ended} == {SystemExit, NoAnswer}


def test_each_thread_has_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each adds its frames to it, and one that is shared would hold those of all."""
    monkeypatch.setattr(together, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(together, "LIKELY_SECONDS", 10)
    why = OSError("why")

    def ask(_: Sequence[int]) -> list[int]:
        raise ConnectionError("gone") from why

    asking = Together(ask)
    with ThreadPoolExecutor(3) as pool:
        errors = [pool.submit(asking.run, number).exception(10) for number in range(3)]
    assert len({id(error) for error in errors}) == 3
    assert all(error is not None and error.__cause__ is why for error in errors)
