"""The job as a small machine: its states, where it is in each, and which step leads where.

`tests/integration/test_model.py` holds the Lua steps to these tables, each step in each state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: A job that does not exist: not enqueued yet, or forgotten.
NONE: Final = ""

#: The sorted sets of which a job of each state is in exactly one; none where there are none.
PLACES: Final[Mapping[str, frozenset[str]]] = {
    "PENDING": frozenset({"waiting", "published"}),
    "STARTED": frozenset({"running"}),
    "RETRY": frozenset({"waiting", "published"}),
    "SUCCESS": frozenset(),
    "FAILURE": frozenset({"failed"}),
    "REVOKED": frozenset(),
}

#: Celery's words, all of them and those for a job that has ended.
STATES: Final = frozenset(PLACES)
ENDED: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
UNFINISHED: Final = STATES - ENDED


def _table(rows: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    return {state: frozenset(after.split(" ")) for state, after in rows.items()}


#: For each step: from which state to which. In a state that its row lacks, it changes nothing.
#: Beside it is `recheck`, for a webhook that a stale attempt may have changed: its latest job that
#: succeeded goes from SUCCESS to RETRY; one that is under way does so once it would have succeeded.
STEPS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    # A producer asks for a webhook.
    "add": _table({NONE: "PENDING"}),
    # The way of an attempt. A stale one, whatever the state, changes nothing.
    "claim": _table({"PENDING": "STARTED", "RETRY": "STARTED"}),
    "renew": _table({"STARTED": "STARTED"}),
    "finish": _table({"STARTED": "SUCCESS FAILURE"}),
    "reschedule": _table({"STARTED": "RETRY REVOKED"}),
    # A dispatcher publishes what is due and gives up attempts whose lease is over, REVOKED if
    # they were cancelled meanwhile; a worker that stops gives back what it has.
    "take_due": _table({"PENDING": "PENDING", "RETRY": "RETRY", "STARTED": "RETRY REVOKED"}),
    "hand_back": _table({"PENDING": "PENDING", "RETRY": "RETRY", "STARTED": "RETRY REVOKED"}),
    # A person cancels; during a call that is only noted.
    "cancel": _table({"PENDING": "REVOKED", "RETRY": "REVOKED", "STARTED": "STARTED"}),
    # A person wants all attempts anew, behind later jobs of the webhook if need be; beat, one more.
    "retry fresh": _table({"FAILURE": "PENDING", "REVOKED": "PENDING"}),
    "retry last": _table({"FAILURE": "PENDING", "REVOKED": "PENDING"}),
    "retry once": _table({"FAILURE": "RETRY"}),
    # Telling what became of a job leaves it as it is.
    "take_untold": _table({state: state for state in STATES}),
    "alert": _table({state: state for state in STATES}),
    "told": _table({state: state for state in STATES}),
    # A record is deleted: by a person, or past FAILED_TTL; Redis itself lets the others expire.
    "forget": _table(dict.fromkeys(ENDED, NONE)),
    "prune": _table({"FAILURE": NONE}),
    "expire": _table({"SUCCESS": NONE, "REVOKED": NONE}),
}
