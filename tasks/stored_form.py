"""Whether a webhook that the API shows is the one that it was sent, as the API may store it.

CometChat does not document how it stores what it is sent. An API may write a URL in its normal
form, trim a name or replace an emoji, and it is the same webhook all the same. Pure functions.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic_core import Url

#: What every answer about a webhook shows of it besides its id, so that it can be compared.
COMPARED: Final = ("name", "webhookURL")

#: Characters; no form of what may be asked for (255 of a URL, each escaped as HTML) is longer.
LONGEST: Final = 2_000

_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
#: RFC 3986, section 2.3: these mean the same, escaped or not.
_UNRESERVED: Final = re.compile("[A-Za-z0-9._~-]")
#: What an API may write in the place of an emoji: `:tada:` or `\ud83c\udf89`.
_REPLACEMENT: Final = re.compile(r":[a-z0-9_+-]+:|\\u[0-9a-f]{4}", re.IGNORECASE)
#: What a database with three bytes a character does not know: some cut the text off there.
_FOUR_BYTES: Final = re.compile("[\U00010000-\U0010ffff]")


def differing(asked: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """The fields that are shown with another value than was asked for.

    Args:
        asked: fields by their wire names. The `id` is not compared.
        shown: those of an answer; what it does not show is not compared.

    Returns:
        The names, in the order of `asked`. URLs are compared by their normal form (RFC 3986), other
        texts by theirs (NFKC), without white space around and with one space between words.
    """
    return [name for name in _shown(asked, shown) if not _is_same(name, asked[name], shown[name])]


def foreign(asked: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """The fields that are shown with a value that no API makes of what was asked for.

    A text may have lost its case, accents and all that is no letter or digit; a URL the slash at
    its end, or an escape. Takes and returns the same as `differing`, which has these names, too.
    """
    return [
        name for name in differing(asked, shown) if not _is_form(name, asked[name], shown[name])
    ]


#: How an API shows a user name that it does not show.
_HIDDEN: Final = re.compile(r"[*\u2022]|^\W*(redacted|hidden|masked)?\W*$", re.I)


def mark_of(shown: Mapping[str, Any]) -> str:
    """What tells a webhook with this name and URL from others: a digest, whatever their length."""
    return hashlib.sha256(json.dumps([shown.get(name) for name in COMPARED]).encode()).hexdigest()


def _shown(asked: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in asked if name in shown and name != "id")


def _is_same(name: str, asked: Any, shown: Any) -> bool:
    if asked == shown or not (isinstance(asked, str) and isinstance(shown, str)):
        return bool(asked == shown)
    if name == "webhookURL":
        return _normal_url(asked) == _normal_url(shown)
    return _normal_text(asked) == _normal_text(shown)


def _is_form(name: str, asked: Any, shown: Any) -> bool:
    if name == "username" and (shown is None or _HIDDEN.search(str(shown))):
        return True
    if not (isinstance(asked, str) and isinstance(shown, str)) or len(shown) > LONGEST:
        return False
    plain = html.unescape(shown)
    if name == "webhookURL":
        return _target(asked) in (_target(shown), _target(plain))
    has_replacements = _REPLACEMENT.search(plain) and not _REPLACEMENT.search(asked)
    known = _letters(_REPLACEMENT.sub("", plain) if has_replacements else plain)
    ascii_only = asked.encode("ascii", "ignore").decode()
    return known in {_letters(asked), _letters(ascii_only), _letters(_FOUR_BYTES.split(asked)[0])}


def _normal_url(url: str) -> str:
    """The same text for the same URL: case, default port, dots, punycode and escapes."""
    with suppress(ValueError):  # an API may show anything
        url = str(Url(url))
    return _ESCAPE.sub(_unescaped, url)


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _target(url: str) -> tuple[Any, ...]:
    """What is left of a URL if an API drops what seldom matters; the URL itself if it is none."""
    try:
        parts = urlsplit(_normal_url(url))
        query = sorted(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return (url,)
    host = parts.netloc.removesuffix(".")
    return parts.scheme, host, unquote(parts.path).rstrip("/"), tuple(query)


def _normal_text(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _letters(text: str) -> str:
    """Letters and digits alone, without case and accents."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))
