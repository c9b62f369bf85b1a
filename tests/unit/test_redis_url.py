"""The one URL for Sentinel, and what each library reads out of what it is given of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery
from celery.app.utils import filter_hidden_settings
from celery.backends.redis import SentinelBackend
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection
from kombu.utils.url import parse_url
from pydantic import SecretStr

from config.celery_app import configuration
from config.redis_url import RedisUrlError, celery_backend, celery_broker, read_sentinels, redbeat
from config.settings import SettingsError, load_settings

URL = "redis+sentinel://:hunter2@s1:1,s2,[::1]:3/jobs/5?sentinel_password=hunter3"
HOSTS = [("s1", 1), ("s2", 26379), ("::1", 3)]

WRONG = [
    "redis+sentinel://",
    "redis+sentinel://:hunter2@",
    "redis+sentinel://:hunter2@s1",
    "redis+sentinel://:hunter2@s1/",
    "redis+sentinel://:hunter2@s1//0",
    "redis+sentinel://:hunter2@/jobs",
    "redis+sentinel://:hunter2@s1,/jobs",
    "redis+sentinel://:hunter2@s1:0/jobs",
    "redis+sentinel://:hunter2@s1:65536/jobs",
    "redis+sentinel://:hunter2@s1:x/jobs",
    "redis+sentinel://:hunter2@s 1/jobs",
    "redis+sentinel://:hunter2@[s1]/jobs",
    "redis+sentinel://:hunter2@[::1/jobs",
    "redis+sentinel://:hunter2@::1/jobs",
    "redis+sentinel://:hunter2@s1/jobs/first",
    "redis+sentinel://:hunter2@s1/jobs/0/1",
    "redis+sentinel://:hunter2@s1/jobs#0",
    "redis+sentinel://:hunt@er2@s1/jobs",
    "redis+sentinel://:hunter2/b@s1/jobs",
    "redis+sentinel://:hunter2?b@s1/jobs",
    "redis+sentinel://hunter2@s1/jobs",
    "redis+sentinel://s1/jobs?password=hunter2",
    "redis+sentinel://s1/jobs?hunter2",
    "redis+sentinel://s1/jobs?sentinel_username=hunter2",
]


def read_by_kombu(url: str) -> list[dict[str, Any]]:
    """What kombu takes from each part, as it goes from one to the next."""
    connection = Connection(url)
    return [parse_url(part) for part in connection.alt or [url]]


def read_by_backend(url: str, options: dict[str, Any]) -> dict[str, Any]:
    app = Celery(set_as_current=False)
    app.conf.update(result_backend=url, result_backend_transport_options=options)
    assert isinstance(app.backend, SentinelBackend)
    return dict(app.backend.connparams)


class TestTheUrl:
    def test_names_sentinels_service_database_and_both_logins(self) -> None:
        read = read_sentinels(URL)
        assert read is not None
        assert (list(read.hosts), read.service, read.db) == (HOSTS, "jobs", 5)
        assert read.login.options() == {"password": "hunter2"}
        assert read.sentinel_login.options() == {"password": "hunter3"}

    def test_needs_a_host_and_the_service_alone(self) -> None:
        read = read_sentinels("redis+sentinel://s1/jobs")
        assert read is not None
        assert (read.hosts, read.service, read.db) == ((("s1", 26379),), "jobs", 0)
        assert read.login.options() == read.sentinel_login.options() == {}

    def test_may_name_users(self) -> None:
        read = read_sentinels(
            "redis+sentinel://u%40:p@s1/a%2Fb?sentinel_username=v%26&sentinel_password=q+%2B"
        )
        assert read is not None and read.service == "a/b"
        assert read.login.options() == {"username": "u@", "password": "p"}
        assert read.sentinel_login.options() == {"username": "v&", "password": "q++"}

    @pytest.mark.parametrize("url", WRONG)
    @pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
    def test_that_is_wrong_is_refused_and_never_shown(
        self, monkeypatch: pytest.MonkeyPatch, url: str, name: str
    ) -> None:
        with pytest.raises(RedisUrlError) as told:
            read_sentinels(url)
        monkeypatch.setenv(name, url)
        with pytest.raises(SettingsError) as refused:
            load_settings(_env_file=None)
        assert str(told.value) in str(refused.value) and name in str(refused.value)
        assert "hunt" not in f"{told.value!r} {refused.value!r}"
        assert refused.value.__context__ is None

    def test_of_another_kind_is_left_alone(self) -> None:
        for url in ("amqp://h", "redis+socket:///tmp/s"):
            assert read_sentinels(url) is None
            assert celery_broker(url) == celery_backend(url) == (url, {})

    def test_of_celerys_own_kind_lacks_the_service(self) -> None:
        with pytest.raises(SettingsError, match=r"redis\+sentinel"):
            load_settings(_env_file=None, celery_broker_url="sentinel://s1:26379")


class TestForCelery:
    def test_kombu_has_the_login_in_each_part(self) -> None:
        url, options = celery_broker(URL)
        for part, (host, port) in zip(read_by_kombu(url), HOSTS, strict=True):
            assert (part["transport"], part["hostname"], part["port"]) == ("sentinel", host, port)
            assert (part["userid"], part["password"]) == (None, "hunter2")
            assert part["virtual_host"] == "5"
        assert options["master_name"] == "jobs"
        assert options["sentinel_kwargs"]["password"] == "hunter3"

    def test_one_sentinel_is_enough(self) -> None:
        url, _ = celery_broker("redis+sentinel://s1:7/jobs")
        assert url == "sentinel://s1:7/0"
        assert read_by_backend(url, {})["hosts"][0]["port"] == 7

    def test_the_backend_has_the_login_once(self) -> None:
        read = read_by_backend(*celery_backend(URL))
        assert [(one["host"], one["port"]) for one in read["hosts"]] == HOSTS
        assert (read["db"], read["password"]) == (5, "hunter2")

    @given(user=st.text(max_size=5), password=st.text(min_size=1, max_size=20))
    def test_any_password_reaches_each_library(self, user: str, password: str) -> None:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        url = f"redis+sentinel://{login}@s1,s2/jobs?sentinel_password={quote(password, safe='')}"
        broker, options = celery_broker(url)
        for part in read_by_kombu(broker):
            assert (part["userid"] or "", part["password"]) == (user, password)
        assert options["sentinel_kwargs"]["password"] == password
        backend = read_by_backend(*celery_backend(url))
        assert (backend.get("username") or "", backend["password"]) == (user, password)
        _, told = redbeat(url)
        assert (told.get("username", ""), told["password"]) == (user, password)


class TestForRedbeat:
    def test_sentinels_are_options(self) -> None:
        url, options = redbeat(URL)
        assert url.startswith("redis-sentinel") and "hunter" not in url
        assert options["sentinels"] == HOSTS
        assert (options["service_name"], options["db"]) == ("jobs", 5)
        assert options["password"] == "hunter2"
        assert options["sentinel_kwargs"]["password"] == "hunter3"

    def test_a_plain_url_loses_its_login_to_the_options(self) -> None:
        told = {"username": "u@", "password": "p/w"}
        assert redbeat("rediss://u%40:p%2Fw@h:7/3") == ("rediss://h:7/3", told)
        assert redbeat("redis://[::1]:7/3") == ("redis://[::1]:7/3", {})


class TestWhatCeleryShows:
    """`celery report`, `inspect conf` and Flower show the settings to whoever asks."""

    @pytest.mark.parametrize("url", [URL, "redis://:hunter2@redis.example:6379/1"])
    def test_has_no_password(self, url: str) -> None:
        settings = load_settings(_env_file=None, redis_url=SecretStr(url))
        conf = configuration(settings)
        assert "hunter2" in str(conf)
        assert "hunter" not in str(filter_hidden_settings(conf))
        assert "hunter" not in Connection(conf["broker_url"]).as_uri()

    def test_acknowledgements_are_not_emulated_with_sentinels_either(self) -> None:
        conf = configuration(load_settings(_env_file=None, redis_url=SecretStr(URL)))
        assert conf["broker_transport_options"]["ack_emulation"] is False
        assert conf["broker_transport_options"]["master_name"] == "jobs"
        assert conf["result_backend_transport_options"]["master_name"] == "jobs"
