"""What `make model` checks, and what must come of it: a table, read from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.verifier import SAFETY

CASES = {
    1: "create, then delete",
    2: "set_triggers, twice",
    3: "update, twice",
    4: "delete, then create",
}

#: Twice as much trouble as the model has by itself.
MORE = ("FREEZES=2", "TROUBLES=2")

#: No trouble but what a run needs that must be found; it is short then, and found in seconds.
CALM = ("DEATHS=0", "MESSAGES=0")
CALMER = (*CALM, "TROUBLES=0")


class Check(NamedTuple):
    """A setting of the model, and whether its claims hold.

    Args:
        group: the heading that it belongs to.
        what: what is checked, for the table.
        flags: as `verify` takes them.
        holds: whether no run may break a claim; else one must be found.
    """

    group: str
    what: str
    flags: tuple[str, ...]
    holds: bool = True


def checks() -> Iterator[Check]:
    """All of them."""
    yield from _protocol()
    yield from _window()
    yield from _fail_over()
    yield from _twins()
    yield from _planted()


def _protocol() -> Iterator[Check]:
    group = "The protocol, with no freeze in the window"
    for case, jobs in CASES.items():
        yield Check(group, f"{jobs}: all safety claims", (f"CASE={case}", *MORE, *SAFETY))
        yield Check(group, f"{jobs}: every accepted job ends", (f"CASE={case}", "P_ENDS"))


def _window() -> Iterator[Check]:
    group = "One freeze in the window: what still holds, and what can go wrong"
    for case, jobs in CASES.items():
        flags = f"CASE={case}", "WINDOWS=1"
        what = f"{jobs}: all but that call and its trace"
        yield Check(group, what, (*flags, "EXCUSED", *SAFETY))
        ends = *flags, "TROUBLES=0", "MESSAGES=0", "P_ENDS"
        yield Check(group, f"{jobs}: every accepted job ends", ends)
        calm = *flags, *CALMER
        yield Check(group, f"{jobs}: an effect comes too late", (*calm, "P_ORDER"), False)
        yield Check(group, f"{jobs}: the webhook is not as asked", (*calm, "P_RESULT"), False)
        what = f"{jobs}: it is created a second time"
        if case in (1, 4):
            yield Check(group, what, (*calm, "P_TWICE"), False)


def _fail_over() -> Iterator[Check]:
    group = "A fail-over that loses the last write (durability memory)"
    for case, jobs in CASES.items():
        flags = f"CASE={case}", "FAILOVERS=1", "SURE_CLAIM"
        yield Check(group, f"{jobs}: any write but a claim", (*flags, *SAFETY))
    ends = ("CASE=1", "FAILOVERS=1", "TROUBLES=0", "MESSAGES=0", "P_ENDS")
    yield Check(group, "any write, also a claim: every kept job ends", ends)
    for claim, what in (
        ("P_STALE", "a fresh claim that Redis has lost is not asked about"),
        ("P_ORDER", "an effect comes too late"),
        ("P_TWICE", "it is created a second time"),
        ("P_RESULT", "the webhook is not as asked"),
    ):
        yield Check(group, f"a claim: {what}", ("CASE=1", "FAILOVERS=1", *CALM, claim), False)
    slow = "CASE=1", "FAILOVERS=1", "SLOW_FAILOVER", *CALM
    yield Check(group, "a claim, no claim fresh behind it: stale calls", (*slow, "P_STALE"))
    what = "a claim, no claim fresh behind it: an effect comes too late"
    yield Check(group, what, (*slow, "P_ORDER"), False)


def _twins() -> Iterator[Check]:
    group = "An API that makes a second webhook of the same id"
    for case in (1, 4):
        flags = f"CASE={case}", "TWINS"
        what = f"{CASES[case]}: calls first, then waits and reads back"
        yield Check(group, what, (*flags, *CALM, "P_TWICE"), False)
        what = f"{CASES[case]}: waits first, then reads back and calls"
        yield Check(group, what, (*flags, "WAIT_FIRST", *SAFETY))


def _planted() -> Iterator[Check]:
    group = "Faults planted in the protocol, each of which must be found"
    for what, flags in (
        ("no fence before the second call", ("FAULT_SECOND_CALL", "CASE=2", *CALMER, "P_RESULT")),
        (
            "the gate is waited for behind the fence",
            ("FAULT_GATE_LATER", "CASE=3", *CALMER, "P_RESULT"),
        ),
        ("a clock that stands still in sleep", ("FAULT_CLOCK", "CASE=1", *CALMER, "P_RESULT")),
        ("a take-over that does not read back", ("FAULT_NO_READ_BACK", "CASE=1", *CALM, "P_TWICE")),
        ("a take-over that does not wait for it", ("FAULT_NO_WAIT", "CASE=3", *CALM, "P_RESULT")),
        ("the second job starts early", ("FAULT_CHAIN", "CASE=4", *CALMER, "P_ORDER")),
        ("a stale report is obeyed", ("FAULT_STALE_REPORT", "CASE=2", *CALMER, "P_ORDER")),
    ):
        yield Check(group, what, flags, False)


#: For `make test`: a case with little trouble, and one planted fault.
QUICK = (
    Check("", "set_triggers, twice", ("CASE=2", "DEATHS=0", "MESSAGES=0", *SAFETY)),
    Check(
        "",
        "no fence before the second call",
        ("CASE=2", "FAULT_SECOND_CALL", *CALMER, *SAFETY),
        False,
    ),
)
