"""The faults that break HTTP or its pace: they write to the connection themselves."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import Final

from aiohttp import web

from worker.sandbox.answers import Answer
from worker.sandbox.faults import Rule

WIRE_KINDS: Final = frozenset({"cut", "truncated", "drip", "drip_headers", "huge"})

_CHUNK: Final = 65_536


async def play(rule: Rule, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Play a rule of `WIRE_KINDS` on the request's connection.

    Args:
        rule: what to play.
        request: the request that gets no proper answer.
        answer: the answer that is dripped or cut short.

    Returns:
        What the HTTP server wants back from a handler. Where the connection is already used up,
        the server finds it closing and sends nothing more.
    """
    transport = request.transport
    if transport is None:
        return web.Response()
    match rule.kind:
        case "cut":
            _cut(transport, reset=rule.reset)
        case "truncated":
            transport.write(_head(answer) + answer.body[: len(answer.body) // 2])
            transport.close()
        case "drip":
            transport.write(_head(answer))
            await _drip(transport, answer.body, rule.seconds_per_byte)
        case "drip_headers":
            await _drip(transport, _head(answer) + answer.body, rule.seconds_per_byte)
        case "huge":
            return await _huge(request, rule.size)
    return web.Response()


def _cut(transport: asyncio.Transport, *, reset: bool) -> None:
    connection = transport.get_extra_info("socket")
    if reset and connection is not None:
        # Closing with a linger of zero seconds sends RST; else it is FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _head(answer: Answer) -> bytes:
    phrase = HTTPStatus(answer.status).phrase
    return (
        f"HTTP/1.1 {answer.status} {phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


async def _drip(transport: asyncio.Transport, content: bytes, seconds_per_byte: float) -> None:
    for at in range(len(content)):
        if transport.is_closing():
            return
        transport.write(content[at : at + 1])
        await asyncio.sleep(seconds_per_byte)
    transport.close()


async def _huge(request: web.BaseRequest, size: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    chunk = b"x" * _CHUNK
    for sent in range(0, size, _CHUNK):
        await response.write(chunk[: size - sent])
    await response.write_eof()
    return response
