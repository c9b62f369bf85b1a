"""Where chat may go: WEBHOOK_URL_ALLOW and public hosts, for producers and again in the worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import InvalidInput, Webhook, enqueue_webhook, enqueue_webhooks, get_job, update_webhook
from tasks.act import act
from tasks.errors import RecordRefused
from tasks.jobs import JobStore
from tasks.progress import Progress
from tasks.record import NewJob, job_id
from tasks.store import get_store
from tests.conftest import SentrySink, eventually, use_environment
from tests.integration.commands import Run, run_fixture
from worker.sandbox import SandboxControl

run = run_fixture

NOWHERE = "its host is in none of the domains of WEBHOOK_URL_ALLOW"
ELSEWHERE = "https://shop.evil.org/hook"
METADATA = "https://169.254.169.254/hook"


def orders(url: str) -> Webhook:
    return Webhook(id="orders", name="Orders", webhook_url=url)


@pytest.fixture(name="allowing")
def allowing_fixture(store: JobStore) -> JobStore:
    use_environment({"WEBHOOK_URL_ALLOW": "example.com, Example.ORG"})
    return get_store()


def test_a_producer_lets_chat_go_to_the_domains_and_below(allowing: JobStore) -> None:
    for number, url in enumerate(
        ("https://example.com", "https://a.b.EXAMPLE.com.:8443/x", "https://example.org")
    ):
        assert enqueue_webhook(f"app{number}", orders(url)).state == "PENDING"
    assert update_webhook("app0", "orders", {"webhook_url": "https://b.example.com"}).id
    assert update_webhook("app0", "orders", {"name": "Led where it led before"}).id


def enqueue_all(url: str) -> None:
    [outcome] = enqueue_webhooks([("acme", orders(url))])
    if outcome.error:
        raise outcome.error


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: enqueue_webhook("acme", orders(url)),
        lambda url: enqueue_webhook("acme", orders(url).wire()),
        enqueue_all,
        lambda url: update_webhook("acme", "orders", {"webhookURL": url}),
    ],
    ids=["enqueue_webhook", "of a mapping", "enqueue_webhooks", "update_webhook"],
)
@pytest.mark.parametrize("url", [ELSEWHERE, "https://8.8.8.8", "https://example.com.evil.org"])
def test_and_nowhere_else(allowing: JobStore, ask: Callable[[str], Any], url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(url)
    assert refused.value.problems == {"webhookURL": NOWHERE}
    assert not [one for ids in allowing.scan("waiting") for one in ids]


def test_it_is_told_with_all_else_that_is_wrong(allowing: JobStore) -> None:
    webhook = {**orders(ELSEWHERE).wire(), "triggers": ["mesage_sent"]}
    with pytest.raises(InvalidInput) as refused:
        enqueue_webhook("../x", webhook)
    assert set(refused.value.problems) == {"appId", "webhookURL", "triggers"}


def test_the_command_line_tells_it_too(allowing: JobStore, run: Run, tmp_path: Path) -> None:
    lines = tmp_path / "webhooks.jsonl"
    lines.write_text(json.dumps({"app_id": "acme", **orders(ELSEWHERE).wire()}))
    to = ("--app-id", "acme", "--id", "orders", "--url", ELSEWHERE)
    for args in (("enqueue", *to, "--name", "Orders"), ("update", *to), ("import", lines)):
        said = run(*args)
        assert said.code == 2 and f"webhookURL: {NOWHERE}" in said.err


def written(store: JobStore, app_id: str, url: str, **fields: Any) -> NewJob:
    """A job whose record is as somebody wrote it who asked no producer of ours."""
    wire = {"id": "orders", "name": "Orders", "webhookURL": url, "enabled": True, **fields}
    new = NewJob(job_id("default", app_id, "orders"), 0, "default", app_id, wire, None, 2)
    store.add([new])
    return new


def test_a_worker_looks_at_its_own_setting(allowing: JobStore) -> None:
    job = allowing.get(written(allowing, "acme", ELSEWHERE).id)
    api: Any = object()  # has no method to call
    with pytest.raises(RecordRefused, match=NOWHERE):
        act(api, job, progress=Progress())


def test_a_record_that_somebody_else_wrote_makes_no_call(
    sandbox: SandboxControl, sentry: SentrySink, app_id: str
) -> None:
    store = get_store()
    bad = [
        written(store, f"{app_id}-1", METADATA),
        written(store, f"{app_id}-2", "https://localhost/x"),
        written(store, f"{app_id}/../../x", "https://shop.example.com/hook"),
        written(store, f"{app_id}-3", "https://shop.example.com/hook", id="a\r\nHost: evil.org"),
    ]
    jobs = [get_job(new.id).wait(20) for new in bad]
    assert [job.state for job in jobs] == ["FAILURE"] * 4
    assert {(job.error or {})["class"] for job in jobs} == {"RecordRefused"}
    assert [job.effect for job in jobs] == ["none"] * 4
    assert not [call for call in sandbox.calls(1000) if app_id in str(call)]
    ids = {new.id for new in bad}
    told = sorted(
        eventually(
            lambda: (
                (all_told := [one for job in ids for one in about(sentry, job)])
                and len(all_told) >= 4
                and all_told
            )
        )
    )
    assert told == [(job, "RecordRefused") for job in sorted(ids)]


def about(sentry: SentrySink, job: str) -> list[tuple[str, str]]:
    tags = [event.get("tags", {}) for event in sentry.events]
    return [(job, one["class"]) for one in tags if one.get("job") == job]
