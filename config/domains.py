"""WEBHOOK_URL_ALLOW: the domains to which a company lets its chat go."""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
#: No address: the last part of one is a number.
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+$|0x){_LABEL}")


def read_domains(value: object) -> object:
    """The domains of a text that has commas between them. Raises `ValueError`."""
    if not isinstance(value, str):
        return value
    domains = [part.strip().lower() for part in value.split(",")]
    wrong = [at for at, domain in enumerate(domains, 1) if not _DOMAIN.fullmatch(domain)]
    if wrong:
        raise ValueError(
            f"number {', '.join(map(str, wrong[:20]))}: must be a domain such as example.com, "
            "which stands for all names below it, too; in punycode, without https:// and *"
        )
    return tuple(domains)
