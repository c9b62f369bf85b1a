"""All that the store holds in Redis, read in one go; and its clock, set forward.

Redis's clock counts and cannot be set. All stored times set back by an hour are the same thing
as an hour that went by.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from tasks.jobs import PREFIX
from tasks.states import ENDED, NONE, PLACES, UNFINISHED

#: The sorted sets that say where a job is, and the other two.
WHERE = ("waiting", "published", "running", "failed")
SETS = (*WHERE, "index", "untold")
#: The fields that hold instants.
TIMES = ("created_at", "due_at", "first_attempt_at", "started_at", "ended_at")
#: And those of chains and of failures that are told.
OTHER_TIMES = ("kept_until", "alerting")
HISTORY_LIMIT = 20

_DUMP = """
local found = {sets = {}, records = {}, expires = {}, chains = {}, sealed = {}, others = {}}
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. '*')) do
  local kind, name = redis.call('TYPE', key).ok, string.sub(key, #KEYS[1] + 1)
  if string.find(name, '^ready:') or name == 'order' or name == 'wake' then
    -- derived, and of no job's state
  elseif kind == 'hash' and string.sub(name, 1, 4) == 'job:' then
    local id = string.sub(name, 5)
    found.records[id] = redis.call('HGETALL', key)
    found.expires[id] = redis.call('PEXPIRETIME', key)
  elseif kind == 'hash' and string.find(name, '^chain:') then
    local names = redis.call('HMGET', key, 'latest', 'create')
    found.chains[string.sub(name, 7)] = {names[1] or '', names[2] or '', redis.call('PTTL', key)}
  elseif kind == 'string' and string.find(name, '^sealed:') then
    found.sealed[string.sub(name, 8)] = redis.call('GET', key)
  elseif kind == 'zset' then
    found.sets[name] = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else
    found.others[#found.others + 1] = name
  end
end
local time = redis.call('TIME')
found.now = time[1] .. '.' .. string.format('%06d', time[2])
return cjson.encode(found)
"""

_FORWARD = """
local seconds = tonumber(ARGV[1])
local function earlier(instant) return string.format('%.3f', tonumber(instant) - seconds) end
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. '*')) do
  local name = string.sub(key, #KEYS[1] + 1)
  if string.find(name, '^ready:') or name == 'order' then
    redis.call('DEL', key) -- in which no instants are, but which follow from them
  elseif redis.call('TYPE', key).ok == 'string' or name == 'wake' then
    -- a password; what wakes a dispatcher
  elseif redis.call('TYPE', key).ok == 'zset' then
    local entries = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #entries, 2 do redis.call('ZADD', key, earlier(entries[i + 1]), entries[i]) end
  else
    for i = 2, #ARGV do
      local instant = redis.call('HGET', key, ARGV[i])
      if instant then redis.call('HSET', key, ARGV[i], earlier(instant)) end
    end
    local left = redis.call('PTTL', key)
    if left >= 0 then redis.call('PEXPIRE', key, left - seconds * 1000) end
  end
end
"""


@dataclass(frozen=True)
class Keyspace:
    """Every key of the store at one instant of Redis's clock.

    A job is a mapping of the fields of its record, the score for each set that it is in (by the
    set's name), `expires` if its record does, and the `sealed` password. One of which only entries
    of sets are left has no `state`.
    """

    now: float
    jobs: Mapping[str, Mapping[str, Any]]
    #: By the id of the webhook's create job: the latest of its jobs, the latest that creates, and
    #: seconds left, if it ends.
    chains: Mapping[str, tuple[str, str, float | None]]
    others: tuple[str, ...]

    def state(self, job: str) -> str:
        """The state of a job, NONE if it has no record."""
        return str(self.jobs.get(job, {}).get("state", NONE))


def read(client: redis.Redis) -> Keyspace:
    """All that the store holds."""
    found = json.loads(client.eval(_DUMP, 1, PREFIX))
    jobs: dict[str, dict[str, Any]] = {}
    for job, flat in dict(found["records"]).items():
        fields: dict[str, Any] = dict(zip(flat[::2], flat[1::2], strict=True))
        for name in (*TIMES, *OTHER_TIMES):
            if name in fields:
                fields[name] = float(fields[name])
        if "history" in fields:
            fields["history"] = tuple(map(json.loads, fields["history"].split("\n")))
        if found["expires"][job] >= 0:
            fields["expires"] = found["expires"][job] / 1000
        jobs[job] = fields
    for name, flat in dict(found["sets"]).items():
        for job, score in zip(flat[::2], flat[1::2], strict=True):
            jobs.setdefault(job, {})[name] = float(score)
    for job, password in dict(found["sealed"]).items():
        jobs.setdefault(job, {})["sealed"] = password
    chains = {
        first: (latest, create, left / 1000 if left >= 0 else None)
        for first, (latest, create, left) in dict(found["chains"]).items()
    }
    return Keyspace(float(found["now"]), jobs, chains, tuple(found["others"]))


def forward(client: redis.Redis, seconds: int) -> None:
    """Let so many seconds go by for all that is stored."""
    client.eval(_FORWARD, 1, PREFIX, seconds, *TIMES, *OTHER_TIMES)


def broken_promises(keyspace: Keyspace, *, pipe_size: int, result_ttl: int) -> list[str]:
    """What can be seen in Redis alone that must not be, in words."""
    wrong = [f"a key {name} that nobody knows" for name in keyspace.others]
    for job, held in keyspace.jobs.items():
        wrong += [f"{words}: {job} {dict(held)}" for words in _wrong(held, keyspace, result_ttl)]
    wrong += _wrong_chains(keyspace)
    published = sum("published" in held for held in keyspace.jobs.values())
    if published > pipe_size:
        wrong.append(f"{published} hints in a pipe for {pipe_size}")
    return wrong


def _wrong_chains(keyspace: Keyspace) -> list[str]:
    running = Counter(
        held.get("chain", job)
        for job, held in keyspace.jobs.items()
        if keyspace.state(job) == "STARTED"
    )
    wrong = [f"{number} jobs of {first} run" for first, number in running.items() if number > 1]
    for first, (latest, create, ends_in) in keyspace.chains.items():
        named = {job: keyspace.state(job) for job in (first, latest, create)}
        stays = {*UNFINISHED, "FAILURE"} & {*named.values()}
        if (ends_in is None) != bool(stays):
            wrong.append(f"the chain {first} ends in {ends_in} s, its jobs are {named}")
        for job, held in keyspace.jobs.items():
            left = held.get("expires", 0) - keyspace.now
            if held.get("chain", job) == first and ends_in is not None and ends_in < left - 0.01:
                wrong.append(f"the chain {first} ends in {ends_in} s, and {job} in {left} s")
    for job, held in keyspace.jobs.items():
        before = held.get("after", NONE)
        waits = keyspace.state(before) in UNFINISHED and keyspace.jobs[before].get("next") == job
        if keyspace.state(job) == "STARTED" and waits:
            wrong.append(f"{job} runs before {before} has ended")
    return wrong


def _wrong(held: Mapping[str, Any], keyspace: Keyspace, result_ttl: int) -> list[str]:
    state = held.get("state", NONE)
    places = {name for name in WHERE if name in held}
    if state == NONE:
        # Records expire by themselves; what pruning finds may be left.
        left = set(held) - {"index", "untold"}
        return [f"{sorted(left)} without a record"] if left else []
    if state not in PLACES:
        return ["an unknown state"]
    lifetime = held.get("expires", 0) - keyspace.now
    checks = {
        "in two places": len(places) > 1,
        "in no place": bool(PLACES[state]) and not places,
        "in a wrong place": bool(places - PLACES[state]),
        "not in the index": "index" not in held,
        "without a layout": held.get("v") != "1",
        "its password is lost or kept": ("sealed" in held)
        != ("mark" in held and state not in {"SUCCESS", "REVOKED"}),
        "a lease without an owner": state == "STARTED"
        and not all(held.get(name) for name in ("worker", "token", "started_at")),
        "due and running": (state in {"PENDING", "RETRY"}) != ("due_at" in held),
        "ended without a time": (state in ENDED) != ("ended_at" in held),
        "would expire": "expires" in held and state not in {"SUCCESS", "REVOKED"},
        "never expires": "expires" not in held and state in {"SUCCESS", "REVOKED"},
        "outlives its lifetime": lifetime > result_ttl + 0.01,
        "cancelled, and waits": held.get("cancelled") == "1" and state in {"PENDING", "RETRY"},
        "too long a history": len(held.get("history", ())) > HISTORY_LIMIT,
        "more attempts than claims": not 0 <= int(held["attempts"]) <= int(held["attempt"]),
        "a result without success": "result" in held and state in UNFINISHED | {"FAILURE"},
    }
    return [words for words, is_so in checks.items() if is_so]
