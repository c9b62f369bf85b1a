"""Known vulnerabilities of what is locked, as pip-audit finds them in the OSV database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.supply_chain.lock import DEVELOPMENT, packages

#: Exit codes.
NONE_KNOWN, SOME_KNOWN, NOT_CHECKED = 0, 1, 2


class Verdict(NamedTuple):
    """The exit code, and what to tell."""

    code: int
    words: str


def audit(lock: Path = DEVELOPMENT) -> Verdict:
    """Ask the database about each package of a lock file."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv"]
    options = ["--disable-pip", "--require-hashes", "--requirement", str(lock)]
    quiet = ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([*command, *options, *quiet], capture_output=True, text=True)
    return judge(done.stdout, done.stderr, {one.name for one in packages(lock)})


def judge(out: str, err: str, wanted: set[str]) -> Verdict:
    """What pip-audit's answer says. Only one that speaks of each package is a pass."""
    try:
        told: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (err.strip().splitlines() or ["it said nothing"])[-1][:300]
        return Verdict(
            NOT_CHECKED,
            "Nothing was checked, which is no pass: pip-audit does not reach the database of known "
            f"vulnerabilities, or failed ({reason}). Run it where the internet can be reached.",
        )
    checked = {one["name"] for one in told if "vulns" in one}
    found = [
        f"{one['name']} {one['version']}: {', '.join([bad['id'], *bad.get('aliases', [])])}; "
        f"mended in {', '.join(bad.get('fix_versions', [])) or 'no version'}"
        for one in told
        for bad in one.get("vulns", [])
    ]
    if found:
        return Verdict(SOME_KNOWN, "\n".join(found))
    if missing := sorted(wanted - checked):
        return Verdict(NOT_CHECKED, f"Not checked, which is no pass: {', '.join(missing)}")
    return Verdict(NONE_KNOWN, f"{len(checked)} packages, no known vulnerability")
