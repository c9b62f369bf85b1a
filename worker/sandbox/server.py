"""The sandbox on a socket, from the first connection it accepts to its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from aiohttp import web

from worker.sandbox.app import Sandbox
from worker.sandbox.control_api import CONTROL_PREFIX, ControlApi
from worker.sandbox.player import Player
from worker.sandbox.settings import Settings
from worker.sandbox.timeline import Timeline


async def serve(
    settings: Settings,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
    *,
    timeline: Timeline | None = None,
    begins: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then cut every connection and return.

    Args:
        settings: how the sandbox behaves.
        host: the address to listen on. The control calls need no credentials: keep it loopback.
        port: the port, 0 for a free one.
        on_listening: called with the base URL once connections are accepted.
        timeline: what happens when.
        begins: whether it begins at once, or by a control call.
        say: is told what of it begins and ends.

    Raises:
        OSError: the address cannot be bound.
    """
    sandbox = Sandbox(settings)
    player = Player(sandbox, timeline, say)
    control = ControlApi(sandbox, player)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.raw_path.startswith(CONTROL_PREFIX):
                return await control.handle(request)
            return await sandbox.handle(request)
        except ConnectionError:
            return web.Response()  # the client is gone, so nobody reads this

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    # The low-level server: routing and middlewares of a whole application cost a third of the
    # calls a second, and the sandbox needs neither.
    http = web.Server(handle, access_log=None)
    server = await loop.create_server(http, host, port, backlog=1024)
    on_listening(_base_url(server))
    if timeline is not None and begins:
        player.play()
    await ended.wait()
    server.close()
    for connection in http.connections:
        connection.force_close()
    # Whatever still waits, a held or dripping call, is cancelled when the loop ends.


def _base_url(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
