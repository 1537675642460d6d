"""RFC 6455 on gunicorn's socket: the handshake, text frames out, messages in.

Written by hand where it counts: frames go through `Wire`, so that a slow reader gets whole frames in order (simple-websocket's
`send` tears them under gevent) and blocks nobody. Incoming frames are wsproto's work. Extensions are never accepted:
permessage-deflate would cost a tenth of the CPU and 60 MB at 500 sockets (2026-11-22).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Any

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from qzbrain.web.wire import Wire

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_READ_BYTES = 4096


def text_frame(payload: bytes) -> bytes:
    """One whole, unmasked text frame; `payload` is UTF-8."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)


def handshake(environ: dict[str, Any]) -> bytes | None:
    """The 101 reply, or None when the request is no valid upgrade."""
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").encode("latin-1")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        valid = False
    if not valid or environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13" or "upgrade" not in environ.get("HTTP_CONNECTION", "").lower():
        return None
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept


def messages(sock: Any, wire: Wire, *, limit_bytes: int) -> Iterator[str | bytes]:
    """Whole messages as they come, until either side closes. Answers pings and the closing handshake; over `limit_bytes` it closes (1009)."""
    connection = Connection(ConnectionType.SERVER)
    parts: list[Any] = []
    size = 0
    while not wire.broken:
        try:
            data = sock.recv(_READ_BYTES)
        except OSError:
            return
        if not data:
            return
        try:
            connection.receive_data(data)
            for event in connection.events():
                if isinstance(event, TextMessage | BytesMessage):
                    size += len(event.data)
                    if size > limit_bytes:
                        wire.write(connection.send(CloseConnection(CloseReason.MESSAGE_TOO_BIG)))
                        return
                    parts.append(event.data)
                    if event.message_finished:
                        yield parts[0] if len(parts) == 1 else type(parts[0])().join(parts)
                        parts, size = [], 0
                elif isinstance(event, Ping):
                    wire.write(connection.send(event.response()))
                elif isinstance(event, CloseConnection):
                    wire.write(connection.send(event.response()))
                    return
        except RemoteProtocolError as exc:
            wire.write(connection.send(exc.event_hint or CloseConnection(CloseReason.PROTOCOL_ERROR)))
            return
        except LocalProtocolError:
            return
