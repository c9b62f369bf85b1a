"""The two URLs that say where Redis is, and what each library makes of them.

    redis://[[user]:password@]host[:port][/db]          over TLS: rediss://
    redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db][?options]

User and password are Redis's own, percent-encoded where they have other characters than those of
`_TEXT`. Ports are 6379 and 26379, and the database is 0 unless given. The options, for sentinels
that ask for a login of their own, are `sentinel_username` and `sentinel_password`.

redis-py, kombu, Celery's result backend and redbeat have grammars of their own, which differ. None
of them reads these URLs: each gets one in the form that all read alike, or options.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.secrets import Secret

SCHEME: Final = "redis+sentinel://"
PLAIN_SCHEMES: Final = ("redis://", "rediss://")
PORT: Final = 6379
SENTINEL_PORT: Final = 26379

#: How a sentinel is asked: one that is away must not cost more, as there are others.
_ASKING: Final[dict[str, Any]] = {
    "socket_connect_timeout": 0.5,
    "socket_timeout": 1.0,
    "retry": Retry(NoBackoff(), 0),
}
#: Printable ASCII but for what ends a part of a URL in one reader or another: # / ; ? @ [ \\ ]
_TEXT: Final = r"[!\"$-.0-:<->A-Z^-~]"
_PLAIN: Final = re.compile(
    rf"(?P<scheme>rediss?)://(?:(?P<login>{_TEXT}*)@)?(?P<host>[^@/?#]*)"
    r"(?:/(?P<db>[^@/?#]*))?(?P<options>\?[^#]*)?"
)
_FORM: Final = re.compile(
    rf"redis\+sentinel://(?:(?P<login>{_TEXT}*)@)?(?P<hosts>[^@/?#]*)"
    r"(?:/(?P<service>[^/?#]*))?(?:/(?P<db>[^/?#]*))?(?:\?(?P<options>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<v6>[^]]*)]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]+))?")
_DB: Final = re.compile("[0-9]{1,6}")


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
class Server:
    """A single server."""

    host: str
    port: int
    db: int
    login: Login
    has_tls: bool

    def url(self) -> str:
        """A URL that all libraries read alike."""
        return self._url(self.login.in_url())

    def url_without_login(self) -> str:
        """The same without user and password."""
        return self._url("")

    def _url(self, login: str) -> str:
        scheme = "rediss" if self.has_tls else "redis"
        return f"{scheme}://{login}{_in_url(self.host)}:{self.port}/{self.db}"


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
            yield f"sentinel://{login}{_in_url(host)}:{port}/{self.db}"


def read_server(url: str) -> Server:
    """What a URL of a single server says.

    Raises:
        RedisUrlError: it is none.
    """
    form = _PLAIN.fullmatch(url)
    found = _address(form["host"], PORT) if form else None
    if form is None or found is None:
        raise RedisUrlError(
            "must be like redis://:password@host:6379/0: percent-encode the password (@ is %40, "
            "/ is %2F, ? is %3F, # is %23); the port is 1 to 65535"
        )
    if form["options"] is not None:
        raise RedisUrlError(
            "must have no options (?...): the database stands behind the host, as in "
            "redis://host:6379/0, and all else is set by this program; a ? of the password is %3F"
        )
    if form["db"] and not _DB.fullmatch(form["db"]):
        raise RedisUrlError(
            "must have nothing but the database's number behind the host, as in "
            "redis://host:6379/0; a / of the password is %2F"
        )
    login = _login(*(form["login"] or ":").partition(":")[::2])
    return Server(*found, int(form["db"] or 0), login, form["scheme"] == "rediss")


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
    if not _DB.fullmatch(db):
        raise RedisUrlError("the database, behind the service, must be a number")
    return Sentinels(
        hosts=tuple(_sentinel(host) for host in form["hosts"].split(",")),
        service=_decoded(form["service"]),
        db=int(db),
        login=_login(*(form["login"] or ":").partition(":")[::2]),
        sentinel_login=_options(form["options"] or ""),
    )


def celery_broker(url: str) -> tuple[str, dict[str, Any]]:
    """A URL and transport options as Celery's broker wants them; it takes several URLs, too."""
    if sentinels := read_sentinels(url):
        return sentinels.broker_url(), sentinels.celery_options()
    return ";".join(map(_read_alike, url.split(";"))), {}


def celery_backend(url: str) -> tuple[str, dict[str, Any]]:
    """A URL and transport options as Celery's result backend wants them."""
    if sentinels := read_sentinels(url):
        return sentinels.backend_url(), sentinels.celery_options()
    return _read_alike(url), {}


def _read_alike(url: str) -> str:
    return read_server(url).url() if url.startswith(PLAIN_SCHEMES) else url


def redbeat(url: str) -> tuple[str, dict[str, Any]]:
    """A URL and options as redbeat wants them; the login is in the options, which Celery hides."""
    sentinels = read_sentinels(url)
    if sentinels is None:
        server = read_server(url)
        return server.url_without_login(), {**server.login.options()}
    options = {
        "sentinels": list(sentinels.hosts),
        "service_name": sentinels.service,
        "db": sentinels.db,
        "sentinel_kwargs": sentinels.asking(),
        **sentinels.login.options(),
    }
    return f"redis-sentinel://{quote(sentinels.service, safe='')}/{sentinels.db}", options


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _sentinel(text: str) -> tuple[str, int]:
    found = _address(text, SENTINEL_PORT)
    if found is None:
        raise RedisUrlError(
            "must list the sentinels as host:port,host:port; ports are 1 to 65535, and an IPv6 "
            "address stands in [brackets]"
        )
    return found


def _address(text: str, usual_port: int) -> tuple[str, int] | None:
    """Host and port; nothing if these are none."""
    found = _HOST.fullmatch(text)
    port = int(found["port"] or usual_port) if found and len(found["port"] or "") < 10 else 0
    if found is None or not 0 < port < 65_536:
        return None
    if found["v6"] is None:
        return found["name"], port
    try:
        address = ipaddress.IPv6Address(found["v6"])
    except ValueError:
        return None
    return None if address.scope_id else (str(address), port)


def _decoded(text: str) -> str:
    """What percent-encoding stands for; of something else than UTF-8, libraries make different
    texts."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        pass  # its words hold the value
    raise RedisUrlError("must have its user and password percent-encoded as UTF-8")


def _login(user: str, password: str) -> Login:
    if user and not password:
        raise RedisUrlError("has a user without a password: write :password@ for the default user")
    return Login(_decoded(user) or None, Secret(_decoded(password)) if password else None)


def _options(query: str) -> Login:
    given = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if not given.keys() <= {"sentinel_username", "sentinel_password"}:
        raise RedisUrlError("knows the options sentinel_username and sentinel_password alone")
    return _login(given.get("sentinel_username", ""), given.get("sentinel_password", ""))
