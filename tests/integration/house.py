"""All of the program at debug level, with all its parts, and what these are made to do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tasks import Job, Webhook, enqueue_webhook, set_triggers, update_webhook
from tasks.actions import cancel_job
from tests import faulty
from tests.conftest import SentrySink, eventually, use_environment
from tests.integration.canaries import Canaries, Places
from tests.integration.commands import REPOSITORY
from tests.integration.test_flower import paths
from worker.guarded import GuardedRedis
from worker.sandbox import SandboxControl
from worker.stack import HOST, Part, Stack, free_port

LOADED = ("--loglevel", "debug", "-I", "tests.faulty")
URL = "https://shop.example.com/hook"

#: Commands that see or change something, each in turn in one process; `{job}` is one that failed.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("tasks", "gate"), ("tasks", "gate", "resume"),
    ("tasks", "enqueue", "--app-id", "by-hand", "--id", "orders", "--name", "Orders", "--url", URL,
     "--username", "chat", "--password-env", "HOOK_PASSWORD", "--wait", "0.5"),
    ("tasks", "enqueue", "--app-id", "by-hand", "--id", "orders", "--name", "Orders", "--url", URL,
     "--username", "chat", "--password-env", "COMETCHAT_SECRET"),
    ("tasks", "import", "{folder}/webhooks.jsonl"),
    ("tasks", "import", "{folder}/bad.jsonl"),
    ("tasks", "list"), ("tasks", "list", "--json"),
    ("tasks", "status", "{job}"), ("tasks", "status", "{job}", "--json"),
    ("tasks", "update", "--app-id", "by-hand", "--id", "orders", "--name", "New",
     "--username", "chat", "--password-env", "HOOK_PASSWORD"),
    ("tasks", "set-triggers", "--app-id", "by-hand", "--id", "orders", "message_sent"),
    ("tasks", "delete", "--app-id", "by-hand", "--id", "orders"),
    ("tasks", "retry", "{job}"), ("tasks", "retry", "--failed"), ("tasks", "cancel", "{job}"),
    ("tasks", "forget", "{job}"), ("tasks", "reseal"), ("tasks", "check"),
    ("tasks", "gate", "pause", "--reason", "rest", "--until", "+10m"),
    ("tasks", "gate", "resume"),
    ("tasks", "audit"), ("worker", "check"),
    ("celery", "-A", "worker", "report"),
    ("celery", "-A", "worker", "inspect", "conf"),
    ("celery", "-A", "worker", "inspect", "active"),
)  # fmt: skip

#: Runs them as their entry points do; what they print is the process's output.
RUN_ALL = """
import json, runpy, sys
for command in json.loads(sys.stdin.read()):
    print("$", *command, flush=True)
    sys.argv = command
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print("exit", ended.code, flush=True)
"""

#: A signup flow that meets a fault in each function that has a secret, with Python's tracebacks.
CRASH = f"""
import traceback
from tasks import Webhook, enqueue_webhook
from tests import faulty
from tests.conftest import forget_settings
import os

webhook = Webhook(id="orders", name="Orders", webhook_url="{URL}", username="chat",
                  password=os.environ["HOOK_PASSWORD"])
for number, place in enumerate(faulty.OF_ENQUEUEING):
    forget_settings()
    faulty.arm(place)
    try:
        enqueue_webhook(f"crash-{{number}}", webhook)
    except Exception:
        traceback.print_exc()
