"""A value that would fail at its first use is mended or refused when the settings are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from sentry_sdk.utils import Dsn

from config import secret_settings
from config.secret_settings import trimmed_variables
from config.settings import Settings, SettingsError, load_settings
from config.values import LONGEST_SECONDS
from tests.unit.test_settings import DEFAULTS, assert_untold, environment, plain, refusal

Set = Callable[..., None]
environment = environment  # as pytest finds it


@pytest.fixture(autouse=True)
def _nothing_trimmed(environment: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_settings, "_trimmed", {})


#: A value of each setting, other than its default.
VALUES = {
    **{name: str(value + 1) for name, value in DEFAULTS.items() if isinstance(value, int)},
    "GATE_PROBE_SECONDS": "7",
    "COMETCHAT_RATE_LIMIT": "60/m",
    "COMETCHAT_RATE_SHARE": "0.5",
    **{
        name: "the-secret"
        for name in DEFAULTS
        if name.startswith("COMETCHAT_") and name[-3:] in ("KEY", "RET")
    },
    "REDIS_URL": "redis://h:6379/1",
    "CELERY_BROKER_URL": "amqp://h//",
    "CELERY_RESULT_BACKEND": "redis://h:6379/2",
    "REDIS_APPENDFSYNC": "always",
    "ENQUEUE_DURABILITY": "fsync",
    "COMETCHAT_BASE_URL": "https://gateway.example/v3",
    "COMETCHAT_ACCOUNTS": '{"eu": {"key": "k", "secret": "s"}}',
    "WEBHOOK_URL_ALLOW": "example.com",
    "SENTRY_DSN": "https://public@sentry.example/1",
    "SENTRY_ENVIRONMENT": "staging",
    "LOG_LEVEL": "debug",
    "LOG_FORMAT": "json",
}


class TestWhiteSpaceAroundAValue:
    @pytest.mark.parametrize("name", VALUES)
    def test_is_left_out_with_a_warning(self, environment: Set, name: str) -> None:
        environment(**{name: VALUES[name]})
        bare = load_settings()
        assert trimmed_variables() == ()

        for around in ("{}\n", " {}", "{}\r\n", "\t{} \n\n"):
            environment(**{name: around.format(VALUES[name])})
            assert load_settings() == bare
            assert trimmed_variables() == (name,)

    @pytest.mark.parametrize("name", VALUES)
    def test_and_nothing_else_is_as_if_it_were_unset(self, environment: Set, name: str) -> None:
        environment(**{name: " \n"})
        assert plain(getattr(load_settings(), name.lower())) == DEFAULTS[name]

    def test_of_an_accounts_secrets_too(self, environment: Set) -> None:
        account = {"key": "k\n", "secret_env": "EU_SECRET"}
        environment(COMETCHAT_ACCOUNTS=json.dumps({"eu": account}), EU_SECRET="s\n")
        [pair] = load_settings().credentials("eu")
        assert (pair.key.get_secret_value(), pair.secret.get_secret_value()) == ("k", "s")
        assert trimmed_variables() == ("COMETCHAT_ACCOUNTS", "EU_SECRET")


UNFIT = [
    "hunter2\u200b",
    "schl\u00fcssel-hunter2",
    "hunter2\nhunter2",
    "hunter2\x7f",
    "\ufeffhunter2",
]


@pytest.mark.parametrize("value", UNFIT, ids=ascii)
class TestWhatFitsInNoHeader:
    @pytest.mark.parametrize("name", ["KEY", "SECRET", "OLD_KEY", "OLD_SECRET"])
    def test_is_refused(self, environment: Set, name: str, value: str) -> None:
        environment(**{f"COMETCHAT_{name}": value})
        error = refusal()
        [problem] = error.problems
        assert problem.startswith(f"COMETCHAT_{name}: must be printable ASCII")
        assert_untold("hunter2", error)

    def test_of_an_account_either(self, environment: Set, value: str) -> None:
        account = {"key": value, "secret": "s"}
        environment(COMETCHAT_ACCOUNTS=json.dumps({"eu": account}))
        error = refusal()
        assert "COMETCHAT_ACCOUNTS: eu: key: must be printable ASCII" in str(error)
        assert_untold("hunter2", error)

    def test_nor_of_its_variables(self, environment: Set, value: str) -> None:
        account = {"key_env": "EU_KEY", "secret": "s"}
        environment(COMETCHAT_ACCOUNTS=json.dumps({"eu": account}), EU_KEY=value)
        with pytest.raises(SettingsError, match="EU_KEY must be printable ASCII") as refused:
            load_settings().require_credentials()
        assert "hunter2" not in str(refused.value)


class TestSentryDsn:
    @pytest.mark.parametrize(
        "dsn",
        [
            "hunter2",
            "https://hunter2@sentry.example",  # no project
            "https://hunter2@sentry.example/",
            "https://hunter2@sentry.example/project",
            "https://hunter2@sentry.example/1/",
            "https://hunter2@sentry.example/1?a=b",
            "https://hunter2@sentry.example/1#",
            "https://sentry.example/1",  # no key
            "https://:hunter2@sentry.example/1",
            "https://hunter2@/1",
            "https://hunter2@sentry.example:0/1",
            "https://hunter2@sentry.example:99999/1",
            "https://hunter2@sentry.example:x/1",
            "https://hunter2@sentry example/1",
            "https://hunter2@s\u00e9ntry.example/1",
            "ftp://hunter2@sentry.example/1",
            "hunter2@sentry.example/1",
            '"https://hunter2@sentry.example/1"',
            "'https://hunter2@sentry.example/1'",
            "SENTRY_DSN=https://hunter2@sentry.example/1",
            "https://hunter2@sentry.example/\u0661",
        ],
    )
    def test_that_is_none_is_refused(self, environment: Set, dsn: str) -> None:
        environment(SENTRY_DSN=dsn)
        error = refusal()
        [problem] = error.problems
        assert problem.startswith("SENTRY_DSN: must be as Sentry shows it, ")
        assert_untold("hunter2", error)

    @pytest.mark.parametrize(
        "dsn",
        [
            "https://0123456789abcdef@o42.ingest.us.sentry.io/450",
            "https://public:secret@sentry.io/1",
            "http://public@127.0.0.1:9000/1",
            "http://public@[::1]:9000/1",
            "https://public@sentry.example/a/b-c/17",
        ],
    )
    def test_that_is_one_is_one_for_the_sdk(self, environment: Set, dsn: str) -> None:
        environment(SENTRY_DSN=dsn)
        assert plain(load_settings().sentry_dsn) == dsn
        assert Dsn(dsn).project_id.isdigit()


TOO_LARGE: dict[str, Any] = {
    **{
        name.upper(): str(LONGEST_SECONDS * 10)
        for name, field in Settings.model_fields.items()
        if "seconds" in name or "age" in name or "ttl" in name or "timeout" in name
    },
    "COMETCHAT_RATE_LIMIT": "1e300/s",
    "COMETCHAT_RATE_SHARE": "1e-300",
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_numbers_that_no_clock_or_socket_can_count_are_refused(environment: Set, name: str) -> None:
    environment(**{name: TOO_LARGE[name]})
    [problem] = refusal().problems
    assert problem.startswith(f"{name}: ")


def test_a_rate_that_lets_nothing_through_is_refused(environment: Set) -> None:
    environment(COMETCHAT_RATE_LIMIT="1e-300/h")
    assert "COMETCHAT_RATE_LIMIT" in str(refusal())


def test_what_was_given_as_a_secret_is_checked_as_well(environment: Set) -> None:
    with pytest.raises(SettingsError, match="COMETCHAT_KEY: must be printable ASCII"):
        load_settings(cometchat_key=SecretStr("k\n"))
