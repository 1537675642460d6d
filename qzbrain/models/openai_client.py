"""Any engine that speaks the OpenAI chat protocol, as a ChatModel. On the hot path of every relayed token: one read, one piece."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson

from qzbrain import metrics, tracing
from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, Generation, Piece
from qzbrain.models.faults import EngineFault
from qzbrain.models.reply import Reply
from qzbrain.models.sse import StreamDecoder, said_by
from qzbrain.models.transport import Address, Transport
from qzbrain.settings import ModelSettings

FAREWELL_S = 2.0
"""Longest wait for usage and [DONE] after the finish_reason."""
ERROR_BODY_BYTES = 16_384


class OpenAIChatModel:
    """One external engine. Thread-safe; leaving the iterator, or the cancellation, frees the engine at once."""

    def __init__(self, name: str, settings: ModelSettings) -> None:
        self.name = name
        self.where = (settings.base_url, settings.api_key)
        self._settings = settings
        self._engine_name = settings.model or name
        self._transport = Transport(Address.of(settings.base_url), connect_timeout_s=settings.connect_timeout_s)
        key = settings.key()
        self._headers = f"authorization: Bearer {key}\r\n".encode() if key else b""
        self._asks_usage = True

    def generate(self, generation: Generation, cancellation: Cancellation) -> Iterator[Piece]:
        """See ChatModel. The last piece carries the finish_reason and, when the engine tells it, the usage."""
        decoder, started, reply, answered = StreamDecoder(), time.monotonic(), None, False
        heard = _Heard(self.name, started)
        try:
            reply = self._request(generation, cancellation, started + self._settings.first_token_timeout_s, heard.span)
            yield from self._pieces(reply, decoder, started + self._settings.total_timeout_s, heard)
            answered, heard.result = decoder.done, "ok"
        except (EngineFault, TimeoutError) as exc:
            if cancellation.cancelled:
                raise Cancelled from exc
            fault = exc if isinstance(exc, EngineFault) else self._too_slow(decoder.sent_chars, time.monotonic() - started)
            error = self._unavailable(fault, decoder.sent_chars)
            heard.result = "refused" if error.request_refused else "full" if error.engine_full else "failed"
            raise error from exc
        finally:
            if reply is not None:
                self._transport.release(reply, finished=answered)
            heard.tell()

    def probe(self, timeout_s: float) -> None:
        """Connect, and keep the connection for the next question. Raises EngineUnavailable."""
        try:
            self._transport.probe(timeout_s)
        except EngineFault as exc:
            raise self._unavailable(exc, 0) from exc

    def _request(self, generation: Generation, cancellation: Cancellation, deadline: float, span: tracing.Span) -> Reply:
        """Send the request; returns a reply with status 200. Asks for usage unless the engine has refused that field before."""
        span.enter()
        try:
            return self._accepted(generation, cancellation, deadline)
        finally:
            span.leave()

    def _accepted(self, generation: Generation, cancellation: Cancellation, deadline: float) -> Reply:
        reply = self._post(generation, cancellation, deadline)
        if reply.status in (400, 422) and self._asks_usage:
            fault = self._refusal(reply)
            if "stream_options" not in fault.en:
                raise fault
            self._asks_usage = False
            reply = self._post(generation, cancellation, deadline)
        if reply.status != 200:
            raise self._refusal(reply)
        return reply

    def _post(self, generation: Generation, cancellation: Cancellation, deadline: float) -> Reply:
        body: dict[str, Any] = {**generation.options, "model": self._engine_name, "stream": True}
        body["messages"] = [{"role": x.role, "content": x.content} for x in generation.messages]
        if self._asks_usage:
            body["stream_options"] = {"include_usage": True}
        if self._settings.engine == "llamacpp":
            body["return_progress"] = True  # llama.cpp finds out that nobody listens only when it writes: so it writes while it reads the prompt
        headers = self._headers + tracing.headers()
        return self._transport.post("/chat/completions", orjson.dumps(body), headers=headers, deadline=deadline, cancellation=cancellation)

    def _pieces(self, reply: Reply, decoder: StreamDecoder, end: float, heard: _Heard) -> Iterator[Piece]:
        idle_s, clock = self._settings.idle_timeout_s, time.monotonic
        over = False
        while not over:
            try:
                text = decoder.feed(reply.read())
            except TimeoutError:
                if decoder.finish_reason is not None:
                    break
                raise
            if text:
                now = clock()
                reply.deadline = min(now + idle_s, end)
                if not heard.first:
                    heard.first = now
                yield Piece(text)
            over = decoder.done or reply.complete
            if decoder.finish_reason is not None:
                reply.deadline = clock() + min(FAREWELL_S, idle_s)
        last = decoder.finish()
        heard.tokens = last.usage.completion_tokens if last.usage is not None else 0
        yield last

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
            self._transport.release(reply, finished=reply.complete)
        said = said_by(body)
        retry_after = int(reply.retry_after) if reply.retry_after.isdecimal() else None
        status = reply.status
        return EngineFault(f"引擎返回 HTTP {status}：{said}", f"the engine replied HTTP {status}: {said}", status=status, retry_after_s=retry_after)

    def _unavailable(self, fault: EngineFault, sent_chars: int) -> EngineUnavailable:
        if fault.status in (400, 413, 422):
            return self._refused(fault)
        error = EngineUnavailable(
            zh=f"语言模型 {self.name} 不可用：{fault.zh}。请检查该引擎是否在运行，或改用其他模型。",
            en=f"The language model {self.name} is not available: {fault.en}. Check that its engine runs, or choose another model.",
            retry_after_s=fault.retry_after_s or 10,
        )
        error.sent_chars = sent_chars
        error.engine_full = fault.status in (429, 503)
        error.connection_lost = fault.lost
        return error

    def _refused(self, fault: EngineFault) -> EngineUnavailable:
        """The engine works and would say the same again: a client is told so (400), not to come back later (503)."""
        name = self.name
        error = EngineUnavailable(
            "request_refused",
            zh=f"语言模型 {name} 没有接受这次请求：{fault.zh}。若内容过长，请缩短问题、减小 max_tokens 或另开对话，或在 config.toml 的 [models.{name}] "
            "中增大 context；若某个选项不受支持，请去掉它。",
            en=f"The language model {name} did not accept this request: {fault.en}. If it is too long, shorten the question, lower max_tokens, begin a new "
            f"conversation, or raise context under [models.{name}] in config.toml; if an option is not supported, leave it out.",
            retry_after_s=fault.retry_after_s,
        )
        error.status, error.type, error.request_refused = 400, "invalid_request_error", True
        return error

    def _too_slow(self, sent_chars: int, took_s: float) -> EngineFault:
        settings = self._settings
        if not sent_chars:
            limit_s = settings.first_token_timeout_s
            return EngineFault(f"{limit_s:g} 秒内没有开始回答", f"no answer began within {limit_s:g} s")
        if took_s >= settings.total_timeout_s:
            limit_s = settings.total_timeout_s
            return EngineFault(f"回答超过了 {limit_s:g} 秒的总时限", f"the answer took longer than {limit_s:g} s")
        return EngineFault(f"超过 {settings.idle_timeout_s:g} 秒没有新内容", f"nothing new came for {settings.idle_timeout_s:g} s")


class _Heard:
    """What is counted of one request. `result`: ok, failed, full, refused, or cancelled: nobody wanted it any more."""

    __slots__ = ("_model", "_started", "first", "result", "span", "tokens")

    def __init__(self, model: str, started: float) -> None:
        self._model, self._started = model, started
        self.first, self.tokens, self.result = 0.0, 0, "cancelled"
        self.span = tracing.span("engine", kind="client", model=model)

    def tell(self) -> None:
        """It is over."""
        now, model = time.monotonic(), self._model
        metrics.ENGINE_REQUESTS.labels(model, self.result).inc()
        if self.first:
            metrics.ENGINE_FIRST_TOKEN_SECONDS.labels(model).observe(self.first - self._started)
            self.span.set(first_token_ms=round((self.first - self._started) * 1e3, 3))
        if self.tokens > 1 and now > self.first > 0:
            metrics.ENGINE_TOKENS_PER_SECOND.labels(model).observe(self.tokens / (now - self.first))
        self.span.set(completion_tokens=self.tokens, result=self.result)
        self.span.end("" if self.result in ("ok", "cancelled") else self.result)
