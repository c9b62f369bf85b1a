"""`python -m tests.chaos` ends with exit code 1 and a red row whatever a run does but succeed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.chaos import __main__ as runner
from tests.chaos.registry import Scenario, scenarios
from tests.chaos.report import Report

#: What a run does instead of breaking anything, by its scenario's name.
PLAYS = """
import json, os, signal, sys, time
name, seed, form = sys.argv[1:]
good = {"name": name, "seed": int(seed), "jobs": 5}
def say(**more): print(json.dumps(good | more), flush=True)
match name:
    case "good": say()
    case "loses": say(lost=1); sys.exit(1)
    case "doubles": say(doubled=2); sys.exit(1)
    case "breaks": say(problems=["[/b] a promise [red]"]); sys.exit(1)
    case "raises": say(); raise RuntimeError
    case "silent": pass
    case "killed": os.kill(os.getpid(), signal.SIGKILL)
    case "killed-late": say(); os.kill(os.getpid(), signal.SIGKILL)
    case "hangs": time.sleep(60)
    case "hangs-late": say(); time.sleep(60)
    case "babbles": say(); print("one more word")
    case "binary": sys.stdout.buffer.write(b"\\xff\\xfe"); sys.exit(0)
    case "number": print(5)
    case "foreign": say(unknown=1)
    case "another": say(name="good")
    case "denies": say(lost=1)
"""
NAMES = [line.split('"')[1] for line in PLAYS.splitlines() if "case" in line]


@pytest.fixture(autouse=True)
def plays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "plays.py"
    script.write_text(PLAYS)
    known = {
        name: Scenario(name, f"a run that is [{name}]", lambda _: None, heavy=False, seeds=None)
        for name in NAMES
    }
    monkeypatch.setattr(runner, "scenarios", lambda: known)
    monkeypatch.setattr(runner, "COMMAND", (sys.executable, str(script)))
    monkeypatch.setattr(runner.tempfile, "mkdtemp", lambda prefix: str(tmp_path))


def invoke(*args: str) -> Result:
    return CliRunner().invoke(runner.main, args)


def test_good_runs_end_with_zero() -> None:
    result = invoke("--only", "good", "--seed", "1", "--seed", "2")
    assert result.exit_code == 0, result.output
    assert "2 runs" in result.output
    assert "0 bad" in result.output
    assert "a run that is [good]" in result.output


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"good"}))
def test_whatever_else_a_run_does_is_red(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("hangs"):
        monkeypatch.setattr(runner, "LONGEST", 1)
    result = invoke("--only", name, "--only", "good", "--seed", "7")
    assert result.exit_code == 1, result.output
    assert f"BAD  {name} seed 7" in result.output
    assert "good good seed 7" in result.output
    assert "2 runs" in result.output
    assert "1 bad" in result.output
    assert f"again: python -m tests.chaos --only {name} --seed 7" in result.output


def test_what_went_wrong_is_said() -> None:
    words = {
        "breaks": "BROKEN: [/b] a promise [red]",
        "killed": "exit code -9",
        "silent": "no report",
        "denies": "exit code 0",
        "another": "the report of good",
    }
    for name, said in words.items():
        assert said in invoke("--only", name, "--seed", "1").output


def test_a_run_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LONGEST", 1)
    assert "it hung" in invoke("--only", "hangs-late", "--seed", "1").output


def test_a_row_is_red_if_one_of_its_seeds_is() -> None:
    reports = [Report("good", 1, jobs=3), Report("good", 2, jobs=4, lost=1)]
    table = runner.table_of(reports, {"good": "a fault", "silent": "never run"}, "long")
    assert [row.style for row in table.rows] == ["bold red"]
    table = runner.table_of(reports[:1], {"good": "a fault"}, "long")
    assert [row.style for row in table.rows] == [""]


def test_all_seeds_run_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Scenario("good", "a fault", lambda _: None, heavy=True, seeds=2)
    monkeypatch.setattr(runner, "scenarios", lambda: {"good": one})
    output = invoke().output
    assert "2 runs" in output
    assert "seed 1" in output
    assert "seed 2" in output
    assert "seeds [1, 2]" in output


def test_without_a_run_nothing_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "scenarios", dict)
    assert invoke().exit_code == 1


def test_an_unknown_name_runs_nothing() -> None:
    result = invoke("--only", "good", "--only", "unknown")
    assert result.exit_code == 2
    assert "No scenario unknown" in result.output


def test_the_list_names_all_and_runs_none() -> None:
    result = invoke("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == NAMES


def test_the_real_scenarios_are_found() -> None:
    known = scenarios()
    assert {"kill", "terminate", "freeze", "producer-killed"} <= known.keys()
    assert all(one.fault and one.seeds != 0 for one in known.values())


@pytest.mark.parametrize("bad", [{"lost": 1}, {"doubled": 1}, {"problems": ["words"]}])
def test_a_report_is_bad_by_each_of_its_promises(bad: dict[str, object]) -> None:
    report = Report("name", 1, jobs=1, **bad)  # type: ignore[arg-type]
    assert not report.is_good
    assert not Report.read(report.line()).is_good
    assert Report.read(Report("name", 1, jobs=1).line()).is_good
