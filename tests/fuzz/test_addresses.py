"""Whatever a webhook's URL is, it is refused or leads to what can be a public host."""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from hypothesis import strategies as st
from urllib3.util import parse_url

from tasks.address import INTERNAL
from tasks.destination import check_allowed, checked_url
from tasks.errors import InvalidInput
from tests.fuzz.harness import SEED, explore, run, share
from tests.fuzz.mutation import mutations

DOMAINS: Final = ("example.com", "example.org")
GOOD: Final = (
    *("https://shop.example.com/hook?tenant=7", "https://EXAMPLE.org.:8443/", "https://8.8.8.8/x"),
    *("https://[2606:4700::1111]:443/", "https://xn--bcher-kva.example/", "https://127.0.0.1/"),
    *(
        "https://0x7f.1/",
        "https://2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "https://017700000001",
    ),
    *("https://localhost/", "https://printer.local./", "https://169.254.169.254/latest/meta-data"),
    *("https://user:pass@example.com/", "https://example.com\\@evil.org/", "https://①②⑦.⓪.⓪.①/"),
    *("https://[fe80::1%25eth0]/", "https://127.0.0.1.nip.io/", "https://a.example.com#@evil.org"),
)


def hosts_of(url: str) -> Iterator[str]:
    """What different readers of URLs make of the host."""
    for read in (lambda: urlsplit(url).hostname, lambda: parse_url(url).host):
        host = read()
        assert host is not None
        yield host.strip("[]").lower()


def look(url: str) -> None:
    try:
        checked_url(url)
    except ValueError as refused:
        assert len(str(refused)) < 500
        return
    assert len({*hosts_of(url)}) == 1, "two readers see two hosts"
    for host in hosts_of(url):
        name = host.removesuffix(".")
        assert (name.isascii() and "." in name) or ":" in name
        assert name.rpartition(".")[2] not in INTERNAL
        try:
            # The system's own reader of addresses; it asks nobody.
            [found, *_] = socket.getaddrinfo(host, 443, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            continue
        address = ipaddress.ip_address(str(found[4][0]).partition("%")[0])
        assert address.is_global and not address.is_multicast
    try:
        check_allowed(url, "orders", DOMAINS)
    except InvalidInput:
        return
    assert all(
        f".{name.removesuffix('.')}".endswith((".example.com", ".example.org"))
        for name in hosts_of(url)
    )


def test_any_url_is_refused_or_public() -> None:
    cases = mutations([url.encode() for url in GOOD], SEED, share(0.16))
    run("addresses", (case.decode(errors="replace") for case in cases), look)


def as_number(number: int, chance: random.Random) -> str:
    forms = (
        str(number),
        hex(number),
        f"0{number:o}",
        f"0X{number:X}",
        f"00{number:o}",
        f"{number:04}",
    )
    return chance.choice(forms)


@st.composite
def spelt(draw: st.DrawFn) -> str:
    """An address, mostly one that is not public, in any notation that somebody reads."""
    chance = draw(st.randoms(use_true_random=False))
    packed = draw(st.one_of(st.ip_addresses(v=4), st.sampled_from(PRIVATE))).packed
    count = draw(st.integers(1, 4))
    head, tail = packed[: count - 1], int.from_bytes(packed[count - 1 :], "big")
    host = ".".join(as_number(number, chance) for number in (*head, tail))
    if draw(st.booleans()):
        v4 = ipaddress.IPv4Address(packed)
        host = chance.choice(
            (
                f"[::ffff:{v4}]",
                f"[64:ff9b::{v4}]",
                f"[::{v4}]",
                f"[2002:{packed.hex(':', 2)}::]",
                str(v4),
            )
        )
    return f"https://{host}{draw(st.sampled_from(['', '.', ':443', '/x', './']))}"


PRIVATE: Final = [
    *map(ipaddress.IPv4Address, ("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254")),
    *map(ipaddress.IPv4Address, ("100.64.0.1", "0.0.0.0", "224.0.0.1")),
]


def test_an_address_in_any_notation_is_public_or_refused() -> None:
    explore("addresses (spelt)", spelt(), look, share(0.04))
