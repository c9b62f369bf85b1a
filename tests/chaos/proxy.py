"""A TCP proxy whose network can be broken while connections are open.

It runs in a thread of its own. A switch is in effect when its method has returned, for the
connections that exist and for new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")

HOST = "127.0.0.1"

Kind = Literal["pass", "cut", "delay", "drip", "half-open", "lost answers", "stall"]
Way = Literal["requests", "answers"]

#: Closing a socket with this option sends a reset.
RESET = struct.pack("ii", 1, 0)

#: What is between the two ends: when it was sent, and the bytes; nothing is the end.
_UnderWay = asyncio.Queue[tuple[float, bytes]]

#: So much of a connection's latest request is kept, in bytes.
KEPT = 2048


@dataclass(frozen=True)
class Fault:
    """What the network does: its kind and, for `delay` and `drip`, how many seconds."""

    kind: Kind = "pass"
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.seconds:g} s" if self.seconds else self.kind


@dataclass(eq=False)
class Link:
    """One connection of a client, and its continuation to the target."""

    client: socket.socket
    target: socket.socket | None = None
    #: The ways on which nothing comes through any more: bytes of theirs are missing.
    dead: set[Way] = field(default_factory=set)
    asked: bytes = b""


class Proxy:
    """Passes connections on to a target, through a network that can be broken.

    Args:
        port: the target's port on `host`.

    Each method that breaks the network takes the place of the one before; `heal` ends it.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self._target = (host, port)
        self._fault = Fault()
        self._switched = asyncio.Event()
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Bound and never listening: the port stays ours while connections are refused.
        self._reservation = _bound(0)
        self.port = int(self._reservation.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._run(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def fault(self) -> Fault:
        """What the network does just now."""
        return self._fault

    @property
    def links(self) -> int:
        """How many connections there are, dead ones among them."""
        return len(self._links)

    def use(self, fault: Fault) -> None:
        """Let the network do this from now on."""
        self._run(self._switch(fault))

    def heal(self) -> None:
        """All comes through again. Connections of which bytes were lost stay dead."""
        self.use(Fault())

    def cut(self) -> None:
        """Connections are reset, new ones refused."""
        self.use(Fault("cut"))

    def delay(self, seconds: float) -> None:
        """Everything takes so many seconds longer, on each of the two ways."""
        self.use(Fault("delay", seconds))

    def drip(self, seconds: float) -> None:
        """One byte comes through every so many seconds, on each of the two ways."""
        self.use(Fault("drip", seconds))

    def half_open(self) -> None:
        """Connections stay open and new ones are accepted; nothing comes through, ever."""
        self.use(Fault("half-open"))

    def lose_answers(self) -> None:
        """Requests come through and have their effect; their answers do not."""
        self.use(Fault("lost answers"))

    def stall(self) -> None:
        """Nothing comes through until the network heals; then everything does, late.

        That is also what was sent on connections that their client has closed meanwhile.
        """
        self.use(Fault("stall"))

    def forget(self, asked: bytes = b"") -> int:
        """Let those connections be dead whose latest request has these bytes; how many.

        They stay open, and new ones work: a NAT does so that has forgotten idle connections.
        """
        return self._run(self._forget(asked))

    def close(self) -> None:
        """Reset all connections and end."""
        if self._loop.is_closed():
            return
        self._run(self._switch(Fault("cut")))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reservation.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    # All that follows runs in the loop's thread.

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _switch(self, fault: Fault) -> None:
        before, self._fault = self._fault, fault
        if fault.kind == "cut" != before.kind:
            await self._end_all()
        elif before.kind == "cut" != fault.kind:
            await self._listen()
        for link in self._links:
            link.dead |= _killed(fault)
        self._switched.set()
        self._switched = asyncio.Event()

    async def _forget(self, asked: bytes) -> int:
        found = [link for link in self._links if asked in link.asked]
        for link in found:
            link.dead = {"requests", "answers"}
        return len(found)

    async def _end_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()
        for link in list(self._links):
            self._end(link)

    def _end(self, link: Link) -> None:
        self._links.discard(link)
        for end in (link.client, link.target):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()

    async def _listen(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(512)
        self._listener.setblocking(False)
        self._start(self._accept())

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            link = Link(client, dead=_killed(self._fault))
            self._links.add(link)
            self._start(self._serve(link))

    async def _serve(self, link: Link) -> None:
        """Carry bytes both ways until both ends have closed, or one cannot be reached."""
        client, target = _prepare(link.client), _prepare(socket.socket())
        sent: _UnderWay = asyncio.Queue()
        answered: _UnderWay = asyncio.Queue()
        try:
            if "requests" in link.dead:
                await self._loop.create_future()  # nobody answers, until all is cut
            link.target = target
            await self._loop.sock_connect(target, self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(link, client, sent))
                group.create_task(self._write(link, "requests", target, sent))
                group.create_task(self._read(link, target, answered))
                group.create_task(self._write(link, "answers", client, answered))
        except* OSError:
            pass
        if not link.dead:
            self._end(link)

    async def _read(self, link: Link, source: socket.socket, under_way: _UnderWay) -> None:
        """Read on, whatever the network does; nothing is the end."""
        data = b"."
        while data:
            try:
                data = await self._loop.sock_recv(source, 65_536)
            except OSError:
                data = b""  # what was sent before the reset comes through, too
            if source is link.client and data:
                link.asked = data[-KEPT:]
            under_way.put_nowait((self._loop.time(), data))

    async def _write(self, link: Link, way: Way, sink: socket.socket, under_way: _UnderWay) -> None:
        """Hand over what comes through, as the network is by then."""
        at_end = False
        while not at_end:
            sent_at, data = await under_way.get()
            await self._travel(sent_at)
            at_end = not data
            if at_end and way not in link.dead:
                sink.shutdown(socket.SHUT_WR)
            while data and way not in link.dead:
                drips = self._fault.kind == "drip"
                some, data = (data[:1], data[1:]) if drips else (data, b"")
                await self._loop.sock_sendall(sink, some)
                if drips:
                    await self._for(self._fault.seconds)

    async def _travel(self, sent_at: float) -> None:
        """Wait for as long as the network takes, which may change meanwhile."""
        while True:
            match self._fault:
                case Fault("delay", seconds):
                    left = sent_at + seconds - self._loop.time()
                case Fault("stall"):
                    left = math.inf
                case _:
                    return
            if left <= 0:
                return
            await self._for(left)

    async def _for(self, seconds: float) -> None:
        """Wait for so long, or until the network changes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._switched.wait(), None if seconds == math.inf else seconds)


def _killed(fault: Fault) -> set[Way]:
    """The ways of a connection that do not come to life again after this fault."""
    lost: dict[Kind, set[Way]] = {
        "half-open": {"requests", "answers"},
        "lost answers": {"answers"},
    }
    return set(lost.get(fault.kind, ()))


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound


def _prepare(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
