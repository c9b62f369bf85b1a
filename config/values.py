"""What a single setting may be: types, each with its check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode
from redis.connection import parse_url

from config.accounts import Account, read_accounts
from config.domains import read_domains
from config.redis_tls import refuse_tls_options
from config.redis_url import read_sentinels
from config.sealing_keys import check_sealing_keys
from config.secrets import Secret

#: The units of a rate.
SECONDS_OF = {"s": 1.0, "m": 60.0, "h": 3600.0}

#: What no two readers of URLs see differently.
_BASE_URL = re.compile(
    r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?(?:/[a-z0-9._~-]+)*/*", re.IGNORECASE
)

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
    if read_sentinels(url.get_secret_value()):
        return url
    _without_password_in_query(url.get_secret_value())
    # What Celery takes for the first of several would crash it, with a part of the password.
    one = ";" not in url.get_secret_value()
    parts = _split(url.get_secret_value())
    if not re.match("rediss?://", url.get_secret_value()):
        raise ValueError("must start with redis://, rediss:// or redis+sentinel://")
    refuse_tls_options(url.get_secret_value())
    try:
        if parts is not None and one:
            parse_url(url.get_secret_value())  # type: ignore[no-untyped-call]
            return url
    except ValueError:
        pass  # its words may hold a part of the password
    raise ValueError("is no Redis URL: percent-encode the password; the port is 1 to 65535")


def _checked_celery_url(url: SecretStr | None) -> SecretStr | None:
    text = url.get_secret_value() if url is not None else "none://"
    if "://" not in text:
        raise ValueError("must be a URL such as redis://host:6379/1")
    if text.startswith("sentinel://"):
        raise ValueError("must be like redis+sentinel://host,host/service: it names the service")
    if not read_sentinels(text):
        _without_password_in_query(text)
        if not all("://" in part and _has_a_port_or_none(part) for part in text.split(";")):
            raise ValueError("is no URL, or one of several is none: percent-encode the password")
    refuse_tls_options(text)
    return url


def _split_keys(value: object) -> object:
    """`SEALING_KEYS=new,old`: the first seals, all of them open."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _calls_a_second(value: object) -> object:
    """`500/m` as calls a second; what is no text is that already."""
    if not isinstance(value, str) or value.strip() == "0":
        return value
    number, slash, unit = value.strip().partition("/")
    try:
        calls = float(number)
    except ValueError:
        calls = 0.0
    if not slash or unit not in SECONDS_OF or not 0 < calls < float("inf"):
        raise ValueError("must be calls per second, minute or hour, such as 500/m or 20/s")
    return calls / SECONDS_OF[unit]


def _accounts(value: object) -> object:
    return read_accounts(value, rate=_calls_a_second)


def lower(value: object) -> object:
    """A text in lower case, anything else as it is."""
    return value.lower() if isinstance(value, str) else value


CallsASecond = Annotated[float, BeforeValidator(_calls_a_second)]
Accounts = Annotated[Mapping[str, Account], NoDecode, BeforeValidator(_accounts)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Domains = Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_domains)]
BaseUrl = Annotated[str, AfterValidator(_checked_base_url)]
OurSecret = Annotated[SecretStr, AfterValidator(Secret.of)]
RedisUrl = Annotated[OurSecret, AfterValidator(_checked_redis_url)]
OptionalSecret = OurSecret | None
CeleryUrl = Annotated[OptionalSecret, AfterValidator(_checked_celery_url)]
_Keys = Annotated[tuple[OurSecret, ...], NoDecode, BeforeValidator(_split_keys)]
SharedKeys = Annotated[_Keys, AfterValidator(partial(check_sealing_keys, kind="shared"))]
PublicKeys = Annotated[_Keys, AfterValidator(partial(check_sealing_keys, kind="public"))]
PrivateKeys = Annotated[_Keys, AfterValidator(partial(check_sealing_keys, kind="private"))]
