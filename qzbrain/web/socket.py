"""Chat over Socket.IO: `chat`, `chat:stop`, `chat:resume` in; `chat:queued`, `chat:sources`, `chat:delta`, `chat:done`, `chat:error` out.

A turn runs in a greenlet of its own and writes a log; every connection that shows it follows the log from its own place. So the
acknowledgement comes before any event, two tabs see one turn, and a slow one holds up neither the other nor the engine. A tab whose
connection is with another web process than the turn gets no deltas; it waits for the end and is given the whole answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask
from pydantic import BaseModel, ValidationError
from socketio.exceptions import ConnectionRefusedError

from qzbrain import logs, metrics, tracing
from qzbrain.auth.access import ANONYMOUS
from qzbrain.brain import Brain
from qzbrain.chat.elsewhere import Waiting
from qzbrain.chat.plan import Ask
from qzbrain.chat.turns import Turn
from qzbrain.domain import Caller, Delta, StoredMessage, StreamEvent
from qzbrain.errors import BrainError, Lang, NotFound
from qzbrain.web import audited, engine, guards, render, rights, schemas
from qzbrain.web.callers import Callers, signed_out
from qzbrain.web.follow import Follower
from qzbrain.web.limits import Limits
from qzbrain.web.responses import as_brain_error
from qzbrain.web.standing_by import StandingBy
from qzbrain.web.turns import counted, event_payload
from qzbrain.web.validation import invalid
from qzbrain.web.websocket import text_frame

log = logs.get(__name__)

GRACE_S = 30.0
"""How long an answer that nobody follows goes on, so that a lost connection can be taken up again."""


class _Client:
    """One connection: its session, its reader, and by message id the turns that it follows and those elsewhere whose end it waits for."""

    __slots__ = ("awaited", "caller", "followed", "gone", "session")

    def __init__(self, session: engine.Session, caller: Caller) -> None:
        self.session, self.caller = session, caller
        self.followed: dict[str, Follower] = {}
        self.awaited: dict[str, Waiting] = {}
        self.gone = False


class ChatSockets:
    """The handlers of all connections."""

    def __init__(self, brain: Brain, app: Flask, callers: Callers, limits: Limits) -> None:
        self._brain, self._callers, self._limits = brain, callers, limits
        self._clients: dict[str, _Client] = {}
        self._left_at: dict[str, float] = {}
        self._standing_by = StandingBy(brain, self._callers_of_clients, self._end) if brain.settings.accounts else None
        app.extensions["chat_sockets"] = self
        self._refused = audited.refusals(brain)
        server = engine.install(app, brain.settings.qzbrain_lang, self._caller)
        server.on("connect", self.connect)
        server.on("disconnect", self.disconnect)
        for event, model, handle in (
            ("chat", schemas.SocketChat, self._chat),
            ("chat:stop", schemas.SocketStop, self._stop),
            ("chat:resume", schemas.SocketResume, self._resume),
        ):
            server.on(event, self._edge(event, model, handle))
        if self._standing_by is not None:
            app.before_request(self._standing_by.watch)  # in the worker, which may be forked later

    def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> bool:
        """A client came, with `auth: {"token": "qzb_…"}` where it is a program; False for nobody."""
        lang = guards.socket_language(environ, self._brain.settings.qzbrain_lang)
        key = auth.get("token") if isinstance(auth, dict) else None
        try:
            who = self._caller(environ, lang, key=key if isinstance(key, str) else "")
            if who.id == ANONYMOUS:
                self._refused(who, "socket", signed_out())
                raise signed_out()
            if self._standing_by is not None:
                rights.require(self._brain.access, who, "signed_in")
        except BrainError as exc:
            raise ConnectionRefusedError(exc.message(lang), exc.body(lang)) from exc
        self._clients[sid] = _Client(environ[engine.SESSION], who)
        metrics.SOCKETS.inc()
        return True

    def disconnect(self, sid: str, _reason: str = "") -> None:
        """A client left: turns that nobody follows any more get 30 s for somebody to come back."""
        client = self._clients.pop(sid, None)
        if client is None:
            return
        client.gone = True
        metrics.SOCKETS.dec()
        for follower in client.followed.values():
            follower.stop()
            self._leave(follower.turn)
        for waiting in client.awaited.values():
            waiting.leave()

    def close_idle(self) -> None:
        """Close the connections that follow no answer: the process is about to end, and clients come back to the next one."""
        for client in tuple(self._clients.values()):
            if not client.followed:
                client.session.close()

    def _callers_of_clients(self) -> dict[str, Caller]:
        return {sid: client.caller for sid, client in self._clients.items()}

    def _end(self, sid: str) -> None:
        client = self._clients.get(sid)
        if client is not None:
            client.session.close()

    def _edge(self, event: str, model: type[BaseModel], handle: Callable[[_Client, Any], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """`handle` with its payload checked; whatever it raises becomes the acknowledgement's `error`."""
        need = rights.EVENTS.get(event)

        def handler(sid: str, payload: Any = None, *_more: Any) -> dict[str, Any]:
            client = self._clients[sid]
            metrics.SOCKET_EVENTS.labels(event).inc()
            try:
                if self._standing_by is not None:
                    self._standing_by.require(client.caller)
                rights.require(self._brain.access, client.caller, need)
                self._limits.require(client.caller)
                with tracing.span(f"socket {event}", kind="server"):
                    return handle(client, model.model_validate(payload))
            except ValidationError as exc:
                return invalid(exc).body(client.caller.lang)
            except Exception as exc:  # noqa: BLE001  # the edge: logged by as_brain_error
                error = as_brain_error(exc)
                self._refused(client.caller, "answer", error)
                return error.body(client.caller.lang)

        return handler

    def _caller(self, environ: dict[str, Any], lang: Lang, *, key: str = "") -> Caller:
        """Who connects. Raises BrainError, which is written down."""
        try:
            return self._callers.of(environ, lang, key=key)
        except BrainError as exc:
            self._refused(Caller(ANONYMOUS, ANONYMOUS, address=str(environ.get("REMOTE_ADDR") or "")), "socket", exc)
            raise

    def _chat(self, client: _Client, body: schemas.SocketChat) -> dict[str, Any]:
        options = body.options.model_dump(exclude_none=True) if body.options else {}
        ask = Ask(body.message, conversation_id=body.conversation_id, model=body.model or "", knowledge_bases=body.knowledge_bases, options=options)
        turn = self._brain.chat.begin(client.caller, ask)
        self._follow(client, turn, after_seq=-1)
        _spawn(self._run, turn)  # from the next round of the loop on: after the acknowledgement
        return {"conversation_id": turn.conversation_id, "message_id": turn.message_id}

    def _stop(self, client: _Client, body: schemas.SocketStop) -> dict[str, Any]:
        return {"stopped": self._brain.chat.stop(client.caller, body.message_id)}

    def _resume(self, client: _Client, body: schemas.SocketResume) -> dict[str, Any]:
        turn = self._brain.chat.turns.get(body.message_id)
        if turn is not None and turn.caller.id == client.caller.id and not self._brain.chat.replayable(client.caller, turn):
            turn.cancellation.cancel()  # what it stands on may not be seen any more
            turn = None
        if turn is None:
            message = self._brain.chat.conversations.message(client.caller, body.message_id)
            if self._brain.chat.elsewhere.may_run(message):
                _spawn(self._await_end, client, message, body.after_seq)
            else:
                _spawn(client.session.wire.write, _ending(message, client.caller.lang))
        elif turn.caller.id != client.caller.id:
            raise _unknown_message()
        else:
            _spawn(self._follow, client, turn, body.after_seq)
        return {"message_id": body.message_id}

    def _await_end(self, client: _Client, message: StoredMessage, after_seq: int) -> None:
        """Wait for a turn of another process, and write what a client that has the delta `after_seq` lacks: sources, and the whole answer."""
        chat, wire, lang = self._brain.chat, client.session.wire, client.caller.lang
        if (before := client.awaited.pop(message.id, None)) is not None:
            before.leave()
        if client.gone:  # it left before this greenlet began
            return
        waiting = client.awaited[message.id] = Waiting(message.id)

        def running() -> bool:
            nonlocal message
            message = chat.conversations.message(client.caller, message.id)
            return message.status == "running"

        try:
            if chat.elsewhere.until_ended(waiting, running):
                if message.answer is not None and message.answer.citations and after_seq < 0:
                    wire.write(_event("chat:sources", {"message_id": message.id, "citations": [render.citation(x) for x in message.answer.citations]}))
                wire.write(_ending(message, lang))
        except Exception as exc:  # noqa: BLE001  # the edge: logged by as_brain_error
            error = as_brain_error(exc)
            wire.write(_event("chat:error", {"message_id": message.id, "code": error.code, "message": error.message(lang)}))
        finally:
            if client.awaited.get(message.id) is waiting:
                del client.awaited[message.id]

    def _follow(self, client: _Client, turn: Turn, after_seq: int) -> None:
        if client.gone:
            self._leave(turn)
            return
        message_id = turn.message_id
        if (before := client.followed.pop(message_id, None)) is not None:
            before.stop()

        def ended() -> None:
            client.followed.pop(message_id, None)

        follower = Follower(turn, client.session.wire, _renderer(turn, client.caller.lang), after_seq=after_seq, ended=ended)
        client.followed[message_id] = follower
        follower.start()

    def _run(self, turn: Turn) -> None:
        begun = time.perf_counter()
        logs.bind(conversation_id=turn.conversation_id)
        metrics.STREAMS.labels("socket").inc()
        try:
            for _ in counted(self._brain.chat.answer(turn), "socket"):
                pass
        except Exception as exc:
            log.error("turn_failed", message_id=turn.message_id, exc_info=exc)
        finally:
            metrics.STREAMS.labels("socket").dec()
            log.info("stream", transport="socket", message_id=turn.message_id, took_ms=round((time.perf_counter() - begun) * 1e3, 1))

    def _leave(self, turn: Turn) -> None:
        if not turn.finished and not turn.followed:
            self._left_at[turn.message_id] = time.monotonic()
            _spawn_later(GRACE_S, self._abandon, turn)

    def _abandon(self, turn: Turn) -> None:
        left_at = self._left_at.get(turn.message_id)
        if left_at is None or time.monotonic() - left_at < GRACE_S - 1:
            return  # somebody came back and left again: a later timer decides
        if (awaited_s := turn.awaited_until - time.monotonic()) > 0 and not turn.finished:
            _spawn_later(awaited_s, self._abandon, turn)
            return
        del self._left_at[turn.message_id]
        if not turn.finished and not turn.followed:
            turn.cancellation.cancel()


