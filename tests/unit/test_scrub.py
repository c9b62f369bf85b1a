"""Known secrets are taken out of whatever is given, in each form; what is none stays."""

from __future__ import annotations

import base64
import html
import json
import random
import string
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.scrub import (
    LONG,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_VALUES,
    REDACTED,
    Scrubber,
    Unsearchable,
    forms_of,
)


def scrubber(*secrets: str) -> Scrubber:
    return Scrubber([forms_of(secret) for secret in secrets])


def in_base64(
    encode: Callable[[bytes], bytes], before: int, escape: Callable[[str], str] = str
) -> Callable[[str], str]:
    return lambda secret: encode(b"u" * before + escape(secret).encode() + b"tail").decode()


FORMS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "upper case": str.upper,
    "json": lambda secret: json.dumps(secret),
    "json in utf-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "json in json": lambda secret: json.dumps(json.dumps({"a": secret})),
    "json in json in json": lambda secret: json.dumps(json.dumps(json.dumps([secret]))),
    "repr": repr,
    "repr of bytes": lambda secret: repr(secret.encode()),
    "latin-1": lambda secret: secret.encode().decode("latin-1"),
    "all as \\u": lambda secret: "".join(
        f"\\u{int.from_bytes(unit, 'big'):04x}"
        for unit in map(bytes, zip(*[iter(secret.encode("utf-16-be"))] * 2, strict=True))
    ),
    "all as \\x": lambda secret: "".join(f"\\x{byte:02x}" for byte in secret.encode()),
    "quote": lambda secret: quote(secret, ""),
    "quote but slashes": quote,
    "quote_plus": quote_plus,
    "quote in lower case": lambda secret: quote(secret, "").lower(),
    "all percent-encoded": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "quoted twice": lambda secret: quote(quote(secret, ""), ""),
    "quoted in json": lambda secret: json.dumps(f"/?q={quote(secret)}"),
    "html": html.escape,
    "html but quotes": lambda secret: html.escape(secret, quote=False),
    "html twice": lambda secret: html.escape(html.escape(secret)),
    "all as html numbers": lambda secret: "".join(f"&#{ord(one)};" for one in secret),
    "all as html hex numbers": lambda secret: "".join(f"&#x{ord(one):X};" for one in secret),
    "html in json": lambda secret: json.dumps(f"<p>{html.escape(secret)}</p>"),
    "quoted in html": lambda secret: html.escape(f"/?a=1&q={quote_plus(secret)}"),
    "json in base64": in_base64(base64.b64encode, 2, lambda secret: json.dumps(secret)),
    "html in base64": in_base64(base64.b64encode, 1, html.escape),
    "quoted in base64": in_base64(base64.urlsafe_b64encode, 0, lambda secret: quote(secret, "")),
    "base64 without its end": lambda secret: base64.b64encode(secret.encode()).decode().strip("="),
    "base64 quoted": lambda secret: quote(base64.b64encode(secret.encode()).decode(), ""),
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
    **{
        f"{encode.__name__} after {before}": in_base64(encode, before)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
        for before in range(3)
    },
}

PLACES: dict[str, Callable[[str], Any]] = {
    "value": lambda text: {"a": [{"b": text}]},
    "key": lambda text: {"a": {text: 1}},
    "bytes": lambda text: [text.encode()],
    "tuple and set": lambda text: ({text},),
    "within a text": lambda text: [f"<{text}>"],
    "at the end of much": lambda text: ["x" * 5_000 + " " + text],
}

#: No secret can be told from what is around it if it is of one or two characters again and again.
SECRETS = st.one_of(
    st.text(string.ascii_letters + string.digits + "-_", min_size=12, max_size=48),
    st.text(string.printable, min_size=12, max_size=40),
    st.text(st.characters(codec="utf-8", max_codepoint=0x1FFFF), min_size=12, max_size=30),
).filter(lambda secret: len(set(secret)) >= 8 and REDACTED not in secret)


