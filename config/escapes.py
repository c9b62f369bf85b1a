"""What a text says once escapes in it are undone, whoever made them: JSON, Python, URLs, HTML."""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus


def undone(text: str, *, decode: bool = False) -> Iterator[str]:
    """The text with its escapes undone: backslashes, "%", HTML's "&"; one layer of each.

    Lines of base64, which is broken after 64 or 76 characters, are joined.

    Args:
        text: any.
        decode: whatever may be base64 of a text is decoded, too.
    """
    if decode:
        yield _BASE64.sub(_decoded, text)
    if "\n" in text:
        yield _joined(text)
    if "\\" in text:
        unescaped = _ESCAPE.sub(_meaning, text)
        # Two halves of a character, each escaped by itself.
        yield unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "%" in text:
        yield unquote(text)
        yield unquote_plus(text)
    if "&" in text:
        yield _REFERENCE.sub(_character, text)
        yield html.unescape(text)  # which knows names, and no control characters


_ENDS: Final = re.compile(r"[A-Za-z0-9+/_-]{64}\s*\Z")
_BEGINS: Final = re.compile(r"\s*[A-Za-z0-9+/=_-]")


def _joined(text: str) -> str:
    first, *lines = text.split("\n")
    parts, before = [first], first
    for line in lines:
        if _ENDS.search(before[-72:]) and _BEGINS.match(line):
            parts[-1] = parts[-1].rstrip()
            parts.append(line.lstrip())
        else:
            parts += ["\n", line]
        before = line
    return "".join(parts)


_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{4,}")


def _decoded(token: re.Match[str]) -> str:
    whole = token[0].replace("+", "-").replace("/", "_")
    try:
        return base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4)).decode()
    except ValueError:
        return token[0]


#: A character by its number, as HTML has it.
_REFERENCE: Final = re.compile(r"&#(?:[xX]([0-9a-fA-F]{1,6})|([0-9]{1,7}));?")


def _character(reference: re.Match[str]) -> str:
    number = int(reference[1], 16) if reference[1] else int(reference[2])
    return chr(number) if number <= sys.maxunicode else "?"


_ESCAPE: Final = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(.))", re.S
)
_NAMED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _meaning(escape: re.Match[str]) -> str:
    four, two, eight, other = escape.groups()
    if other is not None:
        return _NAMED.get(other, other)
    return chr(int(four or two or eight, 16))
