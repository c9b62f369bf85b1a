"""TLS in front of a server that has none, such as the embedded stack's Redis.

    python -m worker.tls_front PORT TARGET-PORT CERTIFICATE KEY AUTHORITY

It lets through those who show a certificate of the authority. While the target is away, connections
are refused before anything else, as the target itself would.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from typing import Any, cast

HOST = "127.0.0.1"
#: A server closes at once. Clients would take a connection for good that only says that it ends.
SHUTDOWN_SECONDS = 0.01
#: Closing a socket with this option sends a reset.
_RESET = struct.pack("ii", 1, 0)


def server_context(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """How the front speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    return context


class _End(asyncio.Protocol):
    """One end of a connection; what comes in there goes out at the other."""

    def __init__(self) -> None:
        self.other: _End | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        """Send, once there is a connection."""
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._of_other("pause_reading")

    def resume_writing(self) -> None:
        self._of_other("resume_reading")

    def connection_lost(self, exc: Exception | None) -> None:
        self._of_other("close")

    def close(self) -> None:
        """End this end, too."""
        if self._transport is not None:
            self._transport.close()

    def _of_other(self, what: str) -> None:
        if self.other is not None and self.other._transport is not None:
            getattr(self.other._transport, what)()


async def serve(listener: socket.socket, target: int, context: ssl.SSLContext) -> None:
    """Accept connections for ever."""
    loop = asyncio.get_running_loop()
    under_way = set[asyncio.Task[None]]()
    while True:
        try:
            client, _ = await loop.sock_accept(listener)
        except OSError:  # that client is gone again, or there are too many
            await asyncio.sleep(0.05)
            continue
        task = loop.create_task(_connect(client, target, context))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


async def _connect(client: socket.socket, target: int, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    outer, inner = _End(), _End()
    outer.other, inner.other = inner, outer
    try:
        await loop.create_connection(lambda: inner, HOST, target)
    except OSError:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.close()
        return
    try:
        await loop.connect_accepted_socket(
            lambda: outer, client, ssl=context, ssl_shutdown_timeout=SHUTDOWN_SECONDS
        )
    except (OSError, asyncio.CancelledError):
        inner.close()
        with contextlib.suppress(OSError):
            client.close()


def listen(port: int = 0) -> socket.socket:
    """A listening socket on loopback."""
    listener = socket.create_server((HOST, port), backlog=512)
    listener.setblocking(False)
    return listener


def main(port: str, target: str, *files: Any) -> None:
    """Run until the process ends."""
    asyncio.run(serve(listen(int(port)), int(target), server_context(*files)))


if __name__ == "__main__":
    main(*sys.argv[1:])
