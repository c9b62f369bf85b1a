"""`python -m tasks gate`: what it shows, and a person's pause."""

from __future__ import annotations

import pytest

from config.accounts import DEFAULT as ACCOUNT
from tasks.gate import Told
from tasks.jobs import JobStore
from tests.integration.commands import Run, environment_fixture, run_fixture
from tests.integration.steps import add, claim, new_job
from tests.integration.test_gate import back, break_api

run = run_fixture
environment = environment_fixture


def test_it_shows_that_all_is_well(run: Run, store: JobStore) -> None:
    add(store)
    assert run("gate").out.splitlines() == [
        "Account default: no limit known, 0 answered in the last second",
        "Open",
        "Due, and waiting for their turn: 1 interactive, 0 bulk",
        "Jobs: 1 wait, 0 run, 0 failed",
    ]
    told = run("gate", "--json").json
    [shown] = told["accounts"]
    assert (shown["closed"], shown["allowed"], told["jobs"]["waiting"]) == (None, None, 1)


def test_it_shows_who_waits_for_a_turn(run: Run, store: JobStore) -> None:
    store.gate.pause(ACCOUNT, reason="maintenance")
    store.add([new_job("soon"), new_job("later", not_before=store.clock() + 60)])
    store.add([new_job(f"{number}", priority="bulk") for number in range(3)])
    out = run("gate").out
    assert "Due, and waiting for their turn: 1 interactive, 3 bulk\nJobs: 5 wait" in out
    assert run("gate", "--json").json["accounts"][0]["waiting"] == {"interactive": 1, "bulk": 3}


def test_a_pause_with_a_reason_and_an_end(run: Run, store: JobStore) -> None:
    said = run("gate", "pause", "--reason", "maintenance", "--until", "+10m")
    assert "paused by a person (maintenance), until 20" in said.out
    assert store.claim(add(store), worker="w", token="t") is None
    [shown] = run("gate", "--json").json["accounts"]
    assert (shown["closed"], shown["reason"]) == ("paused", "maintenance")
    assert shown["next_look"] == pytest.approx(store.clock() + 600, abs=5)
    run("gate", "pause", "--reason", "longer")
    assert "paused by a person (longer), until it is resumed" in run("gate").out
    assert run("gate", "resume").out == "Open again; it was closed: paused by a person.\n"
    assert run("gate", "resume").out == "It was open already.\n"


def test_refused_credentials_say_what_to_do(run: Run, store: JobStore) -> None:
    back(store, claim(store, add(store)), Told("rejected"), account_wide=True)
    out = run("gate").out
    assert "CometChat refuses the credentials, the address or the subscription" in out
    assert "; next probe in 30 s" in out
    assert "check COMETCHAT_KEY" in out
    assert run("gate", "resume", "--json").json == {"account": ACCOUNT, "was": "rejected"}


def test_an_outage_shows_the_next_probe(run: Run, store: JobStore) -> None:
    break_api(store)
    assert "the API is away; next probe in " in run("gate").out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("pause",), "--reason"),
        (("pause", "--reason", "x" * 201), "at most 200"),
        (("pause", "--reason", "a\nb"), "printable"),
        (("pause", "--reason", "x", "--until", "2020-01-01T00:00:00Z"), "is over already"),
        (("pause", "--reason", "x", "--until", "soon"), "is not like"),
    ],
)
def test_a_mistake_pauses_nothing(
    run: Run, store: JobStore, args: tuple[str, ...], words: str
) -> None:
    said = run("gate", *args)
    assert said.code == 2
    assert words in said.err
    assert store.gate.look(ACCOUNT).closed == ""


def test_each_account_has_its_own(
    run: Run, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETCHAT_ACCOUNTS", '{"eu": {"key_env": "EU_KEY", "secret_env": "EU"}}')
    run("gate", "pause", "--account", "eu", "--reason", "maintenance")
    out = run("gate").out
    assert out.index("Account default") < out.index("Open\n") < out.index("Account eu")
    assert out.index("Account eu") < out.index("paused by a person (maintenance)")
    refused = run("gate", "resume", "--account", "us")
    assert refused.code == 2 and "--account: must be one of: default, eu." in refused.err
    assert "paused by a person" in run("gate", "resume", "--account", "eu").out
