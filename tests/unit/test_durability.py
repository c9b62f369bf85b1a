"""How a server's word about its disk is put to the test, with servers that lie and that do not."""

from __future__ import annotations

from typing import Any, Self

import pytest
import redis

from tasks.durability import check_fsync, is_confirmed
from tasks.errors import DurabilityUnavailable


class Server:
    """One that syncs at each full second; `answers_early` is what its WAITAOF does.

    Each command takes 10 ms, and a sync so many seconds.
    """

    def __init__(self, *, answers_early: bool = False, sync: float = 0.005, told: Any = None):
        self.now = 0.7
        self._answers_early = answers_early
        self._sync = sync
        self._told = {"appendfsync": "everysec"} if told is None else told
        self.keys: set[str] = set()

    def info(self, _: str) -> dict[str, Any]:
        return {"aof_enabled": 1, "run_id": "this one"}

    def config_get(self, _: str) -> dict[str, str]:
        if isinstance(self._told, Exception):
            raise self._told
        return dict(self._told)

    def client(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set(self, key: str, _: str, *, px: int) -> None:
        assert 0 < px <= 60_000
        self.now += 0.01
        self.keys.add(key)

    def delete(self, key: str) -> None:
        self.now += 0.01
        self.keys.remove(key)

    def execute_command(self, *args: Any) -> list[int]:
        self.now += 0.01
        if not self._answers_early:
            self.now = int(self.now) + 1 + self._sync
        return [1, 0]


def check(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("time.monotonic", lambda: server.now)
    tested = check_fsync(server, "probe")
    assert not server.keys
    return tested


@pytest.mark.parametrize("sync", [0.0, 0.005, 0.3, 0.9])
def test_one_that_waits_for_the_sync_is_trusted(
    sync: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told in (None, redis.exceptions.NoPermissionError("config")):
        server = Server(sync=sync, told=told)
        tested = check(server, monkeypatch)
        assert tested == "this one"
        assert is_confirmed(server, "fsync", tested)
        assert is_confirmed(server, "fsync", "another server") is None


def test_one_that_answers_before_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DurabilityUnavailable, match="set appendfsync always"):
        check(Server(answers_early=True), monkeypatch)


def test_one_that_always_syncs_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
    server = Server(answers_early=True, told=told)
    tested = check(server, monkeypatch)
    assert is_confirmed(server, "fsync", tested)
    told["appendfsync"] = "everysec"
    assert is_confirmed(Server(told=told), "fsync", tested) is None


def test_one_that_is_too_slow_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(server, "execute_command", lambda *_: [0, 0])
    assert check(server, monkeypatch) == ""
