"""CometChat accounts besides the default one: COMETCHAT_ACCOUNTS, JSON or the path of a JSON file.

    {"eu": {"key_env": "EU_KEY", "secret_env": "EU_SECRET", "rate_limit": "500/m"},
     "us": {"key": "...", "secret": "...", "old_key": "...", "old_secret": "..."}}

Each of the four is given itself or, with `_env` behind its name, as the name of a variable, which
producers, who make no calls, need not have. The value of variable X may be in a file that X_FILE
names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from config.secret_settings import read_variable, trimmed
from config.secrets import Secret, fits_a_header

#: The account whose key and secret are COMETCHAT_KEY and COMETCHAT_SECRET.
DEFAULT: Final = "default"
MAX_NAME: Final = 50  # characters
MAX_TOLD: Final = 20  # problems in one message
SECRETS: Final = ("key", "secret", "old_key", "old_secret")
_UNFIT: Final = "must be printable ASCII, and not empty"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is sent with each call."""

    key: SecretStr
    secret: SecretStr


class MissingVariable(ValueError):
    """A variable that an account names is not set, or has what cannot be sent."""


@dataclass(frozen=True, slots=True)
class Account:
    """One of COMETCHAT_ACCOUNTS.

    Args:
        given: which secrets were given themselves.
        named: for the others, the variables that hold them.
        rate_limit: calls a second, None for COMETCHAT_RATE_LIMIT.
    """

    given: Mapping[str, SecretStr]
    named: Mapping[str, str]
    rate_limit: float | None = None

    def credentials(self) -> tuple[Credentials, ...]:
        """The pairs, the newer first. Raises `MissingVariable`."""
        found: dict[str, SecretStr] = dict(self.given)
        for name, variable in self.named.items():
            problem = f"{variable} is not set"
            try:
                value = read_variable(variable)
            except ValueError as error:
                value, problem = None, str(error)
            if value is None:
                raise MissingVariable(f"{name}_env: {problem}")
            if not fits_a_header(value):
                raise MissingVariable(f"{name}_env: {variable} {_UNFIT}")
            found[name] = value
        newer = Credentials(found["key"], found["secret"])
        if "old_key" not in found:
            return (newer,)
        return newer, Credentials(found["old_key"], found["old_secret"])


def read_accounts(value: object, *, rate: Any) -> object:
    """The accounts of a text; `rate` reads a rate. Raises `ValueError` naming all that is wrong."""
    if not isinstance(value, str):
        return value
    what = "is no JSON object"
    text = value.strip()
    if not text.startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise ValueError("must be a JSON object or a file that can be read") from None
        what = "names a file that holds no JSON object"
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        entries = None  # the parser's words hold a part of the text
    if not isinstance(entries, dict):
        raise ValueError(what)
    accounts, problems = {}, []
    for name, entry in entries.items():
        found, wrong = _account(name, entry, rate)
        accounts[name] = found
        problems += [f"{name if _is_name(name) else 'an account'}: {one}" for one in wrong]
    if problems:
        more = f"; and {len(problems) - MAX_TOLD} more" if len(problems) > MAX_TOLD else ""
        raise ValueError("; ".join(problems[:MAX_TOLD]) + more)
    return accounts


def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and bool(_NAME.fullmatch(name))


def _account(name: str, entry: Any, rate: Any) -> tuple[Account, list[str]]:
    given: dict[str, SecretStr] = {}
    named: dict[str, str] = {}
    problems: list[str] = []
    if not _is_name(name):
        problems.append(f"its name must be 1 to {MAX_NAME} ASCII letters, digits, '_' or '-'")
    if name == DEFAULT:
        problems.append("is COMETCHAT_KEY and COMETCHAT_SECRET")
    if not isinstance(entry, dict):
        return Account(given, named), [*problems, "must be an object"]
    fields = dict(entry)
    for one in SECRETS:
        value, variable = fields.pop(one, None), fields.pop(f"{one}_env", None)
        if value is not None and variable is not None:
            problems.append(f"{one}: given twice, also as {one}_env")
        elif not all(isinstance(text, str | None) and text != "" for text in (value, variable)):
            problems.append(f"{one}: must be text, and not empty")
        elif value is not None:
            given[one] = Secret(trimmed("COMETCHAT_ACCOUNTS", value))
            problems += [] if fits_a_header(given[one]) else [f"{one}: {_UNFIT}"]
        elif variable is not None:
            named[one] = variable
        elif one in ("key", "secret"):
            problems.append(f"{one}: is missing")
    if len({"old_key", "old_secret"} & {*given, *named}) == 1:
        problems.append("old_key and old_secret: one is missing")
    limit = None
    try:
        limit = None if (text := fields.pop("rate_limit", None)) is None else float(rate(text))
    except (TypeError, ValueError):
        problems.append("rate_limit: must be such as 500/m or 20/s")
    # Their names may be secrets in the wrong place.
    problems += ["unknown field"] * bool(fields)
    return Account(given, named, limit), problems
