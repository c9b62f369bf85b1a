"""What an API may make of a name and a URL, and what it does not."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stored_form import LONGEST, differing, foreign, mark_of

#: The same: nothing is said of it.
SAME_URLS = [
    ("https://Shop.Example.COM/hook", "https://shop.example.com/hook"),
    ("HTTPS://shop.example.com/hook", "https://shop.example.com/hook"),
    ("https://shop.example.com:443/hook", "https://shop.example.com/hook"),
    ("https://shop.example.com", "https://shop.example.com/"),
    ("https://shop.example.com/a/../hook", "https://shop.example.com/hook"),
    ("https://shop.example.com/%7Eorders", "https://shop.example.com/~orders"),
    ("https://shop.example.com/%c3%bc", "https://shop.example.com/%C3%BC"),
    ("https://shop.example.com/%C3%BC", "https://shop.example.com/ü"),
    ("https://xn--bcher-kva.example/hook", "https://bücher.example/hook"),
    ("https://[2001:DB8:0::1]/hook", "https://[2001:db8::1]/hook"),
]
SAME_NAMES = [
    ("Orders ", "Orders"),
    ("  Orders  of\u00a0today ", "Orders of today"),
    ("Caf\u00e9", "Cafe\u0301"),
    ("Cafe\u0301", "Caf\u00e9"),
    ("\uff2frders", "Orders"),
    ("o\ufb03ce", "office"),
]
#: A form of it, which is named.
URL_FORMS = [
    ("https://shop.example.com/hook/", "https://shop.example.com/hook"),
    ("https://shop.example.com/hook", "https://shop.example.com/hook/"),
    ("https://shop.example.com./hook", "https://shop.example.com/hook"),
    ("https://shop.example.com/hook?", "https://shop.example.com/hook"),
    ("https://shop.example.com/hook?a=1&b=2", "https://shop.example.com/hook?a=1&amp;b=2"),
    ("https://shop.example.com/hook?b=2&a=1", "https://shop.example.com/hook?a=1&b=2"),
    ("https://shop.example.com/hook?a=b%20c", "https://shop.example.com/hook?a=b+c"),
    ("https://shop.example.com/a!b", "https://shop.example.com/a%21b"),
]
NAME_FORMS = [
    ("Orders \U0001f389", "Orders"),
    ("Orders \U0001f389", "Orders ?"),
    ("Orders \U0001f389", "Orders ????"),
    ("Orders \U0001f389 of today", "Orders"),
    ("Orders \U0001f389 of today", "Orders \ufffd of today"),
    ("Orders \U0001f389", "Orders :tada:"),
    ("Orders \U0001f389", "Orders \\ud83c\\udf89"),
    ("\u2764\ufe0f Orders", "\u2764 Orders"),
    ("Orders & more", "Orders &amp; more"),
    ("Orders <b>", "Orders b"),
    ("Orders", "orders"),
    ("Café", "Cafe"),
    ("Café", "Caf?"),
    ("Заказы", "??????"),
    ("Straße", "STRASSE"),
    ("Orders \u2192 EU", "Orders ? EU"),
]
#: No form of it: somebody else's.
OTHER_URLS = [
    ("https://shop.example.com/hook", "https://other.example.com/hook"),
    ("https://shop.example.com/hook", "https://shop.example.com/hooks"),
    ("https://shop.example.com/hook", "https://shop.example.com/Hook"),
    ("https://shop.example.com/hook", "http://shop.example.com/hook"),
    ("https://shop.example.com/hook", "https://shop.example.com:8443/hook"),
    ("https://shop.example.com/hook", "https://shop.example.com/hook?tenant=2"),
    ("https://shop.example.com/hook?tenant=1", "https://shop.example.com/hook"),
    ("https://shop.example.com/hook", ""),
    ("https://shop.example.com/hook", "https://["),
    ("https://shop.example.com/hook", "https://shop.example.com/hook" + " " * LONGEST + "x"),
]
OTHER_NAMES = [
    ("Orders", "Invoices"),
    ("Orders", "Orders 2"),
    ("Orders 1", "Orders 2"),
    ("Orders 2", "Orders"),
    ("Orders", ""),
    ("Заказы", "Счета"),
    ("Orders \U0001f389 EU", "Invoices"),
    ("Orders EU \U0001f389", "Orders US ?"),
    ("Orders: all:", "Orders"),
]


def seen(field: str, asked: str, shown: str) -> tuple[list[str], list[str]]:
    of, with_ = {"id": "a", field: asked}, {"id": "A", field: shown, "enabled": True}
    return differing(of, with_), foreign(of, with_)


@pytest.mark.parametrize(("asked", "shown"), SAME_URLS + [pair[::-1] for pair in SAME_URLS])
def test_a_url_in_another_spelling_is_the_same(asked: str, shown: str) -> None:
    assert seen("webhookURL", asked, shown) == ([], [])


@pytest.mark.parametrize(("asked", "shown"), SAME_NAMES)
def test_a_text_in_another_normal_form_is_the_same(asked: str, shown: str) -> None:
    assert seen("name", asked, shown) == ([], [])


@pytest.mark.parametrize(("asked", "shown"), URL_FORMS)
def test_a_url_that_has_lost_what_seldom_matters_is_named(asked: str, shown: str) -> None:
    assert seen("webhookURL", asked, shown) == (["webhookURL"], [])


@pytest.mark.parametrize(("asked", "shown"), NAME_FORMS)
def test_a_name_that_has_lost_what_an_api_does_not_store_is_named(asked: str, shown: str) -> None:
    assert seen("name", asked, shown) == (["name"], [])


@pytest.mark.parametrize(("asked", "shown"), OTHER_URLS)
def test_another_url_is_foreign(asked: str, shown: str) -> None:
    assert seen("webhookURL", asked, shown) == (["webhookURL"], ["webhookURL"])


@pytest.mark.parametrize(("asked", "shown"), OTHER_NAMES)
def test_another_name_is_foreign(asked: str, shown: str) -> None:
    assert seen("name", asked, shown) == (["name"], ["name"])


def test_a_switch_is_either_as_asked_or_not_taken() -> None:
    asked = {"id": "a", "enabled": True, "useBasicAuth": True}
    shown = {"id": "a", "enabled": False}
    assert differing(asked, shown) == foreign(asked, shown) == ["enabled"]
    assert differing(asked, {**asked, "id": "b"}) == []


def test_a_mark_tells_webhooks_apart_by_name_and_url() -> None:
    one = {"id": "a", "name": "n", "webhookURL": "u"}
    assert mark_of(one) == mark_of({**one, "enabled": False})
    assert len({mark_of(one), mark_of({**one, "name": "m"}), mark_of({"id": "a"})}) == 3
    assert len(mark_of({**one, "name": "n" * 1_000_000})) == 64


texts = st.text(max_size=50)


@given(texts, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_any_text_is_the_same_in_any_normal_form(text: str, form: str) -> None:
    shown = unicodedata.normalize(form, text)  # type: ignore[arg-type]
    assert seen("name", text, shown) == seen("name", text, shown.strip()) == ([], [])


@given(texts, texts, st.sampled_from(["name", "webhookURL", "username"]))
def test_what_is_foreign_differs(asked: str, shown: str, field: str) -> None:
    differs, is_foreign = seen(field, asked, shown)
    assert set(is_foreign) <= set(differs) <= {field}
    assert seen(field, asked, asked) == ([], [])


@given(st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=50), texts)
def test_a_name_of_other_letters_is_foreign(asked: str, shown: str) -> None:
    if not set(asked.lower()) & set(unicodedata.normalize("NFKD", shown).casefold()):
        assert seen("name", asked, shown)[1] == ["name"]


@pytest.mark.parametrize(
    "shown", ["s***", "", None, "\u2022\u2022\u2022", "[redacted]", "<hidden>"]
)
def test_a_user_name_that_is_not_shown_is_no_others(shown: str | None) -> None:
    asked = {"username": "shop", "name": "Orders"}
    assert foreign(asked, {"username": shown, "name": "Orders"}) == []
    assert foreign(asked, {"username": "other", "name": "Orders"}) == ["username"]
    assert foreign(asked, {"username": shown, "name": "[redacted]"}) == ["name"]
