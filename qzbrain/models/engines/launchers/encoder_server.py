"""An encoder model under CTranslate2 as a server: `/v1/embeddings` as OpenAI has it, and llama.cpp's `/tokenize`, `/health` and `/metrics`.

Run by `local_serve.py` in the engine's environment (ctranslate2, numpy, sentencepiece). The model is a folder as `ct2-transformers-converter` writes
it for the XLM-RoBERTa family, with `sentencepiece.bpe.model` beside the weights. One text is computed by one thread: threads that wait for each
other after every multiplication gain nothing here. Texts of several requests take turns, and a request of one text, which is a question that
somebody waits for, has a thread that does nothing else.
"""

from __future__ import annotations

import base64
import ctypes
import hmac
import json
import mmap
import re
import select
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKENS = "sentencepiece.bpe.model"
_BEGIN, _END, _UNKNOWN, _SHIFT = 0, 2, 3, 1
"""XLM-RoBERTa numbers its pieces one higher than sentencepiece, and has four of its own at the front."""
_TOGETHER = 128
"""Tokens of the texts that are computed at once: short ones gain by it, long ones do not."""
_LOOK_S = 0.2
_MOST_BYTES, _MOST_TEXTS = 32 << 20, 4096
_IDLE_S = 120.0
_MADV_COLLAPSE, _HUGE = 25, 2 << 20
_PRESENT = 63
"""The bit of an entry of /proc/self/pagemap that says that a page is in memory."""


