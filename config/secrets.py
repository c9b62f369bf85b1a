"""What this process must show nobody: a type that hides a secret, and a list of those it knows.

The list is for whoever writes what others read (the log, Sentry): behind all else, each secret is
looked for by its value (`config/scrub.py`). It has the secrets among the settings and the passwords
of webhooks that were opened last, a bounded number.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, NoReturn, Self
from urllib.parse import unquote, unquote_plus, urlsplit

from pydantic import SecretStr

from config.scrub import Forms, Scrubber, forms_of

#: Passwords of webhooks that are remembered for events, which may come after the call.
OPENED_LATELY: Final = 256
#: Threads whose last one is remembered for the log.
MAX_THREADS: Final = 1024

#: Variables that others read and whose values are secrets, or hold passwords in URLs or behind ":".
_OTHERS: Final = ("FLOWER_COOKIE_SECRET", "FLOWER_OAUTH2_SECRET")
_WITH_URLS: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_WITH_LOGINS: Final = ("FLOWER_BASIC_AUTH",)


class Secret(SecretStr):
    """A secret text: nothing that shows it, stores it or copies it elsewhere has its value.

    pydantic's own type hides it from `repr`, `str`, formats and JSON, but not from pickles.
    """

    @classmethod
    def of(cls, secret: SecretStr) -> Self:
        """The same secret as one of ours."""
        return cls(secret.get_secret_value())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._secret_value == other.get_secret_value()

    __hash__ = SecretStr.__hash__

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: Any) -> Self:
        return self

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a secret is not pickled")


def fits_a_header(secret: SecretStr) -> bool:
    """Whether a secret can be sent in a header of HTTP as it is."""
    text = secret.get_secret_value()
    return bool(text) and text.isascii() and text.isprintable() and text == text.strip()


class _Known:
    """A secret; its forms are made when they are needed for the first time."""

    def __init__(self, secret: SecretStr) -> None:
        self._secret = secret

    @cached_property
    def forms(self) -> Forms:
        return forms_of(self._secret.get_secret_value())


class KnownSecrets:
    """The list, for many threads at once: each change is one step of a dictionary."""

    def __init__(self) -> None:
        self._for_ever: dict[SecretStr, _Known] = {}
        self._of_thread: dict[int, _Known] = {}
        self._lately: dict[SecretStr, _Known] = {}

    def learn(self, secrets: Iterable[SecretStr]) -> None:
        """Look for these from now on."""
        for secret in secrets:
            self._for_ever.setdefault(secret, _Known(secret))

    def opened(self, secret: SecretStr) -> SecretStr:
        """Look for this password as long as it may be in use; returns it.

        In the log that is until this thread opens another one, in events until `OPENED_LATELY`
        others were opened.
        """
        known = self._lately.pop(secret, None) or _Known(secret)
        self._of_thread[threading.get_ident()] = self._lately[secret] = known
        _bound(self._lately, OPENED_LATELY)
        _bound(self._of_thread, MAX_THREADS)
        return secret

    def in_use(self) -> Scrubber:
        """For the log: the settings' secrets, and the passwords that threads work with."""
        return self._scrubber(self._of_thread)

    def all(self) -> Scrubber:
        """For events: those, and the passwords opened lately."""
        return self._scrubber(self._of_thread, self._lately)

    def _scrubber(self, *opened: dict[Any, _Known]) -> Scrubber:
        # Copies of dictionaries are made in one step, too.
        known = [one for each in (self._for_ever, *opened) for one in each.copy().values()]
        return Scrubber([one.forms for one in dict.fromkeys(known)])


def _bound(remembered: dict[Any, _Known], most: int) -> None:
    if len(remembered) > most:
        with suppress(RuntimeError, StopIteration):  # another thread was quicker
            remembered.pop(next(iter(remembered)), None)


#: The process's list.
known_secrets: Final = KnownSecrets()


def passwords_in(url: str) -> Iterator[SecretStr]:
    """The passwords in a URL, or in several as Celery takes them; all of it if it is unreadable."""
    for one in dict.fromkeys((url, *url.split(";"))):
        try:
            parts = urlsplit(one)
            found = [unquote(parts.password or "")]
            for option in parts.query.split("&"):
                name, _, value = option.partition("=")
                # Some readers take a + for a space.
                found += [unquote(value), unquote_plus(value)] if "password" in name else ()
        except ValueError:
            found = [one]
        yield from (SecretStr(password) for password in dict.fromkeys(found) if password)


def secrets_of_others() -> Iterator[SecretStr]:
    """The secrets among the variables that are not for this program but for what it runs."""
    for name in _OTHERS:
        if value := os.environ.get(name):
            yield SecretStr(value)
    for name in _WITH_URLS:
        for variable in (name, name.lower()):
            yield from passwords_in(os.environ.get(variable, ""))
    for name in _WITH_LOGINS:
        for login in os.environ.get(name, "").split(","):
            if password := login.strip().partition(":")[2]:
                yield SecretStr(password)
