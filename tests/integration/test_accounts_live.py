"""Several accounts and rotated keys, with a worker and the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tasks import Webhook, enqueue_webhook
from tasks.errors import InvalidInput
from tasks.store import get_store
from tests.conftest import FAST, eventually, use_environment
from worker.sandbox import SandboxControl
from worker.sandbox.settings import (
    DEFAULT_KEY,
    DEFAULT_NEW_KEY,
    DEFAULT_NEW_SECRET,
    DEFAULT_SECRET,
)
from worker.stack import Stack

ORDERS = Webhook(id="orders", name="Orders", webhook_url="https://shop.example.com/hook")

#: The sandbox's two pairs; the older is accepted until told otherwise.
OLD = {"key": DEFAULT_KEY, "secret": DEFAULT_SECRET}
NEW = {"key": DEFAULT_NEW_KEY, "secret": DEFAULT_NEW_SECRET}


@pytest.fixture
def own() -> Iterator[Stack]:
    """A stack whose worker knows two accounts more: one in rotation, one that is refused."""
    accounts = {
        "eu": {**NEW, "old_key": OLD["key"], "old_secret": OLD["secret"]},
        "us": {"key_env": "US_KEY", "secret_env": "US_SECRET", "rate_limit": "60/m"},
    }
    with Stack(**FAST, COMETCHAT_ACCOUNTS=json.dumps(accounts)) as stack:
        stack.start_redis()
        stack.start_sandbox()
        worker = stack.start_worker("worker", US_KEY="nobody", US_SECRET="knows-these")
        worker.wait_for_line(" ready.")
        use_environment(stack.env)  # which lacks the variables: a producer's
        yield stack


@pytest.fixture
def sandbox(own: Stack) -> SandboxControl:
    return SandboxControl(own.env["COMETCHAT_BASE_URL"])


def test_keys_are_rotated_without_a_job_that_fails(own: Stack, sandbox: SandboxControl) -> None:
    [worker] = [part for part in own.parts if part.name == "worker"]

    def created(app: str) -> int:
        """How many calls it took."""
        before = len(sandbox.calls(1_000))
        job = enqueue_webhook(app, ORDERS, account="eu").wait(10)
        assert (job.state, job.attempts) == ("SUCCESS", 1)
        return len(sandbox.calls(1_000)) - before

    assert created("before-1") == 2  # the newer pair is not accepted yet
    assert created("before-2") == 1  # which is remembered
    sandbox.settings(accepted_keys=["old", "new"])
    assert created("between") == 1
    sandbox.settings(accepted_keys=["new"])
    assert created("after-1") == 2
    assert created("after-2") == 1
    assert get_store().gate.look("eu").closed == ""
    told = [json.loads(line) for line in worker.output().splitlines() if "refused" in line]
    assert [line["pair"] for line in told] == ["newer", "older"]


def test_an_account_that_is_refused_holds_up_no_other(own: Stack, sandbox: SandboxControl) -> None:
    refused = enqueue_webhook("shop", ORDERS, account="us")
    eventually(lambda: get_store().gate.look("us").closed == "rejected")
    for account in ("default", "eu"):
        assert enqueue_webhook("shop", ORDERS, account=account).wait(10).state == "SUCCESS"
    assert len({refused.id, *(job["id"] for job in sandbox.webhooks())}) == 2
    assert refused.refresh().state == "RETRY"
    # The same webhook of another account is another job, and each account has its own limit.
    assert get_store().gate.look("us").allowed == 1
    assert get_store().gate.look("eu").allowed is None


def test_an_account_that_nobody_knows_is_refused_at_once(own: Stack) -> None:
    with pytest.raises(InvalidInput, match="account: must be one of: default, eu, us"):
        enqueue_webhook("shop", ORDERS, account="asia")


def test_a_worker_without_an_accounts_credentials_leaves_its_jobs_to_others(own: Stack) -> None:
    others = {"asia": {"key_env": "ASIA_KEY", "secret_env": "ASIA_SECRET"}}
    use_environment({**own.env, "COMETCHAT_ACCOUNTS": json.dumps(others)})
    job = enqueue_webhook("shop", ORDERS, account="asia")
    eventually(lambda: job.refresh().state == "RETRY")
    assert (job.attempts, (job.error or {})["class"]) == (0, "AccountUnknown")
    assert "This worker has no credentials for account 'asia'" in (job.error or {})["message"]
    assert get_store().gate.look("asia").closed == ""
