"""The models by name: those of the configuration, in its order, and the built-in extractive answerer, always there and last.

Knows whether an engine could be reached lately; does not know who asks, slots or queues (chat/admission.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from qzbrain.errors import EngineUnavailable, NotFound
from qzbrain.models.base import Cancellation, Generation, Piece
from qzbrain.models.catalog import all_models, embedder_name
from qzbrain.models.engines.launching import devices, unavailable
from qzbrain.models.openai_client import OpenAIChatModel
from qzbrain.settings import ModelSettings, Settings

if TYPE_CHECKING:
    from qzbrain.models.engines.local import LocalEngines

EXTRACTIVE = "extractive"
AUTO = "auto"
HEALTH_KEPT_S = 10.0
"""How long a success or a failure is believed before the engine is tried again."""
PROBE_TIMEOUT_S = 0.5
DYING_S = 3.0
"""Longest wait for the end of an engine whose connection broke: on a busy machine a killed process takes its time to die."""
_POLL_S = 0.01
WORTH_WAITING_S = 15.0
"""`auto` waits for an engine that comes back within this time rather than answer without it."""

Status = Literal["ready", "starting", "stopped", "failed", "draining"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model as the list of models shows it; `reason_*` say why it is not ready, or what is odd about one that is.

    `local`: its engine runs on this machine and can be started and stopped. `answered_by`: who answers for one that was swapped out.
    """

    name: str
    engine: str
    status: Status
    reason_zh: str
    reason_en: str
    devices: str
    slots: int
    kind: str = "chat"
    local: bool = False
    on_demand: bool = False
    asleep: bool = False
    context: int = 0
    answered_by: str = ""
    expected_s: float = 0.0
    restarts: int = 0


