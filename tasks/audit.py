"""Who changed what: the audit stream, `audit` under the store's prefix.

An entry is written before its action, which does not begin if Redis refuses it; how the action
ended is a second entry that names the first in `of`. An action without one is going on, or was cut
off. Redis keeps some AUDIT_ENTRIES of both, the latest, and gives each its time (in its id).

Fields, each bounded: `action`, `user`, `host`, `via` ("command line", "Flower", "remote control")
and `on` (JSON: ids, a selection, a reason); or `of`, `outcome` ("done", "failed: <class>") and
`result` (JSON: counts, a state). Who writes them names what goes in: nothing that was typed gets
there by itself, as it may be a secret in a wrong place.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from tasks.redis import Connection

#: Entries that are kept, more or less: half as many actions, some megabytes.
AUDIT_ENTRIES: Final = 10_000
#: Characters of a field. What is longer is cut off, or if it is JSON replaced.
LONGEST: Final = 1_000
#: Entries read at once.
PAGE: Final = 500
#: Within this the same entry, sent again as its answer was lost, is known to be the same.
REPEATED_SECONDS: Final = 60.0

Via = Literal["command line", "Flower", "remote control"]


@dataclass(frozen=True, slots=True)
class Who:
    """Who asked for something: by what name, from which machine, on which way."""

    user: str
    host: str
    via: Via = "command line"


@dataclass(frozen=True, slots=True)
class Action:
    """An action as the stream tells of it. `outcome` is None if no end of it is known."""

    at: datetime
    who: Who
    action: str
    on: Mapping[str, Any]
    outcome: str | None
    result: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "at": self.at.isoformat(),
            "user": self.who.user,
            "host": self.who.host,
            "via": self.who.via,
            "action": self.action,
            "on": self.on,
            "outcome": self.outcome,
            "result": self.result,
        }


class Audit:
    """The stream, in Redis.

    Every method raises `StoreUnavailable` when Redis cannot be reached or refuses to write.
    """

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._run, self._redis, self._step = connection.run, connection.redis, connection.step
        self._key = f"{prefix}audit"

    def begin(
        self, action: str, who: Who, on: Mapping[str, Any], *, once: str = "", seconds: float = 0.0
    ) -> tuple[str, bool]:
        """Say what somebody is about to do; the entry's id, and whether it is new.

        Args:
            action: a word or two.
            who: asks for it.
            on: which jobs, or what else: values that JSON knows.
            once: a name of what several processes are asked for at once, for so many `seconds`:
                one of them makes the entry, before any of them acts.
        """
        fields = {
            "action": action,
            "user": who.user,
            "host": who.host,
            "via": who.via,
            "on": _json(on),
        }
        return self._note(fields, once, seconds)

    def end(self, entry: str, outcome: str, result: Mapping[str, Any]) -> None:
        """Say how the action of this entry ended."""
        self._note({"of": entry, "outcome": outcome, "result": _json(result)})

    def _note(
        self, fields: Mapping[str, str], once: str = "", seconds: float = 0.0
    ) -> tuple[str, bool]:
        flat = [_printable(text) for pair in fields.items() for text in pair]
        own = uuid.uuid4().hex
        name, kept = (once, seconds) if once else (f"audit:{own}", REPEATED_SECONDS)
        entry, is_own = self._step(
            "audit", most=AUDIT_ENTRIES, name=name, seconds=kept, asker=own, fields=flat
        )
        return str(entry), bool(is_own)

    def actions(self, *, since: datetime | None = None) -> Iterator[Action]:
        """What was done, the latest first; not before `since`."""
        ends: dict[str, dict[str, str]] = {}
        lowest = "-" if since is None else str(max(int(since.timestamp() * 1000), 0))
        highest = "+"
        while page := self._run(self._redis.xrevrange, self._key, highest, lowest, count=PAGE):
            for entry, fields in page:
                if "of" in fields:
                    ends[fields["of"]] = fields
                elif "action" in fields:
                    yield _action(entry, fields, ends.pop(entry, {}))
            highest = f"({page[-1][0]}"


def _action(entry: str, fields: Mapping[str, str], end: Mapping[str, str]) -> Action:
    via: Any = fields.get("via", "")
    return Action(
        at=datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC),
        who=Who(fields.get("user", ""), fields.get("host", ""), via),
        action=fields["action"],
        on=_read(fields.get("on")),
        outcome=end.get("outcome"),
        result=_read(end.get("result")),
    )


def _json(values: Mapping[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    text = json.dumps(given)
    return text if len(text) <= LONGEST else json.dumps({"too long": sorted(given)})


def _read(text: str | None) -> dict[str, Any]:
    """Somebody who writes to Redis may have written it."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:LONGEST])
