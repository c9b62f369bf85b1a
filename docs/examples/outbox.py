"""The outbox: the webhook's row is written in the shop's own transaction, and moved later.

python -m docs.examples.outbox shop.db sign-up my-app https://shop.example.com/hook
python -m docs.examples.outbox shop.db move
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tasks import InvalidInput, JobConflict, RecordUnreadable, Webhook, enqueue_webhooks

TABLES = """
CREATE TABLE IF NOT EXISTS shops (app_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS webhook_outbox (
    id      INTEGER PRIMARY KEY,
    app_id  TEXT NOT NULL,
    webhook TEXT NOT NULL CHECK (json_valid(webhook)),  -- without its password
    error   TEXT                                        -- why it is not moved, for a person
);
"""


def connect(path: str) -> sqlite3.Connection:
    """Open the database of the shops."""
    db = sqlite3.connect(path, timeout=30)
    db.executescript(TABLES)
    return db


def sign_up(db: sqlite3.Connection, app_id: str, webhook: Webhook) -> None:
    """Keep a shop and the wish for its webhook: both or neither."""
    with db:  # one transaction
        db.execute("INSERT INTO shops (app_id) VALUES (?)", (app_id,))
        db.execute(
            "INSERT INTO webhook_outbox (app_id, webhook) VALUES (?, ?)",
            (app_id, json.dumps(webhook.as_json())),  # the password is not in it
        )


def move(db: sqlite3.Connection, password_of: Callable[[str], str | None], most: int = 500) -> int:
    """Make jobs of the oldest rows. Returns how many rows it dealt with; 0 once none is left.

    A row that cannot become a job is marked with the reason and is in nobody's way.
    Raises `StoreUnavailable`, of which `NotConfirmed` is one, or `SealingUnavailable`; the rows
    that it is about stay.
    """
    rows = db.execute(
        "SELECT id, app_id, webhook FROM webhook_outbox WHERE error IS NULL ORDER BY id LIMIT ?",
        (most,),
    ).fetchall()
    items = []
    for _, app_id, text in rows:
        webhook = json.loads(text)
        if webhook.get("useBasicAuth"):
            webhook["password"] = password_of(app_id)
        items.append((app_id, webhook))
    outcomes = enqueue_webhooks(items)
    # A process that dies here moves the same rows again: the same webhooks are the same jobs.
    trouble = None
    with db:
        for (row, *_), outcome in zip(rows, outcomes, strict=True):
            if outcome.error is None:
                db.execute("DELETE FROM webhook_outbox WHERE id = ?", (row,))
            elif isinstance(outcome.error, InvalidInput | JobConflict | RecordUnreadable):
                reason = str(outcome.error)
                db.execute("UPDATE webhook_outbox SET error = ? WHERE id = ?", (reason, row))
            else:
                trouble = outcome.error
    if trouble is not None:
        raise trouble
    return len(rows)


def password_from_file(app_id: str) -> str | None:
    """The secret store of this example: a file for each app, as containers mount secrets."""
    file = Path(os.environ.get("WEBHOOK_SECRETS", "/run/secrets"), app_id)
    return file.read_text().strip() if file.is_file() else None


if __name__ == "__main__":
    path, command, *arguments = sys.argv[1:]
    with closing(connect(path)) as database:
        if command == "sign-up":
            app, url = arguments
            sign_up(database, app, Webhook(id="orders", name="Orders", webhook_url=url))
        else:
            while rows_moved := move(database, password_from_file):
                print(f"{rows_moved} rows")