class Refused(Exception):
    """A request that gets no answer: `status`, and `kind` of OpenAI's error."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class Encoder:
    """Texts to vectors of unit length. Raises RuntimeError, OSError where the folder holds no such model."""

    def __init__(self, folder: Path, *, threads: int, pooling: str, longest: int) -> None:
        import ctranslate2
        import sentencepiece

        self.longest, self._pooling = longest, pooling
        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / TOKENS))
        self._model = ctranslate2.Encoder(str(folder), device="cpu", inter_threads=threads, intra_threads=1)

    def tokens(self, text: str) -> list[int]:
        """With the begin and the end of a text."""
        pieces = (one + _SHIFT if one else _UNKNOWN for one in self._pieces.encode(text))
        return [_BEGIN, *pieces, _END]

    def vectors(self, texts: Sequence[list[int]]) -> list[Any]:
        """One float32 vector of each text, of which there is at least one; they should be about equally long."""
        import numpy as np

        states = np.asarray(self._model.forward_batch(texts).last_hidden_state)
        found = []
        for state, text in zip(states, texts, strict=True):
            vector = state[0] if self._pooling == "cls" else state[len(text) - 1] if self._pooling == "last" else state[: len(text)].mean(axis=0)
            found.append((vector / max(float(np.linalg.norm(vector)), 1e-12)).astype("<f4"))
        return found


class Request:
    """The texts of one request, in parts, and what has come of them."""

    def __init__(self, texts: Sequence[list[int]]) -> None:
        self.texts = texts
        self.found: list[Any] = [None] * len(texts)
        self.fault: Exception | None = None
        self.ended = threading.Event()
        self._open = 0
        self._parts = deque(parts_of(texts))

    def next(self) -> list[int]:
        """The next part, [] when all are taken. Not thread-safe."""
        self._open += 1
        return self._parts.popleft() if self._parts else []

    def done(self) -> None:
        """A part that `next` gave is done with. Not thread-safe."""
        self._open -= 1
        if not self._parts and not self._open:
            self.ended.set()

    def drop(self) -> None:
        """Nobody waits for the rest. Not thread-safe."""
        self._parts.clear()


def parts_of(texts: Sequence[list[int]]) -> list[list[int]]:
    """Texts that are computed together, by their positions: alike in length, so that little is padded."""
    parts: list[list[int]] = []
    for position in sorted(range(len(texts)), key=lambda one: len(texts[one])):
        longest = len(texts[position])
        if parts and (len(parts[-1]) + 1) * longest <= _TOGETHER:
            parts[-1].append(position)
        else:
            parts.append([position])
    return parts


class Turns:
    """Threads that compute parts of requests: one after the other of each; those of a single text first."""

    def __init__(self, vectors: Callable[[Sequence[list[int]]], list[Any]], threads: int) -> None:
        self._vectors = vectors
        self._some = threading.Condition()
        self._questions: deque[Request] = deque()
        self._others: deque[Request] = deque()
        self._waiting = 0
        for number in range(threads + 1):  # the last one is for questions alone
            threading.Thread(target=self._work, args=(number == threads,), name=f"encoder-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return self._waiting

    def compute(self, texts: Sequence[list[int]], left: Callable[[], bool]) -> list[Any]:
        """Their vectors. `left`: whether who asked is gone; then what has not begun is dropped, and ConnectionError raised."""
        request = Request(texts)
        with self._some:
            self._waiting += 1
            (self._questions if len(texts) == 1 else self._others).append(request)
            self._some.notify_all()
        try:
            while not request.ended.wait(_LOOK_S):
                if left():
                    with self._some:
                        request.drop()
                    raise ConnectionAbortedError
        finally:
            with self._some:
                self._waiting -= 1
        if request.fault is not None:
            raise request.fault
        return request.found

    def _work(self, only_questions: bool) -> None:
        while True:
            with self._some:
                request, part = self._next(only_questions)
            try:
                for position, vector in zip(part, self._vectors([request.texts[one] for one in part]), strict=True):
                    request.found[position] = vector
            except Exception as exc:  # noqa: BLE001 - the request's to tell
                request.fault = exc
            with self._some:
                if request.fault is not None:
                    request.drop()
                request.done()

    def _next(self, only_questions: bool) -> tuple[Request, list[int]]:
        while True:
            for queue in (self._questions,) if only_questions else (self._questions, self._others):
                while queue:
                    request = queue.popleft()
                    if part := request.next():
                        queue.append(request)
                        return request, part
                    request.done()
            self._some.wait()


class EncoderServer:
    """Listens from the start. `longest`: tokens of a text; a longer one is refused, as llama.cpp does."""

    def __init__(self, folder: Path, *, host: str, port: int, name: str, key: str, threads: int, pooling: str, longest: int) -> None:
        self.encoder = Encoder(folder, threads=threads + 1, pooling=pooling or "mean", longest=longest)
        self.turns = Turns(self.encoder.vectors, threads)
        self.name, self.key = name, key
        server = _Listener((host, port), _Connection)
        server.brain = self
        self.listening_address = f"http://{host}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, name="listener", daemon=True).start()
        threading.Thread(target=take_huge_pages, name="pages", daemon=True).start()

    @property
    def at_work(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.turns.waiting > 0

    def embeddings(self, body: Any, left: Callable[[], bool]) -> dict[str, Any]:
        """The reply of `/v1/embeddings`. Raises Refused."""
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        form = body.get("encoding_format") or "float"
        if not isinstance(texts, list) or not texts or len(texts) > _MOST_TEXTS or not all(isinstance(one, str) for one in texts):
            raise Refused(400, "invalid_request_error", f'"input" must be a text, or a list of 1 to {_MOST_TEXTS} texts')
        if form not in ("float", "base64"):
            raise Refused(400, "invalid_request_error", '"encoding_format" must be "float" or "base64"')
        tokens = [self.encoder.tokens(one) for one in texts]
        if (most := max(map(len, tokens))) > self.encoder.longest:
            told = f"a text has {most} tokens, and this model takes {self.encoder.longest}"
            raise Refused(400, "exceed_context_size_error", told)
        data = [
            {"object": "embedding", "index": n, "embedding": base64.b64encode(row.tobytes()).decode() if form == "base64" else row.tolist()}
            for n, row in enumerate(self.turns.compute(tokens, left))
        ]
        count = sum(map(len, tokens))
        return {"object": "list", "model": self.name, "data": data, "usage": {"prompt_tokens": count, "total_tokens": count}}

    def tokenized(self, body: Any) -> dict[str, Any]:
        """The reply of `/tokenize`. Raises Refused."""
        text = body.get("content")
        if not isinstance(text, str):
            raise Refused(400, "invalid_request_error", '"content" must be a text')
        tokens = self.encoder.tokens(text)
        return {"tokens": tokens if body.get("add_special") else tokens[1:-1]}


def take_huge_pages() -> int:
    """Have the kernel (Linux 6.1 and later) keep in huge pages what fills half of one at least; returns how many bytes it did.

    After a pause the processor's caches are empty, and with small pages every one of the weights' is looked up anew as well: a question that takes
    4 ms took 16 to 60, with huge pages it takes 7 to 14 (2026-11-29).
    """
    import numpy as np

    advise, done = ctypes.CDLL(None).madvise, 0
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pages:
            for begin, end in _anonymous():
                pages.seek(begin // mmap.PAGESIZE * 8)
                entries = np.frombuffer(pages.read((end - begin) // mmap.PAGESIZE * 8), "<u8")
                filled = (entries >> _PRESENT).reshape(-1, _HUGE // mmap.PAGESIZE).mean(axis=1)
                for number in np.nonzero(filled >= 0.5)[0].tolist():
                    place = ctypes.c_void_p(begin + number * _HUGE)
                    done += 0 if advise(place, ctypes.c_size_t(_HUGE), _MADV_COLLAPSE) else _HUGE
    except (OSError, ValueError):
        pass  # a kernel that does not tell, or other pages: slower after a pause, and that is all
    return done


def _anonymous() -> list[tuple[int, int]]:
    """Where this process's own memory lies, in whole huge pages."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ 00:00 0 *(?:\[heap\])?$", line):
            begin, end = -(-int(match[1], 16) // _HUGE) * _HUGE, int(match[2], 16) // _HUGE * _HUGE
            found += [(begin, end)] if end > begin else []
    return found


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    brain: EncoderServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no error; of others the log tells."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Health, metrics, the name of the model."""
        brain = self.server.brain
        if self.path == "/health":
            self._reply(200, {"status": "ok"})
        elif not self._known():
            self._refuse(Refused(401, "authentication_error", "Invalid API Key"))
        elif self.path == "/metrics":
            lines = f"# TYPE ctranslate2:requests_processing gauge\nctranslate2:requests_processing {brain.turns.waiting}\n"
            self._send(200, "text/plain; version=0.0.4", lines.encode())
        elif self.path == "/v1/models":
            self._reply(200, {"object": "list", "data": [{"id": brain.name, "object": "model", "owned_by": "ctranslate2"}]})
        else:
            self._refuse(Refused(404, "not_found_error", "there is no such page"))

    def do_POST(self) -> None:
        """Vectors and tokens."""
        brain = self.server.brain
        try:
            body = self._body()
            if not self._known():
                raise Refused(401, "authentication_error", "Invalid API Key")
            if self.path in ("/v1/embeddings", "/embeddings"):
                self._reply(200, brain.embeddings(body, self._left))
            elif self.path == "/tokenize":
                self._reply(200, brain.tokenized(body))
            else:
                raise Refused(404, "not_found_error", "there is no such page")
        except Refused as exc:
            self._refuse(exc)
        except ConnectionError:
            self.close_connection = True
        except Exception as exc:  # noqa: BLE001 - who asks must learn of it, and the log
            traceback.print_exc()
            self._refuse(Refused(500, "server_error", f"{type(exc).__name__}: {exc}"))

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True  # what follows on this connection is not another request
            raise Refused(413 if length.isdecimal() else 411, "invalid_request_error", f"a body of at most {_MOST_BYTES} bytes is needed")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as exc:
            raise Refused(400, "invalid_request_error", "the body is no JSON") from exc
        if not isinstance(body, dict):
            raise Refused(400, "invalid_request_error", "the body must be a JSON object")
        return body

    def _known(self) -> bool:
        key, given = self.server.brain.key, self.headers.get("Authorization", "")
        return not key or hmac.compare_digest(given.encode(), f"Bearer {key}".encode())

    def _left(self) -> bool:
        """Whether the client has closed its connection. What it may have sent beforehand stays."""
        try:
            return bool(select.select([self.connection], [], [], 0)[0]) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _refuse(self, exc: Refused) -> None:
        self._reply(exc.status, {"error": {"code": exc.status, "message": str(exc), "type": exc.kind}})

    def _reply(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, "application/json; charset=utf-8", json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: they would be texts' lengths at best."""
