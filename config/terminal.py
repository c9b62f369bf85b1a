"""Standard output and error of a command: what they cannot show is written as an escape.

A terminal or a pipe may be of an encoding that lacks a character of a webhook's name, and a name
from a command line may have bytes that are no text. `\\u2192` stands for what cannot be shown.
"""

from __future__ import annotations

import codecs
import io
import sys
from functools import cache
from typing import Final

#: ASCII by another name: click takes a stream for misconfigured that says it is of ASCII, and
#: writes UTF-8 to it.
_ESCAPED_ASCII: Final = "escaped_ascii"


def escape_what_cannot_be_shown() -> None:
    """Change this process's standard output and error, for a command and not for a library."""
    _register()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none if it was closed, another in a test
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            encoding = _ESCAPED_ASCII if is_ascii else stream.encoding
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


@cache
def _register() -> None:
    codecs.register(_found)


def _found(name: str) -> codecs.CodecInfo | None:
    if name != _ESCAPED_ASCII:
        return None
    ascii_ = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii_.encode,
        ascii_.decode,
        streamreader=ascii_.streamreader,
        streamwriter=ascii_.streamwriter,
        incrementalencoder=ascii_.incrementalencoder,
        incrementaldecoder=ascii_.incrementaldecoder,
        name=name,
    )
