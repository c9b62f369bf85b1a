"""What enqueueing waits for on one server: nothing, or its disk, where it tells the truth of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tasks import (
    DurabilityUnavailable,
    Enqueued,
    enqueue_webhook,
    enqueue_webhooks,
    producer,
)
from tests.integration.durable import (
    ALWAYS,
    EVERYSEC,
    ID,
    NEVER,
    NO_FILE,
    ORDER,
    WITHOUT_WAITAOF,
    Serve,
    calls,
    client_of,
    impatient_fixture,
    patient_fixture,
    refused,
    serve_fixture,
    unconfirmed,
)

serve, impatient, patient = serve_fixture, impatient_fixture, patient_fixture


class TestMemory:
    def test_waits_for_nothing(self, serve: Serve) -> None:
        server = serve(*NO_FILE)
        enqueue_webhook("shop", ORDER)
        enqueue_webhook("shop", ORDER, durability="memory")
        assert calls(server, "wait") == calls(server, "waitaof") == 0


class TestFsync:
    def test_is_what_a_server_does_that_always_syncs(self, serve: Serve) -> None:
        server = serve(*ALWAYS)
        job = enqueue_webhook("shop", ORDER, durability="fsync")
        assert enqueue_webhook("shop", ORDER, durability="fsync").id == job.id
        # It may be told otherwise at any time.
        client_of(server).config_set("appendfsync", "no")
        unconfirmed("fsync")

    @pytest.mark.usefixtures("patient")
    def test_with_everysec_waits_for_the_sync_or_is_refused(self, serve: Serve) -> None:
        serve(*EVERYSEC)
        try:
            enqueue_webhook("shop", ORDER, durability="fsync")
        except DurabilityUnavailable:
            # Not all servers that have WAITAOF tell the truth with it.
            assert "answers before: set appendfsync always" in refused("fsync")
            return
        began = time.monotonic()
        enqueue_webhook("shop", ORDER, durability="fsync")
        assert time.monotonic() - began > 0.5

    def test_needs_the_file(self, serve: Serve) -> None:
        serve(*NO_FILE)
        assert "set appendonly yes" in refused("fsync")

    @pytest.mark.usefixtures("patient")
    def test_is_not_believed_untested_once_the_setting_is_another(self, serve: Serve) -> None:
        server = serve(*ALWAYS)
        enqueue_webhook("shop", ORDER, durability="fsync")
        client_of(server).config_set("appendfsync", "everysec")
        unconfirmed("fsync")
        # From then on it is tested: refused, or worth its time.
        began = time.monotonic()
        try:
            enqueue_webhook("shop", ORDER, durability="fsync")
        except DurabilityUnavailable:
            return
        assert time.monotonic() - began > 0.5

    @pytest.mark.usefixtures("patient")
    def test_of_many_is_told_of_each_although_the_server_changes_meanwhile(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = client_of(serve(*ALWAYS))
        monkeypatch.setattr(producer, "CONFIRMED_TOGETHER", 2)
        enqueue_step = producer._enqueue_step

        def then_other_settings(*args: Any) -> list[Enqueued]:
            outcomes = enqueue_step(*args)
            client.config_set("appendfsync", "everysec")
            return outcomes

        monkeypatch.setattr(producer, "_enqueue_step", then_other_settings)
        items = [(f"shop-{number}", ORDER) for number in range(6)]
        outcomes = enqueue_webhooks(items, durability="fsync")
        assert [one.error for one in outcomes[:2]] == [None, None]
        # Recorded, and confirmed only by a server that tells the truth; the rest is refused then.
        assert all(one.job for one in outcomes[2:4])
        for one in outcomes[4:]:
            assert one.job or isinstance(one.error, DurabilityUnavailable)

    @pytest.mark.usefixtures("patient")
    def test_that_is_tested_first_leaves_time_to_say_that_it_is_recorded(
        self, serve: Serve
    ) -> None:
        client = client_of(serve(*NEVER))
        client.execute_command("ACL", "SETUSER", "default", "-config")  # so that it is tested
        began = time.monotonic()
        unconfirmed("fsync")
        assert time.monotonic() - began < 5

    def test_of_a_file_that_nobody_syncs_is_not_confirmed(self, serve: Serve) -> None:
        server = serve(*NEVER)
        assert "append-only file did not confirm" in unconfirmed("fsync")
        # A job that exists is confirmed by what this very connection writes.
        unconfirmed("fsync")
        client_of(server).config_set("appendfsync", "always")
        assert enqueue_webhook("shop", ORDER, durability="fsync").id == ID

    def test_is_not_confirmed_once_the_file_is_gone(self, serve: Serve) -> None:
        server = serve(*ALWAYS)
        enqueue_webhook("shop", ORDER, durability="fsync")
        client_of(server).config_set("appendonly", "no")
        unconfirmed("fsync")


class TestFsyncWithoutWaitaof:
    @pytest.fixture(params=WITHOUT_WAITAOF, ids=["renamed", "7.0"][: len(WITHOUT_WAITAOF)])
    def old(self, request: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
        """Starts servers that do not have the command."""
        binary, options = request.param
        if binary:
            monkeypatch.setenv("REDIS_SERVER", binary)
        return lambda *more: serve(*more, *options)

    def test_needs_a_server_that_always_syncs(self, old: Serve) -> None:
        old(*EVERYSEC)
        assert refused("fsync").endswith("with this server set appendfsync always.")

    def test_is_what_such_a_server_does(self, old: Serve) -> None:
        server = old(*ALWAYS)
        assert enqueue_webhook("shop", ORDER, durability="fsync").id == ID
        client_of(server).config_set("appendfsync", "everysec")
        unconfirmed("fsync")

    def test_is_not_there_while_the_file_is_rewritten_without_a_sync(self, old: Serve) -> None:
        old(*ALWAYS, "--no-appendfsync-on-rewrite", "yes")
        assert "set appendfsync always" in refused("fsync")

    def test_is_refused_where_the_server_does_not_tell(self, serve: Serve) -> None:
        client = client_of(serve(*ALWAYS))
        client.execute_command("ACL", "SETUSER", "default", "-waitaof", "-config")
        assert "set appendfsync always" in refused("fsync")
