"""What must be so once everything has come to rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.chaos import keyspace
from tests.interleaving.judge import Key, Note

if TYPE_CHECKING:
    from tests.interleaving.world import World

#: Words for a job that changed nothing.
NOTHING = frozenset({"none", "unchanged", "absent"})
#: Of a chain, a gate and an order something may be left; of jobs nothing.
SETS = ("waiting", "published", "running", "expiring", "untold")

#: Gates stay; a failed job may have a result, the webhook that is there all the same.
ALLOWED = ("a key gate:", "a result without success")


def verdict(world: World, *, pipe_size: int, result_ttl: int) -> Iterator[str]:
    """What is broken, in words."""
    world.judge.look()
    yield from _unfinished(world)
    yield from _left(world, pipe_size, result_ttl)
    for _, note in world.judge.notes():
        yield from _told(world, note)
    for key, line in world.judge.lines.items():
        if key not in world.judge.tainted:
            yield from _as_asked(world, key, line)
    for since, account in world.judge.alarms:
        if not any(name == account and at >= since for at, name in world.judge.heard):
            yield f"nobody heard that the credentials of account {account} are refused"


def _unfinished(world: World) -> Iterator[str]:
    for _, note in world.judge.notes():
        if note.ended is None:
            state = world.redis.hget(f"webhooks:job:{note.job}", "state")
            yield f"{world.label(note.job)} has not ended: {state or 'it is gone'}"


def _left(world: World, pipe_size: int, result_ttl: int) -> Iterator[str]:
    for name in SETS:
        if ids := world.redis.zrange(f"webhooks:{name}", 0, -1):
            yield f"left in {name}: {world.labels(ids)}"
    found = replace(keyspace.read(world.redis), now=world.clock.now)
    for words in keyspace.broken_promises(found, pipe_size=pipe_size, result_ttl=result_ttl):
        if not words.startswith(ALLOWED):
            yield words


def _told(world: World, note: Note) -> Iterator[str]:
    """A job that changed something does not say that it did nothing."""
    effects = world.judge.effects_of(note)
    if note.ended is None or not effects or note.ended.effect not in NOTHING:
        return
    did = ", ".join(one.operation for one in effects)
    words = f"{world.label(note.job)} ({note.ended.state}) says effect {note.ended.effect!r}"
    yield f"{words}, and its calls did {did}"


def _as_asked(world: World, key: Key, line: list[Note]) -> Iterator[str]:
    """The webhook is as the last jobs that succeeded asked."""
    webhook = world.api.webhook(*key)
    done = [one for one in line if not one.never_ran]
    if (last := _last(done, lambda note: True)) is None:
        return
    is_there, label = last.action != "delete", world.label(last.job)
    if is_there != (webhook is not None):
        yield f"{label} succeeded last, and the webhook is {'there' if webhook else 'not there'}"
    if webhook is None or not is_there:
        return
    told = _last(done, lambda note: note.action == "delete" or _sets(note, "enabled"))
    if told is not None and _sets(told, "enabled"):
        want = told.asked.get("enabled", True)
        if webhook.fields["enabled"] != want:
            yield f"{world.label(told.job)} asked for enabled={want}, and it is not"
    told = _last(done, lambda note: note.action != "update")
    if (
        told is not None
        and told.action == "set_triggers"
        and set(webhook.triggers) != set(told.triggers)
    ):
        yield f"{world.label(told.job)} asked for {told.triggers}, it has {webhook.triggers}"


def _sets(note: Note, name: str) -> bool:
    if note.action == "create":
        return any(one.operation == "create" for one in note.effects)
    return note.action == "update" and name in note.asked


def _last(line: list[Note], concerns: Any) -> Note | None:
    """The last job that had to do with it; none if one failed that may have had an effect."""
    for note in reversed(line):
        if not concerns(note):
            continue
        if note.ended is not None and note.ended.state == "SUCCESS":
            return note
        if note.effects or note.ended is None or note.ended.effect != "none":
            return None
    return None
