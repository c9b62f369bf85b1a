"""`python -m worker.local demo` and `up`: everything on this machine, nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.text import Text

from config.terminal import escape_what_cannot_be_shown

STARTED = time.monotonic()

#: So fast that 20% of failing calls are over soon; the defaults are for a real API.
SETTINGS = {
    "RETRY_BASE_SECONDS": "0.3",
    "RETRY_MAX_DELAY_SECONDS": "3",
    "APP_NOT_FOUND_SECONDS": "3",
    "COMETCHAT_READ_TIMEOUT": "5",
    "LOG_LEVEL": "info",
}

#: Set if Redis has users and TLS (STACK_GUARDED).
TLS_FILES = ("REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE")


@click.group()
def main() -> None:
    """The embedded stack: Redis, the sandbox, a worker, beat and Flower."""


@main.command()
@click.option("--seed", default=0, show_default="random", help="Which calls fail.")
def demo(seed: int) -> None:
    """Create 200 webhooks through a faulty API and check what came of them."""
    console = Console()
    seed = seed or int.from_bytes(os.urandom(2)) + 1
    console.print(f"200 webhooks for 20 apps; 20% of the calls fail (seed {seed})")
    with running("--faults", "mixed:0.2", "--seed", str(seed)) as addresses:
        from worker.demo import run_demo
        from worker.sandbox import SandboxControl

        all_right = run_demo(SandboxControl(addresses["sandbox"]), console, STARTED)
        console.print(f"Flower ran at {addresses['Flower']}; `make up` leaves everything running.")
    sys.exit(not all_right)


@main.command()
def up() -> None:
    """Run the stack until Ctrl-C, and print what to try."""
    console = Console(highlight=False)
    with running() as addresses:
        for name, address in addresses.items():
            console.print(f"{name:8} {address}")
        variables = (
            *("REDIS_URL", *(name for name in TLS_FILES if os.environ.get(name))),
            *("SEALING_PUBLIC_KEY", "COMETCHAT_BASE_URL", "COMETCHAT_KEY", "COMETCHAT_SECRET"),
        )
        exports = " ".join(f"{name}={os.environ[name]}" for name in variables)
        console.print("\nTry in another terminal:\n", style="bold")
        console.print(f"  export {exports}", soft_wrap=True)
        for line in (
            ".venv/bin/python -m tasks enqueue --app-id shop --id orders --name Orders"
            " --url https://shop.example.com/hook --wait",
            ".venv/bin/python -m tasks list",
            ".venv/bin/python -m worker check",
            f"curl {addresses['sandbox']}/_sandbox/state",
        ):
            console.print(f"  {line}", soft_wrap=True)
        others = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
        console.print(f"\nQuicker than in production: {others}", soft_wrap=True)
        console.print("Ctrl-C ends everything.")
        signal.pause()


@contextmanager
def running(*sandbox_options: str) -> Iterator[dict[str, str]]:
    """Start the stack, make its settings this process's own, and end it."""
    # A terminal that closes and an operator's TERM end it as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    from config.settings import SettingsError
    from worker.stack import HOST, Stack, StackError, free_port

    console = Console(stderr=True)
    try:
        with Stack(**SETTINGS) as stack:
            if not os.environ.get("REDIS_URL"):
                stack.start_redis()
            sandbox = stack.start_sandbox(*sandbox_options)
            os.environ.update(stack.env)
            _refuse_foreign_jobs()
            worker = stack.start_worker()
            stack.celery("beat", "beat")
            flower_port = free_port()
            flower = f"--address={HOST}", f"--port={flower_port}"
            stack.celery("flower", "flower", *flower)
            worker.wait_for(lambda: " ready." in worker.output())
            yield {
                "Redis": stack.env["REDIS_URL"],
                "sandbox": sandbox,
                "Flower": f"http://{HOST}:{flower_port}",
                "logs": str(stack.folder),
            }
    except KeyboardInterrupt:
        console.print("\nended")
        sys.exit(130)
    except (StackError, SettingsError) as error:
        console.print(Text(str(error), style="red"))
        sys.exit(1)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _refuse_foreign_jobs() -> None:
    """A Redis that has jobs is somebody's: the sandbox must not be told of them."""
    from tasks.store import get_store
    from worker.stack import StackError

    if next(get_store().walk(), None) is not None:
        raise StackError("The Redis at REDIS_URL has jobs in it: give one whose database is empty.")


if __name__ == "__main__":
    escape_what_cannot_be_shown()
    main(prog_name="python -m worker.local")
