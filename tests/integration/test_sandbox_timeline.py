"""The sandbox plays a bad day, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import eventually
from worker.sandbox import RunningSandbox, running_sandbox

OLD = {"key": "sandbox-key", "secret": "sandbox-secret"}
NEW = {"key": "sandbox-new-key", "secret": "sandbox-new-secret"}
DAY = """
about = "A day of a few tenths of a second."
[[entry]]
from = 0.3
to = 0.6
say = "away"
faults = [{ kind = "status", status = 503 }]
"""


@pytest.fixture(scope="module")
def process() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def sandbox(process: RunningSandbox) -> RunningSandbox:
    process.control.reset()
    return process


def called(sandbox: RunningSandbox, pair: dict[str, str] = OLD) -> requests.Response:
    headers = {**pair, "X-Webhook-Version": "2"}
    return requests.get(f"{sandbox.base_url}/apps/app1/webhooks", headers=headers, timeout=5)


def test_a_file_is_played_from_the_start_or_when_told(tmp_path: Path) -> None:
    path = tmp_path / "day.toml"
    path.write_text(DAY)
    options = "--timeline", str(path), "--begin", "when-told"
    with running_sandbox(*options) as sandbox:
        assert sandbox.control.timeline()["playing"] is False
        sandbox.control.play()
        assert called(sandbox).status_code == 200
        eventually(lambda: called(sandbox).status_code == 503)
        assert sandbox.control.timeline()["now"] == ["away"]
        eventually(lambda: called(sandbox).status_code == 200)
        assert sandbox.control.timeline()["seconds"] >= 0.6
    path.write_text(DAY.replace("0.3", "0").replace("0.6", "60"))
    with running_sandbox("--timeline", str(path)) as sandbox:
        assert called(sandbox).status_code == 503
        sandbox.control.reset()  # ends it
        assert called(sandbox).status_code == 200
        sandbox.control.play()
        assert called(sandbox).status_code == 503


def test_keys_are_rotated(sandbox: RunningSandbox) -> None:
    def accepted() -> list[int]:
        return [called(sandbox, pair).status_code for pair in (OLD, NEW)]

    assert accepted() == [200, 401]
    for keys, statuses in ((["old", "new"], [200, 200]), (["new"], [401, 200]), ([], [401, 401])):
        sandbox.control.play({"entry": [{"from": 0, "accepted_keys": keys}]})
        assert accepted() == statuses


def test_a_limit_refuses_and_the_calls_of_a_second_are_counted(sandbox: RunningSandbox) -> None:
    limit = {"calls": 2, "seconds": 3600, "headers": "x-ratelimit"}
    began = int(time.time())
    sandbox.control.play({"entry": [{"from": 0, "limit": limit}]})
    answers = [called(sandbox) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    told = [answer.headers["X-RateLimit-Remaining"] for answer in answers]
    assert told == ["1", "0", "0"]
    assert int(answers[0].headers["X-RateLimit-Reset"]) % 3600 == 0
    assert answers[2].json()["error"]["code"] == "ERR_TOO_MANY_REQUESTS"
    assert int(answers[2].headers["Retry-After"]) <= 3600
    counted = sandbox.control.seconds(began)
    for status, times in (("calls", 3), ("200", 2), ("429", 1)):
        assert sum(second.get(status, 0) for second in counted) == times


def test_a_bad_timeline_is_refused_with_every_bad_entry(sandbox: RunningSandbox) -> None:
    entries = [{"from": 0}, {"from": 0, "latency": 0.0}, {"from": "noon"}]
    with pytest.raises(ValueError, match=r"(?s)entry 1: .*entry 3: from"):
        sandbox.control.play({"entry": entries})
    assert sandbox.control.timeline()["playing"] is False
    sandbox.control.reset()
    with pytest.raises(ValueError, match="There is no timeline"):
        sandbox.control.play()
