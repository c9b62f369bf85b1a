"""Takes known secrets out of texts and nested values, by value and in each form they may have.

The forms are the secret itself, its base64 (standard and URL-safe, wherever in it the secret
begins), hexadecimal, URL-encoded, JSON- and HTML-escaped ones, in upper and lower case alike, and
the base64 of what was escaped before. What is escaped in other ways than these (`%6D`, `\\u006d`,
`&#109;`, several times over) is found too; then the whole text is left out.

A secret of fewer than `LONG` characters occurs by chance: it is taken out as it is alone, and only
where no letter or digit stands beside it; with fewer than `LEAST`, not at all.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus
from uuid import UUID

from config.escapes import undone

#: What stands in the place of a secret.
REDACTED: Final = "[redacted]"
#: Characters from which on a secret, or a form of it, is looked for anywhere.
LONG: Final = 6
#: Characters from which on a shorter one is looked for where it stands alone.
LEAST: Final = 3
#: Characters of an encoded secret, where it is looked for however short it is.
LEAST_ENCODED: Final = 4
#: So often one in the other are escapes undone.
MAX_LAYERS: Final = 3
#: With more secrets than this, all of a text is left out.
MAX_FOUND: Final = 10_000
MAX_DEPTH: Final = 50  # of lists and mappings in each other
MAX_VALUES: Final = 50_000  # Sentry's largest events have some thousands
MAX_CHARACTERS: Final = 2**20  # Sentry takes no larger events


#: How Redis says that it does not know a command; HELLO comes with the password.
_ARGUMENTS: Final = re.compile(r",? with args beginning with:.*")


def without_arguments(text: str) -> str:
    """What a Redis server said, without the command's arguments that it repeats."""
    return _ARGUMENTS.sub("", text)


class Unsearchable(Exception):
    """Something is too deep, too large or of a kind that cannot be looked into."""


class Forms(NamedTuple):
    """What is looked for: folded texts anywhere, and a short secret where it stands alone."""

    anywhere: tuple[str, ...]
    alone: re.Pattern[str] | None = None


def forms_of(secret: str, *, long: int = LONG) -> Forms:
    """The forms in which a secret may come; `long` is from how many characters on anywhere."""
    if len(secret) < long or not secret:
        if len(secret) < LEAST:
            return Forms(())
        return Forms((), re.compile(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])"))
    folded = {form.casefold() for form in _encoded(secret)}
    itself = secret.casefold()
    least = min(LONG, max(long, LEAST_ENCODED))
    return Forms(tuple(sorted(form for form in folded if len(form) >= least or form == itself)))


def _encoded(secret: str) -> Iterator[str]:
    data = secret.encode(errors="surrogatepass")
    yield from (secret.replace(" ", "+"), data.decode("latin-1"))  # as bytes are shown
    yield from (repr(secret)[1:-1], repr(data)[2:-1])
    # As who takes it for an encoded text shows it.
    yield from (unquote(secret), unquote_plus(secret), html.unescape(secret))
    for text in {secret, *_escaped(secret, data)}:
        yield from (text, *_as_bytes(text.encode(errors="surrogatepass")))


def _escaped(secret: str, data: bytes) -> Iterator[str]:
    for ascii_alone in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_alone)[1:-1]
    for safe in ("", "/", "!'()*~"):
        yield from (quote(data, safe), quote_plus(data, safe))
    yield from (html.escape(secret), html.escape(secret, quote=False))
    yield html.escape(secret).replace("&#x27;", "&#39;")