def shown(value: Any) -> str:
    """All texts in it, as they are."""
    if isinstance(value, dict):
        return "\n".join(shown(one) for pair in value.items() for one in pair)
    if isinstance(value, (list, tuple, set)):
        return "\n".join(map(shown, value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def least_of(form: str, secret: str) -> str:
    """What of a form would tell the secret, whatever stands around it."""
    written = FORMS[form](secret)
    # The ends of base64 are mixed with what comes before and after.
    return written[4:-8] if "base64" in form or "b64" in form else written


@pytest.mark.parametrize("columns", [64, 76])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\\n", "%0A"])
def test_base64_that_is_broken_into_lines_is_found(columns: int, end: str) -> None:
    secret = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=64))
    whole = base64.b64encode(f"shop:{secret}".encode()).decode()
    broken = end.join(whole[at : at + columns] for at in range(0, len(whole), columns))
    told = shown(scrubber(secret).value({"a": f"Basic {broken} it was"}))
    assert whole[8:40] not in told


@pytest.mark.parametrize(
    ("secret", "as_shown"),
    [
        ("top+secret/42Zq", "top secret/42Zq"),
        ("top%41secret/42Zq", "topAsecret/42Zq"),
        ("top&amp;secret/42Zq", "top&secret/42Zq"),
    ],
)
def test_one_that_was_taken_for_an_encoded_text_is_found(secret: str, as_shown: str) -> None:
    assert as_shown not in scrubber(secret).text(f"it was {as_shown}.")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=50)
@given(secret=SECRETS, place=st.sampled_from(sorted(PLACES)))
def test_a_secret_is_gone_in_any_form_at_any_place(form: str, secret: str, place: str) -> None:
    given = PLACES[place](FORMS[form](secret))
    # Upper case may be another text: "ß" becomes "SS".
    left = shown(scrubber("other-secret", secret).value(given))
    assert least_of(form, secret) not in left
    assert REDACTED in left


ORDINARY = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.binary()
    ),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=30,
)


@given(ORDINARY)
def test_what_is_no_secret_stays(value: Any) -> None:
    left = scrubber("4711-no-one-says-this", "Zx9%-nor/this+").value(value)
    assert repr(left) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-26T04:53:26+00:00 100% of C:\\new\\users\\x",
        "%zz %",
        "\\",
        datetime(2026, 11, 26, tzinfo=UTC),
        Decimal("1.5"),
        {1: "a", None: "b"},
        "\ud800 alone",
        b"\xff\x00",
    ],
)
def test_so_does_what_looks_like_an_escape_or_is_no_text(value: Any) -> None:
    assert scrubber("4711-no-one-says-this").value(value) == value


def test_the_rest_of_a_text_stays() -> None:
    told = "user=chat&password=abc%2Fdef%2Bghi, again abc/def+ghi: refused"
    assert scrubber("abc/def+ghi").text(told) == (
        f"user=chat&password={REDACTED}, again {REDACTED}: refused"
    )


def test_secrets_that_overlap_are_gone_whole() -> None:
    assert scrubber("abcdefgh", "fghijklm").text("<abcdefghijklm>") == f"<{REDACTED}>"
    assert scrubber("aaaaaa").text("aaaaaaa") == REDACTED


def test_a_number_that_is_a_secret_is_gone() -> None:
    assert scrubber("471147114711").value([471147114711, 4711, 1.5]) == [REDACTED, 4711, 1.5]


def test_a_text_whose_capitals_are_longer_is_left_out_as_a_whole() -> None:
    assert scrubber("straße-4711").text("it is STRASSE-4711") == f"it is {REDACTED}"
    assert scrubber("strasse-4711").text("it is straße-4711") == REDACTED


