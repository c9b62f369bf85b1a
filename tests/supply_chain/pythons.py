"""Whether the lock files can be installed on each Python that README names.

pip-compile locks what the Python needs that it runs on. `missing` says what another one needs
besides, by what the installed packages say of themselves; `try_out` lets pip look,
down to the wheels, with another Python, and installs nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.supply_chain.lock import DEVELOPMENT, packages

#: Of each minor version the first release, and one behind the last change of what is needed.
VERSIONS: Final = ("3.11.0", "3.11.2", "3.11.3", "3.12.0", "3.13.0", "3.14.0", "3.14.99")
NAMES: Final = ("python3.11", "python3.12", "python3.13", "python3.14", "python3")
#: Where Pythons are beside those on the path.
PLACES: Final = ("/usr/bin", "/usr/local/bin", *map(str, Path.home().glob(".pyenv/versions/*/bin")))
SECONDS: Final = 600.0


def missing(version: str, lock: Path = DEVELOPMENT) -> list[str]:
    """What packages of a lock file need on this Python, and is not in it as they need it."""
    locked = {canonicalize_name(one.name): one.version for one in packages(lock)}
    env = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_full_version": version,
        "python_version": version.rpartition(".")[0],
    }
    found = []
    for name in locked:
        try:
            wanted = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            found.append(f"{name} is not installed: `make install`")
            continue
        for one in wanted:
            if one.marker and not one.marker.evaluate({**env, "extra": ""}):
                continue
            has = locked.get(canonicalize_name(one.name))
            if has is None or not one.specifier.contains(has, prereleases=True):
                found.append(f"{name} needs {one.name}{one.specifier}, locked is {has}")
    return found


def pythons() -> dict[tuple[int, ...], str]:
    """Those of this machine from 3.11 on, by their versions."""
    paths = {shutil.which(name, path=place) for name in NAMES for place in (None, *PLACES)}
    found = {_version(path): path for path in sorted(filter(None, paths))}
    return {version: found[version] for version in sorted(found) if version >= (3, 11)}


def try_out(python: str, lock: Path = DEVELOPMENT) -> str:
    """What pip says against installing a lock file on this Python; nothing if it would."""
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "--python", f"{folder}/bin/python")
        look = ("install", "--quiet", "--disable-pip-version-check", "--dry-run")
        locked = ("--only-binary=:all:", "--require-hashes", "--requirement", str(lock))
        for command in ((python, "-m", "venv", "--without-pip", folder), (*pip, *look, *locked)):
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            if done.returncode:
                return (done.stderr or done.stdout).strip()[-1000:]
    return ""


def verdicts() -> Iterator[tuple[str, str]]:
    """Of the oldest and the newest Python of this machine: which it is, and what pip says."""
    found = pythons()
    chosen = {version: found[version] for version in (min(found), max(found))}
    with ThreadPoolExecutor(len(chosen)) as threads:
        said = threads.map(try_out, chosen.values())
        for version, words in zip(chosen, said, strict=True):
            yield ".".join(map(str, version)), words


def _version(python: str) -> tuple[int, ...]:
    code = "import sys; print(*sys.version_info[:3])"
    if Path(python).resolve() == Path(sys.executable).resolve():
        return tuple(sys.version_info[:3])
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()
