"""The model of the protocol names real steps, and its short form is checked where spin is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.model import __main__ as program
from tests.model.checks import QUICK, Check, checks
from tests.model.verifier import CALLS, CLAIMS, INSTALL, MODEL, is_installed, verify
from worker.stack import ROOT

TEXT = "".join(path.read_text() for path in sorted(MODEL.parent.glob("*.pml")))
STEPS = sorted({step for line in re.findall(r"/\* step: (.*?) \*/", TEXT) for step in line.split()})


def names_in(path: Path) -> set[str]:
    """The functions and classes of a file, methods as Class.method."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
            found |= {
                f"{node.name}.{inner.name}"
                for inner in ast.iter_child_nodes(node)
                if isinstance(inner, ast.FunctionDef)
            }
    return found


@pytest.mark.parametrize("step", STEPS)
def test_each_step_that_the_model_names_exists(step: str) -> None:
    file, _, name = step.partition(":")

    assert (ROOT / file).is_file()
    assert not name or name in names_in(ROOT / file)


def test_each_transition_of_the_model_names_its_step() -> None:
    transitions = [line for line in TEXT.splitlines() if re.search(r"\batomic\b \{", line)]

    assert len(transitions) > 15
    assert [line for line in transitions if not re.search(r"/\* (step|world): \S", line)] == []


def test_each_planted_fault_and_each_claim_is_checked() -> None:
    flags = {flag for check in checks() for flag in check.flags}

    assert set(re.findall(r"FAULT_\w+", TEXT)) <= flags
    assert set(CLAIMS) <= flags


def test_a_run_is_told_with_the_names_that_the_model_gives_its_calls() -> None:
    for number, name in enumerate(CALLS[1:], 1):
        assert re.search(rf"#define {name} +{number}\b", TEXT)


@pytest.mark.skipif(not is_installed(), reason=INSTALL)
@pytest.mark.parametrize("check", QUICK, ids=lambda check: check.what)
def test_the_protocol_holds_and_a_planted_fault_is_found(check: Check) -> None:
    verdict = verify(*check.flags, is_small=True)

    assert verdict.is_exhaustive
    assert verdict.holds == check.holds, verdict.story


def test_without_spin_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "is_installed", lambda: False)

    told = CliRunner().invoke(program.main, [])

    assert (told.exit_code, told.output) == (1, f"Error: {INSTALL}\n")
