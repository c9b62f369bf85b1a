"""What is done about a Redis that refuses, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from tasks.errors import StoreRefused, StoreUnavailable
from tasks.redis import Connection

#: How Redis 5 and 7 tell that they do not know HELLO, which comes with the password.
UNKNOWN_COMMANDS = (
    "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `s3cret`, ",
    "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 's3cret' ",
)


def connection(patience: float) -> Connection:
    return Connection(SecretStr("redis://127.0.0.1:1/0"), prefix="webhooks:", patience=patience)


def failing(*errors: Exception) -> tuple[Any, list[Any]]:
    """A call that meets these errors, one after the other, and then is answered."""
    left: Iterator[Exception] = iter(errors)
    calls = []

    def call() -> str:
        calls.append(1)
        for error in left:
            raise error
        return "answer"

    return call, calls


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.MasterDownError("Link with MASTER is down"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.OutOfMemoryError("command not allowed"),
        redis.ResponseError("MISCONF Errors writing to the AOF file"),
        redis.ConnectionError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    call, calls = failing(error, error)
    assert connection(2.0).run(call) == "answer"
    assert len(calls) == 3


@pytest.mark.parametrize("words", UNKNOWN_COMMANDS)
def test_what_will_not_is_told_at_once_without_the_password(words: str) -> None:
    call, calls = failing(redis.ResponseError(words), redis.ResponseError(words))
    with pytest.raises(StoreUnavailable, match="HELLO") as caught:
        connection(2.0).run(call)
    assert len(calls) == 1
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.NoPermissionError("User shop has no permissions to run the 'get' command"),
        redis.ResponseError(
            "ACL failure in script: User shop has no permissions to run the 'get' command "
            "script: abc, on @user_script:1."
        ),
        redis.ResponseError(
            "The user executing the script can't run this command or subcommand script: abc, on "
            "@user_script:748."
        ),
        redis.exceptions.NoPermissionError(
            "Command # 1 (SETEX key 9 hunter2) of pipeline caused error: No permissions to access "
            "a key"
        ),
    ],
    ids=["at the top", "in a script", "in a script, 7.0", "in a pipeline"],
)
def test_a_missing_right_is_told_at_once(error: Exception) -> None:
    call, calls = failing(error, error)
    with pytest.raises(StoreRefused) as caught:
        connection(2.0).run(call)
    assert len(calls) == 1
    told = str(caught.value)
    assert told.startswith("Redis refuses this: ") and "config/redis.acl" in told
    assert "abc" not in told and "hunter2" not in told
