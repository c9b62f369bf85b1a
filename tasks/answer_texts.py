"""What is taken from a successful answer of CometChat's API, without the secrets of the call.

An API, or a gateway in between, may repeat what it was sent: a key, a password, in any field. What
the job has openly itself is no secret and is not searched, so that a short password which occurs
in a webhook's name is no reason to take the name for another.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeVar, cast

from pydantic import SecretStr

from config.scrub import REDACTED, Scrubber, Unsearchable, forms_of
from config.secrets import known_secrets
from tasks.triggers import KNOWN

#: Characters of unknown texts that are searched, in all of an answer: several times what an app's
#: 25 webhooks have. Of an answer with more, all of them are left out.
MAX_UNKNOWN: Final = 65_536

#: Digits of a secret from which on it is looked for in longer numbers, too.
LEAST_DIGITS: Final = 4

_PUBLIC: Final = frozenset(name for names in KNOWN.values() for name in names)

Taken = TypeVar("Taken")


def _no_password() -> None:
    """What a call has that is not a job's."""


class JobTexts(NamedTuple):
    """What a job brings into an answer.

    Args:
        own: texts that its record has openly.
        password: opens the webhook's password, if it has one that opens.
    """

    own: frozenset[str] = frozenset()
    password: Callable[[], SecretStr | None] = _no_password

    def secrets(self, credentials: Iterable[SecretStr], sent: Iterable[Any]) -> list[SecretStr]:
        """What a call's answer may repeat: the account's credentials, and the password, be it
        among the values that were sent or not.
        """
        passwords = [one for one in sent if isinstance(one, SecretStr)]
        if not passwords and (password := self.password()) is not None:
            passwords = [password]
        return [*credentials, *passwords]


def without_secrets(
    value: Taken, *, job: JobTexts, sent: Iterable[Any], credentials: Iterable[SecretStr]
) -> Taken:
    """What was read from an answer, a text with a secret of the call replaced by "[redacted]".

    Numbers that are a secret, or have one in them, are left out of the mapping in which they are.

    Args:
        value: texts, numbers and truth values, in lists and mappings; keys are the caller's.
        job: the job's texts and password.
        sent: the values of the fields that the call sent; secret ones are looked for.
        credentials: keys and secrets of the account.
    """
    sent = tuple(sent)
    own = {_plain(text) for text in job.own.union(one for one in sent if isinstance(one, str))}
    unknown = {text for text in _texts(value) if text not in _PUBLIC and _plain(text) not in own}
    if not unknown and not any(_numbers(value)):
        return value
    values = [secret.get_secret_value() for secret in job.secrets(credentials, sent)]
    shown = _redacted(unknown, values) if unknown else {}
    digits = [text for text in values if text.isdecimal()]
    return cast(Taken, _replaced(value, shown, digits))


def _plain(text: str) -> str:
    """The text as a server may tidy it: without regard to case, white space and a last slash."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip("/")


def _redacted(texts: Iterable[str], secrets: Collection[str]) -> dict[str, str]:
    """Those of the texts that have a secret, and what is shown of them.

    A short one is looked for where it stands alone: a letter is in each URL.
    """
    texts = tuple(texts)
    scrubbers = Scrubber(list(map(forms_of, secrets)), decode=True), known_secrets.all()
    together = "\n".join(texts)
    try:
        if len(together) > MAX_UNKNOWN:
            raise Unsearchable("too large")
        shown = {text: REDACTED for text in texts if text in secrets}
        if any(scrubber.finds(together) for scrubber in scrubbers):
            return {text: _cleaned(text, scrubbers) for text in texts} | shown
        return shown
    except Unsearchable:
        return dict.fromkeys(texts, REDACTED)


def _cleaned(text: str, scrubbers: Iterable[Scrubber]) -> str:
    for scrubber in scrubbers:
        text = scrubber.text(text)
    return text


def _is_secret(number: int, digits: Iterable[str]) -> bool:
    written = str(number)
    return any(one == written or (len(one) >= LEAST_DIGITS and one in written) for one in digits)


def _replaced(value: Any, shown: dict[str, str], digits: list[str]) -> Any:
    if isinstance(value, str):
        return shown.get(value, value)
    if isinstance(value, list):
        return [_replaced(one, shown, digits) for one in value]
    if isinstance(value, dict):
        return {
            name: _replaced(one, shown, digits)
            for name, one in value.items()
            if type(one) is not int or not _is_secret(one, digits)
        }
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, dict)):
        for one in value if isinstance(value, list) else value.values():
            yield from _leaves(one)
    else:
        yield value


def _texts(value: Any) -> Iterator[str]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, str))


def _numbers(value: Any) -> Iterator[bool]:
    return (True for leaf in _leaves(value) if type(leaf) is int)
