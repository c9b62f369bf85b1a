"""Two accounts with little to do, one of whose API is away."""

from __future__ import annotations

import json
import time

from config.accounts import DEFAULT
from tasks import Webhook
from tests.chaos.harness import Chaos
from tests.chaos.registry import scenario
from tests.chaos.scenarios.gates import PROBE_SECONDS, closed
from worker.sandbox.settings import DEFAULT_NEW_KEY, DEFAULT_NEW_SECRET
from worker.stack import Part

OTHER = "eu"

#: The apps of the other account, each with fewer webhooks than the 25 that it may have.
APPS = tuple(f"{OTHER}-{number}" for number in range(12))

#: Seconds within which a job of the account that nothing ails begins.
SOON = 5.0


class Pair:
    """A job of each account, every few seconds."""

    def __init__(self, chaos: Chaos, pause: float) -> None:
        self._chaos = chaos
        self._pause = pause
        self._number = 0
        chaos.ledger.accounts.update(dict.fromkeys(APPS, OTHER))

    def enqueue(self, times: int) -> None:
        """Do so this often."""
        for _ in range(times):
            self._number += 1
            self._chaos.feed(1)
            webhook = Webhook(
                id=f"orders-{self._number}",
                name=f"Orders {self._number}",
                webhook_url="https://shop.example.com/eu",
            )
            app_id = APPS[self._number % len(APPS)]
            self._chaos.producer.enqueue([(app_id, webhook)], account=OTHER)
            time.sleep(self._pause)

    def judge(self) -> None:
        """Whether the jobs of the account that nothing ails ran soon, and once."""
        healthy = [one for one in self._chaos.records().values() if one.account == DEFAULT]
        waited = [one.history[0]["at"] - one.created_at for one in healthy if one.attempt == 1]
        most = max(waited)
        self._chaos.report.notes.append(f"{len(healthy)} of the other account, {most:.1f} s late")
        self._chaos.require(most <= SOON, f"one waited {most:.1f} s for another account")
        # Those under way in a killed worker.
        again = len(healthy) - len(waited)
        self._chaos.require(again <= 2, f"{again} took more than one attempt")


def _calls(chaos: Chaos) -> int:
    return sum(call["app_id"] in APPS for call in chaos.sandbox.calls(1_000_000))


@scenario(
    "two accounts, a job every few seconds, the API away for one; SIGKILL of workers", short=False
)
def accounts(chaos: Chaos) -> None:
    """The other account does not wait, and the one is called as rarely as a probe."""
    times = chaos.size(10, 20)
    eu = {"key": DEFAULT_NEW_KEY, "secret": DEFAULT_NEW_SECRET}
    chaos.start(COMETCHAT_ACCOUNTS=json.dumps({OTHER: eu}))
    chaos.sandbox.settings(accepted_keys=["old", "new"])
    workers: list[Part] = [chaos.worker(), chaos.worker()]
    # The gate closes at the eighth job that fails.
    pair = Pair(chaos, chaos.size(1, 20) / 10)
    pair.enqueue(times)
    chaos.sandbox.faults(*({"kind": "status", "status": 503, "app_id": app} for app in APPS))
    pair.enqueue(times)
    chaos.wait_for(lambda: closed(OTHER) == "unavailable", 30, "the gate closes")
    before, began = _calls(chaos), time.monotonic()
    for number in range(chaos.size(1, 4)):
        chaos.kill(workers[number % 2])
        workers[number % 2] = chaos.worker()
        pair.enqueue(times)
    calls, most = _calls(chaos) - before, 3 + (time.monotonic() - began) / PROBE_SECONDS
    chaos.require(calls <= most, f"{calls} calls of an API that is away, at most {most:.0f}")
    chaos.require(not closed(DEFAULT), "the gate of the other account closed, too")
    chaos.sandbox.faults()
    chaos.mark()
    chaos.wait_for(lambda: not closed(OTHER), 30, "the gate opens")
    pair.enqueue(times)
    chaos.drain()
    pair.judge()
