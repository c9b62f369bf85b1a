"""Every setting, typed, from the environment (and a `.env` file, if there is one).

`.env.example` lists the same settings for people. A wrong value is one `SettingsError` that
names every bad setting; values are never shown, as they may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.accounts import DEFAULT, Credentials, MissingVariable
from config.dotenv_file import DotEnv, DotEnvUnusable
from config.redis_tls import RedisTls
from config.redis_url import celery_backend, celery_broker
from config.secret_settings import SecretFile, WithFiles, trimmed
from config.shared import shared
from config.values import (
    Accounts,
    ApiSecret,
    BackendUrl,
    BaseUrl,
    BrokerUrl,
    CallsASecond,
    CallSeconds,
    Domains,
    PrivateKeys,
    PublicKeys,
    RedisUrl,
    Seconds,
    SentryDsn,
    WholeSeconds,
    lower,
)

#: What an enqueue waits for besides Redis's memory: nothing, its append-only file, one replica.
Durability = Literal["memory", "fsync", "replicas"]


class SettingsError(ValueError):
    """A setting is missing or has a wrong value; the message names all of them.

    `problems` has a sentence for each, `found` its name and what is wrong.
    """

    def __init__(self, found: Iterable[tuple[str, str]]) -> None:
        self.found = tuple(dict.fromkeys(found))
        self.problems = tuple(f"{name}: {problem}" for name, problem in self.found)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"The settings are not right (see .env.example):{lines}")

    @classmethod
    def gather(cls, *checks: Callable[[], object]) -> None:
        """Run all checks, and raise one error with what they found."""
        found: list[tuple[str, str]] = []
        for check in checks:
            try:
                check()
            except SettingsError as error:
                found += error.found
        if found:
            raise cls(found)


_HALF = re.compile("[\ud800-\udfff]")


def _is_empty(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


class Settings(BaseSettings):
    """What the program is told. Times are seconds unless the name says otherwise."""

    #: No `env_file`: what a file holds that is no good is told in words (`config/dotenv_file.py`).
    model_config = SettingsConfigDict(
        env_file=(), extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not _is_empty(value)}

    @field_validator("*", mode="before")
    @classmethod
    def _text_of(cls, value: object, info: ValidationInfo) -> object:
        """Of a file, if it is in one; bytes that are no UTF-8 get as far as this, in Python."""
        text = value.read().get_secret_value() if isinstance(value, SecretFile) else value
        if not isinstance(text, str):
            return text
        if _HALF.search(text):
            raise ValueError("is not UTF-8 text")
        return trimmed(str(info.field_name).upper(), text)

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[Any, ...]:
        """The environment before the file, as ever; each with the secrets in files it names."""
        asked = sources["dotenv_settings"].env_file  # None where a caller wants no file
        dotenv = DotEnv(cls, None if asked is None else Path(asked or ".env"))
        files = map(WithFiles, (sources["env_settings"], dotenv))
        return (sources["init_settings"], *files)

    # Redis
    redis_url: RedisUrl = SecretStr("redis://127.0.0.1:6379/0")
    celery_broker_url: BrokerUrl = None
    celery_result_backend: BackendUrl = None
    redis_ca_file: Path | None = None
    redis_cert_file: Path | None = None
    redis_key_file: Path | None = None
    redis_appendfsync: Literal["always"] | None = None
    enqueue_durability: Durability = "memory"

    # CometChat's Management API
    cometchat_key: ApiSecret = None
    cometchat_secret: ApiSecret = None
    cometchat_old_key: ApiSecret = None
    cometchat_old_secret: ApiSecret = None
    cometchat_accounts: Accounts = {}
    cometchat_base_url: BaseUrl = "https://apimgmt.cometchat.io"
    cometchat_connect_timeout: CallSeconds = 5.0
    cometchat_read_timeout: CallSeconds = 15.0
    cometchat_rate_limit: CallsASecond = 0.0
    cometchat_rate_share: Annotated[float, Field(ge=0.001, le=1)] = 1.0
    gate_probe_seconds: Seconds = 30.0

    # Webhooks
    webhook_url_allow: Domains = ()

    # Retries
    retry_base_seconds: Seconds = 2.0
    retry_max_delay_seconds: Seconds = 600.0
    retry_max_attempts: PositiveInt = 12
    retry_max_age: Seconds = 86_400.0
    retry_failed_max_age: Seconds = 604_800.0
    app_not_found_seconds: Seconds = 600.0

    # Keeping
    result_ttl: WholeSeconds = 604_800
    failed_ttl: WholeSeconds = 15_552_000
    sealing_public_key: PublicKeys = ()
    sealing_private_keys: PrivateKeys = ()

    # The worker
    pipe_size: Annotated[int, Field(ge=1, le=100_000)] = 256
    worker_shutdown_seconds: CallSeconds = 25.0

    # To be seen
    sentry_dsn: SentryDsn = None
    sentry_environment: str = "production"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(lower)
    ] = "info"
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(lower)] = "auto"

    @property
    def redis_tls(self) -> RedisTls:
        """The files for TLS to Redis."""
        return RedisTls(self.redis_ca_file, self.redis_cert_file, self.redis_key_file)

    @property
    def broker(self) -> tuple[str, dict[str, Any]]:
        """Where Celery's messages go, CELERY_BROKER_URL, else REDIS_URL: URL and options."""
        return celery_broker((self.celery_broker_url or self.redis_url).get_secret_value())

    @property
    def backend(self) -> tuple[str, dict[str, Any]]:
        """Where Celery's results go, CELERY_RESULT_BACKEND, else REDIS_URL: URL and options."""
        return celery_backend((self.celery_result_backend or self.redis_url).get_secret_value())

    @property
    def broker_url(self) -> str:
        """The broker's URL, as Celery takes it."""
        return self.broker[0]

    @property
    def result_backend(self) -> str:
        """The result backend's URL, as Celery takes it."""
        return self.backend[0]

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of all accounts, the default one first."""
        return (DEFAULT, *sorted(self.cometchat_accounts))

    def rate_limit(self, account: str) -> float:
        """Calls a second that an account may make at most, 0 for no end."""
        other = self.cometchat_accounts.get(account)
        limit = None if other is None else other.rate_limit
        return self.cometchat_rate_limit if limit is None else limit

    def credentials(self, account: str) -> tuple[Credentials, ...]:
        """An account's pairs of key and secret, the newer first. Raises `SettingsError`."""
        if account != DEFAULT:
            try:
                return self.cometchat_accounts[account].credentials()
            except KeyError:
                problem = f"has no account {account!r}"
            except MissingVariable as missing:
                problem = f"{account}: {missing}"
            raise SettingsError([("COMETCHAT_ACCOUNTS", problem)])
        old = {"cometchat_old_key", "cometchat_old_secret"}
        given = {name for name in old if getattr(self, name)}
        self.require("cometchat_key", "cometchat_secret", *(old if given else ()))
        pairs = (
            (self.cometchat_key, self.cometchat_secret),
            (self.cometchat_old_key, self.cometchat_old_secret),
        )
        return tuple(Credentials(key, secret) for key, secret in pairs if key and secret)

    def require_credentials(self) -> None:
        """Raise `SettingsError` unless every account has its pair; where there are others, the
        default one need not have any.
        """
        without = self.cometchat_accounts and not (self.cometchat_key or self.cometchat_secret)
        accounts = self.accounts[1:] if without else self.accounts
        SettingsError.gather(*(partial(self.credentials, account) for account in accounts))

    def require(self, *names: str) -> None:
        """Raise `SettingsError` naming each of these settings that is not set."""
        missing = [name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise SettingsError([(name, "is missing") for name in missing])


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment; `overrides` win over it.

    Raises:
        SettingsError: names every setting with a wrong value, without the value.
    """
    problems: Sequence[tuple[str, str]]
    try:
        settings = Settings(**overrides)
        urls = (settings.redis_url, settings.celery_broker_url, settings.celery_result_backend)
        problems = settings.redis_tls.problems(*(url.get_secret_value() for url in urls if url))
        if not problems:
            return settings
    except DotEnvUnusable as error:
        problems = error.problems
    except ValidationError as error:
        problems = [
            (".".join(map(str, one["loc"][:1])).upper(), one["msg"].removeprefix("Value error, "))
            for one in error.errors(include_url=False, include_input=False)
        ]
    raise SettingsError(problems)


@shared
def get_settings() -> Settings:
    """The process's settings, read at the first call. Raises `SettingsError`."""
    return load_settings()
