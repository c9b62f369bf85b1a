"""A TCP connection to a host with several addresses, of which some may be dead (RFC 8305).

The addresses are dialled side by side. Each has a head start of 250 ms over the next one, or less
if there are so many that the last would have no time. An address that worked is dialled first next
time, one that failed is dialled last.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Sequence
from itertools import zip_longest
from math import inf
from typing import Any, Final, NamedTuple

#: Seconds; RFC 8305 calls it the Connection Attempt Delay.
HEAD_START: Final = 0.25
#: The addresses of a host that are dialled; what else its name has is left out.
MOST_ADDRESSES: Final = 64
#: The hosts whose addresses are remembered.
MOST_HOSTS: Final = 256

SocketOptions = Sequence[tuple[int, int, int | bytes]]

#: By host and port, for each address the instant at which it failed last, or minus the instant at
#: which it worked last. Sorted by these numbers the best address comes first.
_ranks: dict[tuple[str, int], dict[Any, float]] = {}


class Way(NamedTuple):
    """Which address of a host a connection leads to."""

    host: str
    port: int
    address: Any

    def failed(self) -> None:
        """Dial this address last from now on: it was reached, but nothing useful answered."""
        self._rank(time.monotonic(), _ranks.get(self[:2], {}))

    def worked(self, known: Sequence[Any]) -> None:
        """Dial this address first from now on; `known` are all addresses that the host has."""
        old = _ranks.get(self[:2], {})
        self._rank(-time.monotonic(), {one: old[one] for one in known if one in old})

    def _rank(self, rank: float, others: dict[Any, float]) -> None:
        # Never changed in place: other threads may read it.
        if len(_ranks) >= MOST_HOSTS and self[:2] not in _ranks:
            _ranks.clear()
        _ranks[self[:2]] = {**others, self.address: rank}


class _Target(NamedTuple):
    family: int
    type: int
    protocol: int
    address: Any


def connect(
    host: str, port: int, seconds: float, *, family: int = 0, options: SocketOptions = ()
) -> tuple[socket.socket, Way]:
    """Connect to whichever address of a host answers first.

    Args:
        host: a name or an address.
        port: 1 to 65535.
        seconds: for all addresses together; the name's look-up, which is the system's, counts.
        family: of the addresses, if only one will do.
        options: of each socket, set before it is dialled.

    Returns:
        A socket that does not block until its timeout is set, and the way that it took.

    Raises:
        socket.gaierror: the name could not be resolved.
        TimeoutError: no address answered in time.
        OSError: no address could be connected to; the error is that of the last one.
    """
    until = time.monotonic() + seconds
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "this cannot be a name") from None
    targets = [_Target(one[0], one[1], one[2], one[4]) for one in found]
    # Equal addresses are dialled once. Families alternate: often one of them is dead as a whole.
    firsts = dict.fromkeys(one for one in targets if one.family == targets[0].family)
    others = dict.fromkeys(one for one in targets if one.family != targets[0].family)
    targets = [one for pair in zip_longest(firsts, others) for one in pair if one is not None]
    ranks = _ranks.get((host, port), {})
    targets.sort(key=lambda target: ranks.get(target.address, 0.0))
    del targets[MOST_ADDRESSES:]
    # All have begun at half-time, so that the last has the other half.
    head_start = min(HEAD_START, seconds / 2 / max(len(targets), 1))
    sock, target = _race(targets, until, head_start, options)
    way = Way(host, port, target.address)
    way.worked([one.address for one in targets])
    return sock, way


def _race(
    targets: list[_Target], until: float, head_start: float, options: SocketOptions
) -> tuple[socket.socket, _Target]:
    coming = iter(targets)
    target = next(coming, None)
    starts_at = -inf  # when the target is dialled, whatever the earlier ones do
    failure = OSError("the host has no address")
    dialled = selectors.DefaultSelector()
    try:
        while target or dialled.get_map():
            now = time.monotonic()
            if now >= until:
                raise TimeoutError("timed out")
            if target and now >= starts_at:
                try:
                    dialled.register(_dial(target, options), selectors.EVENT_WRITE, target)
                    starts_at = now + head_start
                except OSError as error:
                    failure = error
                target = next(coming, None)
                continue
            wait = min(until, starts_at if target else inf) - now
            for key, _ in dialled.select(None if wait == inf else wait):
                sock: Any = key.fileobj
                dialled.unregister(sock)
                error_number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not error_number:
                    return sock, key.data
                sock.close()
                failure = OSError(error_number, os.strerror(error_number))
                starts_at = -inf
        raise failure
    finally:
        for key in dialled.get_map().values():
            loser: Any = key.fileobj
            loser.close()
        dialled.close()


def _dial(target: _Target, options: SocketOptions) -> socket.socket:
    sock = socket.socket(target.family, target.type, target.protocol)
    try:
        for level, name, value in options:
            sock.setsockopt(level, name, value)
        sock.setblocking(False)
        sock.connect(target.address)
    except BlockingIOError:
        pass  # it is under way
    except BaseException:
        sock.close()
        raise
    return sock
