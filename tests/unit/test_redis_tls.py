"""The settings of TLS to Redis, and what is said of those that are wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from config.celery_app import configuration
from config.settings import SettingsError, load_settings
from worker.certificates import Authority, Issued

URL = "rediss://:hunter2@redis.example:6379/0"
URLS = ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
FILES = ("REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*URLS, *FILES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("client", "client")


def problems(**settings: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        load_settings(_env_file=None, **settings)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None
    return refused.value.problems


def test_all_libraries_are_told_to_verify(authority: Authority, issued: Issued) -> None:
    settings = load_settings(
        _env_file=None,
        redis_url=SecretStr(URL),
        redis_ca_file=authority.file,
        redis_cert_file=issued.certificate,
        redis_key_file=issued.key,
    )
    told = {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        "ssl_ca_certs": str(authority.file),
        "ssl_certfile": str(issued.certificate),
        "ssl_keyfile": str(issued.key),
    }
    conf = configuration(settings)
    assert conf["broker_use_ssl"] == conf["redis_backend_use_ssl"] == told
    assert told.items() <= conf["redbeat_redis_options"].items()


def test_without_files_the_systems_authorities_are_trusted() -> None:
    conf = configuration(load_settings(_env_file=None, redis_url=SecretStr(URL)))
    assert conf["broker_use_ssl"]["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert "ssl_ca_certs" not in conf["broker_use_ssl"]


def test_each_url_has_tls_or_not(authority: Authority) -> None:
    """A broker apart, say, which is reached by another way."""
    settings = load_settings(
        _env_file=None,
        redis_url=SecretStr("redis://127.0.0.1/0"),
        celery_result_backend=SecretStr(URL),
        redis_ca_file=authority.file,
    )
    conf = configuration(settings)
    assert conf["broker_use_ssl"] is None
    assert conf["redis_backend_use_ssl"]["ssl_ca_certs"] == str(authority.file)
    assert "ssl_ca_certs" not in conf["redbeat_redis_options"]


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "option",
    ["ssl_cert_reqs=none", "ssl_check_hostname=false", "%73sl_cert_reqs=none", "a=b&ssl_x"],
)
def test_no_option_of_a_url_can_weaken_it(
    monkeypatch: pytest.MonkeyPatch, name: str, option: str
) -> None:
    monkeypatch.setenv(name, f"{URL}?{option}")
    [problem] = problems()
    assert problem.startswith(f"{name}: must have no ssl_ options")


@pytest.mark.parametrize("name", URLS[1:])
def test_nor_of_one_of_several(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f"redis://a/0;redis://b/0?x=y;{URL}?ssl_cert_reqs=none")
    [problem] = problems()
    assert problem.startswith(f"{name}: must have no ssl_ options")


def test_files_that_nobody_uses_are_a_mistake(authority: Authority) -> None:
    [problem] = problems(redis_ca_file=authority.file)
    assert problem == "REDIS_CA_FILE: is set, but no URL of Redis begins with rediss://"


def test_a_certificate_needs_its_key(issued: Issued) -> None:
    told = problems(redis_url=SecretStr(URL), redis_cert_file=issued.certificate)
    assert told == ("REDIS_KEY_FILE: is missing: a certificate needs its key",)
    told = problems(redis_url=SecretStr(URL), redis_key_file=issued.key)
    assert told == ("REDIS_CERT_FILE: is missing: a certificate needs its key",)


def test_files_that_are_not_there_or_something_else(authority: Authority, issued: Issued) -> None:
    other = authority.issue("other", "other")
    nothing = authority.file.with_name("nothing")
    told = problems(
        redis_url=SecretStr(URL),
        redis_ca_file=issued.key,
        redis_cert_file=issued.certificate,
        redis_key_file=other.key,
    )
    assert told == (
        "REDIS_CA_FILE: has to hold certificates in PEM",
        "REDIS_CERT_FILE: has to hold a certificate in PEM, and REDIS_KEY_FILE its key, "
        "not encrypted",
    )
    told = problems(redis_url=SecretStr(URL), redis_ca_file=nothing)
    assert told == ("REDIS_CA_FILE: cannot be read: No such file or directory",)


def test_nobody_is_asked_for_the_passphrase_of_a_key(issued: Issued) -> None:
    """OpenSSL would ask at the terminal, and a worker would wait there."""
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    issued.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    told = problems(
        redis_url=SecretStr(URL), redis_cert_file=issued.certificate, redis_key_file=issued.key
    )
    assert len(told) == 1 and "not encrypted" in told[0]
