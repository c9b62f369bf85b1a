"""Triggers, on_existing and expiry on the command line, in imports and on a job's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import get_job
from tasks.jobs import JobStore
from tests.integration.commands import ENQUEUE, ID, ORDERS, Run, claimed, run_fixture

run = run_fixture

TRIGGERS = ["message_sent", "user_blocked"]


def test_enqueue_takes_triggers_and_what_else_a_webhook_may_need(run: Run) -> None:
    options = ("--trigger", TRIGGERS[0], "--trigger", TRIGGERS[1], "--on-existing", "update")
    said = run(*ENQUEUE, *options, "--expires-in", "10m", "--json").json
    assert said["triggers"] == TRIGGERS
    assert said["on_existing"] == "update"
    record = get_job(ID).record
    assert record.more.triggers == tuple(TRIGGERS)
    assert record.more.on_existing == "update"
    assert record.more.expires_at == pytest.approx(record.created_at + 600, abs=0.002)
    assert "triggers" not in record.webhook

    page = run("status", ID).out
    assert "message_sent, user_blocked" in page
    assert "update" in page
    assert "Wanted until" in page


def test_an_unknown_trigger_is_bad_input_unless_it_is_allowed(run: Run) -> None:
    said = run(*ENQUEUE, "--trigger", "mesage_sent")
    assert said.code == 2
    assert "'mesage_sent' (did you mean 'message_sent'?)" in said.err
    assert "--allow-unknown-triggers" in said.err
    assert run(*ENQUEUE, "--trigger", "mesage_sent", "--allow-unknown-triggers").code == 0
    assert get_job(ID).record.more.triggers == ("mesage_sent",)


def test_legacy_webhooks_have_names_of_their_own(run: Run) -> None:
    legacy = ("--webhook-version", "legacy")
    assert run(*ENQUEUE, *legacy, "--trigger", "message_sent").code == 2
    assert run(*ENQUEUE, *legacy, "--trigger", "after_message").code == 0


@pytest.mark.parametrize("text", ["0s", "10", "-1s", "+10m", "1w", "1.5h", "", "9999999999s"])
def test_a_duration_has_a_number_and_a_unit(run: Run, text: str) -> None:
    said = run(*ENQUEUE, "--expires-in", text)
    assert said.code == 2
    assert "is not like 90s, 10m, 2h or 1d" in said.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)]
)
def test_a_duration_is_of_any_unit(run: Run, text: str, seconds: int) -> None:
    run(*ENQUEUE, "--expires-in", text)
    record = get_job(ID).record
    assert record.more.expires_at == pytest.approx(record.created_at + seconds, abs=0.002)


def test_what_is_wrong_with_a_time_is_told(run: Run) -> None:
    assert "at most ten years" in run(*ENQUEUE, "--expires-in", "4000d").err
    said = run(*ENQUEUE, "--expires-in", "1h", "--not-before", "+2h")
    assert (said.code, "is over before not_before" in said.err) == (2, True)


def test_another_way_with_what_exists_is_a_conflict(run: Run) -> None:
    run(*ENQUEUE)
    said = run(*ENQUEUE, "--on-existing", "fail", "--trigger", "message_sent")
    assert said.code == 2
    assert "with another triggers, on_existing" in said.err


def test_a_page_tells_what_is_shown_otherwise_than_asked_for(run: Run, store: JobStore) -> None:
    run(*ENQUEUE)
    there = {**ORDERS, "name": "ORDERS", "outcome": "existed", "differs": ["name"]}
    assert store.finish(claimed(store), "SUCCESS", result=there)
    page = run("status", ID).out
    words = "the webhook was there already; CometChat shows otherwise than asked for: name"
    assert words in " ".join(page.split())


def test_a_page_tells_what_is_there_and_what_was_refused(run: Run, store: JobStore) -> None:
    run(*ENQUEUE, "--trigger", "message_sent")
    there = {**ORDERS, "outcome": "updated", "changed": ["name"], "triggers": ["group_created"]}
    error = {"class": "TriggersRefused", "message": "CometChat refused triggers."}
    assert store.finish(claimed(store), "FAILURE", result=there, error=error)
    page = run("status", ID).out
    assert "the webhook was there already, and was sent: name; its triggers: group_created" in page
    assert "CometChat refused triggers." in page
    assert "may exist" not in page
    said = run("status", ID, "--json").json
    assert said["effect"] == "updated"
    assert said["result"] == there


class TestImport:
    def file(self, folder: Path, *lines: Any) -> Path:
        path = folder / "webhooks.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    @pytest.mark.parametrize("between", [" ", "|", " | ", "  "])
    def test_a_cell_has_names_with_spaces_or_bars_between(
        self, run: Run, tmp_path: Path, between: str
    ) -> None:
        path = tmp_path / "webhooks.csv"
        head = "app_id,id,name,webhookURL,triggers\n"
        row = f"shop,orders,Orders,https://x.example/orders, {between.join(TRIGGERS)} \n"
        path.write_text(head + row + "shop,users,Users,https://x.example/users,\n")
        said = run("import", path, "--on-existing", "fail", "--expires-in", "2h")
        assert (said.code, said.out) == (0, "2 new, 0 already there\n")
        more = get_job(ID).record.more
        assert (more.triggers, more.on_existing) == (tuple(TRIGGERS), "fail")
        assert more.expires_at is not None

    def test_a_line_has_a_list(self, run: Run, tmp_path: Path) -> None:
        path = self.file(tmp_path, {"app_id": "shop", **ORDERS, "triggers": TRIGGERS})
        assert run("import", path).code == 0
        assert get_job(ID).record.more.triggers == tuple(TRIGGERS)

    def test_unknown_names_are_found_before_anything_is_enqueued(
        self, run: Run, store: JobStore, tmp_path: Path
    ) -> None:
        good = {"app_id": "shop", **ORDERS, "id": "good", "triggers": TRIGGERS}
        # In a row that is out of order it may be a password: it is not shown.
        bad = {"app_id": "shop", **ORDERS, "triggers": ["message_sent", "mesage_sent", "Hunter2"]}
        path = self.file(tmp_path, good, bad)
        said = run("import", path)
        assert said.code == 2
        assert (
            "line 2: triggers: not among the names that this version knows for webhooks of"
            in said.err
        )
        assert "number 2 (did you mean 'message_sent'?), number 3;" in said.err
        assert "Hunter2" not in said.err
        assert list(store.walk()) == []

        assert run("import", path, "--skip-bad", "--json").json["bad_count"] == 1
        assert run("import", path, "--allow-unknown-triggers").code == 0

    def test_the_order_of_triggers_is_no_contradiction(self, run: Run, tmp_path: Path) -> None:
        line = {"app_id": "shop", **ORDERS}
        same = self.file(
            tmp_path, {**line, "triggers": TRIGGERS}, {**line, "triggers": TRIGGERS[::-1]}
        )
        assert run("import", same).out == "1 new, 1 already there\n"
        other = self.file(tmp_path, {**line, "triggers": TRIGGERS}, line)
        said = run("import", other)
        assert "line 2: is for the webhook of line 1, with other values" in said.err
