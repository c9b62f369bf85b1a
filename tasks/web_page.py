"""What a web page says that answers in the place of the API: a firewall's, a proxy's."""

from __future__ import annotations

import html
import re
from typing import Final

#: Bytes in which the title is looked for, and of the title itself.
MAX_HEAD: Final = 65_536
MAX_TITLE: Final = 4_096

_TITLE: Final = re.compile(rb"<title[^>]{0,200}>([^<]{1,%d})</title" % MAX_TITLE, re.IGNORECASE)


def title_of(body: bytes) -> str:
    """The title of an HTML page, empty if there is none; it may hold anything."""
    found = _TITLE.search(body[:MAX_HEAD])
    return html.unescape(found[1].decode(errors="replace")).strip() if found else ""
