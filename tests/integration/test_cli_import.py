"""`python -m tasks import`, and the command as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks import enqueue_webhook, get_job
from tasks.jobs import JobStore
from tests.conftest import eventually
from tests.integration.commands import (
    ID,
    NOWHERE,
    ORDERS,
    PASSWORD,
    REPOSITORY,
    WITH_USER,
    Run,
    at_terminal,
    command,
    environment_fixture,
    real,
    run_fixture,
)
from tests.sealed import KEYS

run, environment = run_fixture, environment_fixture


# -- import -------------------------------------------------------------------------------------


def line(number: int, **fields: Any) -> dict[str, Any]:
    return {"app_id": f"app-{number // 25}", **ORDERS, "id": f"w-{number % 25}", **fields}


def write(path: Path, *lines: object) -> Path:
    texts = (each if isinstance(each, str) else json.dumps(each) for each in lines)
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def jobs(store: JobStore) -> int:
    return len(list(store.walk()))


def test_import_enqueues_every_line_once(run: Run, store: JobStore, tmp_path: Path) -> None:
    secret = {"username": "shop", "password": PASSWORD}
    file = write(tmp_path / "f.jsonl", *(line(n, **secret) for n in range(500)))

    assert run("import", file) == (0, "500 new, 0 already there\n", "")
    assert run("import", file) == (0, "0 new, 500 already there\n", "")
    assert run("import", file, "--json").json == {
        "new": 0,
        "existing": 500,
        "bad_count": 0,
        "bad": [],
    }
    assert jobs(store) == 500


def test_import_passes_the_options_on(run: Run, tmp_path: Path) -> None:
    file = write(
        tmp_path / "f.csv", "app_id,id,name,webhookURL", "shop,orders,Orders,https://x.example/"
    )

    assert run("import", file, "--webhook-version", "legacy", "--not-before", "+1h").code == 0

    job = get_job(ID)
    assert job.record.webhook_version is None
    assert job.due_at is not None and job.due_at > datetime.now(UTC) + timedelta(minutes=50)
    wrong = run("import", file, "--account", "other")
    assert (wrong.code, "account: must be one of" in wrong.err) == (2, True)


def test_one_bad_line_keeps_all_lines_out(run: Run, store: JobStore, tmp_path: Path) -> None:
    bad = line(1, password=PASSWORD)
    file = write(tmp_path / "f.jsonl", line(0), bad, "oops", line(3))

    said = run("import", file)

    assert (said.code, said.out) == (2, "")
    lines = said.err.splitlines()
    assert lines[0].startswith("line 2: useBasicAuth: ")
    assert lines[1].startswith("line 3: is not JSON: ")
    assert lines[2].startswith("2 of 4 lines are bad; nothing was enqueued.")
    as_json = run("import", file, "--json")
    assert [each["line"] for each in as_json.json["bad"]] == [2, 3]
    assert as_json.error == lines[2]
    assert jobs(store) == 0


def test_bad_lines_may_be_left_out(run: Run, store: JobStore, tmp_path: Path) -> None:
    file = write(tmp_path / "f.jsonl", line(0), "oops", line(2))

    said = run("import", file, "--skip-bad")

    assert (said.code, said.out) == (2, "2 new, 0 already there\n")
    assert said.err.splitlines()[0].startswith("line 2: is not JSON")
    assert "1 of 3 lines were not enqueued." in said.err
    assert run("import", file, "--skip-bad", "--json").json["bad_count"] == 1
    assert jobs(store) == 2


def test_only_so_many_bad_lines_are_shown(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f.jsonl", *("oops" for _ in range(250)))

    assert len(run("import", file).err.splitlines()) == 101
    assert len(run("import", file, "--skip-bad").err.splitlines()) == 251
    summary = run("import", file, "--json").json
    assert (summary["bad_count"], len(summary["bad"])) == (250, 100)


def test_a_conflict_is_told_by_its_line(run: Run, tmp_path: Path) -> None:
    enqueue_webhook("app-0", {**ORDERS, "id": "w-1", "name": "Other"})
    file = write(tmp_path / "f.jsonl", *(line(n) for n in range(3)))

    said = run("import", file)

    assert (said.code, said.out) == (2, "2 new, 0 already there\n")
    assert said.err.startswith("line 2: Webhook 'w-1' of app 'app-0' was enqueued before")


def test_passwords_without_sealing_keys_keep_all_lines_out(
    run: Run, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "")
    secret = {"username": "shop", "password": PASSWORD}
    file = write(tmp_path / "f.jsonl", line(0), line(1, **secret))

    said = run("import", file, "--skip-bad")

    assert said.code == 2
    assert "needs SEALING_PUBLIC_KEY" in said.err
    assert jobs(store) == 0


def test_a_file_that_does_not_fit_as_a_whole(run: Run, tmp_path: Path) -> None:
    no_header = write(tmp_path / "f.csv", f"shop,orders,Orders,https://x,shop,{PASSWORD}")
    said = run("import", no_header)
    assert (said.code, said.out) == (2, "")
    assert "Line 1 must name the columns" in said.err

    unknown = write(tmp_path / "f.txt", line(0))
    assert run("import", unknown).code == 2
    assert run("import", unknown, "--format", "jsonl").code == 0
    assert run("import", tmp_path / "none.jsonl").code == 2
    assert run("import", tmp_path).code == 2
    assert run("import", write(tmp_path / "empty.jsonl")) == (0, "0 new, 0 already there\n", "")


def test_standard_input_is_json_lines_unless_told(run: Run) -> None:
    text = json.dumps(line(0)).encode()
    assert run("import", "-", stdin=text).out == "1 new, 0 already there\n"
    text = b"app_id,id,name,webhookURL\nshop,orders,Orders,https://x.example/\n"
    assert run("import", "-", "--format", "csv", stdin=text).out == "1 new, 0 already there\n"


# -- the real command ---------------------------------------------------------------------------


def test_the_real_command_reads_a_pipe_and_keeps_its_streams_apart(
    environment: dict[str, str], tmp_path: Path
) -> None:
    secret = {"username": "shop", "password": PASSWORD}
    lines = "".join(json.dumps(line(n, **secret)) + "\n" for n in range(40)).encode()
    broken = {"CELERY_BROKER_URL": NOWHERE, "TMPDIR": str(tmp_path)}

    done = real("import", "-", "--json", env={**environment, **broken}, stdin=lines)

    assert done.json["new"] == 40
    assert done.err == "", "a producer needs no broker"
    assert list(tmp_path.iterdir()) == []
    shown = real("list", env=environment)
    assert (shown.code, shown.err, len(shown.out.splitlines())) == (0, "", 41)


def test_mistakes_have_exit_codes_and_no_traceback(environment: dict[str, str]) -> None:
    away = real("list", "--json", env={**environment, "REDIS_URL": NOWHERE})
    assert (away.code, away.out) == (3, "")
    assert away.error.startswith("Redis cannot be used")

    wrong = real("list", env={**environment, "REDIS_URL": "http://x", "PIPE_SIZE": "0"})
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.splitlines()[0] == "The settings are not right (see .env.example):"

    usage = real("list", "--stat", env=environment)
    assert (usage.code, usage.out) == (2, "")
    assert "Did you mean '--state'?" in usage.err

    helped = real("enqueue", "--help", env={**environment, "REDIS_URL": "http://x"})
    assert (helped.code, helped.err) == (0, "")
    assert "--password " not in helped.out


def test_an_interrupted_import_is_completed_by_the_next(
    environment: dict[str, str], store: JobStore, tmp_path: Path
) -> None:
    file = write(tmp_path / "f.jsonl", *(line(n) for n in range(20_000)))
    process = subprocess.Popen(
        command("import", file),
        cwd=REPOSITORY,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell lets what it runs in the background ignore it, and so all that this starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    eventually(lambda: sum(store.counts().values()) > 2_000, 30)
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        client.client_pause(1_000, all=False)  # it must not be through before the signal is
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        client.client_unpause()

    assert process.returncode == 130
    assert err.startswith("Interrupted after ")
    assert "The same import again completes the rest." in err
    assert "Traceback" not in err
    told = int(out.split()[0])
    there = sum(store.counts().values())
    assert there - 2_000 <= told <= there < 20_000
    again = real("import", file, env=environment)
    assert again.out == f"{20_000 - there} new, {there} already there\n"


def test_a_terminal_has_a_hidden_prompt_and_colours(environment: dict[str, str]) -> None:
    said = at_terminal(*WITH_USER, "--password-prompt", env=environment, typed=PASSWORD)
    assert "Password: " in said
    assert PASSWORD not in said
    assert "Accepted: job" in said
    assert "\x1b[1m" in at_terminal("status", ID, env=environment)