def _as_bytes(data: bytes) -> Iterator[str]:
    yield data.hex()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode()
        for offset in range(3):
            # 3 bytes become 4 characters: what comes before, such as "user:", shifts the rest.
            shifted = bytes(offset) + data
            whole = slice(-(-offset * 8 // 6), len(shifted) * 8 // 6)
            yield encode(shifted).decode()[whole]


class Scrubber:
    """Takes secrets out of what it is given. Made at no cost, from forms that are made once.

    Args:
        known: the forms of each secret.
        decode: look into whatever may be base64, too: for secrets that are too short to be found
            in it by a form.
    """

    def __init__(self, known: Sequence[Forms], *, decode: bool = False) -> None:
        self._known = known
        self._decode = decode

    def finds(self, text: str) -> bool:
        """Whether any of the secrets is in the text. Raises `Unsearchable`."""
        return any(self._is_in(view) for view in _views(text, self._decode))

    def text(self, text: str) -> str:
        """The text with `REDACTED` in the place of each secret. Raises `Unsearchable`."""
        if not self.finds(text):
            return text
        folded = text.casefold()
        if len(folded) == len(text):  # so that each character is where it was
            spans = list(islice(self._spans(text, folded), MAX_FOUND + 1))
            cleaned = _cut(text, spans)
            if len(spans) <= MAX_FOUND and not self.finds(cleaned.replace(REDACTED, "\0")):
                return cleaned
        return REDACTED

    def value(
        self,
        value: Any,
        *,
        keep: Set[str] = frozenset(),
        show: Callable[[object], str] | None = None,
    ) -> Any:
        """A copy of a nested value without the secrets, in keys as in values.

        Args:
            value: of mappings, lists, texts, bytes, numbers and instants.
            keep: keys that stay as they are, as they are part of a format.
            show: turns everything else into a text.

        Raises:
            Unsearchable: it is too deep, too large or holds something else and there is no `show`.
        """
        return _Walk(self, keep, show).copy(value, 0)

    def _is_in(self, text: str) -> bool:
        folded = text.casefold()
        for anywhere, alone in self._known:
            for form in anywhere:
                if form in folded:
                    return True
            if alone is not None and alone.search(text):
                return True
        return False

    def _spans(self, text: str, folded: str) -> Iterator[tuple[int, int]]:
        for anywhere, alone in self._known:
            for form in anywhere:
                start = folded.find(form)
                while start >= 0:
                    yield start, start + len(form)
                    start = folded.find(form, start + 1)
            if alone is not None:
                yield from (found.span() for found in alone.finditer(text))


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts, done = [], 0
    for start, end in _merged(spans):
        parts += [text[done:start], REDACTED]
        done = end
    return "".join((*parts, text[done:]))


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _views(text: str, decode: bool) -> Iterator[str]:
    """The text, and what it says with escapes undone."""
    if len(text) > MAX_CHARACTERS:
        raise Unsearchable("too large")
    yield text
    if not decode and not any(mark in text for mark in "\\%&\n"):
        return
    left = 2 * MAX_CHARACTERS  # or a text made to be slow took seconds
    seen, pending = {text}, [(text, 0)]
    while pending:
        one, layer = pending.pop()
        for view in undone(one, decode=decode) if layer < MAX_LAYERS else ():
            if view not in seen:
                if (left := left - len(view)) < 0:
                    raise Unsearchable("too large")
                seen.add(view)
                pending.append((view, layer + 1))
                yield view


#: Are what they are written as.
_PLAIN: Final = (date, timedelta, Decimal, UUID)


class _Walk:
    """One copy under way."""

    def __init__(
        self, scrubber: Scrubber, keep: Set[str], show: Callable[[object], str] | None
    ) -> None:
        self._scrubber = scrubber
        self._keep = keep
        self._show = show
        self._values_left, self._characters_left = MAX_VALUES, MAX_CHARACTERS

    def copy(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Unsearchable("too deep")
        self._values_left -= 1
        if self._values_left < 0:
            raise Unsearchable("too large")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, (int, float)):
            kind: type[int | float] = int if isinstance(value, int) else float
            return self._as_written(kind(value), kind.__repr__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(value))
        if isinstance(value, dict):
            items = dict.items(value)
            return {self._key(key): self.copy(one, depth + 1) for key, one in items}
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            copies = [self.copy(one, depth + 1) for one in value]
            return tuple(copies) if isinstance(value, tuple) else copies
        if isinstance(value, _PLAIN):
            return self._as_written(value, str(value))
        if self._show is None:
            raise Unsearchable("of an unknown kind")
        return self._text(self._show(value))

    def _key(self, key: Any) -> Any:
        if isinstance(key, str):
            return key if key in self._keep else self._text(str.__str__(key))
        return self.copy(key, MAX_DEPTH)  # which is no list or mapping

    def _as_written(self, value: Any, text: str) -> Any:
        return value if self._text(text) == text else REDACTED

    def _bytes(self, data: bytes) -> bytes:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            pass
        else:
            return self._text(text).encode()
        if self._scrubber.finds(data.decode(errors="replace")):
            return REDACTED.encode()
        return self._text(data.decode("latin-1")).encode("latin-1")

    def _text(self, text: str) -> str:
        self._characters_left -= len(text)
        if self._characters_left < 0:
            raise Unsearchable("too large")
        return self._scrubber.text(text)
