"""The URL of a single Redis: what our grammar has reaches all libraries alike, the rest none."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from config.secrets import passwords_in
from config.settings import SettingsError, load_settings
from tests.redis_readers import Place, readers

NAMES = ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")

#: What one library or another takes, and another dies of, or reads as something else.
WRONG = {
    "a database as an option": "redis://:hunter2@host?db=2",
    "and behind the host, too": "redis://:hunter2@host/1?db=2",
    "a timeout": "redis://:hunter2@host:6379/0?socket_timeout=5",
    "a protocol": "redis://:hunter2@host:6379/0?protocol=3",
    "an unknown option": "redis://:hunter2@host:6379/0?foo=bar",
    "an option without a value": "redis://:hunter2@host:6379/0?decode_responses",
    "two options": "rediss://:hunter2@host:6379/0?health_check_interval=1&max_connections=20",
    "options of others": "redis://:hunter2@host:6379/0?family=0",
    "no options, but their mark": "redis://:hunter2@host:6379/0?",
    "a path": "redis://:hunter2@host:6379/cache",
    "a longer path": "redis://:hunter2@host:6379/0/1",
    "a slash behind the database": "redis://:hunter2@host:6379/0/",
    "a database of other digits": "redis://:hunter2@host:6379/\u0661",
    "a database below zero": "redis://:hunter2@host:6379/-1",
    "a database that is encoded": "redis://:hunter2@host:6379/%30",
    "a fragment": "redis://:hunter2@host:6379/0#1",
    "a raw @ and / in the password": "redis://:p@hunter2/w@host:6379/0",
    "a raw @": "redis://:p@hunter2@host:6379/0",
    "a raw @, and what looks like a port": "redis://:p@hunter2:1/0@host:6379/0",
    "a raw /": "redis://:hunter2/w@host:6379/0",
    "a raw / behind digits": "redis://user:123/hunter2@host:6379/0",
    "a raw ?": "redis://:hunter2?w@host:6379/0",
    "a raw #": "redis://:hunter2#w@host:6379/0",
    "a raw ;": "redis://:hunter2;w@host:6379/0",
    "a raw [": "redis://:hunter2[w@host:6379/0",
    "a raw backslash": "redis://:hunter2\\w@host:6379/0",
    "a raw space": "redis://:hunter2 w@host:6379/0",
    "a raw line break": "redis://:hunter2\nw@host:6379/0",
    "a raw umlaut": "redis://:hunter2\xe4@host:6379/0",
    "no UTF-8": "redis://:hunter2%ff@host:6379/0",
    "a user alone": "redis://hunter2@host:6379/0",
    "a password that was not filled in": "redis://hunter2:@host:6379/0",
    "no host": "redis://:hunter2@/0",
    "no host but a port": "redis://:hunter2@:6379/0",
    "several hosts": "redis://:hunter2@a:6379,b:6379/0",
    "half an IPv6 address": "redis://:hunter2@[::1:6379/0",
    "an IPv6 address without brackets": "redis://:hunter2@::1/0",
    "an IPv6 address of a network card": "redis://:hunter2@[fe80::1%eth0]:6379/0",
    "something else in brackets": "redis://:hunter2@[host]:6379/0",
    "port 0": "redis://:hunter2@host:0/0",
    "a port that is too large": "redis://:hunter2@host:65536/0",
    "a port that is much too large": f"redis://:hunter2@host:{'9' * 5000}/0",
    "a port in words": "redis://:hunter2@host:redis/0",
    "a host of other letters": "redis://:hunter2@h\xf6st/0",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG.keys())
def test_what_libraries_read_differently_is_refused_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError) as refused:
        load_settings(_env_file=None)
    [problem] = refused.value.problems
    assert problem.startswith(f"{name}: ")
    assert "hunter2" not in f"{problem} {refused.value!r}"
    assert refused.value.__context__ is None


RIGHT = {
    "redis://host": Place("host", 6379, 0, "", "", has_tls=False),
    "redis://host/": Place("host", 6379, 0, "", "", has_tls=False),
    "redis://Redis_1.example:7/007": Place("redis_1.example", 7, 7, "", "", has_tls=False),
    "redis://:@host": Place("host", 6379, 0, "", "", has_tls=False),
    "redis://:p@127.0.0.1:7": Place("127.0.0.1", 7, 0, "", "p", has_tls=False),
    "rediss://u%40:p%2Fw@[0:0::1]:7/3": Place("::1", 7, 3, "u@", "p/w", has_tls=True),
    "redis://u:a:b+c&d=e,100%@host": Place("host", 6379, 0, "u", "a:b+c&d=e,100%", has_tls=False),
    "redis://:\"'{}|^`<>!$*~@host": Place("host", 6379, 0, "", "\"'{}|^`<>!$*~", has_tls=False),
}


@pytest.mark.parametrize("url", RIGHT)
def test_what_is_in_our_grammar_all_read_alike(url: str) -> None:
    read = readers(load_settings(_env_file=None, redis_url=SecretStr(url)))
    assert {*read.values()} == {RIGHT[url]}


@given(user=st.text(max_size=5), password=st.text(min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_any_password_reaches_each_library(user: str, password: str) -> None:
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    url = SecretStr(f"redis://{login}@host:7/5")
    read = readers(load_settings(_env_file=None, redis_url=url))
    assert {*read.values()} == {Place("host", 7, 5, user, password, has_tls=False)}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CELERY_BROKER_URL", "ampq://host", "begin with the name of a kind"),
        ("CELERY_BROKER_URL", "os.path:join://host", "begin with the name of a kind"),
        ("CELERY_RESULT_BACKEND", "amqp://host", "begin with the name of a kind"),
        ("CELERY_RESULT_BACKEND", "redis", "must be a URL"),
        ("CELERY_RESULT_BACKEND", "redis://a;redis://b", "percent-encode the password"),
        ("CELERY_BROKER_URL", "redis://a/0;redis://b/0?x=1", "must have no options"),
        ("CELERY_BROKER_URL", "redis+sentinel://a,b/s;redis://c", "must be alone"),
        ("CELERY_BROKER_URL", "redis://c;redis+sentinel://a,b/s", "must be alone"),
    ],
)
def test_what_celery_would_die_of_later_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: .*{words}"):
        load_settings(_env_file=None)


def test_several_brokers_are_each_read_alike() -> None:
    url = SecretStr("redis://:a^b@h1;rediss://h2:7/3;amqp://h3//")
    loaded = load_settings(_env_file=None, celery_broker_url=url)
    assert loaded.broker_url == "redis://:a%5Eb@h1:6379/0;rediss://h2:7/3;amqp://h3//"


def test_a_plus_of_a_sentinels_password_is_known_in_either_form() -> None:
    url = "redis+sentinel://:a@one/s?sentinel_password=hunter+2"
    known = {secret.get_secret_value() for secret in passwords_in(url)}
    assert {"hunter+2", "hunter 2"} <= known
