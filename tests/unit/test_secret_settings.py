"""Each setting that is a secret may come from a file, and all of them are known to be secrets."""

from __future__ import annotations

import json
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.sealing_keys import new_pair
from config.secret_settings import (
    MAX_FILE,
    MAX_SHOWN,
    URLS,
    secret_settings,
    secrets_of,
    too_short,
    trimmed_variables,
)
from config.settings import Settings, SettingsError, load_settings
from tests.unit.test_settings import DEFAULTS, assert_untold, environment, plain, refusal

CANARY = "canary-in-the-file"
PUBLIC, PRIVATE = (half.get_secret_value() for half in new_pair())
KEYS = {
    "sealing_public_key": PUBLIC,
    "sealing_private_keys": PRIVATE,
}
SECRETS = secret_settings(Settings)

Set = Callable[..., None]
environment = environment  # as pytest finds it


@pytest.fixture(autouse=True)
def _without_files(environment: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def value_for(name: str) -> str:
    """A value that the setting takes, with the canary in it."""
    if name in URLS:
        return f"redis://:{CANARY}@127.0.0.1:6379/3"
    if name == "sentry_dsn":
        return f"https://{CANARY}@sentry.example/1"
    return KEYS.get(name, CANARY)


def file(text: str | bytes) -> str:
    """The path of a file in the test's own folder."""
    path = Path.cwd() / "secret"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def plainly(value: Any) -> str:
    value = plain(value)
    return value[0] if isinstance(value, tuple) else value


def test_these_settings_are_secrets() -> None:
    assert {name.upper() for name in SECRETS} >= {
        *("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"),
        *("COMETCHAT_KEY", "COMETCHAT_SECRET", "COMETCHAT_OLD_KEY", "COMETCHAT_OLD_SECRET"),
        *("SEALING_PUBLIC_KEY", "SEALING_PRIVATE_KEYS", "SENTRY_DSN"),
    }


@pytest.mark.parametrize("name", SECRETS)
class TestEachSecret:
    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_is_read_from_its_file(self, environment: Set, name: str, end: str) -> None:
        environment(**{f"{name.upper()}_FILE": file(value_for(name) + end)})
        assert plainly(getattr(load_settings(), name)) == value_for(name)

    def test_is_not_given_twice(self, environment: Set, name: str) -> None:
        environment(**{name.upper(): value_for(name), f"{name.upper()}_FILE": file("x")})
        error = refusal()
        [problem] = error.problems
        assert problem == (
            f"{name.upper()}: is given twice, as {name.upper()} and as {name.upper()}_FILE: "
            "unset one of them"
        )
        assert_untold(CANARY, error)

    def test_is_known(self, environment: Set, name: str) -> None:
        environment(**{name.upper(): value_for(name)})
        known = {secret.get_secret_value() for secret in secrets_of(load_settings())}
        assert known & {CANARY, value_for(name)}

    def test_shows_nothing(self, environment: Set, name: str) -> None:
        environment(**{f"{name.upper()}_FILE": file(value_for(name))})
        settings = load_settings()
        for shown in (repr(settings), str(settings), settings.model_dump_json()):
            assert CANARY not in shown and value_for(name) not in shown
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(getattr(settings, name))


def test_those_that_are_too_short_to_be_found_are_named(environment: Set) -> None:
    account = {"key": "long-enough", "secret": "four", "old_key": "5five", "old_secret": "longer"}
    environment(
        COMETCHAT_KEY="short",
        COMETCHAT_SECRET="longer",
        REDIS_URL="redis://:12345@a/0",
        COMETCHAT_ACCOUNTS=json.dumps({"eu": account}),
    )
    assert too_short(load_settings()) == ["REDIS_URL", "COMETCHAT_KEY", "COMETCHAT_ACCOUNTS"]


def test_spaces_and_further_line_breaks_are_left_out_with_a_warning(environment: Set) -> None:
    environment(COMETCHAT_SECRET_FILE=file(" a\n\n"))
    assert plain(load_settings().cometchat_secret) == "a"
    assert "COMETCHAT_SECRET" in trimmed_variables()


def test_an_empty_variable_is_unset(environment: Set) -> None:
    environment(COMETCHAT_SECRET="", COMETCHAT_SECRET_FILE=file("a"), COMETCHAT_KEY_FILE="")
    settings = load_settings()
    assert (plain(settings.cometchat_secret), settings.cometchat_key) == ("a", None)


def test_the_environments_file_wins_over_dot_env_and_the_other_way_round(environment: Set) -> None:
    Path(".env").write_text(f"COMETCHAT_SECRET=dot\nCOMETCHAT_KEY_FILE={file('dot')}\n")
    assert plain(load_settings().cometchat_key) == "dot"
    environment(COMETCHAT_SECRET_FILE=file("file"), COMETCHAT_KEY="environment")
    settings = load_settings()
    assert plain(settings.cometchat_secret) == "file"
    assert plain(settings.cometchat_key) == "environment"


UNREADABLE: dict[str, tuple[Callable[[], str], str]] = {
    "missing": (lambda: str(Path.cwd() / "nowhere"), "cannot be read (No such file or directory)"),
    "a folder": (lambda: str(Path.cwd()), "cannot be read (Is a directory)"),
    "no path": (lambda: "a" * 5000, "cannot be read (File name too long)"),
    "empty": (lambda: file("\n"), "is empty"),
    "blank": (lambda: file(" \n\t\n"), "is empty"),
    "binary": (lambda: file(CANARY.encode() + b"\xff"), "is no text in UTF-8"),
    "endless": (lambda: "/dev/zero", f"has more than {MAX_FILE} bytes"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_cannot_be_read_is_named_not_shown(environment: Set, kind: str) -> None:
    path, words = UNREADABLE[kind][0](), UNREADABLE[kind][1]
    environment(COMETCHAT_SECRET_FILE=path)
    error = refusal()
    assert error.problems == (
        f"COMETCHAT_SECRET: COMETCHAT_SECRET_FILE: the file {path[:MAX_SHOWN]!r} {words}",
    )
    assert_untold(CANARY, error)


def test_it_is_told_together_with_all_else_that_is_wrong(environment: Set) -> None:
    environment(
        COMETCHAT_KEY_FILE="/nowhere", SEALING_PRIVATE_KEYS_FILE=file(CANARY), PIPE_SIZE="0"
    )
    error = refusal()
    assert len(error.problems) == 3
    shown = "".join(traceback.format_exception(error))
    assert CANARY not in shown


class TestAccounts:
    def account(self, environment: Set) -> Settings:
        account = {"key_env": "EU_KEY", "secret_env": "EU_SECRET"}
        environment(COMETCHAT_ACCOUNTS=json.dumps({"eu": account}), EU_KEY="the-key")
        return load_settings()

    def test_their_variables_may_be_files_too(
        self, environment: Set, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = self.account(environment)
        monkeypatch.setenv("EU_SECRET_FILE", file(CANARY + "\n"))
        [pair] = settings.credentials("eu")
        assert pair.secret.get_secret_value() == CANARY
        assert CANARY in {secret.get_secret_value() for secret in secrets_of(settings)}
        assert CANARY not in repr(settings.credentials("eu"))

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"EU_SECRET_FILE": "/nowhere"}, "the file '/nowhere' cannot be read"),
            ({"EU_SECRET_FILE": "/nowhere", "EU_SECRET": CANARY}, "is given twice"),
            ({}, "EU_SECRET is not set"),
        ],
    )
    def test_what_is_wrong_is_told(
        self,
        environment: Set,
        monkeypatch: pytest.MonkeyPatch,
        variables: dict[str, str],
        words: str,
    ) -> None:
        settings = self.account(environment)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=words) as caught:
            settings.credentials("eu")
        assert CANARY not in str(caught.value)
        assert {"the-key"} <= {one.get_secret_value() for one in secrets_of(settings)}
        assert os.environ["EU_KEY"] == "the-key"
