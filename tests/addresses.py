"""Names with several addresses, each of which leads to a port of this machine, or nowhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tasks import happy_eyeballs


class Addresses:
    """From now on `names` have the addresses that they are given.

    A target is a port of this machine, or the error that dialling it raises. What has been dialled
    is in `dialled`, in that order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, dict[str, int | OSError]] = {}
        self.dialled: list[str] = []
        self.sockets: list[socket.socket] = []
        self._really_look_up = socket.getaddrinfo
        self._really_connect = socket.socket.connect
        monkeypatch.setattr(happy_eyeballs, "_ranks", {})
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)
        monkeypatch.setattr(socket.socket, "connect", lambda *args: self._connect(*args))

    def _look_up(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in self.names:
            return self._really_look_up(host, port, *args, **options)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.names[host]
        ]

    def _connect(self, sock: socket.socket, address: Any) -> None:
        targets = {one: to for found in self.names.values() for one, to in found.items()}
        if not isinstance(address, tuple) or address[0] not in targets:
            self._really_connect(sock, address)
            return
        self.dialled.append(address[0])
        self.sockets.append(sock)
        target = targets[address[0]]
        if isinstance(target, OSError):
            raise target
        self._really_connect(sock, ("127.0.0.1", target))


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that swallows what is sent there: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = int(listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)):
            yield port


@contextmanager
def listening() -> Iterator[int]:
    """A port where connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=2000) as listener:
        yield int(listener.getsockname()[1])


def unused_port() -> int:
    """A port that refuses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
