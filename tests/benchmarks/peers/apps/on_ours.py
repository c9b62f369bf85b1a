"""This program: sealed passwords, all events, one job a call."""

from __future__ import annotations

from tasks import Webhook, enqueue_webhook


def enqueue(number: int) -> None:
    webhook = Webhook(
        id=f"orders-{number}",
        name="Orders",
        webhook_url="https://shop.example.com/hook",
        username="chat",
        password="hunter2hunter2",
    )
    enqueue_webhook(f"shop-{number // 20}", webhook)
