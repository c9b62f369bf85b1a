"""The sandbox's rules of faults and the answers they forge, without HTTP."""

from __future__ import annotations

import json
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from worker.sandbox import mixed_faults
from worker.sandbox.__main__ import main
from worker.sandbox.answers import SHAPES, Answer, wrap
from worker.sandbox.echo import Form, repeating
from worker.sandbox.faults import FaultBook, parse_rules
from worker.sandbox.forged import forged_answer, rate_limit_headers
from worker.sandbox.settings import Settings, parse_faults


def book(*rules: dict[str, Any], seed: int | None = None) -> FaultBook:
    return FaultBook(parse_rules(list(rules)), seed)


def fired(faults: FaultBook, calls: int) -> list[bool]:
    return [faults.pick("create", "app1", "hook1") is not None for _ in range(calls)]


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ({}, True),
        ({"operation": "create", "app_id": "app1", "webhook_id": "hook1"}, True),
        ({"operation": "get"}, False),
        ({"app_id": "app2"}, False),
        ({"webhook_id": "hook2"}, False),
        ({"rate": 0.0}, False),
    ],
)
def test_a_rule_fires_for_the_calls_that_it_matches(rule: dict[str, Any], fires: bool) -> None:
    assert fired(book({"kind": "cut", **rule}), 1) == [fires]


def test_a_rule_skips_then_fires_then_is_spent() -> None:
    faults = book({"kind": "cut", "skip": 1, "times": 2})
    assert fired(faults, 5) == [False, True, True, False, False]
    assert faults.served == {"cut:before": 2}


def test_the_first_rule_that_fires_wins() -> None:
    faults = book({"kind": "cut", "times": 1}, {"kind": "empty", "when": "after"})
    assert fired(faults, 3) == [True] * 3
    assert faults.served == {"cut:before": 1, "empty:after": 2}


def test_rules_are_replaced_added_and_cleared() -> None:
    faults = book({"kind": "cut"})
    faults.replace(parse_rules([{"kind": "status", "status": 503, "times": 1}]))
    faults.add(parse_rules([{"kind": "garbage"}]))
    assert fired(faults, 2) == [True, True]
    assert faults.served == {"status:503:before": 1, "garbage:before": 1}
    faults.clear()
    assert fired(faults, 1) == [False]
    assert not faults.served


def test_a_seed_makes_the_choices_repeatable() -> None:
    first, second = (fired(book({"kind": "cut", "rate": 0.5}, seed=7), 200) for _ in range(2))
    assert first == second
    assert 60 < sum(first) < 140


@given(st.floats(0, 1))
def test_the_mixed_faults_together_fail_the_share_asked_for(rate: float) -> None:
    passed = 1.0
    for rule in parse_rules(mixed_faults(rate)):
        passed *= 1 - rule.rate
    assert 1 - passed == pytest.approx(rate, abs=1e-9)


def test_the_mixed_faults_are_spread_over_all_their_kinds() -> None:
    faults = FaultBook(parse_faults("mixed:0.2"), seed=1)
    share = sum(fired(faults, 20_000)) / 20_000
    assert share == pytest.approx(0.2, abs=0.02)
    assert len(faults.served) >= 12
    common = Counter({label: n for label, n in faults.served.items() if "rate_limit" not in label})
    assert max(common.values()) < 4 * min(common.values())


