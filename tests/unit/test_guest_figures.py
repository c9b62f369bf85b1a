"""How `make bench-guest` counts and judges."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks import steps
from tests.benchmarks.guest import __main__ as command
from tests.benchmarks.guest import switched
from tests.benchmarks.guest.figures import (
    Figure,
    as_json,
    by_second,
    least,
    merged,
    middle,
    most,
    reached_after,
    rows,
    total,
    whole_seconds,
)


def counted(*answers: int, first: int = 100) -> dict[int, dict[str, int]]:
    return by_second(
        {"second": first + n, "calls": count + 1, "200": count} for n, count in enumerate(answers)
    )


def test_only_seconds_that_are_whole_within_a_span_count() -> None:
    seconds = counted(1, 2, 4, 8)
    assert total(seconds, 100.5, 103.5, "200") == 6
    assert total(seconds, 101, 103, "200") == 6
    assert total(seconds, 101, 103) == 8
    assert whole_seconds(100.5, 103.5) == whole_seconds(101, 103) == 2
    assert total(seconds, 100.2, 100.9) == whole_seconds(100.2, 100.9) == 0
    assert total(seconds, 0, 1_000, "429") == 0


@pytest.mark.parametrize(
    ("answers", "after"),
    [
        ((100, 100, 100, 100), 0.5),
        ((0, 0, 100, 100, 100), 2.5),
        ((0, 100, 0, 0, 100, 100, 100), 4.5),  # one fast second is no rate
        ((0, 50, 85, 95, 90, 90, 90), 2.5),
        ((50, 50, 50, 50), float("inf")),
        ((100, 100), float("inf")),  # nobody looked for long enough
    ],
)
def test_a_rate_is_reached_when_it_goes_on(answers: tuple[int, ...], after: float) -> None:
    assert reached_after(counted(*answers), 100.5, 90, 100 + len(answers)) == after


def test_a_figure_is_judged_by_its_worst_run_or_by_the_median() -> None:
    runs = merged([[most("calls", n, 2), least("used", n, 2)] for n in (1, 2, 3)])
    assert [figure.values for figure in runs] == [(1, 2, 3), (1, 2, 3)]
    assert [figure.holds for figure in runs] == [False, False]
    assert Figure("calls", (1, 2, 3), 2, judged="median").holds
    assert most("told alone", 7).holds
    assert not most("seconds until then", float("inf"), 10).holds


def test_a_row_has_each_run_and_the_verdict() -> None:
    figures = [least("used", 0.97, 0.95, "{:.1%}"), Figure("jobs failed", (0, 2), 0)]
    assert rows("a day", figures) == [
        "| a day | used | 97.0% | at least 95.0% | yes |",
        "|  | jobs failed | 0, 2 | at most 0 | **NO** |",
    ]


def test_what_was_never_reached_is_no_number_for_a_program() -> None:
    [value] = as_json("a day", [most("seconds", float("inf"), 10)])
    assert value["values"] == [None]
    assert value["holds"] is False


def test_a_broken_bound_and_a_day_that_cannot_be_measured_end_it_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks() -> list[Figure]:
        raise TimeoutError("it did not end")

    days = {"good": ("good", lambda: [most("calls", 1, 1)]), "bad": ("bad", breaks)}
    monkeypatch.setattr(command, "DAYS", days)
    monkeypatch.setattr(command.main.params[0].type, "choices", list(days))
    run = CliRunner().invoke
    assert run(command.main, ["--only", "good"]).exit_code == 0
    ended = run(command.main, ["--json"])
    assert ended.exit_code == 1
    found = json.loads(ended.stdout)
    assert [figure["holds"] for figure in found["figures"]] == [True, False]
    assert found["figures"][1]["what"] == "not measured: it did not end"


def test_the_steps_without_the_gate_have_all_that_they_use_of_it() -> None:
    gate = "".join((steps.LUA / f"{name}.lua").read_text() for name in ("gate", "breaker"))
    instead = Path(switched.__file__).with_name("no_gate.lua").read_text()
    paths = (path for path in steps.LUA.glob("*.lua") if path.stem[:4] not in ("gate", "brea"))
    texts = [path.read_text() for path in paths]
    used = {
        name
        for name in re.findall(r"^local function (\w+)", gate, re.MULTILINE)
        if any(re.search(rf"\b{name}\(", step) for step in texts)
    }
    assert "tell_gate" in used
    assert used <= set(re.findall(r"^local function (\w+)", instead, re.MULTILINE))


def test_the_middle_leaves_out_a_tenth_at_each_end() -> None:
    assert middle([1000.0, *range(1, 9), -1000.0]) == 4.5
    assert middle([1.0, 2.0, 6.0]) == 3.0
