"""Passwords at rest: who can open them, beside what, and what is said when nobody can."""

from __future__ import annotations

import base64
import json
import secrets
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from config.scrub import REDACTED
from config.sealing_keys import check_sealing_keys, new_pair, read_sealing_key
from config.secrets import known_secrets
from tasks import sealing
from tasks.errors import SealingUnavailable
from tasks.sealing import Sealer, binding, same_password

PASSWORD = SecretStr("hunter2hunter2")
WEBHOOK = {"id": "orders", "name": "Orders", "webhookURL": "https://shop.example.com/hook"}
JOB: dict[str, Any] = {
    "account": "default",
    "app_id": "shop",
    "action": "create",
    "job_id": "1",
    "webhook": WEBHOOK,
}
BOUND = binding(**JOB)

PAIR, OLD_PAIR, FOREIGN_PAIR = (new_pair() for _ in range(3))
PRODUCER = Sealer(public=[PAIR[0]])
WORKER = Sealer(private=[PAIR[1]])

SECRETS = [
    text.removeprefix("sealpub_").removeprefix("sealpriv_")
    for secret in (PASSWORD, *PAIR, *OLD_PAIR)
    for text in (secret.get_secret_value(),)
]


def tampered(sealed: str, place: int) -> str:
    """The token with one character of its ciphertext changed."""
    other = "A" if sealed[place] != "A" else "B"
    return sealed[:place] + other + sealed[place + 1 :]


@given(password=st.text())
def test_what_was_sealed_opens_as_it_was(password: str) -> None:
    opened = WORKER.open(PRODUCER.seal(SecretStr(password), BOUND), BOUND)
    assert opened.get_secret_value() == password


def test_a_sealed_password_tells_nothing() -> None:
    first, second = PRODUCER.seal(PASSWORD, BOUND), PRODUCER.seal(PASSWORD, BOUND)
    for sealed in (first, second):
        raw = base64.urlsafe_b64decode(sealed.partition(".")[2])
        assert PASSWORD.get_secret_value().encode() not in raw
    assert first[40:] != second[40:]  # equal passwords are not seen to be equal
    assert first.isascii()


def test_a_producer_cannot_open_what_it_sealed() -> None:
    with pytest.raises(SealingUnavailable, match="seal passwords and not open them"):
        PRODUCER.open(PRODUCER.seal(PASSWORD, BOUND), BOUND)


def test_a_senders_half_is_made_anew_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = Sealer(public=[PAIR[0]])
    halves = {producer.seal(PASSWORD, BOUND)[:40] for _ in range(3)}
    assert len(halves) == 1
    later = sealing.time.monotonic() + sealing.SENDER_SECONDS + 1
    monkeypatch.setattr(sealing.time, "monotonic", lambda: later)
    sealed = producer.seal(PASSWORD, BOUND)
    assert sealed[:40] not in halves
    assert WORKER.open(sealed, BOUND) == PASSWORD


