"""How a worker ends itself, and that its tasks beside attempts have a thread."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from worker import dispatcher
from worker.dispatcher import Dispatcher
from worker.threads import ThreadPool


class Ended(BaseException):
    """In the place of the process's end."""


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A dispatcher whose process does not end; what it does on its way is noted."""
    done: list[Any] = []

    def end(code: int) -> None:
        done.append(code)
        raise Ended

    leaving = threading.Event()
    one = Dispatcher(SimpleNamespace(hostname="worker@host"))
    one._attempts = SimpleNamespace(stop=lambda: done.append(("stop", leaving.is_set())))
    monkeypatch.setattr(one, "_hand_back", lambda ids: done.append(("hand back", ids)))
    monkeypatch.setattr(dispatcher, "leaving", leaving)
    monkeypatch.setattr(dispatcher, "received_ids", lambda: ["job"])
    monkeypatch.setattr(dispatcher.os, "_exit", end)
    monkeypatch.setattr(dispatcher.logging, "shutdown", lambda: None)
    monkeypatch.setattr(
        dispatcher.threading, "Timer", lambda *_: SimpleNamespace(start=lambda: None)
    )
    return SimpleNamespace(dispatcher=one, done=done)


def test_it_begins_nothing_more_before_it_gives_all_back(ending: SimpleNamespace) -> None:
    with pytest.raises(Ended):
        ending.dispatcher._exit_now(1, loop="pipe", problem="died")
    assert ending.done == [("stop", False), ("hand back", ["job"]), 1]


def test_it_ends_though_there_is_no_thread_left_and_no_log(
    ending: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(dispatcher.threading, "Timer", fail)
    monkeypatch.setattr(dispatcher.log, "critical", fail)
    with pytest.raises(Ended):
        ending.dispatcher._exit_now(1, loop="pipe", problem="died")
    assert ending.done == [1]


def test_a_task_runs_though_all_attempts_keep_their_threads() -> None:
    pool, go_on, has_run = ThreadPool(2), threading.Event(), threading.Event()
    for _ in range(2):
        pool.executor.submit(go_on.wait, 10)
    pool.executor.submit(has_run.set)
    assert has_run.wait(5)
    go_on.set()
    pool.executor.shutdown()
