"""How durable a write is: what a Redis server can confirm, and whether it did.

With `appendfsync always` a server answers when the append-only file is on its disk. With `everysec`
WAITAOF waits for that, where there is such a command and it tells the truth. Redis since 7.4, until
https://github.com/redis/redis/pull/13793 mended it, and Valkey (seen with 9.1.2) answer at once
when the server has nothing else to do, up to a second before the sync. So it is put to the test.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import redis

from config.settings import Durability
from tasks.bounded import seconds_left
from tasks.errors import DurabilityUnavailable

#: Seconds that a confirmation may take; the append-only file is synced every second.
CONFIRM_SECONDS: Final = 2.5
#: Seconds of what is left that the answer itself may take.
ANSWER_SECONDS: Final = 0.3
#: With everysec, what is written behind a sync waits for the next one, a second later. A
#: confirmation that comes within so many seconds of another is none.
TOO_SOON_SECONDS: Final = 0.3

#: The settings of a server that answers when the append-only file is on its disk.
_ALWAYS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
}
_NEEDS: Final = "ENQUEUE_DURABILITY=fsync needs"


def check_fsync(client: Any, probe: str, appendfsync: str | None = None) -> str:
    """Find out whether the server can tell that a write is on its disk; takes up to two seconds.

    Args:
        probe: how the key begins that is written, and deleted.
        appendfsync: what is known of this setting, should the server not tell.

    Returns:
        The run id of the server if it is one whose WAITAOF passed the test. '' if that is not
        known: it syncs always, or never, or was too slow.

    Raises:
        DurabilityUnavailable: it cannot; the message has the setting that is missing.
    """
    if not client.info("persistence").get("aof_enabled"):
        raise DurabilityUnavailable(f"{_NEEDS} Redis's append-only file: set appendonly yes.")
    settings = _append_settings(client, appendfsync)
    if _syncs_always(settings):
        return ""
    try:
        client.execute_command("WAITAOF", 0, 0, 1)
    except redis.ResponseError as error:
        if not _is_not_there(error):
            raise
        raise DurabilityUnavailable(
            f"{_NEEDS} a Redis of version 7.2 or later, or Valkey; with this server set "
            "appendfsync always."
        ) from None
    if settings.get("appendfsync") == "no":
        return ""
    too_soon = _confirms_too_soon(client, probe)
    if too_soon:
        raise DurabilityUnavailable(
            f"{_NEEDS} a server that confirms what is on its disk; the WAITAOF of this one answers "
            f"before: {_set_always(settings)}."
        )
    return "" if too_soon is None else _run_id(client)


def is_confirmed(
    connection: Any, durability: Durability, tested: str, appendfsync: str | None = None
) -> bool | None:
    """Whether what this very connection wrote gets where it has to, within CONFIRM_SECONDS.

    Args:
        tested: what `check_fsync` returned.
        appendfsync: as it takes it.

    Returns:
        None if the server would have to be tested first.
    """
    try:
        if durability == "replicas":
            return int(connection.execute_command("WAIT", 1, _limit())) >= 1
        # Asked each time: the server may have other settings by now, or be another one.
        if _syncs_always(_append_settings(connection, appendfsync)):
            return True
        return _is_on_disk(connection) if _run_id(connection) == tested else None
    except redis.TimeoutError:
        return False  # it is recorded all the same


def _limit() -> int:
    """Milliseconds for which the server may wait; 0 would be for ever."""
    return max(1, int(min(CONFIRM_SECONDS, seconds_left() - ANSWER_SECONDS) * 1000))


def _run_id(client: Any) -> str:
    return str(client.info("server")["run_id"])


def _is_on_disk(connection: Any) -> bool:
    """Whether the server says so of what this connection wrote."""
    try:
        return int(connection.execute_command("WAITAOF", 1, 0, _limit())[0]) >= 1
    except redis.ResponseError:
        return False  # no such command, or no append-only file (any more)


def _confirms_too_soon(client: Any, probe: str) -> bool | None:
    """Whether two writes, one behind the other's confirmation, are confirmed by one sync.

    None if they are not confirmed in time.
    """
    # A key of its own: deleting one that another has deleted would be no write.
    key = f"{probe}:{uuid.uuid4()}"
    with client.client() as one:
        one.set(key, "", px=60_000)
        try:
            if not _is_on_disk(one):
                return None
            began = time.monotonic()
        finally:
            one.delete(key)
        confirmed = _is_on_disk(one)
        return time.monotonic() - began < TOO_SOON_SECONDS if confirmed else None


def _is_not_there(error: redis.ResponseError) -> bool:
    """Whether the server does not have the command, or not for us."""
    forbidden = isinstance(error, redis.exceptions.NoPermissionError)
    return forbidden or "unknown command" in str(error).lower()


def _append_settings(client: Any, appendfsync: str | None) -> dict[str, str]:
    """The server's settings of its append-only file; if it does not tell, what is known of them."""
    try:
        return dict(client.config_get("*append*"))
    except redis.ResponseError:
        if appendfsync != "always" or not client.info("persistence").get("aof_enabled"):
            return {}
        return _ALWAYS


def _set_always(settings: dict[str, str]) -> str:
    also = (
        "" if settings else " and, as this Redis user may not ask for it, REDIS_APPENDFSYNC=always"
    )
    return f"set appendfsync always{also}"


def _syncs_always(settings: dict[str, str]) -> bool:
    return _ALWAYS.items() <= settings.items()
