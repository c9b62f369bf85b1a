"""Whatever the environment holds, the program has its settings or says what is wrong with them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from config.celery_app import configuration
from config.redis_tls import DEFAULT_TLS
from config.redis_url import PLAIN_SCHEMES
from config.sealing_keys import new_pair
from config.settings import Settings, SettingsError, load_settings
from tests.fuzz.harness import SEED, run, share
from tests.fuzz.mutation import mutations
from tests.redis_readers import readers

CANARY: Final = "hunter2hunter2"
#: Good values of each setting, as they stand in the environment.
GOOD: Final[dict[str, tuple[str, ...]]] = {
    "REDIS_URL": (
        f"redis://user:{CANARY}@host:6379/0",
        f"rediss://:{CANARY}@[::1]:6380/1?ssl_cert_reqs=required",
        f"redis://:{CANARY}@host:6379/cache?db=2&socket_timeout=5&protocol=3",
        f"redis+sentinel://user:{CANARY}@one:26379,two/service/0?sentinel_password={CANARY}",
    ),
    "CELERY_BROKER_URL": (f"amqp://user:{CANARY}@host:5672//", "redis://host:6379/1"),
    "CELERY_RESULT_BACKEND": (f"redis+sentinel://:{CANARY}@a,b/s", "redis://host/2"),
    "COMETCHAT_BASE_URL": ("https://apimgmt.cometchat.io", f"http://u:{CANARY}@localhost:8080/v3/"),
    "COMETCHAT_ACCOUNTS": (
        f'{{"eu": {{"key": "{CANARY}", "secret": "{CANARY}", "rate_limit": "500/m"}}}}',
        '{"us": {"key_env": "PATH", "secret_env": "HOME", "old_key": "a", "old_secret": "b"}}',
        "accounts.json",
    ),
    "SEALING_PUBLIC_KEY": (new_pair()[0].get_secret_value(),),
    "SEALING_PRIVATE_KEYS": (", ".join(new_pair()[1].get_secret_value() for _ in "ab"),),
    "COMETCHAT_SECRET_FILE": ("secret",),
    "REDIS_URL_FILE": ("secret", "/proc/self/mem", "/dev/zero", "/etc"),
    "WEBHOOK_URL_ALLOW": ("example.com, shop.example.org",),
    "COMETCHAT_RATE_LIMIT": ("500/m", "20/s", "0", "1.5/h"),
    "ENQUEUE_DURABILITY": ("fsync", "replicas"),
    "COMETCHAT_KEY": (CANARY,),
    "LOG_LEVEL": ("DEBUG",),
}
#: All others take what these have: numbers and words.
OTHERS: Final = ("1", "0.5", "true", "86400", "https://key@sentry.example/1", "production")


def cases(count: int) -> Iterator[dict[str, str]]:
    """A few variables at a time."""
    chance = random.Random(SEED)
    names = sorted({*(name.upper() for name in Settings.model_fields), *GOOD})
    spoiled = {
        name: mutations([one.encode() for one in GOOD.get(name, OTHERS)], SEED, count)
        for name in names
    }
    for _ in range(count):
        chosen = chance.sample(names, chance.choice((1, 1, 2, 5)))
        yield {
            name: next(spoiled[name]).replace(b"\0", b"")[:100_000].decode(errors="surrogateescape")
            for name in chosen
        }


#: In which a file may be, with and without the mark that it begins with.
ENCODINGS: Final = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"),
    *("cp037", "shift_jis", "utf-7"),
)
#: How a value may stand in it.
WRITTEN: Final = ("{}", "'{}'", '"{}"', " {} # so it is", "a${{HOME}}{}", "${{{}", "'{}", "für {}")


def files(count: int) -> Iterator[bytes]:
    """A `.env` of a few lines, in any encoding; some are spoiled."""
    chance = random.Random(SEED)
    names = sorted({*(name.upper() for name in Settings.model_fields), *GOOD, "OTHER"})

    def whole() -> bytes:
        lines = []
        for name in chance.sample(names, chance.choice((1, 2, 5))):
            value = chance.choice(GOOD.get(name, OTHERS))
            lines.append(f"{name}={chance.choice(WRITTEN).format(value)}")
        text = chance.choice(("\n", "\r\n", "\r")).join(lines)
        return text.encode(chance.choice(ENCODINGS), errors="replace")

    good = [whole() for _ in range(100)]
    spoiled = mutations(good, SEED, count)
    for number in range(count):
        yield next(spoiled) if number % 2 else whole()


def attempt_file(data: bytes) -> None:
    Path(".env").write_bytes(data)
    attempt({})


def attempt(variables: dict[str, str]) -> None:
    """Read them, and make of them what the program makes."""
    os.environ.update(variables)
    try:
        settings = load_settings()
    except SettingsError as error:
        # What is told names settings, and shows nothing of them.
        assert CANARY not in str(error)
        assert len(str(error)) < 10_000
        str(error).encode()
        return
    finally:
        for name in variables:
            del os.environ[name]
    configuration(settings)
    if "REDIS_URL" in variables:
        read_alike(settings)
    assert CANARY not in repr(settings)
    for account in settings.accounts:
        settings.rate_limit(account)
        try:
            settings.credentials(account)
        except SettingsError as error:
            assert CANARY not in str(error)


def read_alike(settings: Settings) -> None:
    """All libraries connect to one place, with one login."""
    apart = settings.celery_broker_url or settings.celery_result_backend
    url = settings.redis_url.get_secret_value()
    if not apart and url.startswith(PLAIN_SCHEMES) and settings.redis_tls == DEFAULT_TLS:
        read = readers(settings)
        assert len({*read.values()}) == 1, read


#: Parts of a URL that somebody may write, of which each library makes something else.
SCHEMES: Final = ("redis://", "rediss://", "REDIS://", "redis:", "redis+socket://", "unix://", "")
LOGINS: Final = (
    *("", f":{CANARY}@", f"user:{CANARY}@", f"{CANARY}@", "user:@", f":{CANARY}%2F%40@"),
    *(f":{CANARY}{one}{CANARY}@" for one in "@/?#[]\\;:&+= %\n\t\u00e4'\"{}^|"),
)
HOSTS: Final = (
    *("host", "host:6379", "Host_1:7", "127.0.0.1", "[::1]", "[::1]:7", "[fe80::1%25e]", "::1"),
    *("", ":6379", "host:0", "host:99999", "host:x", "a,b", "h\u00f6st", "host."),
)
PATHS: Final = (
    "",
    "/",
    "/0",
    "/15",
    "/0/",
    "/0/1",
    "//0",
    "/cache",
    "/%30",
    "/-1",
    "/\u0661",
    "/0x",
)
OPTIONS: Final = (
    *("", "?", "?db=2", "?socket_timeout=5", "?protocol=3", "?foo=bar", "?=", "?&", "#0"),
    *("?ssl_cert_reqs=none", "?decode_responses=1", "?max_connections=x", "?host=other"),
    *(f"?password={CANARY}", f"?username={CANARY}", f"?credential_provider={CANARY}"),
    *("?retry_on_timeout=1&health_check_interval=2", "?client_name=a%20b", "?virtual_host=3"),
    *("?transport=amqp", "?hostname=other", "?userid=other", "?port=1", "?visibility_timeout=1"),
)


def urls(count: int) -> Iterator[dict[str, str]]:
    """URLs of such parts; most have one that is odd."""
    chance = random.Random(SEED)
    plain = ("redis://", f":{CANARY}@", "host:6379", "/0", "")
    for _ in range(count):
        parts = [
            chance.choice(odd) if chance.random() < 0.4 else usual
            for odd, usual in zip((SCHEMES, LOGINS, HOSTS, PATHS, OPTIONS), plain, strict=True)
        ]
        name = chance.choice(("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"))
        yield {name: "".join(parts)}


def test_any_url_is_read_alike_or_refused() -> None:
    run("URLs", urls(share(0.02)), attempt)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of a case."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(CANARY)
    (tmp_path / "accounts.json").write_text('{"eu": {"key": "k", "secret": "s"}}')
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)


def test_any_environment_is_settings_or_a_sentence() -> None:
    all_cases: Any = cases(share(0.035))
    run("environment", all_cases, attempt)


def test_any_file_is_settings_or_a_sentence() -> None:
    run("environment (.env)", files(share(0.015)), attempt_file)
