"""Few connections, shared; and trouble is told once, with its reason."""

from __future__ import annotations

import threading

import pytest
import redis
from kombu.exceptions import OperationalError

from tasks.bounded import within
from tasks.slots import AllInUse, Slots
from tasks.trouble import Trouble

FULL = redis.ConnectionError("max number of clients reached")


def test_no_more_than_so_many_are_in_use_at_once() -> None:
    slots, inside, most = Slots(2), 0, 0
    lock = threading.Lock()

    def use() -> None:
        nonlocal inside, most
        with slots.one():
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.001)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 2


def test_nobody_waits_for_one_beyond_his_time() -> None:
    slots = Slots(1)
    with slots.one():
        for seconds in (0.0, 0.01):
            with within(seconds), pytest.raises(AllInUse, match="all 1 connections"), slots.one():
                pass
        with pytest.raises(AllInUse), slots.one(0.01):
            pass
    with slots.one(0):
        pass


def wrapped(error: Exception) -> Exception:
    try:
        raise OperationalError("kombu's words") from error
    except OperationalError as found:
        return found


@pytest.mark.parametrize("error", [FULL, wrapped(FULL)], ids=["Redis's", "within kombu's"])
def test_trouble_is_told_once_with_its_reason(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    trouble = Trouble("not sent", "sent again")
    for _ in range(550):
        trouble.met(error)
    trouble.over()
    trouble.over()
    for _ in range(100):  # now and then one goes through
        trouble.met(error)
        trouble.over()
    assert caplog.messages == [
        "not sent (ConnectionError: max number of clients reached)",
        "sent again, after 550 failures",
    ]


def test_what_other_servers_say_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Trouble("not sent", "sent again").met(ValueError("amqp://user:hunter2@host"))
    assert caplog.messages == ["not sent (ValueError)"]
