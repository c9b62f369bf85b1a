"""Passwords at rest: who can open them, and what is said when nobody can."""

from __future__ import annotations

import traceback

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.errors import SealingUnavailable
from tasks.sealing import Sealer

PASSWORD = SecretStr("hunter2hunter2")

OLD, NEW, FOREIGN = (SecretStr(Fernet.generate_key().decode()) for _ in range(3))

SECRETS = [secret.get_secret_value() for secret in (PASSWORD, OLD, NEW, FOREIGN)]


def tampered(sealed: str) -> str:
    """The token with one character of its ciphertext changed."""
    place = len(sealed) // 2
    return sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]


@given(st.text())
def test_what_was_sealed_opens_as_it_was(password: str) -> None:
    sealer = Sealer([NEW])
    opened = sealer.open(sealer.seal(SecretStr(password)))
    assert opened.get_secret_value() == password


def test_a_sealed_password_tells_nothing() -> None:
    sealer = Sealer([NEW])
    first, second = sealer.seal(PASSWORD), sealer.seal(PASSWORD)
    assert PASSWORD.get_secret_value() not in first
    assert first != second  # equal passwords are not seen to be equal
    assert first.isascii()


class TestRotation:
    def test_a_new_first_key_opens_what_the_old_one_sealed(self) -> None:
        sealed = Sealer([OLD]).seal(PASSWORD)
        assert Sealer([NEW, OLD]).open(sealed) == PASSWORD

    def test_the_first_key_seals(self) -> None:
        sealed = Sealer([NEW, OLD]).seal(PASSWORD)
        assert Sealer([NEW]).open(sealed) == PASSWORD
        with pytest.raises(SealingUnavailable):
            Sealer([OLD]).open(sealed)


SEALED = Sealer([OLD]).seal(PASSWORD)


@pytest.mark.parametrize(
    ("keys", "sealed", "told"),
    [
        ([], SEALED, "needs SEALING_KEYS"),
        ([FOREIGN], SEALED, "none of SEALING_KEYS"),
        ([FOREIGN, NEW], SEALED, "none of SEALING_KEYS"),
        ([OLD], tampered(SEALED), "none of SEALING_KEYS"),
        ([OLD], SEALED[:-4], "none of SEALING_KEYS"),
        ([OLD], "", "none of SEALING_KEYS"),
        ([OLD], "no token", "none of SEALING_KEYS"),
        ([OLD], "schlüssel", "none of SEALING_KEYS"),
    ],
    ids=["no-key", "foreign", "two-foreign", "tampered", "cut", "empty", "no-token", "not-ascii"],
)
def test_what_does_not_open_says_so_and_nothing_else(
    keys: list[SecretStr], sealed: str, told: str
) -> None:
    with pytest.raises(SealingUnavailable, match=told) as caught:
        Sealer(keys).open(sealed)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert [secret for secret in SECRETS if secret in shown] == []
    assert SEALED not in str(caught.value)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(SealingUnavailable, match="needs SEALING_KEYS") as caught:
        Sealer([]).seal(PASSWORD)
    assert PASSWORD.get_secret_value() not in str(caught.value)


def test_neither_keys_nor_passwords_are_in_a_repr() -> None:
    sealer = Sealer([NEW, OLD])
    shown = repr(sealer) + repr(vars(sealer)) + repr(sealer.open(SEALED)) + str(sealer.open(SEALED))
    assert [secret for secret in SECRETS if secret in shown] == []
