"""The names of triggers that CometChat documents, and what is said of others."""

from __future__ import annotations

import pytest

from tasks import triggers
from tasks.errors import InvalidInput
from tasks.triggers import KNOWN, MAX_TRIGGER_ID, MAX_TRIGGERS, SEEN, TriggerCheck
from worker.sandbox import triggers as of_sandbox


@pytest.mark.parametrize("version", [2, None])
def test_the_names_that_are_taken_are_those_that_the_sandbox_plays(version: int | None) -> None:
    known = KNOWN[version] | SEEN[version]
    assert known == of_sandbox.known_triggers(2 if version == 2 else "legacy")
    assert max(map(len, KNOWN[version])) < MAX_TRIGGER_ID
    assert len(KNOWN[version]) < MAX_TRIGGERS
    TriggerCheck(version)(KNOWN[version], "orders")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("message_delivered_to_all", 2),
        ("message_read_by_all", 2),
        ("after_connection_status_changed", None),
        ("user_connection_status_change", None),
    ],
)
def test_what_an_older_page_documents_is_known(name: str, version: int | None) -> None:
    assert name in KNOWN[version]


@pytest.mark.parametrize("name", ["message_pinned", "conversation_unpinned"])
def test_what_was_seen_and_is_not_documented_is_taken_with_one_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    triggers._warn_of_seen.cache_clear()
    for _ in range(2):
        TriggerCheck(2)(["message_sent", name], "orders")
    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    assert f"does not document the trigger {name}," in warning.getMessage()
    assert name not in KNOWN[2]
    with pytest.raises(InvalidInput):
        TriggerCheck(None)([name], "orders")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("message_send", "message_sent"),
        ("Message_Sent", "message_sent"),
        ("message-sent", "message_sent"),
        ("messageSent", "message_sent"),
        ("message_snet", "message_sent"),
        ("call_end", "call_ended"),
        # These would lead to something else.
        ("message_delivered", None),
        ("message_read", None),
        ("message_reaction_edited", None),
        ("group_member_promoted", None),
        ("after_message", None),
        ("call_added", None),
        ("user_typing", None),
    ],
)
def test_a_guess_is_made_of_what_is_mistyped_alone(name: str, meant: str | None) -> None:
    words = str(refused(name))
    assert ("did you mean" in words) is (meant is not None)
    assert meant is None or f"did you mean '{meant}'?" in words


def refused(*names: str, version: int | None = 2) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        TriggerCheck(version)(names, "orders")
    return caught.value


def test_an_unknown_name_is_told_with_what_may_have_been_meant() -> None:
    error = refused("message_sent", "mesage_sent", "qqqq")
    assert "triggers: not among the names that this version knows for webhooks of" in str(error)
    assert "CometChat" not in str(error)  # whose lists are not complete
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