"""


class House:
    """The program with all its parts, and what they are made to do."""

    def __init__(self, stack: Stack, sentry: SentrySink, canaries: Canaries) -> None:
        self.stack, self.sentry, self.canaries = stack, sentry, canaries
        server = stack.start_redis()
        assert isinstance(server, GuardedRedis)
        self.server = server
        for user in ("producer", "worker", "beat", "flower", "operator", "admin"):
            password = server.url_for(user).partition("@")[0].rpartition(":")[2]
            canaries.values[f"Redis's password for {user}"] = password
        self.places = Places(stack, server, sentry)
        stack.start_sandbox()
        self.sandbox = SandboxControl(stack.env["COMETCHAT_BASE_URL"])
        self.flower_url = f"http://{HOST}:{free_port()}"
        self.login = ("alice", canaries["Flower's login"])
        self.jobs: list[Job] = []

    # -- its parts ------------------------------------------------------------------------------

    def worker(self, name: str, *options: str, **env: str) -> Part:
        part = self.stack.start_worker(name, *LOADED, *options, **env)
        part.wait_for_line(" ready.")
        return part

    def start_others(self) -> None:
        self.beat = self.stack.celery("beat", "beat", "--loglevel", "debug")
        port = self.flower_url.rpartition(":")[2]
        address = f"--address={HOST}", f"--port={port}", "--logging=debug"
        self.stack.celery("flower", "flower", *address)

    def said_by(self, name: str, given: str, *arguments: str, **env: str) -> str:
        """What a process prints, which is kept among the logs."""
        done = subprocess.run(
            [sys.executable, *arguments],
            input=given.encode(),
            cwd=REPOSITORY,
            env={**self.stack.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        (self.stack.folder / f"{name}.log").write_bytes(done.stdout)
        return done.stdout.decode()

    # -- what it is made to do --------------------------------------------------------------------

    def enqueue(self, app_id: str, name: str = "Orders", **options: Any) -> Job:
        webhook = Webhook(
            id="orders",
            name=name,
            webhook_url=options.pop("url", URL),
            username="chat",
            password=self.canaries["basic-auth password"],
            triggers=["message_sent"],
        )
        return enqueue_webhook(app_id, webhook, **options)

    def meet_each_failure(self) -> None:
        """A job for each class; an API that repeats what it was sent."""
        known = ("key", "secret", "old key", "old secret", "basic-auth password")
        sandbox, said = self.sandbox, " ".join(self.canaries[name] for name in known)
        fault = {"kind": "status", "operation": "create"}
        sandbox.put_webhook("conflict", "orders", name="Other", url=URL)
        sandbox.remove_apps("no-app")
        sandbox.faults(
            {**fault, "app_id": "rejected", "status": 422, "code": "ERR", "message": said},
            {**fault, "app_id": "plan", "status": 402, "code": "ERR_PLAN_RESTRICTION"},
            {**fault, "app_id": "away", "status": 503, "message": said},
            {"kind": "cut", "app_id": "reset", "operation": "create", "times": 1},
            {"kind": "rate_limit", "app_id": "limited", "seconds": 0.2, "times": 1},
            {"kind": "status", "app_id": "half", "operation": "add_triggers", "status": 404,
             "code": "ERR_TRIGGER_NOT_FOUND", "message": said},
        )  # fmt: skip
        ended = [self.enqueue(name) for name in (
            *("conflict", "no-app", "rejected", "plan", "away", "reset", "limited", "half", "good"),
        )]  # fmt: skip
        ended += [self.enqueue("elsewhere", url="https://shop.example.org/hook")]
        ended += [update_webhook("nothing", "orders", {"name": "New"})]
        ended += [set_triggers("conflict", "orders", ["user_blocked"])]
        cancelled = self.enqueue("cancelled", not_before=time.time() + 3600)
        cancel_job(cancelled.id)
        for job in ended:
            job.wait(60)
        self.jobs += [*ended, cancelled]

    def meet_each_echo(self) -> None:
        """Jobs that succeed, or would, at an API whose answers show a secret in each text."""
        cut = {"kind": "cut", "operation": "create", "when": "after", "times": 1}
        rules, apps = [], []
        for name in ("secret", "old key", "basic-auth password"):
            for field in ("name", "username", "*"):
                echo = {"kind": "echo", "field": field, "text": self.canaries[name]}
                forms: dict[str, str] = {"name": "html", "username": "plain", "*": "base64"}
                for operation in ("create", "get", "list_triggers"):
                    app_id = f"echo-{len(apps)}"
                    of = {"app_id": app_id, "operation": operation, "form": forms[field]}
                    rules += [] if operation == "create" else [{**cut, "app_id": app_id}]
                    rules.append({**echo, **of, "times": 1})
                    apps.append(app_id)
        self.sandbox.faults(*rules)
        jobs = [self.enqueue(app_id) for app_id in apps]
        for job in jobs:
            job.wait(60)
        self.jobs += jobs

    def crash_in(self, name: str, wanted: Sequence[str]) -> None:
        """A job that meets a fault in each of these functions, which have a secret."""
        rejected = {"kind": "status", "operation": "create", "status": 422, "message": "Bad."}
        places = {f"{name}-{number}": place for number, place in enumerate(wanted)}
        for app_id, place in places.items():
            if place == "tasks.answers:redact":
                self.sandbox.faults({**rejected, "app_id": app_id}, add=True)
        jobs = [self.enqueue(one, faulty.name_of(place)) for one, place in places.items()]
        self.until_tried(*jobs)
        self.jobs += jobs

    def until_tried(self, *jobs: Job) -> None:
        eventually(lambda: all(job.refresh().history for job in jobs), 60, every=0.2)

    def be_refused(self) -> None:
        """The API says that key and secret are wrong, and repeats them."""
        self.sandbox.faults({"kind": "echo", "app_id": "echo"})
        job = self.enqueue("echo")
        self.until_tried(job)
        self.sandbox.faults()
        self.jobs.append(job)

    def meet_each_failure_of_another(self) -> None:
        """Jobs that this worker cannot do: of an account and with a key that it does not have."""
        accounts = json.dumps({"eu": {"key": "k" * 12, "secret": self.canaries["old secret"]}})
        use_environment({"COMETCHAT_ACCOUNTS": accounts})
        self.jobs.append(unknown := self.enqueue("eu", account="eu"))
        self.until_tried(unknown)
        use_environment({"COMETCHAT_ACCOUNTS": "", "SEALING_PUBLIC_KEY": Canaries().public_key})
        self.jobs.append(self.enqueue("other-key").wait(20))
        use_environment(self.stack.env)

    def run_commands(self) -> str:
        folder, password = self.stack.folder, self.canaries["basic-auth password"]
        line = {"app_id": "file", "id": "orders", "name": "Orders", "webhookURL": URL}
        login = {"useBasicAuth": True, "username": "chat", "password": password}
        # What an operator keeps where others don't look, and the search neither.
        files = {"webhooks": json.dumps({**line, **login}), "bad": f'{{"{password}": "{password}"'}
        job = next(job.id for job in self.jobs if job.state == "FAILURE")
        given = {"folder": str(folder), "job": job}
        for name, text in files.items():
            (folder / f"{name}.jsonl").write_text(text)
        commands = [[part.format_map(given) for part in command] for command in COMMANDS]
        env = {"HOOK_PASSWORD": password}
        said = self.said_by("commands", json.dumps(commands), "-c", RUN_ALL, **env)
        for name in files:
            (folder / f"{name}.jsonl").unlink()
        return said

    def run_processes(self) -> str:
        """What has its own user, or ends in a traceback."""
        given = {"HOOK_PASSWORD": self.canaries["basic-auth password"]}
        as_worker, as_producer = map(self.server.url_for, ("worker", "producer"))
        self.said_by("reseal", "", "-m", "tasks", "reseal", REDIS_URL=as_worker)
        return self.said_by("crash", "", "-c", CRASH, REDIS_URL=as_producer, **given)

    def wrong_settings(self) -> Iterator[tuple[str, str]]:
        """Each setting that is a secret, in a form that is refused, and what is said of it."""
        canaries = self.canaries
        for name, value in {
            "REDIS_URL": f"redis//{canaries['secret']}@host:x",
            "SEALING_PRIVATE_KEYS": canaries["private sealing key"][:-9],
            "COMETCHAT_SECRET": f"{canaries['secret']}\x01",
            "COMETCHAT_ACCOUNTS": f'{{"{canaries["key"]}": "{canaries["secret"]}"',
        }.items():
            yield name, self.said_by(f"wrong-{name}", "", "-m", "worker", "check", **{name: value})

    def fetch_pages(self) -> None:
        shown = [f"/{at}/{job.id}" for job in self.jobs for at in ("task", "api/task/info")]
        found = [path.replace("worker@stack", "threads@stack") for path in paths("get")]
        more = ("/tasks?limit=100", "/api/tasks?limit=1000", "/api/workers?refresh=1")
        self.places.fetch_pages(self.flower_url, [*found, *more, *shown], self.login)

    def found(self) -> dict[str, set[str]]:
        """Which secrets each place shows."""
        return {
            place: self.canaries.seen_in(read()) for place, read in self.places.by_name().items()
        }