def test_bytes_that_are_no_text_are_searched_as_far_as_they_are() -> None:
    assert scrubber("schlüssel-4711").value("\xff schlüssel-4711".encode("latin-1")) == (
        f"\xff {REDACTED}".encode("latin-1")
    )
    assert scrubber("schlüssel-4711").value(b"\xff" + "SCHLÜSSEL-4711".encode()) == (
        REDACTED.encode()
    )


class TestShortSecrets:
    def test_are_gone_where_they_stand_alone(self) -> None:
        assert LONG == 6
        assert scrubber("abc12").text("redis://:abc12@h") == f"redis://:{REDACTED}@h"
        assert scrubber("abc").value({"abc": ["abc", "'abc'"]}) == {
            REDACTED: [REDACTED, f"'{REDACTED}'"]
        }

    @pytest.mark.parametrize("text", ["xabc12", "abc123", "ABC12", "abc_12"])
    def test_stay_within_words(self, text: str) -> None:
        assert scrubber("abc12").text(text) == text

    @pytest.mark.parametrize("secret", ["", "a", "ab"])
    def test_of_two_characters_make_nothing_unreadable(self, secret: str) -> None:
        assert scrubber(secret).text("a line: ab a, b") == "a line: ab a, b"


class Strange:
    def __init__(self, words: str = "strange") -> None:
        self.words = words

    def __repr__(self) -> str:
        if not self.words:
            raise RuntimeError("no words")
        return self.words


class Lying(dict[str, Any]):
    def items(self) -> Any:
        return {}.items()


class LyingText(str):
    def __str__(self) -> str:
        return "harmless"

    def casefold(self) -> str:
        return "harmless"


class TestWhatCannotBeSearched:
    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 10_000])
    def test_too_deep(self, depth: int) -> None:
        value: Any = "x"
        for _ in range(depth):
            value = [value]
        with pytest.raises(Unsearchable, match="too deep"):
            scrubber("4711-4711").value(value)

    def test_in_itself(self) -> None:
        value: list[Any] = []
        value.append(value)
        with pytest.raises(Unsearchable, match="too deep"):
            scrubber("4711-4711").value(value)

    @pytest.mark.parametrize(
        "value", [[0] * MAX_VALUES, "x" * (MAX_CHARACTERS + 1), ["x" * 2**19] * 3]
    )
    def test_too_large(self, value: Any) -> None:
        with pytest.raises(Unsearchable, match="too large"):
            scrubber("4711-4711").value(value)

    @pytest.mark.parametrize(
        "escape", ["\\\\", "%25", "\\u005c", "%5C", "\\%25+", "\\%2525+\\u0025"]
    )
    def test_nested_escapes_do_not_take_for_ever(self, escape: str) -> None:
        started = time.process_time()
        known = scrubber(*(f"secret-number-{number}" for number in range(20)))
        with suppress(Unsearchable):
            known.text(escape * (MAX_CHARACTERS // len(escape)))
        assert time.process_time() - started < 1

    def test_neither_does_nothing_but_secrets(self) -> None:
        tracemalloc.start()
        known = Scrubber([forms_of("a", long=1)])
        assert known.text("a" * MAX_CHARACTERS) == REDACTED
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        tracemalloc.stop()

    def test_strange_objects_are_refused_or_shown(self) -> None:
        known = scrubber("4711-4711")
        with pytest.raises(Unsearchable, match="kind"):
            known.value([Strange()])
        assert known.value([Strange("has 4711-4711")], show=repr) == [f"has {REDACTED}"]
        with pytest.raises(RuntimeError):
            known.value([Strange("")], show=repr)

    def test_objects_that_lie_of_their_contents_hide_nothing(self) -> None:
        known = scrubber("4711-4711")
        assert known.value(Lying(a="4711-4711")) == {"a": REDACTED}
        assert known.value([LyingText("4711-4711")]) == [REDACTED]
        assert type(known.value(LyingText("x"))) is str


def test_keys_of_a_format_stay() -> None:
    assert scrubber("exception").value({"exception": "exception"}, keep={"exception"}) == {
        "exception": REDACTED
    }