class TestBinding:
    @pytest.mark.parametrize(
        "changed",
        [
            {"account": "eu"},
            {"app_id": "other"},
            {"action": "update"},
            {"job_id": "2"},
            {"webhook": {**WEBHOOK, "webhookURL": "https://thief.example.com/"}},
            {"webhook": {**WEBHOOK, "username": "other"}},
        ],
        ids=lambda changed: "-".join(changed),
    )
    def test_beside_anything_else_it_does_not_open(self, changed: dict[str, Any]) -> None:
        sealed = PRODUCER.seal(PASSWORD, BOUND)
        with pytest.raises(SealingUnavailable, match="another webhook, job or address"):
            WORKER.open(sealed, binding(**{**JOB, **changed}))

    def test_it_is_the_same_after_a_way_through_redis(self) -> None:
        webhook = json.loads(json.dumps(dict(reversed([*WEBHOOK.items(), ("enabled", True)]))))
        same = binding(**{**JOB, "webhook": {**WEBHOOK, "enabled": True}})
        assert binding(**{**JOB, "webhook": webhook}) == same

    def test_a_changed_one_does_not_open(self) -> None:
        sealed = PRODUCER.seal(PASSWORD, BOUND)
        for place in (12, len(sealed) // 2, len(sealed) - 6):
            with pytest.raises(SealingUnavailable, match="was changed after it was sealed"):
                WORKER.open(tampered(sealed, place), BOUND)


def test_what_was_opened_is_taken_out_of_lines_and_events() -> None:
    sealed = PRODUCER.seal(SecretStr(password := secrets.token_hex(12)), BOUND)
    assert known_secrets.all().text(password) == password
    WORKER.open(sealed, BOUND)
    assert known_secrets.in_use().text(password) == known_secrets.all().text(password) == REDACTED


class TestRotation:
    def test_a_new_first_key_opens_what_the_old_one_sealed(self) -> None:
        sealed = Sealer(public=[OLD_PAIR[0]]).seal(PASSWORD, BOUND)
        assert Sealer(private=[PAIR[1], OLD_PAIR[1]]).open(sealed, BOUND) == PASSWORD

    def test_the_first_key_seals(self) -> None:
        for sealer, ours in [
            (Sealer(public=[PAIR[0], OLD_PAIR[0]]), WORKER),
            (Sealer(private=[PAIR[1], OLD_PAIR[1]]), WORKER),
            (Sealer(public=[PAIR[0]], private=[OLD_PAIR[1]]), WORKER),
        ]:
            sealed = sealer.seal(PASSWORD, BOUND)
            assert ours.open(sealed, BOUND) == PASSWORD
            assert ours.is_newest(sealed) and sealer.is_newest(sealed)
            assert sealer.ids[0] == ours.ids[0]


class TestMarks:
    def test_they_tell_whether_it_is_the_same(self) -> None:
        [mark] = WORKER.marks(PASSWORD, "1")
        assert same_password(mark, PRODUCER.marks(PASSWORD, "1")) is True
        assert same_password(mark, PRODUCER.marks(SecretStr("another"), "1")) is False
        assert mark not in PRODUCER.marks(PASSWORD, "2"), "equal passwords do not look equal"

    def test_each_key_has_its_own(self) -> None:
        old = Sealer(public=[OLD_PAIR[0]]).marks(PASSWORD, "1")
        both = Sealer(public=[PAIR[0], OLD_PAIR[0]]).marks(PASSWORD, "1")
        assert same_password(old[0], both) is True
        assert both[0] == PRODUCER.marks(PASSWORD, "1")[0]
        assert same_password(old[0], PRODUCER.marks(PASSWORD, "1")) is None
        assert len({one.partition(".")[2] for one in both}) == 2

    def test_no_guess_can_be_tried_without_the_key(self) -> None:
        """Of the public half, the part that seals alone is not enough."""
        public = read_sealing_key(PAIR[0], "public")
        half = base64.urlsafe_b64encode(public.key.get_secret_value() + b"0" * 32).decode()
        guess = Sealer(public=[SecretStr("sealpub_" + half)]).marks(PASSWORD, "1")
        assert same_password(PRODUCER.marks(PASSWORD, "1")[0], guess) is False


BOXED = PRODUCER.seal(PASSWORD, BOUND)


@pytest.mark.parametrize(
    ("sealer", "sealed", "told"),
    [
        (Sealer(), BOXED, "needs SEALING_PUBLIC_KEY .* SEALING_PRIVATE_KEYS in the worker"),
        (Sealer(private=[FOREIGN_PAIR[1]]), BOXED, "none of SEALING_PRIVATE_KEYS"),
        (WORKER, BOXED[:-4], "was changed"),
        (WORKER, BOXED[:30], "was changed"),
        (WORKER, WORKER.ids[0], "was changed"),
        (WORKER, "", "none of"),
        (WORKER, "no token", "none of"),
        (WORKER, f"{WORKER.ids[0]}.schlüssel", "was changed"),
        (WORKER, "x" + "\n" * 1_000_000, "none of"),
    ],
    ids=[
        "no-key",
        "foreign-pair",
        "cut",
        "short",
        "nothing",
        "empty",
        "no-token",
        "not-ascii",
        "long",
    ],
)
def test_what_does_not_open_says_so_and_nothing_else(
    sealer: Sealer, sealed: str, told: str
) -> None:
    with pytest.raises(SealingUnavailable, match=told) as caught:
        sealer.open(sealed, BOUND)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert [secret for secret in SECRETS if secret in shown] == []
    assert len(str(caught.value)) < 300


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(SealingUnavailable, match="needs SEALING_PUBLIC_KEY") as caught:
        Sealer().seal(PASSWORD, BOUND)
    assert PASSWORD.get_secret_value() not in str(caught.value)


def test_neither_keys_nor_passwords_are_in_a_repr() -> None:
    opened = WORKER.open(BOXED, BOUND)
    key = read_sealing_key(PAIR[1], "private")
    shown = "".join(map(repr, (vars(WORKER), opened, key, vars(Sealer(public=[PAIR[0]]))))) + str(
        opened
    )
    assert [secret for secret in SECRETS if secret in shown] == []
    assert repr(key.key.get_secret_value()) not in shown
    assert isinstance(BOUND, SecretBytes)


class TestKeys:
    def test_the_halves_of_a_pair_have_the_same_id(self) -> None:
        halves = read_sealing_key(PAIR[0], "public"), read_sealing_key(PAIR[1], "private")
        assert halves[0].id == halves[1].id == PRODUCER.ids[0]
        assert halves[0].comparing == halves[1].comparing

    @pytest.mark.parametrize(
        ("key", "kind", "told"),
        [
            (PAIR[1], "public", "is a private key, which belongs into SEALING_PRIVATE_KEYS"),
            (PAIR[0], "private", "is a public key, which belongs into SEALING_PUBLIC_KEY"),
            (SecretStr(PAIR[0].get_secret_value()[:-8]), "public", "is cut, or has been changed"),
            (
                SecretStr("short"),
                "private",
                "is no private sealing key, which begins with sealpriv_",
            ),
        ],
    )
    def test_a_wrong_one_says_where_it_belongs(self, key: SecretStr, kind: Any, told: str) -> None:
        with pytest.raises(ValueError, match=told) as caught:
            check_sealing_keys([key], kind)
        assert str(caught.value).startswith("key 1 ")
        assert key.get_secret_value() not in str(caught.value)
