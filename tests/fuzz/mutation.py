"""Cases made of good ones: each is changed in some places, as a fuzzer does it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

#: Bytes that a case may grow to.
LARGEST: Final = 200_000

#: What breaks parsers, and what an attacker would try.
TOKENS: Final = (
    *(b"\x00", b"\r\n", b"\n", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80"),
    *(
        b"\x1b[2J",
        b"\\ud800",
        b"\\u0000",
        b"\\u202e",
        b"\xe2\x80\xa8",
        b"\xf0\x9f\x92\xa9",
        b"\xd9\xa3",
    ),
    *(b"%2f", b"%2e%2e", b"../", b"..", b"%00", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0"),
    *(b"-1", b"0x10", b"1_0", b"null", b"true", b"2147483648", b"9223372036854775808"),
    *(b"9" * 400, b"9" * 5_000, b"1e" + b"9" * 20, b"1e300", b"-1e300", b"0.0", b"1" * 20),
    *(b"[", b"]", b"{", b"}", b'"', b",", b":", b";", b"|", b"'", b'""', b"[]", b"{}"),
    *(b"[" * 3_000, b'{"a":' * 3_000, b'[{"":' * 1_000, b'"' + b"\\" * 99),
    *(b"=cmd|' /C calc'!A0", b"@SUM(1)", b"+1", b"\t", b",,,", b"," * 5_000, b'"a\nb"'),
    *(b"https://127.0.0.1", b"https://[::1]", b"@evil.org", b"__type__", b"__class__"),
    *(b"{0.__class__}", b"[red]", b"[/]", b"[link=file:///etc/passwd]", b"%s%n", b"$(id)"),
)

Change = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def mutations(corpus: Sequence[bytes], seed: int, count: int) -> Iterator[bytes]:
    """So many cases, of which the first are the good ones themselves."""
    chance = random.Random(seed)
    yield from corpus[:count]
    for _ in range(count - len(corpus)):
        case = chance.choice(corpus)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
            case = chance.choice(_CHANGES)(chance, case, corpus)[:LARGEST]
        yield case


def _place(chance: random.Random, data: bytes) -> tuple[int, int]:
    """The start and the end of a part, mostly a short one."""
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((0, 1, 1, 2, 4, 8, 16, 64, len(data))))


def _flip(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _delete(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _place(chance, data)
    return data[:start] + data[end:]


def _repeat(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _place(chance, data)
    times = chance.choice((2, 2, 3, 10, 100, 3_000))
    return data[:start] + (data[start:end] * times)[:LARGEST] + data[end:]


def _insert(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, _end = _place(chance, data)
    return data[:start] + chance.choice(TOKENS) + data[start:]


def _replace(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _place(chance, data)
    return data[:start] + chance.choice(TOKENS) + data[end:]


def _scramble(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _place(chance, data)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _splice(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = chance.choice(corpus)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _token_for_value(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A token in the place of what stands between two marks, as a JSON value or a cell does."""
    marks = [at for at, byte in enumerate(data[:4_000]) if byte in b',:"{}[]\n=&;']
    if len(marks) < 2:
        return data
    at = chance.randrange(len(marks) - 1)
    return data[: marks[at] + 1] + chance.choice(TOKENS) + data[marks[at + 1] :]


_CHANGES: Final[Sequence[Change]] = (
    *(_flip, _delete, _repeat, _insert, _insert, _replace, _scramble, _splice),
    *(_token_for_value, _token_for_value),
)
