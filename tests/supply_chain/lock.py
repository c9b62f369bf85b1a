"""Reads the lock files that pip-compile has written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from worker.stack import ROOT

PRODUCTION = ROOT / "requirements.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"

#: A package's first line: pinned to one version, of which hashes follow.
_PINNED = re.compile(r"([a-z0-9][a-z0-9-]*)==([^\s\\;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """A package as it is locked. `needed_by` are others, or `-r requirements.in` for ourselves."""

    name: str
    version: str
    hashes: tuple[str, ...]
    needed_by: tuple[str, ...]


def packages(lock: Path = PRODUCTION) -> list[Package]:
    """All packages of a lock file, in its order.

    Raises `ValueError` at a line that locks nothing, which would be installed unchecked.
    """
    found = []
    for entry in re.split(r"\n(?=[^\s#])", "\n" + lock.read_text())[1:]:
        first, *rest = entry.split("\n")
        pinned, hashes = _PINNED.match(first), tuple(_HASH.findall(entry))
        if pinned is None or not hashes:
            raise ValueError(f"{lock.name}: {first!r} is not pinned to a version with hashes")
        said = [line.strip("# ") for line in rest if line.startswith("    #")]
        by = tuple(line.removeprefix("via").strip() for line in said if line != "via")
        found.append(Package(pinned[1], pinned[2], hashes, by))
    return found
