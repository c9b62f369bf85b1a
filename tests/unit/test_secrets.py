"""A secret hides its value; the list of known ones is bounded and has what is in use."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import pytest
from pydantic import BaseModel, SecretStr

from config.scrub import REDACTED
from config.secrets import OPENED_LATELY, KnownSecrets, Secret, passwords_in, secrets_of_others

VALUE = "hunter2-hunter2"


@dataclass
class Holder:
    secret: Secret


class Model(BaseModel):
    secret: Secret


class TestASecret:
    @pytest.mark.parametrize(
        "show",
        [
            repr,
            str,
            "{}".format,
            "{!r}".format,
            "%s".__mod__,
            lambda secret: f"{secret}",
            lambda secret: repr(Holder(secret)),
            lambda secret: repr(Model(secret=secret)),
            lambda secret: Model(secret=secret).model_dump_json(),
            lambda secret: str(Model(secret=secret).model_dump()),
            lambda secret: json.dumps({"secret": secret}, default=str),
            lambda secret: str(ValueError(secret)),
            lambda secret: repr(asdict(Holder(secret))),
        ],
    )
    def test_is_not_shown(self, show: object) -> None:
        assert VALUE not in show(Secret(VALUE))  # type: ignore[operator]

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_is_not_pickled(self, protocol: int) -> None:
        assert VALUE.encode() in pickle.dumps(SecretStr(VALUE), protocol)  # pydantic's own is
        for holder in (Secret(VALUE), Holder(Secret(VALUE)), Model(secret=Secret(VALUE))):
            with pytest.raises(TypeError, match="a secret is not pickled") as caught:
                pickle.dumps(holder, protocol)
            assert VALUE not in str(caught.value)

    def test_is_no_json(self) -> None:
        with pytest.raises(TypeError) as caught:
            json.dumps(Secret(VALUE))
        assert VALUE not in str(caught.value)

    def test_is_copied_within_the_process(self) -> None:
        secret = Secret(VALUE)
        assert copy.copy(secret) is copy.deepcopy(secret) is secret

    def test_equals_the_same_secret_only(self) -> None:
        assert Secret(VALUE) == SecretStr(VALUE) and SecretStr(VALUE) == Secret(VALUE)
        assert hash(Secret(VALUE)) == hash(SecretStr(VALUE))
        assert Secret(VALUE) != Secret("other") and Secret(VALUE) != VALUE


def password(number: int) -> SecretStr:
    return SecretStr(f"password-{number:06}")


class TestTheList:
    def test_has_what_was_learnt_for_ever(self) -> None:
        known = KnownSecrets()
        known.learn([SecretStr(VALUE)])
        for number in range(2 * OPENED_LATELY):
            known.opened(password(number))
        assert known.in_use().text(VALUE) == known.all().text(VALUE) == REDACTED

    def test_has_an_opened_password_until_its_thread_opens_another(self) -> None:
        known = KnownSecrets()
        assert known.opened(password(1)).get_secret_value() == "password-000001"
        other = threading.Thread(target=known.opened, args=[password(2)])
        other.start()
        other.join()
        assert known.in_use().text("password-000001 password-000002") == f"{REDACTED} {REDACTED}"
        known.opened(password(3))
        assert known.in_use().text("password-000001") == "password-000001"
        assert known.all().text("password-000001") == REDACTED  # an event may come later

    def test_is_bounded(self) -> None:
        known = KnownSecrets()
        for number in [*range(OPENED_LATELY), 0, OPENED_LATELY]:
            known.opened(password(number))
        assert known.all().text("password-000001") == "password-000001"
        for number in (0, 2, OPENED_LATELY):
            assert known.all().text(f"password-{number:06}") == REDACTED
        assert len(known._lately) == OPENED_LATELY

    def test_is_for_many_threads_at_once(self) -> None:
        known = KnownSecrets()

        def work(first: int) -> None:
            for number in range(first, first + 300):
                known.opened(password(number))
                assert known.in_use().text(f"password-{number:06}") == REDACTED

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(0, 8000, 1000)))


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("redis://127.0.0.1:6379/0", []),
        ("redis://:secret@host/0", ["secret"]),
        ("rediss://user:s%2Fe%40t@host/0", ["s/e@t"]),
        ("redis://:a;b@host", ["a;b"]),
        ("redis://host/0?password=secret&db=1", ["secret"]),
        ("redis+sentinel://:one@a,b:1/service/0?sentinel_password=t%21wo", ["one", "t!wo"]),
        ("amqp://u:one@a//;amqp://u:two@b//", ["one", "two"]),
        ("redis://:secret@[broken/0", ["redis://:secret@[broken/0"]),
        ("", []),
    ],
)
def test_passwords_are_found_in_urls(url: str, passwords: list[str]) -> None:
    assert set(passwords) == {one.get_secret_value() for one in passwords_in(url)}


def test_so_are_the_secrets_of_flower_and_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "ann:first-login,bob:second:login")
    monkeypatch.setenv("FLOWER_COOKIE_SECRET", "the-cookies")
    monkeypatch.setenv("https_proxy", "http://user:proxy-login@proxy:3128")
    found = {one.get_secret_value() for one in secrets_of_others()}
    assert found >= {"first-login", "second:login", "the-cookies", "proxy-login"}
