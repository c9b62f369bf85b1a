"""Enqueue after commit: the shop's row first, then the job of its webhook.

python -m docs.examples.after_commit shop.db sign-up my-app https://shop.example.com/hook
python -m docs.examples.after_commit shop.db sweep
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

from tasks import (
    StoreUnavailable,
    Webhook,
    WebhookJobError,
    check_app_id,
    enqueue_webhook,
    enqueue_webhooks,
)

#: The sweep looks at shops as young as this: longer than it may ever be off, and shorter than
#: RESULT_TTL (7 days), for which a job that has ended is remembered.
SWEEP = "-2 days"


def connect(path: str) -> sqlite3.Connection:
    """Open the database of the shops."""
    db = sqlite3.connect(path, timeout=30)
    db.execute(
        "CREATE TABLE IF NOT EXISTS shops (app_id TEXT PRIMARY KEY, url TEXT NOT NULL,"
        " signed_up_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    return db


def webhook_of(url: str) -> dict[str, str]:
    """The webhook that each shop gets."""
    return {"id": "orders", "name": "Orders", "webhookURL": url}


def sign_up(db: sqlite3.Connection, app_id: str, url: str) -> None:
    """Keep a shop, and see to its webhook. Raises `InvalidInput` before anything is written."""
    check_app_id(app_id)
    webhook = Webhook.parse(webhook_of(url))
    with db:  # one transaction
        db.execute("INSERT INTO shops (app_id, url) VALUES (?, ?)", (app_id, url))
    # A process that dies here leaves a shop without a job, until the next sweep.
    try:
        enqueue_webhook(app_id, webhook)
    except StoreUnavailable as error:
        print(f"{app_id}: left to the sweep: {error}", file=sys.stderr)


def sweep(db: sqlite3.Connection) -> int:
    """Enqueue the webhooks of all young shops; those that have a job keep it as it is.

    Returns how many had none. Raises `StoreUnavailable`; the next sweep does the rest.
    """
    shops = db.execute(
        "SELECT app_id, url FROM shops WHERE signed_up_at > datetime('now', ?)", (SWEEP,)
    ).fetchall()
    outcomes = enqueue_webhooks((app_id, webhook_of(url)) for app_id, url in shops)
    for (app_id, _), outcome in zip(shops, outcomes, strict=True):
        if isinstance(outcome.error, StoreUnavailable):
            raise outcome.error
        if outcome.error is not None:
            print(f"{app_id}: {outcome.error}", file=sys.stderr)
    return sum(outcome.is_new for outcome in outcomes)


if __name__ == "__main__":
    path, command, *arguments = sys.argv[1:]
    with closing(connect(path)) as database:
        try:
            if command == "sign-up":
                sign_up(database, *arguments)
            else:
                print(f"{sweep(database)} jobs were missing")
        except WebhookJobError as error:
            sys.exit(str(error))
