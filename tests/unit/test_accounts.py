"""COMETCHAT_ACCOUNTS: what is read, what is refused, and that no secret is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.settings import Settings, SettingsError, load_settings

EU = {"key": "eu-key", "secret": "eu-secret"}
NAMED = {"key_env": "US_KEY", "secret_env": "US_SECRET", "rate_limit": "600/m"}


def loaded(monkeypatch: pytest.MonkeyPatch, accounts: object, **variables: str) -> Settings:
    text = accounts if isinstance(accounts, str) else json.dumps(accounts)
    for name, value in {"COMETCHAT_ACCOUNTS": text, **variables}.items():
        monkeypatch.setenv(name, value)
    return load_settings(_env_file=None)


def pairs(settings: Settings, account: str) -> list[tuple[str, str]]:
    return [
        (pair.key.get_secret_value(), pair.secret.get_secret_value())
        for pair in settings.credentials(account)
    ]


def test_beside_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"COMETCHAT_KEY": "k", "COMETCHAT_SECRET": "s", "COMETCHAT_RATE_LIMIT": "20/s"}
    named = {"US_KEY": "us-key", "US_SECRET": "us-secret"}
    settings = loaded(monkeypatch, {"us": NAMED, "eu": EU}, **own, **named)
    assert settings.accounts == ("default", "eu", "us")
    assert pairs(settings, "default") == [("k", "s")]
    assert pairs(settings, "eu") == [("eu-key", "eu-secret")]
    assert pairs(settings, "us") == [("us-key", "us-secret")]
    assert [settings.rate_limit(name) for name in settings.accounts] == [20, 20, 10]
    assert "eu-key" not in repr(settings) and "eu-secret" not in str(settings)
    settings.require_credentials()


def test_without_a_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"COMETCHAT_KEY": "", "COMETCHAT_SECRET": ""}
    loaded(monkeypatch, {"eu": EU}, **nothing).require_credentials()
    settings = loaded(monkeypatch, "", **nothing)
    assert settings.accounts == ("default",)
    with pytest.raises(SettingsError, match="COMETCHAT_KEY: is missing"):
        settings.require_credentials()


def test_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"eu": EU}))
    assert pairs(loaded(monkeypatch, str(path)), "eu") == [("eu-key", "eu-secret")]


def test_the_newer_pair_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {**EU, "old_key": "was-key", "old_secret": "was-secret"}
    own = {"COMETCHAT_KEY": "k", "COMETCHAT_SECRET": "s"}
    old = {"COMETCHAT_OLD_KEY": "old-k", "COMETCHAT_OLD_SECRET": "old-s"}
    settings = loaded(monkeypatch, {"eu": both}, **own, **old)
    assert pairs(settings, "eu") == [("eu-key", "eu-secret"), ("was-key", "was-secret")]
    assert pairs(settings, "default") == [("k", "s"), ("old-k", "old-s")]


def test_half_an_older_pair_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"COMETCHAT_KEY": "k", "COMETCHAT_SECRET": "s", "COMETCHAT_OLD_KEY": "old"}
    settings = loaded(monkeypatch, "", **own)
    with pytest.raises(SettingsError, match="COMETCHAT_OLD_SECRET: is missing"):
        settings.require_credentials()


def test_a_producer_needs_no_variables_and_a_worker_is_told_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("US_KEY", "US_SECRET", "COMETCHAT_KEY", "COMETCHAT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    settings = loaded(monkeypatch, {"us": NAMED, "eu": {**EU, "key_env": None}})
    assert settings.accounts == ("default", "eu", "us")
    with pytest.raises(SettingsError) as refused:
        settings.require_credentials()
    assert refused.value.problems == ("COMETCHAT_ACCOUNTS: us: key_env: US_KEY is not set",)
    with pytest.raises(SettingsError, match="has no account 'asia'"):
        settings.credentials("asia")


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        ("{", "is no JSON object"),
        ('{"a":' * 3_000, "is no JSON object"),
        ("[1]", "must be a JSON object or a file that can be read"),
        ("/nowhere/at/all", "must be a JSON object or a file that can be read"),
        ({"eu": 1}, "eu: must be an object"),
        ({"eu": {"key": "PASS"}}, "eu: secret: is missing"),
        (
            {"eu": {"key": "", "secret": 7}},
            "eu: key: must be text, and not empty; eu: secret: must",
        ),
        ({"eu": {**EU, "key_env": "PASS"}}, "eu: key: given twice, also as key_env"),
        ({"eu": {**EU, "old_key": "PASS"}}, "eu: old_key and old_secret: one is missing"),
        *(
            ({"eu": {**EU, "rate_limit": wrong}}, "eu: rate_limit: must be such as 500/m or 20/s")
            for wrong in ("PASS", -5, 1e300, 1e-9, True, float("nan"), [])
        ),
        ({"eu": {**EU, "PASS": 1}}, "eu: unknown field"),
        ({"default": EU}, "default: is COMETCHAT_KEY and COMETCHAT_SECRET"),
        ({"e:PASS": EU}, "an account: its name must be 1 to 50 ASCII letters, digits, '_' or '-'"),
        ({"a": 1, "b": 2}, "a: must be an object; b: must be an object"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, accounts: object, said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(monkeypatch, accounts)
    assert f"COMETCHAT_ACCOUNTS: {said}" in str(refused.value)
    assert "PASS" not in str(refused.value)


def test_of_many_problems_the_first_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="a19: must be an object; and 480 more"):
        loaded(monkeypatch, {f"a{number}": 1 for number in range(500)})