def _renderer(turn: Turn, lang: Lang) -> Callable[[StreamEvent], bytes]:
    """Events of a turn as websocket frames; a delta's is a fixed prefix, its number, and its text as JSON."""
    head = b'42["chat:delta",{"message_id":"%b","seq":' % turn.message_id.encode()

    def frame(event: StreamEvent) -> bytes:
        if type(event) is Delta:
            return text_frame(b'%b%d,"text":%b}]' % (head, event.seq, orjson.dumps(event.text)))
        name, payload = event_payload(turn, event, lang)
        return _event(f"chat:{name}", payload)

    return frame


def _ending(message: StoredMessage, lang: Lang) -> bytes:
    """The end of a turn that this process does not run, as far as it is stored."""
    if message.answer is not None:
        return _event("chat:done", render.answer(message.answer))
    error = message.error or {}
    text = error.get(lang) or error.get("message") or message.status
    return _event("chat:error", {"message_id": message.id, "code": error.get("code", "interrupted"), "message": text})


def _event(name: str, payload: dict[str, Any]) -> bytes:
    return text_frame(b"42" + orjson.dumps([name, payload]))


def _unknown_message() -> NotFound:
    return NotFound("message_not_found", zh="没有这条消息，或它已被删除。", en="There is no such message, or it was deleted.", param="message_id")


def _spawn(function: Callable[..., Any], *args: Any) -> None:
    import gevent

    gevent.spawn(function, *args)


def _spawn_later(seconds: float, function: Callable[..., Any], *args: Any) -> None:
    import gevent

    gevent.spawn_later(seconds, function, *args)
