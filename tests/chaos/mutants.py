"""`make mutants`: a fault in a Lua step makes a test fail, for every fault in the list.

So does a protection that is taken away (`protections.toml`): SECURITY.md says what it protects.
Each mutation is made in a copy of the program, and the fast tests are run on that. One that
survives is a hole in the tests; one whose text is gone was not kept up with its file. Both end the
program with 1.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from worker.stack import ROOT

LUA = Path("tasks/lua")
FOLDER = ROOT / "tests" / "chaos"
README = FOLDER / "README.md"
#: The lists, and between which marks the README has what came of each.
LISTS = {"steps": FOLDER / "mutations.toml", "protections": FOLDER / "protections.toml"}
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"

#: What the copy needs of the repository.
NEEDED = ("config", "tasks", "worker", "tests", "pyproject.toml")
#: The tests that a mutation is caught by, unless it names others.
FAST_TESTS = (
    "tests/integration/test_jobs.py",
    "tests/integration/test_jobs_by_others.py",
    "tests/integration/test_model.py",
)
#: Seconds after which the tests hang.
LONGEST = 600.0
AT_ONCE = 2


@dataclass(frozen=True)
class Mutation:
    """In the file of a step, or another, `old` becomes `new`; `why` says what is wrong then."""

    step: str
    why: str
    old: str
    new: str
    tests: tuple[str, ...] = FAST_TESTS

    @property
    def file(self) -> Path:
        """Where, below the repository."""
        return Path(self.step) if "/" in self.step else LUA / f"{self.step}.lua"

    def applied(self, text: str) -> str:
        """The file's text with the fault in it. Raises `ValueError` if there is no one place."""
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} has {self.old!r} {times} times, not once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Verdict:
    """The test that failed, if one did, and else why none."""

    mutation: Mutation
    caught_by: str
    problem: str = ""


def mutations(name: str = "steps") -> list[Mutation]:
    """All of a list."""
    return [
        Mutation(step, **{**one, "tests": tuple(one.get("tests", FAST_TESTS))})
        for step, some in tomllib.loads(LISTS[name].read_text()).items()
        for one in some
    ]


@contextmanager
def copies(number: int) -> Iterator[queue.Queue[Path]]:
    """So many copies of the program, to take one from and to put it back."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: queue.Queue[Path] = queue.Queue()
        for name in range(number):
            copy = Path(folder) / str(name)
            copy.mkdir()
            for part in NEEDED:
                if (ROOT / part).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / part, copy / part, ignore=ignored)
                else:
                    shutil.copy(ROOT / part, copy)
            free.put(copy)
        yield free


def first_failure(copy: Path, tests: tuple[str, ...]) -> str:
    """The first of these tests that fails in the copy, '' if none does.

    Raises `RuntimeError` if they cannot be run.
    """
    options = ("-x", "-q", "-rf", "--tb=line", "-p", "no:cacheprovider")
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "MODEL_QUICK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = run.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        raise RuntimeError(f"no end within {LONGEST:.0f} s") from None
    if run.returncode == 0:
        return ""
    if failed := re.search(r"^FAILED \S+/(test_.+?)(?: - .*)?$", output, re.MULTILINE):
        return failed[1]
    raise RuntimeError(f"the tests do not run:\n{output[-3_000:]}")


def judge(mutation: Mutation, free: queue.Queue[Path]) -> Verdict:
    """Make the mutation in a copy, run the tests there, and undo it."""
    copy = free.get()
    file = copy / mutation.file
    text = file.read_text()
    try:
        file.write_text(mutation.applied(text))
        caught_by = first_failure(copy, mutation.tests)
        return Verdict(mutation, caught_by, "" if caught_by else "SURVIVED")
    except (RuntimeError, ValueError) as error:
        return Verdict(mutation, "", str(error))
    finally:
        file.write_text(text)
        free.put(copy)


def table(verdicts: list[Verdict]) -> str:
    """The verdicts as a table in Markdown."""
    rows = [
        f"| `{one.mutation.step}` | {one.mutation.why} | `{one.caught_by}` |" for one in verdicts
    ]
    return "\n".join(
        ("| where | what is wrong then | the test that fails |", "| --- | --- | --- |", *rows)
    )


def write(name: str, text: str) -> None:
    """Put the text between the two marks of a list in the README."""
    begin, end = BEGIN.format(name), END.format(name)
    before, has_begin, rest = README.read_text().partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise click.ClickException(f"{README} lacks {begin} or {end}")
    README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


@click.command()
@click.option("--list", "name", type=click.Choice([*LISTS]), default="steps", show_default=True)
@click.option("--only", multiple=True, metavar="WORD", help="A step, or a word of its fault.")
@click.option("--write", "writes", is_flag=True, help="Put the table into tests/chaos/README.md.")
def main(name: str, only: tuple[str, ...], writes: bool) -> None:
    """Make each fault in a copy, and say which test fails of it."""
    known = mutations(name)
    chosen = [
        one for one in known if not only or {one.step} & {*only} or any(w in one.why for w in only)
    ]
    if not chosen:
        raise click.UsageError("No such mutation.")
    if writes and chosen != known:
        raise click.UsageError("The table needs all of them.")
    began = time.monotonic()
    with copies(AT_ONCE) as free, ThreadPoolExecutor(AT_ONCE) as pool:
        for tests in sorted({one.tests for one in chosen}):
            copy = free.get()
            if failure := first_failure(copy, tests):
                raise click.ClickException(f"{failure} fails without any mutation")
            free.put(copy)
        verdicts = []
        for one in pool.map(lambda mutation: judge(mutation, free), chosen):
            verdicts.append(one)
            words = f"caught by {one.caught_by}" if one.caught_by else one.problem
            click.echo(f"{one.mutation.step}: {one.mutation.why}: {words}")
    bad = [one for one in verdicts if one.problem]
    seconds = time.monotonic() - began
    click.echo(f"{len(verdicts)} mutants in {seconds:.0f} s, {len(bad)} not caught")
    if writes and not bad:
        write(name, table(verdicts))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main(prog_name="python -m tests.chaos.mutants")
