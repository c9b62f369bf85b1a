"""Whether a URL's host may be where CometChat delivers a customer's messages: pure functions.

CometChat calls it from its own network: an address or name that leads to this company's, to
CometChat's own or to nowhere is no place for chat. No name is looked up: to what a public name
leads, its owner may change at any time. WEBHOOK_URL_ALLOW is for those who want to be sure.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

#: Names that mean something in a network of one's own alone: RFC 6761, RFC 6762 (appendix G),
#: RFC 8375, RFC 9476, ICANN's `internal`, and those of Kubernetes and Consul.
INTERNAL: Final = frozenset(
    {
        "local",
        "localhost",
        "localdomain",
        "internal",
        "intranet",
        "private",
        "corp",
        "home",
        "lan",
        "arpa",
        "test",
        "invalid",
        "onion",
        "alt",
        "svc",
        "consul",
    }
)

#: IANA calls these public, or says nothing of them, and they are not for everybody.
_RESERVED_V4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "192.0.0.0/24",  # protocols; Oracle's metadata are at .192
            "192.88.99.0/24",  # relays of 6to4, given up
            "168.63.129.16/32",  # what Azure's machines ask for their metadata
        ),
    )
)
#: Whatever is public in IPv6 is in here: no mapped, translated (NAT64), local or multicast one is.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_RESERVED_V6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols, Teredo among them: its addresses hold IPv4 ones
            "2001:db8::/32",  # examples
            "2002::/16",  # 6to4: its addresses hold IPv4 ones
            "3fff::/20",  # examples
        ),
    )
)

#: What readers of URLs take for a part of an IPv4 address: decimal, octal or hexadecimal.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Besides controls and spaces: what RFC 5892 calls ignorable, and what looks like a dot or a slash.
_OVERLOOKED: Final = re.compile("[\u034f\u115f\u1160\u3164\ufe00-\ufe0f\u3002\u2044\u2215]")
_JOINERS: Final = "\u200c\u200d"  # of letters, in Persian and Hindi
_MAX_LABEL: Final = 63  # characters; RFC 1035

_NOT_PUBLIC: Final = (
    "its host is this machine, in a private network or reserved: CometChat must reach it from "
    "the Internet"
)


def problem_with(host: str) -> str | None:
    """Why CometChat must not call a host, nothing if it may.

    Args:
        host: of a URL, without the port: a name, an IPv4 address or an IPv6 address in brackets.
            ASCII, and nothing of it percent-encoded.
    """
    if host.startswith("["):
        return _NOT_PUBLIC if not _is_public_v6(host[1:-1]) else None
    labels = _labels(host)
    if not all(0 < len(label) <= _MAX_LABEL for label in labels):
        return "must have a valid host and port after https://"
    if _NUMBER.fullmatch(labels[-1]):
        return _problem_with_numbers(".".join(labels))
    if labels[-1] in INTERNAL or len(labels) == 1:
        return (
            "its host is an internal name, such as localhost, printer.local or one without a dot: "
            "CometChat must reach it from the Internet"
        )
    if not all(map(_is_spelt_out, labels)):
        return "its host has a part in punycode that is none, or stands for another spelling"
    return None


def is_below(host: str, domains: Iterable[str]) -> bool:
    """Whether a host is one of the domains, which are in lower case, or a name below one."""
    labels = _labels(host)
    return any(labels[-len(of) :] == of for of in (domain.split(".") for domain in domains))


def _labels(host: str) -> list[str]:
    """The parts of a name; the dot at its end says nothing."""
    return host.lower().removesuffix(".").split(".")


def _problem_with_numbers(host: str) -> str | None:
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return "its host is a number: write an IPv4 address as four decimal numbers, a.b.c.d"
    reserved = any(address in network for network in _RESERVED_V4)
    return None if address.is_global and not address.is_multicast and not reserved else _NOT_PUBLIC


def _is_public_v6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address in _PUBLIC_V6 and not any(address in network for network in _RESERVED_V6)


def _is_spelt_out(label: str) -> bool:
    """Whether a label is what it seems: punycode may hide digits and letters of other widths.

    Some readers would make ASCII of these, and another host of the name.
    """
    if not label.startswith("xn--"):
        return True
    try:
        text = label.removeprefix("xn--").encode("ascii").decode("punycode")
    except (UnicodeError, OverflowError):
        return False
    plain = unicodedata.normalize("NFKC", text).lower()
    return text == plain and not text.isascii() and not any(map(_is_overlooked, text))


def _is_overlooked(character: str) -> bool:
    """Whether some reader takes a character for nothing, or for the end of a label or host."""
    if unicodedata.category(character)[0] in "CZ":
        return character not in _JOINERS
    return bool(_OVERLOOKED.fullmatch(character))
