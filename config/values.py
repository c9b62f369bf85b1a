"""What a single setting may be: types, each with its check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from config.accounts import Account, read_accounts
from config.domains import read_domains
from config.redis_tls import refuse_tls_options
from config.redis_url import PLAIN_SCHEMES, read_sentinels, read_server
from config.redis_url import SCHEME as SENTINEL_SCHEME
from config.sealing_keys import check_sealing_keys
from config.secrets import Secret, fits_a_header

#: The units of a rate.
SECONDS_OF = {"s": 1.0, "m": 60.0, "h": 3600.0}

#: What no two readers of URLs see differently.
_BASE_URL = re.compile(
    r"https?://(?:[a-z0-9_-][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::[0-9]+)?(?:/[a-z0-9._~-]+)*/*",
    re.IGNORECASE | re.ASCII,
)

#: By which packages bring result backends of their own.
_PLUGINS = "celery.result_backends"

#: Where Sentry takes events; narrower than what its SDK takes.
_DSN = re.compile(
    r"https?://[\w.-]+(?::[\w.-]+)?@(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?(?:/[\w.~-]+)*/[0-9]+",
    re.IGNORECASE | re.ASCII,
)

#: Seconds: longer than any wait that is meant, and what clocks, sockets and Redis can count.
LONGEST_SECONDS = 315_360_000  # ten years
LONGEST_CALL_SECONDS = 3_600
#: Calls a second: one a day, and more than one Redis can count.
SLOWEST_RATE, FASTEST_RATE = 1 / 86_400, 1_000_000

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def _split(url: str) -> SplitResult | None:
    """The parts of a URL; nothing if it is none. The library's words may hold a part of it."""
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine itself, by the look of it."""
    parts = _split(url)
    return parts is not None and parts.hostname in LOOPBACK_HOSTS


def _checked_base_url(url: str) -> str:
    """Https, or http to this machine alone: key and secret go along with every call."""
    parts = _split(url)
    if parts is None:
        raise ValueError("must be a URL such as https://apimgmt.cometchat.io")
    if parts.username or parts.password:
        raise ValueError("must hold no user or password")
    if "?" in url or "#" in url:
        raise ValueError("must hold no query and no fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise ValueError("must start with https:// (http:// is for loopback only)")
    if not _BASE_URL.fullmatch(url):
        raise ValueError("must hold nothing but a host, a port and a plain path")
    return url.rstrip("/")


def _without_password_in_query(url: str) -> None:
    """What Celery shows of a URL, in its banner and elsewhere, has the query as it is."""
    if re.search(r"[?&][^=&]*password[^=&]*=", url, re.IGNORECASE):
        raise ValueError("must have its password before the host: redis://:password@host")


def _has_a_port_or_none(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _checked_redis_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.startswith((*PLAIN_SCHEMES, SENTINEL_SCHEME)):
        raise ValueError("must start with redis://, rediss:// or redis+sentinel://")
    _check_redis_url(text)
    return url


def _check_redis_url(url: str) -> None:
    if not read_sentinels(url):
        _without_password_in_query(url)
        refuse_tls_options(url)
        read_server(url)


def _checked_broker_url(url: SecretStr) -> SecretStr:
    """Of any kind that Celery knows; several of them with semicolons."""
    text = url.get_secret_value()
    parts = text.split(";")
    if len(parts) > 1 and SENTINEL_SCHEME in text:
        raise ValueError("must be alone if it is redis+sentinel://, which lists all sentinels")
    refuse_tls_options(text)
    for part in parts:
        _check_celery_url(part, "kombu.transport", "TRANSPORT_ALIASES")
    return url


def _checked_backend_url(url: SecretStr) -> SecretStr:
    """Of any kind that Celery knows."""
    refuse_tls_options(url.get_secret_value())
    _check_celery_url(url.get_secret_value(), "celery.app.backends", "BACKEND_ALIASES")
    return url


def _check_celery_url(url: str, module: str, kinds: str) -> None:
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ValueError("must be a URL such as redis://host:6379/1: percent-encode the password")
    if scheme != scheme.lower():
        raise ValueError("must begin in lower case, such as redis://")
    if scheme == "sentinel":
        raise ValueError("must be like redis+sentinel://host,host/service: it names the service")
    if url.startswith((*PLAIN_SCHEMES, SENTINEL_SCHEME)):
        _check_redis_url(url)
        return
    _without_password_in_query(url)
    if not _has_a_port_or_none(url):
        raise ValueError("is no URL, or one of several is none: percent-encode the password")
    # Which takes its time to load, and is rarely needed.
    known = {*getattr(import_module(module), kinds), *entry_points(group=_PLUGINS).names}
    if scheme.partition("+")[0].lower() not in known:
        raise ValueError("must begin with the name of a kind that Celery has, such as redis://")


def _checked_api_secret(secret: SecretStr) -> SecretStr:
    if not fits_a_header(secret):
        raise ValueError("must be printable ASCII: it is sent in a header of HTTP")
    return secret


def _checked_dsn(dsn: SecretStr) -> SecretStr:
    url = dsn.get_secret_value()
    if not _DSN.fullmatch(url) or _split(url) is None:
        raise ValueError(
            "must be as Sentry shows it, https://<public key>@<host>/<number of the project>"
        )
    return dsn


def _split_keys(value: object) -> object:
    """`new,old`: the first seals, all of them open."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


_NO_RATE: Final = "must be calls per second, minute or hour, such as 500/m or 20/s"


def _calls_a_second(value: object) -> object:
    """`500/m` as calls a second; a number is that already."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value and not SLOWEST_RATE <= value <= FASTEST_RATE:
            raise ValueError(_NO_RATE)
        return float(value)
    if not isinstance(value, str):
        raise ValueError(_NO_RATE)
    if value.strip() == "0":
        return 0.0
    number, slash, unit = value.strip().partition("/")
    try:
        calls = float(number)
    except ValueError:
        calls = 0.0
    rate = calls / SECONDS_OF[unit] if slash and unit in SECONDS_OF else 0.0
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise ValueError(_NO_RATE)
    return rate


def _accounts(value: object) -> object:
    return read_accounts(value, rate=_calls_a_second)


def lower(value: object) -> object:
    """A text in lower case, anything else as it is."""
    return value.lower() if isinstance(value, str) else value


CallsASecond = Annotated[float, BeforeValidator(_calls_a_second)]
Accounts = Annotated[Mapping[str, Account], NoDecode, BeforeValidator(_accounts)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
CallSeconds = Annotated[float, Field(gt=0, le=LONGEST_CALL_SECONDS, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(gt=0, le=LONGEST_SECONDS)]
Domains = Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_domains)]
BaseUrl = Annotated[str, AfterValidator(_checked_base_url)]
OurSecret = Annotated[SecretStr, AfterValidator(Secret.of)]
RedisUrl = Annotated[OurSecret, AfterValidator(_checked_redis_url)]
ApiSecret = Annotated[OurSecret, AfterValidator(_checked_api_secret)] | None
SentryDsn = Annotated[OurSecret, AfterValidator(_checked_dsn)] | None
BrokerUrl = Annotated[OurSecret, AfterValidator(_checked_broker_url)] | None
BackendUrl = Annotated[OurSecret, AfterValidator(_checked_backend_url)] | None
_Keys = Annotated[tuple[OurSecret, ...], NoDecode, BeforeValidator(_split_keys)]
PublicKeys = Annotated[_Keys, AfterValidator(partial(check_sealing_keys, kind="public"))]
PrivateKeys = Annotated[_Keys, AfterValidator(partial(check_sealing_keys, kind="private"))]
