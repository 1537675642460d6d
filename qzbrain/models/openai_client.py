"""Any engine that speaks the OpenAI chat protocol, as a ChatModel. On the hot path of every relayed token: one read, one piece."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson

from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, Generation, Piece
from qzbrain.models.faults import EngineFault, shortened
from qzbrain.models.sse import StreamDecoder, error_text
from qzbrain.models.transport import Address, Reply, Transport
from qzbrain.settings import ModelSettings

FAREWELL_S = 2.0
"""Longest wait for usage and [DONE] after the finish_reason."""
LEFTOVER_S = 0.02
"""Longest wait for the end of a body after [DONE], so that its connection can be used again."""
ERROR_BODY_BYTES = 16_384


class OpenAIChatModel:
    """One external engine. Thread-safe; leaving the iterator, or the cancellation, frees the engine at once."""

    def __init__(self, name: str, settings: ModelSettings) -> None:
        self.name = name
        self._settings = settings
        self._engine_name = settings.model or name
        self._transport = Transport(Address.of(settings.base_url), connect_timeout_s=settings.connect_timeout_s)
        key = settings.key()
        self._headers = f"authorization: Bearer {key}\r\n".encode() if key else b""
        self._asks_usage = True

    def generate(self, generation: Generation, cancellation: Cancellation) -> Iterator[Piece]:
        """See ChatModel. The last piece carries the finish_reason and, when the engine tells it, the usage."""
        decoder, reply = StreamDecoder(), None
        try:
            reply = self._request(generation, cancellation)
            yield from self._pieces(reply, decoder)
        except (EngineFault, TimeoutError) as exc:
            if cancellation.cancelled:
                raise Cancelled from exc
            raise self._unavailable(exc, decoder.sent_chars) from exc
        finally:
            if reply is not None:
                self._transport.release(reply)

    def probe(self, timeout_s: float) -> None:
        """Connect, and keep the connection for the next question. Raises EngineUnavailable."""
        try:
            self._transport.keep(self._transport.connect(timeout_s))
        except EngineFault as exc:
            raise self._unavailable(exc, 0) from exc

    def _request(self, generation: Generation, cancellation: Cancellation) -> Reply:
        """Send the request; returns a reply with status 200. Asks for usage unless the engine has refused that field before."""
        reply = self._post(generation, cancellation)
        if reply.status in (400, 422) and self._asks_usage:
            fault = self._refusal(reply)
            if "stream_options" not in fault.en:
                raise fault
            self._asks_usage = False
            reply = self._post(generation, cancellation)
        if reply.status != 200:
            raise self._refusal(reply)
        return reply

    def _post(self, generation: Generation, cancellation: Cancellation) -> Reply:
        body: dict[str, Any] = {**generation.options, "model": self._engine_name, "stream": True}
        body["messages"] = [{"role": x.role, "content": x.content} for x in generation.messages]
        if self._asks_usage:
            body["stream_options"] = {"include_usage": True}
        timeout_s = self._settings.first_token_timeout_s
        return self._transport.post("/chat/completions", orjson.dumps(body), headers=self._headers, timeout_s=timeout_s, cancellation=cancellation)

    def _pieces(self, reply: Reply, decoder: StreamDecoder) -> Iterator[Piece]:
        settings, clock = self._settings, time.monotonic
        started = heard = clock()
        patience = settings.first_token_timeout_s
        over = False
        while not over:
            try:
                body = reply.read()
            except TimeoutError:
                if decoder.finish_reason is not None:
                    break
                raise
            text = decoder.feed(body) if body else ""
            now = clock()
            if text:
                if patience != settings.idle_timeout_s:
                    patience = settings.idle_timeout_s
                    reply.sock.settimeout(patience)
                heard = now
                yield Piece(text)
            elif now - heard > patience:
                raise TimeoutError
            if now - started > settings.total_timeout_s:
                raise EngineFault(f"回答超过了 {settings.total_timeout_s:g} 秒的总时限", f"the answer took longer than {settings.total_timeout_s:g} s")
            over = decoder.done or reply.complete
            if decoder.finish_reason is not None and not over:
                reply.sock.settimeout(min(FAREWELL_S, settings.idle_timeout_s))
        yield decoder.finish()
        _read_leftover(reply)

    def _refusal(self, reply: Reply) -> EngineFault:
        """What the engine said with an error status; the connection is given back."""
        body = b""
        try:
            body = reply.read()
            while not reply.complete and len(body) < ERROR_BODY_BYTES:
                body += reply.read()
        except (EngineFault, TimeoutError) as exc:
            body = body or str(exc).encode()  # what came is enough to quote
        finally:
            self._transport.release(reply)
        said = _engine_message(body)
        retry_after = int(reply.retry_after) if reply.retry_after.isdecimal() else None
        status = reply.status
        return EngineFault(f"引擎返回 HTTP {status}：{said}", f"the engine replied HTTP {status}: {said}", status=status, retry_after_s=retry_after)

    def _unavailable(self, exc: EngineFault | TimeoutError, sent_chars: int) -> EngineUnavailable:
        if isinstance(exc, TimeoutError):
            exc = self._silence(sent_chars)
        error = EngineUnavailable(
            zh=f"语言模型 {self.name} 不可用：{exc.zh}。请检查该引擎是否在运行，或改用其他模型。",
            en=f"The language model {self.name} is not available: {exc.en}. Check that its engine runs, or choose another model.",
            retry_after_s=exc.retry_after_s or 10,
        )
        error.sent_chars = sent_chars
        error.request_refused = exc.status in (400, 413, 422)
        return error

    def _silence(self, sent_chars: int) -> EngineFault:
        if sent_chars:
            return EngineFault(f"超过 {self._settings.idle_timeout_s:g} 秒没有新内容", f"nothing new came for {self._settings.idle_timeout_s:g} s")
        return EngineFault(f"{self._settings.first_token_timeout_s:g} 秒内没有开始回答", f"no answer began within {self._settings.first_token_timeout_s:g} s")


def _engine_message(body: bytes) -> str:
    try:
        return error_text(orjson.loads(body)) or shortened(body.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return shortened(body.decode("utf-8", "replace"))


def _read_leftover(reply: Reply) -> None:
    """Read the few bytes that end the body, when they come at once."""
    if reply.complete:
        return
    reply.sock.settimeout(LEFTOVER_S)
    try:
        reply.read()
    except (EngineFault, TimeoutError):
        return
