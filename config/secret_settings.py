"""Secrets among the settings: from a variable or the file that another one names, and all of them.

Each setting X that holds a secret may be given as X_FILE instead, the path of a file with the
value, as container platforms mount secrets. White space around a value is left out, with a warning
unless it is the one line break at a file's end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from config.scrub import LONG
from config.secrets import Secret, passwords_in, secrets_of_others

if TYPE_CHECKING:
    from config.settings import Settings

#: Bytes that a file with a secret has at most; a hundred sealing keys fit.
MAX_FILE: Final = 65_536
MAX_SHOWN: Final = 200  # characters of its path
#: Settings whose value is a URL, of which the password is secret.
URLS: Final = ("redis_url", "celery_broker_url", "celery_result_backend")


WHITE_SPACE: Final = (
    "white space around its value is left out (a line break, perhaps): take it away where it is set"
)
#: Variables of which this process has left out white space.
_trimmed: Final[dict[str, None]] = {}


def trimmed(name: str, value: str) -> str:
    """A variable's value without the white space around it, of which people are to be warned.

    A secret of Kubernetes that was made with `echo` ends with a line break.
    """
    bare = value.strip()
    if bare != value:
        _trimmed[name] = None
    return bare


def trimmed_variables() -> tuple[str, ...]:
    """The variables of which white space was left out until now."""
    return tuple(_trimmed)


class SecretFile(NamedTuple):
    """A secret that is in a file, and the variable that says so; perhaps given itself as well."""

    variable: str
    path: str
    given_too: bool = False

    def read(self) -> Secret:
        """The secret. Raises `ValueError`, with variable and path and nothing of what is there."""
        if self.given_too:
            name = self.variable.removesuffix("_FILE")
            raise ValueError(f"is given twice, as {name} and as {self.variable}: unset one of them")
        try:
            with Path(self.path).open("rb") as file:
                data = file.read(MAX_FILE + 1)
            problem = "" if len(data) <= MAX_FILE else f"has more than {MAX_FILE} bytes"
        except (OSError, ValueError) as error:
            data, problem = b"", f"cannot be read ({_words(error)})"
        text = data.decode(errors="replace")
        if not problem and "\ufffd" in text:
            problem = "is no text in UTF-8"
        value = text.removesuffix("\n").removesuffix("\r")
        if not problem and not value.strip():
            problem = "is empty"
        if problem:
            raise ValueError(f"{self.variable}: the file {self.path[:MAX_SHOWN]!r} {problem}")
        return Secret(value)


def _words(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def read_variable(name: str) -> Secret | None:
    """A secret of the environment, itself or from the file that `<name>_FILE` names.

    Raises `ValueError` as `SecretFile.read` does.
    """
    value: str | None = os.environ.get(name)
    if path := os.environ.get(f"{name}_FILE"):
        file = SecretFile(f"{name}_FILE", path, given_too=bool(value))
        value = file.read().get_secret_value()
    return Secret(value) if value and (value := trimmed(name, value)) else None


class WithFiles(PydanticBaseSettingsSource):
    """What a source (the environment, `.env`) has, and the secrets in files that it names.

    `SecretFile` stands for these until they are validated, so that all problems are told at once.
    """

    def __init__(self, source: EnvSettingsSource) -> None:
        super().__init__(source.settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As the source has it."""
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """Values by the names of settings."""
        found = self._source()
        for name in secret_settings(self.settings_cls):
            if path := self._source.env_vars.get(f"{name}_file"):
                variable = f"{name}_FILE".upper()
                found[name] = SecretFile(variable, path, given_too=bool(found.get(name)))
        return found


def secret_settings(settings: type[BaseSettings]) -> list[str]:
    """The names of those settings that hold a secret."""
    return [name for name, field in settings.model_fields.items() if _is_secret(field.annotation)]


def _is_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(map(_is_secret, get_args(annotation)))


def secrets_of(settings: Settings) -> Iterator[SecretStr]:
    """All that must be seen nowhere: secrets, passwords in URLs, what accounts' variables have."""
    yield from (secret for _, secret in _by_setting(settings))
    yield from secrets_of_others()


def too_short(settings: Settings) -> list[str]:
    """The settings with a secret that is too short to be found in a text (`config/scrub.py`)."""
    short = (name for name, one in _by_setting(settings) if len(one.get_secret_value()) < LONG)
    return list(dict.fromkeys(short))


def _by_setting(settings: Settings) -> Iterator[tuple[str, SecretStr]]:
    for name in secret_settings(type(settings)):
        value = getattr(settings, name)
        secrets: Iterable[SecretStr] = (value,) if isinstance(value, SecretStr) else value or ()
        if value and name in URLS:
            secrets = passwords_in(value.get_secret_value())
        yield from ((name.upper(), secret) for secret in secrets)
    for account in settings.cometchat_accounts.values():
        yield from (("COMETCHAT_ACCOUNTS", secret) for secret in account.given.values())
        for variable in account.named.values():
            with suppress(ValueError):
                if secret := read_variable(variable):
                    yield variable, secret
