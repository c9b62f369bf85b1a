"""Producers that are killed while they enqueue."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from config.settings import get_settings
from tasks import Webhook
from tasks.jobs import PREFIX
from tests.chaos.doomed import (
    CONNECTING,
    NAMES,
    STAGES,
    Acknowledged,
    Doomed,
    Play,
    Stop,
    kill_somewhere,
)
from tests.chaos.harness import Chaos
from tests.chaos.producer import by_key
from tests.chaos.registry import scenario
from tests.chaos.whole import NewJobs, clients_of
from tests.conftest import eventually

#: Redis's file synced as production has it, and at once.
MEMORY: dict[str, str] = {}
FSYNC = {"ENQUEUE_DURABILITY": "fsync", "REDIS_APPENDFSYNC": "always"}
EVERYSEC, ALWAYS = "everysec", "always"

#: Where they are killed, in turn: before or behind each stage, and every second one anywhere.
PLACES = tuple(
    place for behind in (False, True) for stage in STAGES[1:] for place in ((stage, behind), None)
)

#: Every so many webhooks, one has a password.
PASSWORD_EACH = 3
SECRET = {"username": "chat", "password": "Hunter2Hunter2"}


@dataclass(frozen=True)
class Kind:
    """A way to enqueue: so many, so many in a call; killed so often in the two forms."""

    name: str
    count: int
    together: int
    short: int
    long: int
    env: dict[str, str]
    synced: str = EVERYSEC
    drips: bool = False


KINDS = (
    Kind("one by one", 10, 1, 4, 62, MEMORY),
    Kind("in bulk", 40, 20, 6, 92, MEMORY),
    Kind("in one call of two steps, dripping", 260, 260, 0, 10, MEMORY, drips=True),
    Kind("one by one, fsync", 10, 1, 0, 20, FSYNC, ALWAYS),
    Kind("in bulk, fsync", 40, 20, 2, 16, FSYNC, ALWAYS),
)


def halved(kind: Kind) -> Kind:
    """The same with half of the webhooks, for the short form."""
    return replace(kind, count=kind.count // 2, together=max(1, kind.together // 2))


#: Lines of a file that is imported.
SHORT_LINES, LINES = 300, 500


class Producers:
    """All that are killed in one run, and what Redis has of their jobs."""

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self.client = redis.Redis.from_url(chaos.redis.url, decode_responses=True)
        self.env = {**chaos.stack.env, "REDIS_URL": chaos.redis.url_for("producer")}
        self.jobs = NewJobs(self.client)
        self.hit: Counter[str] = Counter()
        self._started = 0
        self._places = itertools.cycle(PLACES)
        # The process that producers are forked from starts now; it takes a second.
        chaos.require(self.start(Play((), 1, self.env)).finish(), "no producer starts")

    def items(self, count: int) -> list[tuple[str, Webhook]]:
        """New webhooks, some with a password; from now on they may be there."""
        items = [
            (app_id, webhook if number % PASSWORD_EACH else Webhook.parse(webhook.wire() | SECRET))
            for number, (app_id, webhook) in enumerate(self.chaos.producer.new_items(count))
        ]
        asked = by_key(items)
        self.chaos.ledger.asked.update(asked)
        self.chaos.ledger.unsure.update(asked)
        return items

    def start(self, play: Play) -> Doomed:
        """Start a producer."""
        self._started += 1
        return Doomed(play, self.chaos.stack.folder, f"producer-{self._started}")

    def accept(self, items: Sequence[tuple[str, Webhook]], numbers: set[int]) -> None:
        """Note which of these a producer knows to be accepted."""
        keys = {(items[number][0], items[number][1].id) for number in numbers}
        self.chaos.ledger.accepted |= keys
        self.chaos.ledger.unsure -= keys

    def look(self, items: Sequence[tuple[str, Webhook]], said: Acknowledged, when: str) -> int:
        """How many of these have a job; what was acknowledged must, and all must be whole."""
        require = self.chaos.require
        there, wrong = self.jobs.look(items)
        require(said.numbers <= there, f"{when}: acknowledged and not there")
        require(not wrong, f"{when}: {wrong[:1]}")
        self.accept(items, said.numbers)
        return len(there)

    def rehearse(self, kind: Kind) -> float:
        """Let a producer of this kind come to its end; the seconds that it takes."""
        items = self.items(kind.count)
        began = time.monotonic()
        doomed = self.start(Play(items, kind.together, self._env(kind), kind.drips))
        self.chaos.require(doomed.finish(), f"{kind.name}: failed without being killed")
        took = time.monotonic() - began
        if not self.jobs.fields:
            self.jobs.learn(*items[0])
        self.jobs.count += self.look(items, doomed.acknowledged(), kind.name)
        return took

    def kill(self, kind: Kind, longest: float) -> bool:
        """Kill a producer and let the same run again to its end; whether it was hit alive."""
        require, chance = self.chaos.require, self.chaos.random
        items = self.items(kind.count)
        before = clients_of(self.client)
        calls = kind.count // kind.together
        play = Play(items, kind.together, self._env(kind), kind.drips)
        doomed = self.start(replace(play, stop=self._next_stop(calls)))
        hit = kill_somewhere(doomed, chance, longest, calls)
        eventually(lambda: clients_of(self.client) <= before)
        said = doomed.acknowledged()
        there = self.look(items, said, f"{kind.name}, killed {hit}")
        self.jobs.count += there
        require(self.jobs.add_up(), f"{kind.name}, killed {hit}: the sets do not add up")
        again = self.start(play)
        require(again.finish(), f"{kind.name}: failed after a kill")
        rest = again.acknowledged()
        require(len(rest.numbers) == kind.count, f"{kind.name}: not completed")
        if kind.together > 1:
            require(said.new == len(said.numbers), f"{kind.name}: new ones not said to be new")
            require(rest.new == kind.count - there, f"{kind.name}: {rest.new} new, {there} there")
        self.jobs.count += self.look(items, rest, f"{kind.name}, again") - there
        require(self.jobs.add_up(), f"{kind.name}, again: the sets do not add up")
        if hit is not None:
            self.hit[hit] += 1
        return hit is not None

    def kill_import(self, path: Path, *, aimed: bool) -> None:
        """Kill an import at any instant, or while its jobs come in; then import the file again."""
        require = self.chaos.require
        count = self.chaos.size(SHORT_LINES, LINES)
        items = self.items(count)
        lines = (
            {"app_id": app_id, **webhook.wire(), **_secret(webhook)} for app_id, webhook in items
        )
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        before, clients = self.jobs.count, clients_of(self.client)
        command = "-m", "tasks", "import", "--json", str(path)
        doomed = self.chaos.stack.run(f"{path.stem}-killed", *command)
        if aimed:
            until = before + self.chaos.random.randint(1, count)
            while self._indexed() < until and doomed.process.poll() is None:
                pass  # an import is over in no time
        else:
            time.sleep(self.chaos.random.uniform(0, 2))
        doomed.kill()
        eventually(lambda: clients_of(self.client) <= clients)
        there = self.look(items, Acknowledged(), "import, killed")
        again = self.chaos.stack.run(path.stem, *command)
        again.process.wait(60)
        counted = json.loads(again.output().splitlines()[-1])
        said = counted["new"], counted["existing"], counted["bad_count"]
        require(said == (count - there, there, 0), f"import: {said}, {there} were there")
        self.jobs.count += self.look(items, Acknowledged(set(range(count))), "import, again")
        require(self.jobs.add_up(), "import, again: the sets do not add up")
        self.hit["importing" if 0 < there < count else "before or after importing"] += 1

    def _next_stop(self, calls: int) -> Stop | None:
        """Where the next one is killed; nothing for any instant."""
        if (place := next(self._places)) is None:
            return None
        stage, behind = place
        times = 1 if stage == CONNECTING else self.chaos.random.randint(1, calls)
        return Stop(stage, times, behind)

    def _env(self, kind: Kind) -> dict[str, str]:
        return {**self.env, **kind.env}

    def _indexed(self) -> int:
        return int(self.client.zcard(f"{PREFIX}index"))


def _secret(webhook: Webhook) -> dict[str, str]:
    return {"password": webhook.password.get_secret_value()} if webhook.password else {}


@scenario("producers killed while they enqueue one by one, in bulk and from a file")
def producer_killed(chaos: Chaos) -> None:
    """What they had acknowledged exists, nothing is half-written, again completes the rest."""
    chaos.start()
    producers = Producers(chaos)
    for kind in KINDS if chaos.long else map(halved, KINDS):
        chaos.say(kind.name)
        wanted = chaos.size(kind.short, kind.long)
        if not wanted:
            continue
        producers.client.config_set("appendfsync", kind.synced)
        longest = producers.rehearse(kind)
        kills = 0
        while kills < wanted:
            kills += producers.kill(kind, longest)
    total = producers.hit.total()
    for name in NAMES[1:]:
        hits = producers.hit[name] >= max(1, total // 20)
        chaos.require(hits, f"hardly any were killed {name}")
    for number in range(chaos.size(1, 8)):
        producers.kill_import(chaos.stack.folder / f"import-{number}.jsonl", aimed=number % 4 < 3)
    wrong = producers.jobs.whole_keyspace()
    chaos.require(not wrong, f"{wrong}")
    told = ", ".join(f"{count} {name}" for name, count in producers.hit.most_common())
    chaos.report.notes.append(f"{total} kills: {told}")
    chaos.mark()
    chaos.worker(PIPE_SIZE=str(get_settings().pipe_size))
    chaos.drain(300)
    repeated = [record for record in chaos.records().values() if record.attempt != 1]
    chaos.require(not repeated, f"{len(repeated)} jobs took more attempts, such as {repeated[:1]}")
    chaos.require(not chaos.ledger.unsure, "some were never completed")
