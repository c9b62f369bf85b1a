"""SECURITY.md names tests, and they are there."""

from __future__ import annotations

import re

import pytest

from worker.stack import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
LINKS = sorted(set(re.findall(r"\[([^\]]+)\]\(([^)]+)\)", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line][1:]


@pytest.mark.parametrize(("words", "path"), LINKS)
def test_what_it_names_is_there(words: str, path: str) -> None:
    text = (ROOT / path).read_text()
    if words.startswith("test_"):
        assert re.search(rf"def {words}\b", text)


def test_each_row_names_a_test() -> None:
    assert len(ROWS) > 15
    assert [row for row in ROWS if "](tests/" not in row] == []
