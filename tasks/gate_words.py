"""How a gate looks to a person, and to a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tasks.gate import Closed, GateState

#: Why a gate is closed, and what opens it.
REASONS: Final[Mapping[Closed, str]] = {
    "paused": "paused by a person",
    "rejected": "CometChat refuses the credentials, the address or the subscription",
    "unavailable": "the API is away",
    "limited": "the API told to wait",
}
_ADVICE: Final[Mapping[Closed, str]] = {
    "rejected": (
        "check COMETCHAT_KEY, COMETCHAT_SECRET, COMETCHAT_BASE_URL and the subscription; "
        "`gate resume` tries at once"
    ),
    "paused": "`gate resume` opens it",
}


def describe(states: Sequence[GateState], counts: Mapping[str, int]) -> str:
    """For each gate a line for the rate and one for what has closed it; then who waits in all."""
    waiting = counts["waiting"] + counts["published"]
    jobs = f"Jobs: {waiting} wait, {counts['running']} run, {counts['failed']} failed"
    return "\n".join([line for state in states for line in _lines(state)] + [jobs])


def _lines(state: GateState) -> list[str]:
    limit = "no limit known" if state.allowed is None else f"{state.allowed:.1f} calls a second"
    lines = [f"Account {state.account}: {limit}, {state.used:.0f} answered in the last second"]
    if state.closed:
        since = "" if state.since is None else f" since {_local(state.since)}"
        whom = f" for app {state.only_app} alone" if state.only_app else ""
        lines.append(f"Closed{whom}{since}: {_reason(state)}{_next(state)}")
        if state.closed in _ADVICE:
            lines.append(f"What to do: {_ADVICE[state.closed]}")
    else:
        lines.append("Open")
    last = {"success": state.instant("ok_at"), "429": state.instant("learnt_at")}
    if any(last.values()):
        told = ", ".join(f"{what} {_local(at)}" for what, at in last.items() if at)
        lines.append(f"Last answers: {told}")
    if any(state.waiting.values()):
        due = ", ".join(f"{count} {priority}" for priority, count in state.waiting.items())
        lines.append(f"Due, and waiting for their turn: {due}")
    return lines


def values(states: Sequence[GateState], counts: Mapping[str, int]) -> dict[str, Any]:
    """The same for a program; instants are unix seconds, rates calls a second."""
    return {"accounts": [_values(state) for state in states], "jobs": dict(counts)}


def _values(state: GateState) -> dict[str, Any]:
    return {
        "account": state.account,
        "allowed": None if state.allowed is None else round(state.allowed, 3),
        "used": state.used,
        "closed": state.closed or None,
        "only_app": state.only_app,
        "since": state.since,
        "reason": state.fields.get("paused_why") if state.closed == "paused" else None,
        "next_look": _next_look(state),
        "last_success": state.instant("ok_at"),
        "last_429": state.instant("learnt_at"),
        "waiting": dict(state.waiting),
    }


def _reason(state: GateState) -> str:
    why = state.fields.get("paused_why") if state.closed == "paused" else None
    return REASONS[state.closed] + (f" ({why})" if why else "")


def _next(state: GateState) -> str:
    if (instant := _next_look(state)) is None:
        return ", until it is resumed"
    if state.closed in ("rejected", "unavailable"):
        return f"; next probe in {state.again_in:.0f} s"
    return f", until {_local(instant)}"


def _next_look(state: GateState) -> float | None:
    if not state.closed or state.again_in == float("inf"):
        return None
    return state.now + state.again_in


def _local(instant: float) -> str:
    return datetime.fromtimestamp(instant).astimezone().isoformat(timespec="seconds")
