"""Which servers can be used, by what they say of themselves and by their errors."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis

from tasks.refusals import understand
from tasks.server import CLUSTER, QUEUE, RECORDS, RESULTS, ServerUnfit, check_handshake, unfit
from tasks.steps import LUA
from worker.acl import SHIPPED

#: Rights to what comes with each connection, or is not used where it is missing.
ANYWAY = {"hello", "ping", "select", "client", "command", "wait", "waitaof"}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"mode": "standalone", "version": "7.0.0"},
        {b"mode": b"standalone", b"version": b"7.2.4"},
        {"mode": "standalone", "version": "10.0.0"},
        {"mode": "standalone", "version": "255.255.255"},
        {"server": "dragonfly", "version": "something"},
    ],
)
def test_these_can_be_used(told: dict[Any, Any]) -> None:
    check_handshake(told)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"mode": "cluster", "version": "8.0.0"}, "cluster mode"),
        ({b"mode": b"cluster", b"version": b"8.0.0"}, "cluster mode"),
        ({"mode": "sentinel", "version": "7.2.4"}, r"redis\+sentinel://"),
        ({"mode": "standalone", "version": "6.2.14"}, r"version 6\.2\.14, .* Redis 7\.0 or Valkey"),
        ({b"mode": b"standalone", b"version": b"5.0.7"}, r"version 5\.0\.7,"),
    ],
)
def test_these_cannot(told: dict[Any, Any], words: str) -> None:
    with pytest.raises(ServerUnfit, match=words) as raised:
        check_handshake(told)
    assert understand(raised.value) == (str(raised.value), False, True, False)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis.exceptions.ClusterCrossSlotError("Keys in request don't hash"), "cluster mode"),
        (redis.exceptions.ClusterDownError("Hash slot not served"), "cluster mode"),
        (redis.exceptions.MovedError("3999 127.0.0.1:6381"), "cluster mode"),
        (redis.ResponseError("Script attempted to access a non local key"), "cluster mode"),
        (
            redis.ResponseError("accessing keys that do not hash to the same slot"),
            "cluster mode",
        ),
        (redis.ResponseError("unknown command 'BRPOP', with args beginning with: 'x'"), "BRPOP"),
        (redis.ResponseError("unknown command `SCRIPT`, with args beginning with: `a`"), "SCRIPT"),
        (redis.ResponseError("Unknown command 'evalsha'"), "EVALSHA"),
        (
            redis.ResponseError("Unknown Redis command called from script script: 9f, on @user_s"),
            "its scripts call",
        ),
        (redis.ResponseError("Unknown command called from script script: 9f"), "its scripts call"),
        (redis.ResponseError("Could not find scripting engine 'lua'"), "no functions in Lua"),
    ],
)
def test_their_errors_are_a_sentence_and_final(error: redis.RedisError, words: str) -> None:
    refusal = understand(error)
    assert words in refusal.words and refusal.is_final and not refusal.may_pass
    assert "args" not in refusal.words


def test_what_passes_is_not_taken_for_it() -> None:
    for error in (
        redis.ConnectionError("refused"),
        redis.ResponseError("LOADING"),
        redis.TimeoutError(),
    ):
        assert not understand(error).is_final
    assert CLUSTER.count(".") == 1


def test_what_is_needed_is_what_users_may_do() -> None:
    shipped = re.sub("^#.*$", "", SHIPPED.read_text(), flags=re.MULTILINE).partition("user admin")[
        0
    ]
    allowed = {one.partition("|")[0] for one in re.findall(r"\+([a-z|]+)", shipped)}
    assert allowed - ANYWAY == RECORDS | QUEUE | RESULTS
    called = {
        name.lower()
        for file in LUA.glob("*.lua")
        for name in re.findall(r"redis\.p?call\(\s*'(\w+)'", file.read_text())
    }
    assert called <= RECORDS


def test_a_database_that_there_is_not_is_no_fault_that_passes() -> None:
    assert "no database of this number" in unfit(redis.ResponseError("DB index is out of range"))
