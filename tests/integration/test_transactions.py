"""The examples of `docs/transactions.md`: as they are printed there, as commands, and killed."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from docs.examples import after_commit, outbox
from tasks.jobs import JobStore
from tests.chaos.outbox import (
    URL,
    Jobs,
    child,
    run_after_commit_kills,
    run_outbox_kills,
    webhook,
)
from tests.conftest import eventually
from tests.integration.test_outbox import count, db_fixture, keys_fixture, move
from tests.sealed import KEYS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
SEED = 1
Begin = Callable[[], None]

db, keys = db_fixture, keys_fixture


# -- what the document says -----------------------------------------------------------------------


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.*")))
def test_the_document_has_the_example_word_by_word(example: str) -> None:
    document = (ROOT / "docs" / "transactions.md").read_text()
    language = "python" if example.endswith(".py") else "sh"
    code = (EXAMPLES / example).read_text()
    assert f"`docs/examples/{example}`:\n\n```{language}\n{code}```\n" in document


# -- killed ---------------------------------------------------------------------------------------


def test_the_outbox_killed_at_random_instants_loses_nothing() -> None:
    print(f"seed {SEED}")
    left = run_outbox_kills(10, SEED)
    assert left.committed >= 10
    assert (left.lost, left.unasked) == (0, 0)


def test_enqueueing_after_commit_killed_at_random_instants_loses_what_the_sweep_finds() -> None:
    print(f"seed {SEED}")
    left = run_after_commit_kills(10, SEED)  # it checks the loss of each life
    assert left.committed >= 10
    assert (left.lost, left.unasked) == (0, 0)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sign_up_and_die_before_enqueueing(path: str, life: str, begin: Begin) -> None:
    with closing(after_commit.connect(path)) as db:
        after_commit.sign_up(db, "first", URL)
        after_commit.enqueue_webhook = die
        after_commit.sign_up(db, "second", URL)


def move_and_die_before_deleting(path: str, life: str, begin: Begin) -> None:
    with closing(outbox.connect(path)) as db:
        enqueue = outbox.enqueue_webhooks
        outbox.enqueue_webhooks = lambda items: die(enqueue(items))
        move(db)


def ends(work: Callable[[str, str, Begin], None], path: Path, url: str) -> None:
    """A child that dies of what it does."""
    env = {"REDIS_URL": url, **{name: os.environ[name] for name in KEYS}}
    with child(work, str(path), "life", env) as (process, _):
        process.join(30)
        assert process.exitcode == -signal.SIGKILL


def test_killed_between_commit_and_enqueue_the_shop_is_there_and_its_job_is_not(
    tmp_path: Path, redis_server: str
) -> None:
    path = tmp_path / "shop.db"
    ends(sign_up_and_die_before_enqueueing, path, redis_server)
    with closing(after_commit.connect(str(path))) as db:
        assert count(db, "shops") == 2
        assert Jobs(redis_server).apps() == {"first"}
        assert after_commit.sweep(db) == 1
    assert Jobs(redis_server).apps() == {"first", "second"}


def test_killed_between_enqueue_and_delete_the_rows_are_moved_again(
    db: sqlite3.Connection, tmp_path: Path, redis_server: str, store: JobStore
) -> None:
    for number in range(5):
        outbox.sign_up(db, f"shop-{number}", webhook(number))
    ends(move_and_die_before_deleting, tmp_path / "shop.db", redis_server)
    assert count(db, "webhook_outbox") == 5
    before = sorted(store.walk(), key=lambda job: job.id)
    assert len(before) == 5
    assert move(db) == 5
    assert count(db, "webhook_outbox") == 0
    assert sorted(store.walk(), key=lambda job: job.id) == before


# -- as commands ----------------------------------------------------------------------------------


def test_the_examples_are_commands(
    tmp_path: Path,
    redis_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(example: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [example, str(tmp_path / f"{example}.db"), *arguments])
        runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name="__main__")
        return capsys.readouterr().out

    assert run("outbox", "sign-up", "one", URL) == run("after_commit", "sign-up", "two", URL) == ""
    assert Jobs(redis_server).apps() == {"two"}
    assert run("after_commit", "sweep") == "0 jobs were missing\n"
    assert run("outbox", "move") == "1 rows\n"
    assert Jobs(redis_server).apps() == {"one", "two"}


@pytest.fixture(name="tools")
def tools_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python` and `sqlite3` on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    if not shutil.which("sqlite3"):
        (folder / "sqlite3").write_text(
            f"#!{sys.executable}\nimport sqlite3, sys\nwith sqlite3.connect(sys.argv[-2]) as db:\n"
            "    for row in db.execute(sys.argv[-1]): print(*row, sep='|')\n"
        )
    for tool in folder.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_outbox_is_moved_by_the_command_line_killed_halfway(
    db: sqlite3.Connection, tmp_path: Path, redis_server: str, tools: None
) -> None:
    rows = [(f"shop-{number}", json.dumps(webhook(1).wire())) for number in range(3000)]
    with db:
        db.executemany("INSERT INTO webhook_outbox (app_id, webhook) VALUES (?, ?)", rows)
    script = ["sh", str(EXAMPLES / "outbox_import.sh"), str(tmp_path / "shop.db")]
    batch = tmp_path / "shop.db.jsonl"
    jobs = Jobs(redis_server)

    with subprocess.Popen(script, cwd=ROOT, start_new_session=True) as process:
        eventually(jobs.count, 30)
        os.killpg(process.pid, signal.SIGKILL)
    assert count(db, "webhook_outbox") in (3000, 0)  # 0 where this process was slow to kill
    batch.unlink()
    with subprocess.Popen(script, cwd=ROOT) as process:
        eventually(batch.exists, 30)
        outbox.sign_up(db, "meanwhile", webhook(1))
        assert process.wait(30) == 0

    assert jobs.apps() == {app_id for app_id, _ in rows}
    assert [app for (app,) in db.execute("SELECT app_id FROM webhook_outbox")] == ["meanwhile"]
    assert move(db) == 1


def test_the_command_line_waits_for_others_who_write(
    db: sqlite3.Connection, tmp_path: Path, redis_server: str, tools: None
) -> None:
    outbox.sign_up(db, "shop", webhook(1))
    script = ["sh", str(EXAMPLES / "outbox_import.sh"), str(tmp_path / "shop.db")]
    db.execute("BEGIN EXCLUSIVE")
    with subprocess.Popen(script, cwd=ROOT) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        db.commit()
        assert process.wait(30) == 0
    assert Jobs(redis_server).apps() == {"shop"}
