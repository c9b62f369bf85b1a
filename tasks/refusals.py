"""Why Redis cannot be used, in words that say what to do, and whether it may pass by itself."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple

import redis
from redis.sentinel import MasterNotFoundError

from config import __version__
from config.scrub import without_arguments
from tasks.bounded import NoHandshake
from tasks.server import unfit
from tasks.steps import StepsMissing

#: What a server says that refuses for now: memory or disk full, a replica, still loading.
REFUSES: Final = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|BUSY)\b")
_REFUSALS: Final = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
)
_AWAY: Final = (redis.ConnectionError, redis.TimeoutError)
#: What servers say of a command within a script, 7.0 in the second way.
_IN_SCRIPT: Final = re.compile("ACL failure in script: |The user executing the script can't ")
#: What redis-py and the server put around the words.
_AROUND: Final = re.compile("^Command # .* of pipeline caused error: |^ACL failure in script: ")

_REPEAT: Final = "Nothing is half-done: check REDIS_URL and the server, then repeat."
_STEPS: Final = (
    f"it has not the steps of this version ({__version__}), and this Redis user may not load them. "
    "A worker of the same version does so as soon as it runs: start one"
)
_RIGHTS: Final = (
    "Use the user that config/redis.acl has for this kind of process, with all of its rights; "
    "ACL LOG on the server tells which command or key it was."
)
_LOADING: Final = (
    "Workers load the library of steps when they start, as Redis's user `worker`; others need not: "
    "start one."
)
_CERTIFICATE: Final = "Redis asks for a client certificate: set REDIS_CERT_FILE and REDIS_KEY_FILE."

#: A server may close such a connection without a word, or wait for ever.
TLS_HINT: Final = " Does it speak TLS at this port, and does it want a client certificate?"


class Refusal(NamedTuple):
    """What to tell, and what to do about it.

    Args:
        words: a sentence or two.
        may_pass: trying again may help.
        is_final: it helps only when somebody has changed rights, certificates or settings.
        is_other_server: its address may belong to another server now: connect anew.
    """

    words: str
    may_pass: bool = False
    is_final: bool = False
    is_other_server: bool = False


def understand(error: redis.RedisError) -> Refusal:
    """What an error of redis-py means. No secret is in the words."""
    if isinstance(error, StepsMissing):
        return Refusal(f"Redis cannot be used just now: {_STEPS}, then repeat.", may_pass=True)
    if isinstance(error, redis.exceptions.NoPermissionError) or _IN_SCRIPT.search(str(error)):
        said = _AROUND.sub("", str(error)).partition(" script: ")[0]
        to_do = _LOADING if "'function|load'" in said else _RIGHTS
        return Refusal(f"Redis refuses this: {said.rstrip('.')}. {to_do}", is_final=True)
    if words := unfit(error):
        return Refusal(words, is_final=True)
    hint = ""
    for cause in _causes(error):
        if isinstance(cause, NoHandshake):
            hint = f" It did not answer the TLS handshake.{TLS_HINT}"
        if isinstance(cause, ssl.SSLError):
            if words := _tls_words(cause):
                return Refusal(words, is_final=True)
            hint = TLS_HINT
    refused = isinstance(error, _REFUSALS) or bool(REFUSES.search(str(error)))
    words = f"Redis cannot be used just now ({shortly(error)}). {_REPEAT}{hint}"
    may_pass = refused or isinstance(error, _AWAY)
    return Refusal(words, may_pass=may_pass, is_other_server=refused)


def is_about_loading(error: Exception) -> bool:
    """Whether an error's words are of the right to load the steps, which only workers need."""
    return "'function|" in str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tls_words(error: ssl.SSLError) -> str:
    """What is wrong with a certificate; nothing if it is something else, which may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The TLS certificate of Redis was refused ({error.verify_message.rstrip('.')}). "
            "Nothing was sent: check the host in REDIS_URL, the server's certificate, and "
            "REDIS_CA_FILE."
        )
    reason = str(error.reason or "")
    if "CERTIFICATE_REQUIRED" in reason:
        return _CERTIFICATE
    if "ALERT" in reason:
        said = reason.lower().replace("_", " ")
        return (
            f"Redis refused the TLS connection ({said}). Check REDIS_CERT_FILE and "
            "REDIS_KEY_FILE, and which versions of TLS the server speaks: 1.2 or later is needed."
        )
    if reason == "WRONG_VERSION_NUMBER":
        return "Redis does not speak TLS at this port: check host and port in REDIS_URL."
    return ""


def shortly(error: redis.RedisError) -> str:
    """What an error of redis-py says, without what it quotes. No secret is in it."""
    if isinstance(error, MasterNotFoundError):
        # Its own words go on for a page, with each sentinel's connection in them.
        kinds = sorted(set(re.findall(r"\w+Error\b", str(error))))
        return f"no sentinel knows of a primary; asked, they gave {', '.join(kinds) or 'none'}"
    return f"{type(error).__name__}: {without_arguments(str(error))}"
