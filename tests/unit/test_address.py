"""Which hosts CometChat may be told to call."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.address import is_below, problem_with


def hosts_in(text: str) -> list[str]:
    return text.split()


LOOPBACK = int(ipaddress.IPv4Address("127.0.0.1"))


def punycode(label: str) -> str:
    return "xn--" + label.encode("punycode").decode()


NOT_PUBLIC = hosts_in(
    """
    127.0.0.1 127.255.255.254 127.0.0.1. 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1
    169.254.169.254 169.254.170.2 100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.192 192.0.0.9
    192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
    255.255.255.255
    [::] [::1] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:8.8.8.8]
    [::ffff:0:127.0.0.1]
    [64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [2002:7f00:1::] [2001:0:7f00:1::]
    [2001:db8::1] [3fff::1] [100::1] [fc00::1] [fd00:ec2::254] [fd20:ce::254] [fe80::1] [fec0::1]
    [ff02::1] [5f00::1] [1::] [::1%25eth0] [fe80::1%eth0] [nonsense] []
"""
)
NUMBERS = hosts_in(
    f"""
    {LOOPBACK} {LOOPBACK:#x} 0{LOOPBACK:o} 0X7F000001 127.1 127.0.1 127.0.0.01 0177.0.0.1
    0x7f.0.0.1 0x7f.1 0177.0x0.1 127.0.0.1.1 256.0.0.1 1.2.3 0 0x 0x. 00 999999999999 localhost.1
    8.8.8.8.0x8 1.1 16843009 example.0x7f 08.08.08.08
"""
)
INTERNAL = hosts_in(
    """
    localhost LOCALHOST localhost. a.localhost printer.local db.internal metadata.google.internal
    host.docker.internal nas.home.arpa router.lan x.corp y.home z.private w.intranet a.localdomain
    a.test a.invalid a.onion a.alt kubernetes.default.svc
    api.default.svc.cluster.local vault.service.consul
    1.0.0.127.in-addr.arpa intranet metadata x
"""
)
#: Digits and letters of full width, digits in circles, a ligature, a letter apart from its accent,
#: a dot, a slash, what is invisible, and nothing but ASCII.
LABELS = hosts_in(
    r"""
    \uff11\uff12\uff17 \uff4c\uff4fcalhost \u2460\u2461\u2466 \ufb01x e\u0301 a\u3002\xf6 a\u2044b
    loc\xadalh\xf6st \xf6\u200b \xf6\xa0 \xf6\ufe0f plain
    """
)
HIDDEN = [
    *(f"{punycode(label.encode().decode('unicode_escape'))}.com" for label in LABELS),
    *("xn--.com", "xn--a.com", "xn--99999999999.com", "a.xn--8g7ccp.com"),
]
PUBLIC = hosts_in(
    """
    example.com EXAMPLE.com example.com. shop.example.com xn--bcher-kva.example
    xn--strae-oqa.de xn--ls8h.la
    xn--fiqs8s.xn--fiqs8s under_score.example.com a--b.com local.example.com localhost.example.com
    internal.de test.com 127.0.0.1.example.com 1.com 0x7f.com 8.8.8.8 1.1.1.1.
    172.32.0.1 100.128.0.1 9.255.255.255
    192.0.1.1 223.255.255.255 [2606:4700::1111] [2a00:1450:4001:81b::200e] [2001:4860:4860::8888]
"""
)


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    assert "CometChat must reach it from the Internet" in (problem_with(host) or "")


@pytest.mark.parametrize("host", NUMBERS)
def test_a_number_that_somebody_may_read_as_an_address_is_refused(host: str) -> None:
    assert "write an IPv4 address as four decimal numbers" in (problem_with(host) or "")


@pytest.mark.parametrize("host", INTERNAL)
def test_a_name_of_a_network_of_ones_own_is_refused(host: str) -> None:
    assert "internal name" in (problem_with(host) or "")


@pytest.mark.parametrize("host", HIDDEN)
def test_what_punycode_hides_is_refused(host: str) -> None:
    assert "in punycode" in (problem_with(host) or "")


@pytest.mark.parametrize("host", ["a..b", "example..", "a.b..", f"{'x' * 64}.com", ".com"])
def test_what_is_no_name_is_refused(host: str) -> None:
    assert problem_with(host) == "must have a valid host and port after https://"


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_host_is_none_of_that(host: str) -> None:
    assert problem_with(host) is None


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """What the system's own reader makes of a host; it asks nobody."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), 443, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])


numbers = st.integers(0, 2**33).flatmap(
    lambda n: st.sampled_from([str(n), hex(n), f"0{n:o}", f"0X{n:x}", f"{n:012}", f"{n % 256}"])
)
spellings = st.one_of(
    st.lists(numbers, min_size=1, max_size=5).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.from_regex(r"\A[0-9a-fx.]{1,20}\Z"),
    st.from_regex(r"\A\[[0-9a-f:.]{1,25}\]\Z"),
)


@given(spellings, st.sampled_from(["", "."]))
def test_what_the_system_reads_as_an_address_is_public_or_refused(host: str, dot: str) -> None:
    address = address_of(host)
    if address is not None and problem_with(host + dot) is None:
        assert address.is_global and not address.is_multicast


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("example.com", True),
        ("EXAMPLE.Com.", True),
        ("a.b.example.com", True),
        ("example.org", True),
        ("badexample.com", False),
        ("example.com.evil.org", False),
        ("com", False),
        ("8.8.8.8", False),
        ("[2606:4700::1111]", False),
        ("", False),
    ],
)
def test_a_domain_stands_for_all_names_below_it(host: str, is_so: bool) -> None:
    assert is_below(host, ("example.com", "example.org")) is is_so