class RegisteredModel:
    """A configured chat model with what is known of its health. A ChatModel itself."""

    def __init__(self, name: str, settings: ModelSettings, engines: LocalEngines | None = None) -> None:
        self.name = name
        self.settings = settings
        self._engines = engines if engines is not None and engines.manages(name) else None
        self._client = OpenAIChatModel(name, settings) if settings.engine == "external" else None
        usable = self._client is not None or self._engines is not None
        self._failure: EngineUnavailable | None = None if usable else _no_local_engine(name)
        self._known_until = 0.0 if usable else float("inf")

    def generate(self, generation: Generation, cancellation: Cancellation) -> Iterator[Piece]:
        """See ChatModel; remembers whether the engine worked. One that is full says nothing about that: see `report`."""
        try:
            yield from self._pieces(generation, cancellation)
        except EngineUnavailable as exc:
            if not exc.engine_full:
                self.report(None if exc.request_refused else exc)
            raise
        self.report(None)

    def failure(self) -> EngineUnavailable | None:
        """Why the engine is away, None when it is there. What is older than ten seconds is found out by connecting (0.5 s at most)."""
        if self._engines is not None:
            asleep, failure = self._local_failure(self._engines)
            if failure is not None:
                return failure
            if asleep and time.monotonic() >= self._known_until:
                self._failure = None  # asleep, or its last start failed a while ago: the next question starts it
                return None
        if time.monotonic() < self._known_until:
            return self._failure
        if (client := self._current() if self._engines is not None else self._client) is not None:
            try:
                client.probe(min(PROBE_TIMEOUT_S, self.settings.connect_timeout_s))
            except EngineUnavailable as exc:
                self.report(exc)
            else:
                self.report(None)
        return self._failure

    def starting_s(self) -> tuple[float, float]:
        """How long its engine may still take to start, and about how long it will; 0 and 0 when it is ready. 0 for what nobody knows."""
        if self._engines is None or (now := self._engines.state(self.name)).state != "starting":
            return 0.0, 0.0
        swap = self._engines.wishes().swap
        swapped_in = swap is not None and swap.new == self.name
        return max(now.expected_s, self.settings.start_timeout_s if swapped_in else self.settings.first_token_timeout_s), now.expected_s

    def _local_failure(self, engines: LocalEngines) -> tuple[bool, EngineUnavailable | None]:
        """Whether the engine is not up but there for whoever asks, and why it is not there. One that starts counts as there when it is worth waiting for."""
        now = engines.state(self.name)
        if now.state == "ready":
            return now.asleep, None
        swap = engines.wishes().swap
        if now.state == "starting" and ((swap is not None and swap.new == self.name) or 0 < now.expected_s <= WORTH_WAITING_S):
            self._known_until = 0.0
            return True, None
        return False, unavailable(self.name, now.zh.rstrip("。"), now.en.rstrip("."))

    def _pieces(self, generation: Generation, cancellation: Cancellation) -> Iterator[Piece]:
        """What the engine says. A local one that ended before it said anything is started again and asked once more, at its new address."""
        client = self._current(cancellation)
        try:
            yield from client.generate(generation, cancellation)
            return
        except EngineUnavailable as exc:
            if exc.sent_chars or exc.request_refused or exc.engine_full or not self._is_gone(client, exc):
                raise
            again = self._current(cancellation)
        yield from again.generate(generation, cancellation)

    def _is_gone(self, asked: OpenAIChatModel, failure: EngineUnavailable) -> bool:
        """Whether the local engine that was asked has ended. A connection breaks some moments before its process is seen to be dead."""
        if self._engines is None:
            return False
        end = time.monotonic() + (DYING_S if failure.connection_lost else 0.0)
        while (running := self._engines.running(self.name)) is not None and (f"{running.url}/v1", running.key) == asked.where:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_S)
        return True

    def _current(self, cancellation: Cancellation | None = None) -> OpenAIChatModel:
        """The client for where the engine listens now; one that is asleep is started. Raises EngineUnavailable, Cancelled."""
        if self._engines is not None:
            url = self._engines.address(self.name, timeout_s=self.settings.first_token_timeout_s, cancellation=cancellation)
            where = (url, self._engines.key(self.name))
            client = self._client
            if client is None or where != client.where:
                at = self.settings.model_copy(update={"base_url": where[0], "api_key": where[1]})
                client = self._client = OpenAIChatModel(self.name, at)
            return client
        if self._client is None:
            raise _no_local_engine(self.name)
        return self._client

    def report(self, failure: EngineUnavailable | None) -> None:
        """The engine worked (None), or did not. Believed for ten seconds: `auto` passes over one that failed."""
        self._failure = failure
        self._known_until = time.monotonic() + HEALTH_KEPT_S
        if failure is not None and self._engines is not None:
            self._engines.doubt(self.name)