def test_a_hold_lasts_a_minute_and_other_waits_a_second() -> None:
    rules = parse_rules([{"kind": "hold"}, {"kind": "latency"}, {"kind": "hold", "seconds": 0}])
    assert [rule.duration for rule in rules] == [60, 1, 0]


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mixed_faults(rate)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ([{"kind": "explode"}], "0.kind"),
        ([{"kind": "cut"}, {"kind": "cut", "tims": 3}], "1.tims"),
        ([{"operation": "create"}], "0.kind"),
        ([{"kind": "cut", "times": 0}], "0.times"),
        ({"kind": "cut"}, "rules"),
    ],
)
def test_a_bad_rule_is_told_by_its_place_and_field(rules: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_rules(rules)


def test_the_option_takes_a_list_of_rules_too() -> None:
    assert [rule.kind for rule in parse_faults('[{"kind": "cut"}]')] == ["cut"]
    assert parse_faults(" ") == []


def test_only_some_settings_change_while_it_runs() -> None:
    assert Settings().changed({"latency": 0.5, "shape": "list"}).latency == 0.5
    with pytest.raises(ValueError, match="key"):
        Settings().changed({"key": "other"})
    with pytest.raises(ValueError, match="duplicate"):
        Settings().changed({"duplicate": 418})


def test_settings_do_not_show_credentials() -> None:
    assert "hunter2" not in repr(Settings(key="hunter2", secret="hunter2"))


@pytest.mark.parametrize("options", [["--faults", "mixed:2"], ["--faults", "x"], ["--latency=-1"]])
def test_a_bad_option_is_told_without_a_traceback(options: list[str]) -> None:
    ended = CliRunner().invoke(main, options)
    assert ended.exit_code == 2
    assert "Error: " in ended.output


def forged(**rule: Any) -> tuple[int, bytes, dict[str, str]]:
    answer = forged_answer(parse_rules([rule])[0], {"secret": "s3cret"}, b'{"password": "pw"}')
    return answer.status, answer.body, answer.headers


def test_a_status_answers_the_envelope() -> None:
    status, body, headers = forged(
        kind="status", status=503, code="ERR_X", message="No.", headers={"Retry-After": "3"}
    )
    assert (status, headers) == (503, {"Retry-After": "3"})
    assert json.loads(body)["error"] == {
        "code": "ERR_X",
        "message": "No.",
        "devMessage": "No.",
        "source": "management-api",
    }


def test_a_status_answers_without_a_code_or_with_any_body() -> None:
    assert json.loads(forged(kind="status", status=404)[1]) == {
        "error": {"message": "Something went wrong."}
    }
    assert forged(kind="status", status=404, body="nope")[1] == b"nope"


def test_garbage_is_no_json() -> None:
    with pytest.raises(ValueError):
        json.loads(forged(kind="garbage")[1])


def test_an_echo_repeats_headers_and_body() -> None:
    status, body, _ = forged(kind="echo")
    message = json.loads(body)["error"]["message"]
    assert status == 401
    assert "s3cret" in message
    assert '{"password": "pw"}' in message


def test_an_echo_stands_in_a_field_of_the_true_answer() -> None:
    answer = Answer(200, b'{"data":{"id":"a","createdAt":1,"tags":["b"]}}')

    def told(field: str, text: str = "a/b", form: Form = "plain") -> Any:
        return json.loads(repeating(answer, field, text, form).body)["data"]

    assert told("id") == {"id": "a/b", "createdAt": 1, "tags": ["b"]}
    assert told("username", form="percent")["username"] == "a%2Fb"
    assert told("createdAt", "4711")["createdAt"] == 4711
    assert told("*", form="base64") == {"id": "YS9i", "createdAt": 1, "tags": ["YS9i"]}


def test_the_other_forged_answers() -> None:
    assert forged(kind="empty") == (200, b"", {})
    assert forged(kind="redirect", location="https://elsewhere.example/") == (
        302,
        b"",
        {"Location": "https://elsewhere.example/"},
    )
    status, body, headers = forged(kind="html", status=504)
    assert (status, headers) == (504, {"Content-Type": "text/html"})
    assert b"<html>" in body
    status, body, headers = forged(kind="rate_limit", seconds=2)
    assert (status, headers) == (429, {"Retry-After": "2"})
    assert json.loads(body)["error"]["code"] == "ERR_TOO_MANY_REQUESTS"
    with pytest.raises(ValueError, match="cut"):
        forged(kind="cut")


def test_a_rate_limit_speaks_in_every_documented_style() -> None:
    now = 1_700_000_000.0
    assert rate_limit_headers("retry-after", 1.5, now) == {"Retry-After": "2"}
    date = rate_limit_headers("retry-after-date", 1, now)["Retry-After"]
    assert parsedate_to_datetime(date).timestamp() == now + 1
    assert rate_limit_headers("x-ratelimit", 3, now) == {
        "X-RateLimit-Limit": "500",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1700000003",
    }
    assert rate_limit_headers("x-rate-limit", 3, now) == {
        "X-Rate-Limit": "500",
        "X-Rate-Limit-Remaining": "0",
        "X-Rate-Limit-Reset": "1700000003",
    }
    assert rate_limit_headers("none", 3, now) == {}


def test_a_webhook_is_wrapped_in_every_documented_shape() -> None:
    hook = {"id": "hook1"}
    assert [wrap(hook, shape) for shape in SHAPES] == [
        {"data": hook},
        [{"data": hook}],
        {"data": [{"data": hook}]},
        {"data": [hook]},
        {"data": {"": hook}},
    ]
