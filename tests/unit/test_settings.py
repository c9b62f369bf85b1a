"""What the program takes from its environment, and what it says of values that are wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.sealing_keys import new_pair
from config.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).resolve().parents[2]

DEFAULTS: dict[str, Any] = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "CELERY_BROKER_URL": None,
    "CELERY_RESULT_BACKEND": None,
    "REDIS_CA_FILE": None,
    "REDIS_CERT_FILE": None,
    "REDIS_KEY_FILE": None,
    "REDIS_APPENDFSYNC": None,
    "ENQUEUE_DURABILITY": "memory",
    "COMETCHAT_KEY": None,
    "COMETCHAT_SECRET": None,
    "COMETCHAT_BASE_URL": "https://apimgmt.cometchat.io",
    "COMETCHAT_CONNECT_TIMEOUT": 5,
    "COMETCHAT_READ_TIMEOUT": 15,
    "COMETCHAT_RATE_LIMIT": 0.0,
    "COMETCHAT_RATE_SHARE": 1.0,
    "COMETCHAT_OLD_KEY": None,
    "COMETCHAT_OLD_SECRET": None,
    "COMETCHAT_ACCOUNTS": {},
    "GATE_PROBE_SECONDS": 30.0,
    "WEBHOOK_URL_ALLOW": (),
    "RETRY_BASE_SECONDS": 2,
    "RETRY_MAX_DELAY_SECONDS": 600,
    "RETRY_MAX_ATTEMPTS": 12,
    "RETRY_MAX_AGE": 24 * 3600,
    "RETRY_FAILED_MAX_AGE": 7 * 24 * 3600,
    "APP_NOT_FOUND_SECONDS": 600,
    "RESULT_TTL": 7 * 24 * 3600,
    "FAILED_TTL": 180 * 24 * 3600,
    "SEALING_PUBLIC_KEY": (),
    "SEALING_PRIVATE_KEYS": (),
    "PIPE_SIZE": 256,
    "WORKER_SHUTDOWN_SECONDS": 25,
    "SENTRY_DSN": None,
    "SENTRY_ENVIRONMENT": "production",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
}

#: What other programs read from the same file: the Procfile's Flower.
NOT_OURS = {"FLOWER_BASIC_AUTH": "", "FLOWER_READ_ONLY": "true", "PORT": "5555"}

EXAMPLE = ROOT / ".env.example"
LISTED = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))

NUMBERS = [name for name, default in DEFAULTS.items() if isinstance(default, int)]
FRACTIONS = [name for name in NUMBERS if Settings.model_fields[name.lower()].annotation is float]

Set = Callable[..., None]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    """Sets variables in an environment that has none of ours, in a folder without a .env file."""
    monkeypatch.chdir(tmp_path)
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def plain(value: Any) -> Any:
    """A setting as it can be compared: secrets in clear."""
    if isinstance(value, tuple):
        return tuple(plain(one) for one in value)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def all_of(settings: Settings) -> dict[str, Any]:
    return {name.upper(): plain(getattr(settings, name)) for name in Settings.model_fields}


def refusal() -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return caught.value


def names_in(error: SettingsError) -> set[str]:
    return set(re.findall(r"^  ([A-Z_]+):", str(error), re.MULTILINE))


def assert_untold(secret: str, error: BaseException) -> None:
    """Neither the message nor anything that a traceback of ours shows has the secret."""
    assert secret not in str(error)
    assert secret not in repr(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    frame = error.__traceback__
    while frame is not None:
        if Path(frame.tb_frame.f_code.co_filename) != Path(__file__):
            assert secret not in repr(frame.tb_frame.f_locals)
        frame = frame.tb_next


class TestDefaults:
    def test_are_these(self) -> None:
        assert all_of(load_settings()) == DEFAULTS

    @pytest.mark.parametrize("name", DEFAULTS)
    def test_an_empty_string_counts_as_unset(self, environment: Set, name: str) -> None:
        environment(**{name: ""})
        assert all_of(load_settings()) == DEFAULTS

    def test_the_environment_wins_over_the_file_even_when_empty(self, environment: Set) -> None:
        Path(".env").write_text("PIPE_SIZE=7\nSENTRY_DSN=https://key@sentry.example/1\n")
        environment(SENTRY_DSN="")
        settings = load_settings()
        assert settings.pipe_size == 7
        assert settings.sentry_dsn is None

    def test_words_are_in_any_case(self, environment: Set) -> None:
        environment(LOG_LEVEL="WARNING", LOG_FORMAT="Json")
        assert (load_settings().log_level, load_settings().log_format) == ("warning", "json")

    def test_variables_of_others_are_ignored(self) -> None:
        Path(".env").write_text("PORT=5000\nSOMETHING_ELSE=1\n")
        assert all_of(load_settings()) == DEFAULTS


class TestBrokerAndBackend:
    def test_are_those_of_the_records_unless_told(self, environment: Set) -> None:
        environment(REDIS_URL="rediss://:secret@redis.example:6380/3")
        settings = load_settings()
        assert settings.broker_url == settings.result_backend == plain(settings.redis_url)

    def test_can_be_apart(self, environment: Set) -> None:
        environment(CELERY_BROKER_URL="amqp://mq", CELERY_RESULT_BACKEND="redis://results")
        settings = load_settings()
        assert settings.broker_url == "amqp://mq"
        assert settings.result_backend == "redis://results:6379/0"


def new_key() -> str:
    return new_pair()[1].get_secret_value()


class TestWrongValues:
    def test_are_all_told_at_once(self, environment: Set) -> None:
        wrong = {
            "REDIS_URL": "http://cache.example",
            "COMETCHAT_BASE_URL": "http://api.example",
            "RETRY_MAX_ATTEMPTS": "a-dozen",
            "PIPE_SIZE": "0",
            "RESULT_TTL": "-42",
            "LOG_LEVEL": "verbose",
            "ENQUEUE_DURABILITY": "disk",
            "SEALING_PUBLIC_KEY": "not-a-key",
        }
        environment(**wrong, COMETCHAT_KEY="fine")
        error = refusal()
        assert names_in(error) == set(wrong)
        for value in wrong.values():
            if value != "0":
                assert_untold(value, error)

    @pytest.mark.parametrize("name", DEFAULTS)
    def test_bytes_that_are_no_text_are_refused(self, environment: Set, name: str) -> None:
        environment(**{name: "redis+sentinel://:a\udce9b@one/service"})
        assert f"{name}: is not UTF-8 text" in str(refusal())

    @pytest.mark.parametrize("name", NUMBERS)
    @pytest.mark.parametrize("value", ["0", "-1", "many", "nan"])
    def test_numbers_must_be_positive(self, environment: Set, name: str, value: str) -> None:
        environment(**{name: value})
        assert names_in(refusal()) == {name}

    @pytest.mark.parametrize("name", FRACTIONS)
    def test_numbers_must_be_finite(self, environment: Set, name: str) -> None:
        environment(**{name: "inf"})
        assert names_in(refusal()) == {name}

    @pytest.mark.parametrize(
        "url",
        [
            "hunter2",
            "http://:hunter2@redis.example",
            "redis://:hunter2℀@redis.example",  # no host can be had of it (NFKC)
            "redis://:a[hunter2]@redis.example",
            "redis://:[hunter2@redis.example",
            "redis://:hunter2/b@redis.example",  # a password that is not percent-encoded
            "redis://redis.example:hunter2",
        ],
    )
    def test_a_broken_redis_url_is_never_shown(self, environment: Set, url: str) -> None:
        environment(REDIS_URL=url)
        error = refusal()
        assert names_in(error) == {"REDIS_URL"}
        assert_untold("hunter2", error)

    @pytest.mark.parametrize("place", [0, 1])
    def test_broken_sealing_keys_are_never_shown(self, environment: Set, place: int) -> None:
        good, broken = new_key(), new_key()[:-3]
        keys = [good]
        keys.insert(place, broken)
        environment(SEALING_PRIVATE_KEYS=",".join(keys))
        error = refusal()
        assert f"key {place + 1} is cut, or has been changed" in str(error)
        assert_untold(good, error)
        assert_untold(broken, error)


class TestSealingKeys:
    def test_are_separated_by_commas_and_keep_their_order(self, environment: Set) -> None:
        new, old = new_key(), new_key()
        environment(SEALING_PRIVATE_KEYS=f" {new} ,{old},")
        assert plain(load_settings().sealing_private_keys) == (new, old)

    def test_are_in_no_repr(self, environment: Set) -> None:
        key, url = new_key(), "redis://:hunter2@redis"
        environment(SEALING_PRIVATE_KEYS=key, COMETCHAT_KEY="hunter2", REDIS_URL=url)
        shown = repr(load_settings()) + str(load_settings())
        assert key not in shown
        assert "hunter2" not in shown


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("https://apimgmt.cometchat.io", "https://apimgmt.cometchat.io"),
            ("https://apimgmt.cometchat.io/", "https://apimgmt.cometchat.io"),
            ("https://gateway.example:8443/cometchat//", "https://gateway.example:8443/cometchat"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ],
    )
    def test_may_be(self, environment: Set, given: str, kept: str) -> None:
        environment(COMETCHAT_BASE_URL=given)
        assert load_settings().cometchat_base_url == kept

    @pytest.mark.parametrize(
        "url",
        [
            "http://apimgmt.cometchat.io",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::2]:8080",
            "http://localhost@example.com",
            "https://user:hunter2@apimgmt.cometchat.io",
            "https://hunter2@apimgmt.cometchat.io",
            "https://user:a[hunter2]@apimgmt.cometchat.io",
            "ftp://apimgmt.cometchat.io",
            "apimgmt.cometchat.io",
            "https://",
            "https:///apps",
            # Paths are put behind it.
            "https://apimgmt.cometchat.io?region=eu",
            "https://apimgmt.cometchat.io#top",
            "https://apimgmt.cometchat.io:port",
            # Of which readers of URLs make different hosts or paths.
            "https://apimgmt.cometchat.io\\.evil.org",
            "https://apimgmt.cometchat.io/\r\nHost:evil.org",
            "https://apimgmt.cometchat.io/%2e%2e",
            "https://apimgmt.cometchat.io//evil.org",
            "https://apimgmt.cometchat.io\uff0fevil.org",
            "https:evil.org://hunter2",
            # Of which requests makes none.
            "https://.cometchat.io",
            "https://..",
            "https://\u017f.example",
        ],
    )
    def test_must_not_be(self, environment: Set, url: str) -> None:
        environment(COMETCHAT_BASE_URL=url)
        error = refusal()
        assert names_in(error) == {"COMETCHAT_BASE_URL"}
        assert_untold("hunter2", error)


class TestRequire:
    def test_names_each_that_is_missing(self, environment: Set) -> None:
        environment(COMETCHAT_KEY="hunter2")
        with pytest.raises(SettingsError) as caught:
            load_settings().require("cometchat_key", "cometchat_secret", "sentry_dsn")
        assert names_in(caught.value) == {"COMETCHAT_SECRET", "SENTRY_DSN"}
        assert "hunter2" not in str(caught.value)

    def test_says_nothing_when_all_are_there(self, environment: Set) -> None:
        environment(COMETCHAT_KEY="k", COMETCHAT_SECRET="s")
        load_settings().require("cometchat_key", "cometchat_secret")


class TestTheExampleFile:
    def test_lists_exactly_the_settings_and_what_flower_reads(self) -> None:
        assert set(LISTED) == set(DEFAULTS) | set(NOT_OURS)

    def test_says_the_defaults(self, tmp_path: Path) -> None:
        told = tmp_path / "told.env"
        told.write_text("".join(f"{name}={value}\n" for name, value in LISTED.items()))
        assert all_of(load_settings(_env_file=told)) == DEFAULTS
        assert {name: LISTED[name] for name in NOT_OURS} == NOT_OURS

    def test_copied_as_it_is_changes_nothing(self) -> None:
        assert all_of(load_settings(_env_file=EXAMPLE)) == DEFAULTS
