"""The names of triggers that CometChat documents, and what is said of others."""

from __future__ import annotations

import pytest

from tasks.errors import InvalidInput
from tasks.triggers import KNOWN, MAX_TRIGGER_ID, MAX_TRIGGERS, TriggerCheck
from worker.sandbox import triggers as of_sandbox


@pytest.mark.parametrize("version", [2, None])
def test_the_documented_names_are_those_that_the_sandbox_plays(version: int | None) -> None:
    assert KNOWN[version] == of_sandbox.known_triggers(2 if version == 2 else "legacy")
    assert max(map(len, KNOWN[version])) < MAX_TRIGGER_ID
    assert len(KNOWN[version]) < MAX_TRIGGERS
    TriggerCheck(version)(KNOWN[version], "orders")


def refused(*names: str, version: int | None = 2) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        TriggerCheck(version)(names, "orders")
    return caught.value


def test_an_unknown_name_is_told_with_what_may_have_been_meant() -> None:
    error = refused("message_sent", "mesage_sent", "qqqq")
    assert "'mesage_sent' (did you mean 'message_sent'?), 'qqqq';" in str(error)
    assert "'orders'" in str(error)
    assert "--allow-unknown-triggers" in str(error)


def test_the_problem_by_itself_does_not_show_what_may_be_a_password() -> None:
    problem = refused("message_sent", "Hunter2Hunter2", "mesage_sent").problems["triggers"]
    assert "number 2, number 3 (did you mean 'message_sent'?)" in problem
    assert "Hunter2" not in problem


@pytest.mark.parametrize(
    ("name", "version", "meant"),
    [
        ("user_connection_status_change", 2, "user_connection_status_changed"),
        ("user_connection_status_changed", None, "user_connection_status_change"),
        ("message_sent", None, ""),
    ],
)
def test_each_version_has_names_of_its_own(name: str, version: int | None, meant: str) -> None:
    words = str(refused(name, version=version))
    assert ("legacy webhooks" if version is None else "version 2") in words
    assert meant in words


def test_what_is_allowed_is_not_looked_at() -> None:
    TriggerCheck(2, allow_unknown=True)(["qqqq"], "orders")
