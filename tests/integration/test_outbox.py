"""What the examples of `docs/transactions.md` promise: nothing half-kept, nobody blocked."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from config.settings import get_settings
from docs.examples import after_commit, outbox
from tasks import (
    InvalidInput,
    NotConfirmed,
    SealingUnavailable,
    StoreUnavailable,
    Webhook,
    enqueue_webhook,
)
from tasks.jobs import JobStore
from tasks.sealing import get_sealer
from tests.chaos.outbox import PASSWORD, URL, Jobs, webhook
from tests.conftest import use_environment
from tests.sealed import KEYS, new_keys, opened


@pytest.fixture(name="db")
def db_fixture(tmp_path: Path, redis_server: str) -> Iterator[sqlite3.Connection]:
    """An outbox, beside an empty Redis."""
    with closing(outbox.connect(str(tmp_path / "shop.db"))) as db:
        yield db


@pytest.fixture(name="keys", autouse=True)
def keys_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, key in new_keys().items():
        monkeypatch.setenv(name, key)
    for cached in (get_settings, get_sealer):
        cached.cache_clear()
    yield
    for cached in (get_settings, get_sealer):
        cached.cache_clear()


def count(db: sqlite3.Connection, what: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


def move(db: sqlite3.Connection) -> int:
    return outbox.move(db, lambda _: PASSWORD)


# -- the outbox -----------------------------------------------------------------------------------


def test_shop_and_webhook_are_kept_both_or_neither(db: sqlite3.Connection) -> None:
    outbox.sign_up(db, "shop", webhook(1))
    db.execute(
        "CREATE TRIGGER full BEFORE INSERT ON webhook_outbox BEGIN SELECT raise(ABORT, 'full'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="full"):
        outbox.sign_up(db, "other", webhook(1))
    assert (count(db, "shops"), count(db, "webhook_outbox")) == (1, 1)


def test_the_password_is_never_in_the_database(
    db: sqlite3.Connection, tmp_path: Path, store: JobStore
) -> None:
    outbox.sign_up(db, "shop", webhook(0))
    assert not [path for path in tmp_path.iterdir() if PASSWORD.encode() in path.read_bytes()]
    assert outbox.move(db, {"shop": PASSWORD}.get) == 1
    [job] = store.walk()
    assert opened(job.id) == PASSWORD


def test_a_row_that_cannot_be_moved_is_marked_and_in_nobodys_way(
    db: sqlite3.Connection, store: JobStore
) -> None:
    enqueue_webhook("taken", Webhook(id="orders", name="Another", webhook_url=URL))
    outbox.sign_up(db, "taken", webhook(1))
    outbox.sign_up(db, "no-password", webhook(0))
    outbox.sign_up(db, "broken", webhook(1))
    db.execute("UPDATE webhook_outbox SET webhook = '{\"id\": 7}' WHERE app_id = 'broken'")
    db.commit()
    for number in range(3):
        outbox.sign_up(db, f"good-{number}", webhook(1))

    assert [outbox.move(db, lambda _: None, most=2) for _ in range(4)] == [2, 2, 2, 0]

    errors = dict(db.execute("SELECT app_id, error FROM webhook_outbox").fetchall())
    assert errors.keys() == {"taken", "no-password", "broken"}
    assert "enqueued before with another name" in errors["taken"]
    assert "no password" in errors["no-password"]
    assert "id: must be text" in errors["broken"]
    assert {job.app_id for job in store.walk()} == {"taken", "good-0", "good-1", "good-2"}
    # Corrected by a person, it is moved.
    text = json.dumps(webhook(1).wire())
    with db:
        db.execute(
            "UPDATE webhook_outbox SET error = NULL, webhook = ? WHERE app_id = 'broken'", (text,)
        )
    assert move(db) == 1
    assert "broken" in {job.app_id for job in store.walk()}


def test_without_sealing_keys_no_row_is_marked(
    db: sqlite3.Connection, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.sign_up(db, "secret", webhook(0))
    outbox.sign_up(db, "plain", webhook(1))
    for name in KEYS:
        monkeypatch.setenv(name, "")
    use_environment({"REDIS_URL": redis_server})
    with pytest.raises(SealingUnavailable):
        move(db)
    assert db.execute("SELECT app_id, error FROM webhook_outbox").fetchall() == [("secret", None)]


def test_without_redis_no_row_is_marked(db: sqlite3.Connection) -> None:
    use_environment({"REDIS_URL": "redis://127.0.0.1:1/0"})
    outbox.sign_up(db, "secret", webhook(0))
    outbox.sign_up(db, "plain", webhook(1))
    with pytest.raises(StoreUnavailable):
        move(db)
    assert count(db, "webhook_outbox WHERE error IS NULL") == 2


def test_what_is_not_confirmed_stays_and_is_the_same_job_later(
    db: sqlite3.Connection, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.sign_up(db, "plain", webhook(1))
    monkeypatch.setenv("ENQUEUE_DURABILITY", "replicas")  # there is none
    get_settings.cache_clear()
    with pytest.raises(NotConfirmed):
        move(db)
    assert count(db, "webhook_outbox WHERE error IS NULL") == 1
    monkeypatch.setenv("ENQUEUE_DURABILITY", "memory")
    get_settings.cache_clear()
    assert (move(db), move(db)) == (1, 0)
    assert [job.app_id for job in store.walk()] == ["plain"]


def test_two_movers_at_once_do_no_harm(
    db: sqlite3.Connection, tmp_path: Path, redis_server: str
) -> None:
    shops = {f"shop-{number}" for number in range(60)}
    for shop in shops:
        outbox.sign_up(db, shop, webhook(1))
    failures = []

    def move_all() -> None:
        try:
            with closing(outbox.connect(str(tmp_path / "shop.db"))) as own:
                while outbox.move(own, lambda _: None, most=7):
                    pass
        except Exception as error:  # noqa: BLE001  told by the test
            failures.append(error)

    movers = [threading.Thread(target=move_all) for _ in range(2)]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(30)
    assert failures == []
    assert count(db, "webhook_outbox") == 0
    assert Jobs(redis_server).apps() == shops


# -- after commit ---------------------------------------------------------------------------------


def test_the_signup_goes_through_without_redis(
    tmp_path: Path, redis_server: str, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(after_commit.connect(str(tmp_path / "shop.db"))) as db:
        use_environment({"REDIS_URL": "redis://127.0.0.1:1/0"})
        after_commit.sign_up(db, "shop", URL)
        assert "left to the sweep" in capsys.readouterr().err
        with pytest.raises(StoreUnavailable):
            after_commit.sweep(db)
        use_environment({"REDIS_URL": redis_server})
        assert after_commit.sweep(db) == 1
        with pytest.raises(InvalidInput):
            after_commit.sign_up(db, "wrong", "http://shop.example.com")
        assert count(db, "shops") == 1


def test_the_sweep_tells_of_a_shop_that_changed_and_leaves_old_ones(
    tmp_path: Path, redis_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(after_commit.connect(str(tmp_path / "shop.db"))) as db:
        after_commit.sign_up(db, "changed", URL)
        with db:
            db.execute("UPDATE shops SET url = 'https://new.example.com/'")
            db.execute("INSERT INTO shops VALUES ('old', ?, datetime('now', '-3 days'))", (URL,))
            db.execute("INSERT INTO shops (app_id, url) VALUES ('young', ?)", (URL,))
        assert after_commit.sweep(db) == 1
    assert (
        "changed: Webhook 'orders' of app 'changed' was enqueued before" in capsys.readouterr().err
    )
    assert Jobs(redis_server).apps() == {"changed", "young"}
