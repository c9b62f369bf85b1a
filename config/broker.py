"""Where hints go: the queue, and how workers, beat and people connect to its broker."""

from __future__ import annotations

import socket
from typing import Any

from config.settings import Settings

QUEUE = "webhooks"

#: Seconds without traffic before the first probe and between the others, and how many of them.
KEEPALIVE = {
    getattr(socket, option): number
    for option, number in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}

#: Seconds to connect to the broker.
CONNECT_TIMEOUT = 2.0


def transport_options(settings: Settings) -> dict[str, Any]:
    """The options of kombu's transport, each with its reason."""
    _, options = settings.broker
    return {
        **options,
        # A peer that vanished without a word must not hold a publish for long.
        "socket_timeout": 3.0,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        # A NAT remembers what is probed, and a dead peer is found out within 45 s: redis-py's own
        # figures, for which kombu has the system's two hours.
        "socket_keepalive_options": KEEPALIVE,
        # Half-open connections: kombu looks after a blocking read as often, and gives it up when
        # it is overdue by as much.
        "health_check_interval": 2,
        # Hints need no guarding: without emulated acknowledgements a message costs two
        # transactions less, and workers survive Redis restarts, however many.
        "ack_emulation": False,
    }