class ModelRegistry:
    """Name → model. Thread-safe: what changes is each model's health, and which local ones take part (`engines.wishes`)."""

    def __init__(self, settings: Settings, engines: LocalEngines | None = None) -> None:
        """`engines`: those of this machine; without them only external models can answer."""
        self._settings = settings
        self._configured = all_models(settings)
        if (built_in := embedder_name(settings)) not in settings.models:
            self._configured = {name: model for name, model in self._configured.items() if name in settings.models or name == built_in}
        self._engines = engines
        self._all = {
            name: RegisteredModel(name, model, engines)
            for name, model in self._configured.items()
            if (model.alive or self._is_local(name)) and model.engine != EXTRACTIVE and name != EXTRACTIVE
        }
        self._models = {name: model for name, model in self._all.items() if model.settings.kind == "chat"}

    def names(self) -> list[str]:
        """What a request may name, without knowledge bases: `auto`, the models that take part in the configuration's order, `extractive`."""
        return [AUTO, *self.language_models(), EXTRACTIVE]

    def language_models(self) -> list[str]:
        """The configured models that take part, or for which another one answers, in their order."""
        return [name for name in self._models if self._takes_part(self._answering(name))]

    def knows(self, name: str) -> bool:
        """Whether a request may name it: those of `names`, and local models that were stopped, whose answer then says so."""
        asked = name in self._models and self._engines is not None and name in self._engines.wishes().wanted
        return asked or name in self.names()

    def chat_model(self, name: str) -> RegisteredModel:
        """The language model of this name, or the one that took its place. Raises NotFound (`model_not_found`)."""
        try:
            return self._models[self._answering(name)]
        except KeyError:
            raise unknown_model(name) from None

    def first_healthy(self) -> RegisteredModel | None:
        """What `auto` means now: the first language model whose engine is there; None when there is none."""
        running = (model for name, model in self._models.items() if self._takes_part(name))
        return next((model for model in running if model.failure() is None), None)

    def describe(self) -> list[ModelState]:
        """All models of the configuration with their state, then the extractive answerer."""
        states = [self._state(name, model) for name, model in self._configured.items() if name != EXTRACTIVE]
        return [*states, ModelState(EXTRACTIVE, EXTRACTIVE, "ready", "", "", "", 0)]

    def settings_of(self, name: str) -> ModelSettings:
        """A configured model. Raises NotFound."""
        try:
            return self._configured[name]
        except KeyError:
            raise unknown_model(name) from None

    def _is_local(self, name: str) -> bool:
        return self._engines is not None and self._engines.manages(name)

    def _takes_part(self, name: str) -> bool:
        model = self._configured[name]
        return self._engines.wishes().runs(name, model) if self._engines is not None and self._is_local(name) else model.alive

    def _answering(self, name: str) -> str:
        instead = self._engines.wishes().instead.get(name, "") if self._engines is not None else ""
        return instead if instead in self._models else name

    def _state(self, name: str, model: ModelSettings) -> ModelState:
        made = ModelState(name, model.engine, "ready", "", "", model.devices, model.slots, model.kind, on_demand=model.on_demand, context=model.context)
        if self._engines is None or not self._is_local(name):
            status, zh, en = self._health(name, model)
            return replace(made, status=status, reason_zh=zh, reason_en=en)
        now = self._engines.state(name)
        answering = self._answering(name)
        made = replace(
            made, status=now.state, reason_zh=now.zh, reason_en=now.en, devices=devices(self._settings, model), local=True, asleep=now.asleep,
            answered_by=answering if answering != name else "", expected_s=round(now.expected_s, 1), restarts=now.restarts,
        )  # fmt: skip
        if not self._takes_part(name) and name not in self._engines.wishes().wanted:
            return replace(made, reason_zh="配置中 alive = false。", reason_en="alive = false in the configuration.")
        if now.state == "ready" and (failure := self._all[name].failure()) is not None:
            return replace(made, status="failed", reason_zh=failure.zh, reason_en=failure.en)
        return made

    def _health(self, name: str, model: ModelSettings) -> tuple[Status, str, str]:
        if not model.alive:
            return "stopped", "配置中 alive = false。", "alive = false in the configuration."
        if model.engine == EXTRACTIVE:
            return "ready", "", ""
        failure = self._all[name].failure()
        return ("failed", failure.zh, failure.en) if failure else ("ready", "", "")


def unknown_model(name: str) -> NotFound:
    """The error for a model that is not configured."""
    shown = name[:80]
    return NotFound(
        "model_not_found",
        zh=f"没有名为“{shown}”的模型。可用的模型见 GET /v1/models；模型在 config.toml 的 [models.名称] 中配置。",
        en=f'There is no model "{shown}". GET /v1/models lists those that exist; models are configured in config.toml as [models.NAME].',
        param="model",
    )


def _no_local_engine(name: str) -> EngineUnavailable:
    return EngineUnavailable(
        zh=f"模型 {name} 的引擎在本机运行，但这里没有管理本机引擎的部分。",
        en=f"The engine of the model {name} runs on this machine, but nothing here manages this machine's engines.",
    )
