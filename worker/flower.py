"""Flower as it runs here: with a login wherever others reach it, and to look, not to touch.

`celery -A worker flower` starts Flower's own command, which makes the application that is here.
All of Flower's settings stand: on its command line, as FLOWER_* in the environment, in its file.

- It listens on loopback, or somebody who opens it has to log in; else it does not start.
- `read_only` is on unless it is set to false: nothing can be revoked, shut down or changed.
- /metrics asks for the login, too. /healthcheck does not: it says OK and nothing else.
"""

from __future__ import annotations

import ipaddress
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final, NoReturn

import flower.command
import flower.urls
import flower.views.monitor
from flower.api.control import TaskRevoke
from flower.app import Flower
from tornado import web
from tornado.options import options as parsed

#: What must not be an argument, as others read those in the list of processes.
SECRETS: Final = ("basic_auth", "oauth2_key", "oauth2_secret", "cookie_secret", "broker_api")
#: Characters. Nothing in Flower slows down who guesses.
SHORTEST_PASSWORD: Final = 12

LOGIN_WORDS: Final = """\
Set FLOWER_BASIC_AUTH=user:password in the environment (several with commas; a password has at
least 12 characters), or let people log in with OAuth: FLOWER_AUTH_PROVIDER, FLOWER_AUTH (whose
e-mail addresses), FLOWER_OAUTH2_KEY, FLOWER_OAUTH2_SECRET and FLOWER_OAUTH2_REDIRECT_URI. Or let
it listen on this machine alone: --address=127.0.0.1."""

#: Scripts that a page of Flower has in itself: `workers.html`, for both of the values.
INLINE_SCRIPTS: Final = tuple(f"\nvar autorefresh = {value};\n".encode() for value in (0, 1))


def _source(script: bytes) -> str:
    return f"'sha256-{b64encode(sha256(script).digest()).decode()}'"


HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {' '.join(map(_source, INLINE_SCRIPTS))}",
            "style-src 'self'",
            "style-src-attr 'unsafe-inline'",  # the tables' columns have widths
            "img-src 'self' data:",  # Bootstrap's icons
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class OpenToStrangers(Exception):
    """Flower would be open to whoever reaches it; the message says what to set."""


class SafeHeaders(web.OutputTransform):
    """Puts HEADERS on every answer, whichever handler gives it."""

    def transform_first_chunk(
        self, status_code: int, headers: Any, chunk: bytes, finishing: bool
    ) -> tuple[int, Any, bytes]:
        """Called by Tornado once an answer's own headers are there."""
        for name, value in HEADERS.items():
            headers[name] = value
        headers.setdefault("Cache-Control", "no-store")  # what is for ever the same says so
        headers.pop("Server", None)
        return status_code, headers, chunk


class Metrics(flower.views.monitor.Metrics):
    """Flower's metrics, which name workers and tasks: for those who may see its pages."""

    @web.authenticated
    async def get(self) -> None:
        """What Prometheus reads."""
        await super().get()


class Revoke(TaskRevoke):
    """Flower's revoking, which cancels a job here, with word of who asked for it."""

    @web.authenticated
    async def post(self, taskid: str) -> None:
        """Cancel the job."""
        if self.application.options.read_only:
            raise web.HTTPError(403, "Read only mode is enabled")
        arguments = {"task_id": taskid, "by": self._who(), "at": self.request.remote_ip}
        broadcast = self.capp.control.broadcast
        await self.run_blocking("task.revoke", taskid, broadcast, "revoke", arguments=arguments)
        self.write({"message": f"Revoked '{taskid}'"})

    def _who(self) -> str:
        if isinstance(self.current_user, str):
            return self.current_user  # an address that OAuth vouches for
        words = self.request.headers.get("Authorization", "").split()
        try:
            return b64decode(words[-1]).decode().partition(":")[0]
        except (IndexError, ValueError):
            return ""


class GuardedFlower(Flower):
    """Flower's application, unless it would be open to strangers.

    Raises `OpenToStrangers`, before it listens.
    """

    def __init__(self, options: Any, **settings: Any) -> None:
        self._is_for_this_machine = check(options)
        super().__init__(options=options, transforms=[SafeHeaders], **settings)
        # Flower prints these at its debug level; the application has its own.
        printed = flower.urls.settings
        printed.update({name: "[hidden]" for name in ("cookie_secret", "oauth") if name in printed})

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        """The handler of a request.

        Without a login, only of those that call this machine by a name of its own: another name
        is that of a page in the operator's browser, which made it lead here.
        """
        if self._is_for_this_machine and not is_loopback(request.host_name):
            return self.get_handler_delegate(request, web.ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **kwargs)


def guard(arguments: Sequence[str], refuse: Callable[[Exception], NoReturn]) -> None:
    """Let Flower's command, about to run in this process, make what is here.

    Args:
        arguments: the process's.
        refuse: ends the process with a message.
    """
    named = {one.lstrip("-").partition("=")[0].replace("-", "_") for one in arguments}
    if given := sorted(named & set(SECRETS)):
        names = " and ".join(f"FLOWER_{name.upper()}" for name in given)
        refuse(
            OpenToStrangers(
                "A secret on the command line is seen by others in the list of processes: set "
                f"{names} in the environment instead."
            )
        )

    def make(**settings: Any) -> GuardedFlower:
        try:
            return GuardedFlower(**settings)
        except OpenToStrangers as error:
            refuse(error)

    flower.command.Flower = make
    # What is set, in whichever place, comes later and wins.
    parsed.read_only = True
    ours: dict[Any, Any] = {flower.views.monitor.Metrics: Metrics, TaskRevoke: Revoke}
    flower.urls.handlers[:] = [_replaced(one, ours) for one in flower.urls.handlers]


def _replaced(route: Any, ours: dict[Any, Any]) -> Any:
    if isinstance(route, tuple) and route[1] in ours:
        return (route[0], ours[route[1]], *route[2:])
    return route


def check(options: Any) -> bool:
    """Look who can reach Flower with these options; whether that is this machine alone, without a
    login. Raises `OpenToStrangers`.
    """
    logins = [login.strip() for login in options.basic_auth or [] if login.strip()]
    # Flower takes an empty one for a login, which is that of whoever sends none.
    options.basic_auth = logins
    for login in logins:
        user, _, password = login.partition(":")
        if not (user and len(password) >= SHORTEST_PASSWORD and login.isascii()):
            raise OpenToStrangers(
                "FLOWER_BASIC_AUTH must be user:password (several with commas), in ASCII, each "
                f"password of at least {SHORTEST_PASSWORD} characters."
            )
    oauth = options.auth and options.auth_provider
    if options.auth and not oauth:
        raise OpenToStrangers("FLOWER_AUTH needs FLOWER_AUTH_PROVIDER: nobody could log in.")
    if logins or oauth:
        return False
    where = options.unix_socket or options.address
    if options.unix_socket or not is_loopback(options.address):
        raise OpenToStrangers(
            f"Flower would listen on {where or 'all addresses'} without a login.\n{LOGIN_WORDS}"
        )
    if os.environ.get("FLOWER_UNAUTHENTICATED_API"):
        raise OpenToStrangers(
            "FLOWER_UNAUTHENTICATED_API opens Flower's API to every page in a browser of this "
            f"machine. Unset it.\n{LOGIN_WORDS}"
        )
    return True


def is_loopback(host: str) -> bool:
    """Whether this is this machine, reached from itself alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
