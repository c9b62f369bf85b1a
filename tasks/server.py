"""What a Redis server must have, and how a process finds out: as soon as it connects.

Each connection looks at the answer to HELLO, with which it begins in any case: the mode and the
version are in it. A process's first connection asks for the commands, too (COMMAND INFO). Cloud
products that speak Redis's protocol may lack any of these, and so may servers that rename commands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import redis
from redis.exceptions import NoPermissionError, ResponseError

#: The first version that has all that is used: functions.
OLDEST: Final = (7, 0)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: What the steps, beat's schedule and `python -m tasks` use; `config/redis.acl` has who uses what.
RECORDS: Final = _names(
    "brpop del evalsha exec exists expire fcall function get hdel hget hgetall hincrby hmget hset "
    "hsetnx info multi persist pexpire pttl rpush sadd scan script set smembers srem time ttl type "
    "xadd xrevrange zadd zcard zcount zpopmin zrandmember zrange zrangebyscore zrank zrem zscan "
    "zscore"
)
#: What Celery's broker uses, and its result backend.
QUEUE: Final = _names(
    "brpop del evalsha exec exists llen lpush multi pexpire psubscribe publish punsubscribe sadd "
    "smembers srem subscribe unsubscribe zadd zrangebyscore zrem"
)
RESULTS: Final = _names("del exec get mget multi publish set setex subscribe unsubscribe")

SUITABLE: Final = "Redis {}.{} or Valkey 7.2, or later, with all of its commands".format(*OLDEST)
CLUSTER: Final = (
    "Redis runs in cluster mode, which this program cannot use, as its keys belong together: use "
    "a server (of a cloud: a plan) without cluster mode."
)
_SENTINEL: Final = (
    "This is a sentinel, not a Redis server: set REDIS_URL=redis+sentinel://host:port/service, "
    "with the name of the service that the sentinels watch."
)
_OLD: Final = "Redis is of version {}, which lacks what this program uses: use {}."
_LACKS: Final = "Redis does not have {}, or has renamed it: use {}."
_NO_DATABASE: Final = (
    "Redis has no database of this number (its `databases` says how many there are): use another "
    "number at the end of the URL."
)
_LUA: Final = "Redis runs no functions in Lua, of which this program consists: use {}."

#: Of a cluster, where HELLO says nothing of it: by a proxy before one.
_OF_CLUSTERS: Final = (
    redis.exceptions.AskError,
    redis.exceptions.ClusterCrossSlotError,
    redis.exceptions.ClusterDownError,
)
_IN_CLUSTER: Final = re.compile("non local key|not hash to the same slot")
_UNKNOWN: Final = re.compile(r"unknown command [`'\"]?(?P<name>[\w|]+)", re.IGNORECASE)
_UNKNOWN_IN_SCRIPT: Final = re.compile(r"Unknown (Redis )?command called from", re.IGNORECASE)
_NO_LUA: Final = re.compile(r"scripting engine|Engine 'lua' not found", re.IGNORECASE)


class ServerUnfit(redis.RedisError):
    """This server cannot be used, whatever is done to it but to replace it; says why."""


def examining(kind: Any, needs: Collection[str]) -> Any:
    """The same class of connections, but such that raise `ServerUnfit` if the server is.

    Args:
        kind: a class of redis-py.
        needs: commands, in lower case.
    """
    return type(f"Examining{kind.__name__}", (_Examining, kind), {"to_be_found": set(needs)})


class _Examining:
    #: Of all connections of the class: the commands that nobody has asked for yet.
    to_be_found: set[str]
    handshake_metadata: Any

    def on_connect_check_health(self, *args: Any, **options: Any) -> None:
        """Called by redis-py at the begin of each connection."""
        super().on_connect_check_health(*args, **options)  # type: ignore[misc]
        check_handshake(self.handshake_metadata or {})
        if self.to_be_found:
            self._find_commands(sorted(self.to_be_found))
            self.to_be_found.clear()

    def _find_commands(self, names: list[str]) -> None:
        connection: Any = self
        connection.send_command("COMMAND", "INFO", *names, check_health=False)
        try:
            told = connection.read_response()
        except NoPermissionError:
            return  # a user of an older config/redis.acl: what is missing shows when it is used
        except ResponseError:
            return  # it has not this command
        missing = [name.upper() for name, one in zip(names, told, strict=True) if not one]
        if missing:
            raise ServerUnfit(_LACKS.format(" and ".join(missing), SUITABLE))


def check_handshake(told: Mapping[Any, Any]) -> None:
    """Look at what a server says of itself in answer to HELLO. Raises `ServerUnfit`."""
    text = {_text(name): _text(value) for name, value in told.items()}
    if text.get("mode") == "cluster":
        raise ServerUnfit(CLUSTER)
    if text.get("mode") == "sentinel":
        raise ServerUnfit(_SENTINEL)
    version = re.match(r"(\d+)\.(\d+)[\d.]*", text.get("version", ""))
    if version and (int(version[1]), int(version[2])) < OLDEST:
        raise ServerUnfit(_OLD.format(version[0], SUITABLE))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def unfit(error: redis.RedisError) -> str:
    """What an error says of a server that cannot be used; nothing if it is of another kind."""
    said = str(error)
    if isinstance(error, ServerUnfit):
        return said
    # redis-py's error of a replica whose primary is away is one of those.
    is_away = isinstance(error, redis.exceptions.MasterDownError)
    if (isinstance(error, _OF_CLUSTERS) and not is_away) or _IN_CLUSTER.search(said):
        return CLUSTER
    if _NO_LUA.search(said):
        return _LUA.format(SUITABLE)
    if _UNKNOWN_IN_SCRIPT.search(said):
        return _LACKS.format("a command that its scripts call", SUITABLE)
    if "DB index is out of range" in said:
        return _NO_DATABASE
    unknown = _UNKNOWN.search(said)
    return _LACKS.format(unknown["name"].upper(), SUITABLE) if unknown else ""
