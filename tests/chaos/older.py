"""An older version of the program: its workers and its producer, beside those of this one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tasks.record import job_id
from tests.chaos.producer import Key
from worker.stack import ROOT, Part

#: What its producer runs: reads app id, webhook and options of one job a line, and prints the ids
#: of the jobs that were accepted.
PRODUCER: Final = """
import json, sys
from tasks import enqueue_webhook
for line in sys.stdin:
    app_id, webhook, options = json.loads(line)
    print(enqueue_webhook(app_id, webhook, **options).id, flush=True)
"""

#: Python runs this first: Celery looks for its app in the folder that it is in.
AT_START: Final = "import os, pathlib; os.chdir(pathlib.Path(__file__).parent)"

#: App id, webhook as on the wire, options of `enqueue_webhook`.
Item = tuple[str, Mapping[str, Any], Mapping[str, Any]]


class OlderVersion:
    """The code of one revision, in a folder of its own.

    Args:
        revision: as git names it.
        parent: the folder to make that folder in.

    Raises `LookupError` where this project's history is not there, or not so long.
    """

    def __init__(self, revision: str, parent: Path) -> None:
        top = _git("rev-parse", "--show-toplevel").decode().strip()
        if Path(top).resolve() != ROOT:
            raise LookupError("no history of this project's own")
        self.name = _git("rev-parse", "--short", revision + "^{commit}").decode().strip()
        rooms = _git("archive", "--format=tar", self.name, "config", "tasks", "worker")
        self.folder = parent / self.name
        with tarfile.open(fileobj=io.BytesIO(rooms)) as files:
            files.extractall(self.folder, filter="data")
        (self.folder / "sitecustomize.py").write_text(AT_START)
        #: With these in its environment, Python runs this version.
        self.env = {"PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1"}

    def runs(self, part: Part) -> bool:
        """Whether this process is of this version; only Linux tells."""
        return Path(f"/proc/{part.process.pid}/cwd").readlink() == self.folder

    def enqueue(self, env: Mapping[str, str], items: Sequence[Item]) -> set[Key]:
        """Enqueue with this version; what it accepted. Raises `RuntimeError` when it refuses."""
        lines = "\n".join(json.dumps(item) for item in items)
        done = self.run(env, "-c", PRODUCER, told=lines)
        ids = set(done.split())
        keys = {(app_id, str(webhook["id"])) for app_id, webhook, _ in items}
        return {key for key in keys if job_id("default", *key) in ids}

    def run(self, env: Mapping[str, str], *arguments: str, told: str = "") -> str:
        """Run Python with these arguments on this version, and return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**env, **self.env},
            input=told,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{arguments[:3]} of {self.name}: {done.stderr[-2_000:]}")
        return done.stdout


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        raise LookupError("no git") from None
    if done.returncode:
        words = done.stderr.decode().strip().splitlines() or ["no words"]
        raise LookupError(f"git: {words[0]}")
    return done.stdout
