"""Files out of a multipart body, one after the other, as they come over the wire: none is held in memory or in a temporary file.

The parser is werkzeug's sans-io decoder; this module only feeds it and gives each file the face of a readable stream.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from qzbrain.errors import InvalidRequest

_PIECE = 1 << 16
_MOST_FIELDS, _LONGEST_FIELD = 20, 200


class _Part(io.RawIOBase):
    """One file of the body; reads no further than its own end."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._left = b""
        self._more = True

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`; 0 at the end of the file."""
        while not self._left and self._more:
            event = next(self._events)
            if not isinstance(event, Data):
                raise _broken()
            self._left, self._more = event.data, event.more_data
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def drain(self) -> None:
        """Read on to the end, so that the next file can be found."""
        while self.read(_PIECE):
            pass


def files(body: IO[bytes], boundary: str, *, field: str = "file", fields: dict[str, str] | None = None) -> Iterator[tuple[str, BinaryIO]]:
    """(name, stream) of each file under `field`, in order; a stream must be read before the next one is asked for.

    Names lose the folders that some browsers put before them. `fields` takes what else the form says, the first 200 bytes of each value.
    Raises InvalidRequest for a body that is not what it says.
    """
    events = _events(body, MultipartDecoder(boundary.encode("latin-1", "replace"), max_parts=10_000))
    for event in events:
        if isinstance(event, Field | File):
            part = _Part(events)
            if isinstance(event, File) and event.name == field and event.filename:
                yield event.filename.replace("\\", "/").rsplit("/", 1)[-1] or "unnamed", cast(BinaryIO, part)
            elif isinstance(event, Field) and fields is not None and len(fields) < _MOST_FIELDS:
                fields[event.name] = part.read(_LONGEST_FIELD).decode("utf-8", "replace")
            part.drain()
        elif isinstance(event, Epilogue):
            return


def _events(body: IO[bytes], decoder: MultipartDecoder) -> Iterator[Event]:
    try:
        while True:
            event = decoder.next_event()
            if isinstance(event, NeedData):
                piece = body.read(_PIECE)
                decoder.receive_data(piece or None)
            else:
                yield event
                if isinstance(event, Epilogue):
                    return
    except (ValueError, RequestEntityTooLarge) as exc:
        raise _broken() from exc


def _broken() -> InvalidRequest:
    return InvalidRequest(
        "invalid_multipart",
        zh="上传内容不是完整的 multipart/form-data。请重新上传。",
        en="The upload is not a whole multipart/form-data body. Send it again.",
        param="file",
    )
