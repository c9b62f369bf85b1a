"""Triggers of a webhook set by a real worker: exactly these, whatever happens to a call."""

from __future__ import annotations

import pytest

from tasks import InvalidInput, set_triggers
from tests.integration.test_changes import URL, kept, succeeded
from tests.integration.test_whole_webhook import calls
from worker.sandbox import SandboxControl


class TestSetTriggers:
    def put(self, sandbox: SandboxControl, app_id: str, *triggers: str) -> None:
        sandbox.put_webhook(app_id, "orders", name="Orders", url=URL, triggers=triggers)

    def test_the_webhook_ends_with_exactly_these(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        self.put(sandbox, app_id, "message_sent", "group_created")
        job = set_triggers(app_id, "orders", ["user_blocked", "message_sent"])
        assert succeeded(job) == {
            "id": "orders",
            "triggers": ["message_sent", "user_blocked"],
            "outcome": "updated",
            "added": ["user_blocked"],
            "removed": ["group_created"],
        }
        assert set(kept(sandbox, app_id)[0]["triggers"]) == {"message_sent", "user_blocked"}
        assert calls(sandbox, app_id) == ["list_triggers", "add_triggers", "remove_triggers"]

    def test_none_are_all_removed_and_the_same_are_left(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        self.put(sandbox, app_id, "message_sent")
        assert succeeded(set_triggers(app_id, "orders", ["message_sent"]))["outcome"] == "unchanged"
        assert succeeded(set_triggers(app_id, "orders", []))["removed"] == ["message_sent"]
        assert kept(sandbox, app_id)[0]["triggers"] == []

    def test_what_is_refused_is_named_and_nothing_is_removed(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        self.put(sandbox, app_id, "group_created")
        wanted = ["message_sent", "mesage_edited"]
        with pytest.raises(InvalidInput, match="did you mean"):
            set_triggers(app_id, "orders", wanted)
        job = set_triggers(app_id, "orders", wanted, allow_unknown_triggers=True).wait(10)
        error = job.error or {}
        assert (job.state, error["class"]) == ("FAILURE", "TriggersRefused")
        assert "did not add mesage_edited as a trigger of webhook 'orders'" in error["message"]
        assert "which has group_created, message_sent now" in error["message"]
        assert kept(sandbox, app_id)[0]["triggers"] == ["group_created", "message_sent"]
        assert (job.effect, (job.result or {})["added"]) == ("updated", ["message_sent"])

    def test_what_is_not_removed_is_named(self, sandbox: SandboxControl, app_id: str) -> None:
        self.put(sandbox, app_id, "group_created", "message_sent")
        refusal = {"kind": "status", "status": 400, "code": "ERR_BAD_REQUEST"}
        sandbox.faults({"app_id": app_id, "operation": "remove_triggers", **refusal})
        job = set_triggers(app_id, "orders", ["message_sent"]).wait(10)
        assert "did not remove group_created" in (job.error or {})["message"]
        assert (job.error or {})["status"] == 400

    @pytest.mark.parametrize("operation", ["list_triggers", "add_triggers", "remove_triggers"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_failure_of_any_call_is_made_good(
        self, sandbox: SandboxControl, app_id: str, operation: str, when: str
    ) -> None:
        self.put(sandbox, app_id, "group_created")
        rule = {"app_id": app_id, "operation": operation, "kind": "cut", "when": when, "times": 1}
        sandbox.faults(rule)
        assert succeeded(set_triggers(app_id, "orders", ["message_sent"]))["outcome"] == "updated"
        assert kept(sandbox, app_id)[0]["triggers"] == ["message_sent"]

    def test_an_absent_webhook_is_a_failure_that_says_what_to_do(
        self, sandbox: SandboxControl, app_id: str
    ) -> None:
        job = set_triggers(app_id, "orders", ["message_sent"]).wait(10)
        assert (job.error or {})["class"] == "WebhookNotFound"
        assert "has no webhook 'orders'" in (job.error or {})["message"]
