"""One URL for Redis Sentinel, and what each library makes of it.

    redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db][?options]

User and password are Redis's own; the options `sentinel_username` and `sentinel_password` are
those of the sentinels, if they ask for any. Ports are 26379 and the database is 0 unless given.
No library has this form, which several projects share: Celery wants a list of URLs and options
apart from it, redbeat options alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.secrets import Secret

SCHEME: Final = "redis+sentinel://"
SENTINEL_PORT: Final = 26379

#: How a sentinel is asked: one that is away must not cost more, as there are others.
_ASKING: Final[dict[str, Any]] = {
    "socket_connect_timeout": 0.5,
    "socket_timeout": 1.0,
    "retry": Retry(NoBackoff(), 0),
}
_FORM: Final = re.compile(
    r"redis\+sentinel://(?:(?P<login>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)"
    r"(?:/(?P<service>[^/?#]*))?(?:/(?P<db>[^/?#]*))?(?:\?(?P<options>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<v6>[^]]*)]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]+))?")


class RedisUrlError(ValueError):
    """The URL is none; the message says what is wrong and shows nothing of it."""


class Login(NamedTuple):
    """A user, by default Redis's default one, and the password."""

    username: str | None = None
    password: SecretStr | None = None

    def options(self) -> dict[str, str]:
        """What redis-py calls these, as far as they are given."""
        secret = self.password.get_secret_value() if self.password else None
        named = {"username": self.username, "password": secret}
        return {name: value for name, value in named.items() if value}

    def in_url(self) -> str:
        """What stands before the host."""
        if self.password is None:
            return ""
        secret = self.password.get_secret_value()
        return f"{quote(self.username or '', safe='')}:{quote(secret, safe='')}@"


@dataclass(frozen=True)
class Sentinels:
    """The sentinels that know where the primary of a service is."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int
    login: Login
    sentinel_login: Login

    def asking(self) -> dict[str, Any]:
        """How to connect to a sentinel, in redis-py's words."""
        return {**_ASKING, **self.sentinel_login.options()}

    def celery_options(self) -> dict[str, Any]:
        """What Celery wants besides its URL, for the broker as for the result backend."""
        return {"master_name": self.service, "sentinel_kwargs": self.asking()}

    def broker_url(self) -> str:
        """What kombu calls a URL. Each part has the login: kombu goes from one to the next."""
        return ";".join(self._parts(self.login.in_url(), self.login.in_url()))

    def backend_url(self) -> str:
        """What Celery's result backend calls a URL.

        It takes the login from the first part, and hides none but the first when it shows the URL.
        """
        return ";".join(self._parts(self.login.in_url(), ""))

    def _parts(self, first: str, others: str) -> Iterator[str]:
        for number, (host, port) in enumerate(self.hosts):
            login = others if number else first
            name = f"[{host}]" if ":" in host else host
            yield f"sentinel://{login}{name}:{port}/{self.db}"


def read_sentinels(url: str) -> Sentinels | None:
    """What a URL says of sentinels; nothing if it is of another kind.

    Raises:
        RedisUrlError: it begins as one of ours, and is none.
    """
    if not url.startswith(SCHEME):
        return None
    form = _FORM.fullmatch(url)
    if form is None:
        raise RedisUrlError(f"must be like {SCHEME}host,host/service: percent-encode the password")
    if not form["service"] or form["service"].isdigit():  # a number is the database's
        raise RedisUrlError("must name the service that the sentinels watch: ...host,host/service")
    db = form["db"] or "0"
    if not re.fullmatch("[0-9]{1,6}", db):
        raise RedisUrlError("the database, behind the service, must be a number")
    return Sentinels(
        hosts=tuple(_host(host) for host in form["hosts"].split(",")),
        service=unquote(form["service"]),
        db=int(db),
        login=_login(*(form["login"] or ":").partition(":")[::2]),
        sentinel_login=_options(form["options"] or ""),
    )


def celery_broker(url: str) -> tuple[str, dict[str, Any]]:
    """A URL and transport options as Celery's broker wants them."""
    sentinels = read_sentinels(url)
    return (sentinels.broker_url(), sentinels.celery_options()) if sentinels else (url, {})


def celery_backend(url: str) -> tuple[str, dict[str, Any]]:
    """A URL and transport options as Celery's result backend wants them."""
    sentinels = read_sentinels(url)
    return (sentinels.backend_url(), sentinels.celery_options()) if sentinels else (url, {})


def redbeat(url: str) -> tuple[str, dict[str, Any]]:
    """A URL and options as redbeat wants them; the login is in the options, which Celery hides."""
    sentinels = read_sentinels(url)
    if sentinels is None:
        parts = urlsplit(url)
        login = {
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        return urlunsplit(bare), {name: value for name, value in login.items() if value}
    options = {
        "sentinels": list(sentinels.hosts),
        "service_name": sentinels.service,
        "db": sentinels.db,
        "sentinel_kwargs": sentinels.asking(),
        **sentinels.login.options(),
    }
    return f"redis-sentinel://{quote(sentinels.service, safe='')}/{sentinels.db}", options


def _host(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or SENTINEL_PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise RedisUrlError("must list the sentinels as host:port,host:port; ports are 1 to 65535")
    if found["v6"] is None:
        return found["name"], port
    try:
        return str(ipaddress.IPv6Address(found["v6"])), port
    except ValueError:
        pass  # its words hold the value
    raise RedisUrlError("what stands in [brackets] must be an IPv6 address")


def _login(user: str, password: str) -> Login:
    if user and not password:
        raise RedisUrlError("has a user without a password: write :password@ for the default user")
    return Login(unquote(user) or None, Secret(unquote(password)) if password else None)


def _options(query: str) -> Login:
    given = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if not given.keys() <= {"sentinel_username", "sentinel_password"}:
        raise RedisUrlError("knows the options sentinel_username and sentinel_password alone")
    return _login(given.get("sentinel_username", ""), given.get("sentinel_password", ""))
