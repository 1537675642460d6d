"""The models by name: those of the configuration, in its order, and the built-in extractive answerer, always there and last.

Knows whether an engine could be reached lately; does not know who asks, slots or queues (chat/admission.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qzbrain.errors import EngineUnavailable, NotFound
from qzbrain.models.base import Cancellation, Generation, Piece
from qzbrain.models.catalog import all_models, embedder_name
from qzbrain.models.openai_client import OpenAIChatModel
from qzbrain.settings import ModelSettings, Settings

if TYPE_CHECKING:
    from qzbrain.models.engines.on_demand import OnDemandEngines

EXTRACTIVE = "extractive"
AUTO = "auto"
HEALTH_KEPT_S = 10.0
"""How long a success or a failure is believed before the engine is tried again."""
PROBE_TIMEOUT_S = 0.5
DYING_S = 0.5

Status = Literal["ready", "starting", "stopped", "failed", "draining"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model as the list of models shows it; `reason_*` say why it is not ready."""

    name: str
    engine: str
    status: Status
    reason_zh: str
    reason_en: str
    devices: str
    slots: int
    kind: str = "chat"


class RegisteredModel:
    """A configured chat model with what is known of its health. A ChatModel itself."""

    def __init__(self, name: str, settings: ModelSettings, engines: OnDemandEngines | None = None) -> None:
        self.name = name
        self.settings = settings
        self._engines = engines if engines is not None and engines.manages(name) else None
        self._client = OpenAIChatModel(name, settings) if settings.engine == "external" else None
        self._where = ("", "")
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
        if time.monotonic() < self._known_until:
            return self._failure
        if self._engines is not None and self._engines.running(self.name) is None:
            self._failure = None  # asleep, or its last start failed a while ago: the next question starts it
        elif (client := self._current() if self._engines is not None else self._client) is not None:
            try:
                client.probe(min(PROBE_TIMEOUT_S, self.settings.connect_timeout_s))
            except EngineUnavailable as exc:
                self.report(exc)
            else:
                self.report(None)
        return self._failure

    def _pieces(self, generation: Generation, cancellation: Cancellation) -> Iterator[Piece]:
        """What the engine says. A local one that ended before it said anything is started again and asked once more, at its new address."""
        client = self._current()
        try:
            yield from client.generate(generation, cancellation)
            return
        except EngineUnavailable as exc:
            if exc.sent_chars or exc.request_refused or exc.engine_full or not self._is_gone():
                raise
            again = self._current()
        yield from again.generate(generation, cancellation)

    def _is_gone(self) -> bool:
        """Whether the local engine that was asked has ended. A connection breaks some moments before its process is seen to be dead."""
        if self._engines is None:
            return False
        end = time.monotonic() + DYING_S
        while (running := self._engines.running(self.name)) is not None and f"{running.url}/v1" == self._where[0]:
            if time.monotonic() >= end:
                return False
            time.sleep(DYING_S / 50)
        return True

    def _current(self) -> OpenAIChatModel:
        """The client for where the engine listens now; one that is asleep is started. Raises EngineUnavailable."""
        if self._engines is not None:
            where = (self._engines.address(self.name, timeout_s=self.settings.first_token_timeout_s), self._engines.key(self.name))
            if self._client is None or where != self._where:
                at = self.settings.model_copy(update={"base_url": where[0], "api_key": where[1]})
                self._client, self._where = OpenAIChatModel(self.name, at), where
        if self._client is None:
            raise _no_local_engine(self.name)
        return self._client

    def report(self, failure: EngineUnavailable | None) -> None:
        """The engine worked (None), or did not. Believed for ten seconds: `auto` passes over one that failed."""
        self._failure = failure
        self._known_until = time.monotonic() + HEALTH_KEPT_S


class ModelRegistry:
    """Name → model. Thread-safe: nothing changes after it is made but each model's health."""

    def __init__(self, settings: Settings, engines: OnDemandEngines | None = None) -> None:
        """`engines`: those of this machine; without them only external models can answer."""
        self._configured = dict(settings.models)
        if (built_in := embedder_name(settings)) and built_in not in self._configured and built_in in (known := all_models(settings)):
            self._configured[built_in] = known[built_in]
        self._engines = engines
        self._all = {
            name: RegisteredModel(name, model, engines)
            for name, model in self._configured.items()
            if model.alive and model.engine != EXTRACTIVE and name != EXTRACTIVE
        }
        self._models = {name: model for name, model in self._all.items() if model.settings.kind == "chat"}

    def names(self) -> list[str]:
        """What a request may name, without knowledge bases: `auto`, the configured models in their order, `extractive`."""
        return [AUTO, *self._models, EXTRACTIVE]

    def language_models(self) -> list[str]:
        """The configured models alone, in their order."""
        return list(self._models)

    def chat_model(self, name: str) -> RegisteredModel:
        """The language model of this name. Raises NotFound (`model_not_found`)."""
        try:
            return self._models[name]
        except KeyError:
            raise unknown_model(name) from None

    def first_healthy(self) -> RegisteredModel | None:
        """What `auto` means now: the first language model whose engine is there; None when there is none."""
        return next((model for model in self._models.values() if model.failure() is None), None)

    def describe(self) -> list[ModelState]:
        """All models of the configuration with their state, then the extractive answerer."""
        states = [self._state(name, model) for name, model in self._configured.items() if name != EXTRACTIVE]
        return [*states, ModelState(EXTRACTIVE, EXTRACTIVE, "ready", "", "", "", 0)]

    def _state(self, name: str, model: ModelSettings) -> ModelState:
        status, zh, en = self._health(name, model)
        return ModelState(name, model.engine, status, zh, en, model.devices, model.slots, model.kind)

    def _health(self, name: str, model: ModelSettings) -> tuple[Status, str, str]:
        if not model.alive:
            return "stopped", "配置中 alive = false。", "alive = false in the configuration."
        if model.engine == EXTRACTIVE:
            return "ready", "", ""
        failure = self._all[name].failure()
        if failure is None and self._engines is not None and self._engines.manages(name) and self._engines.running(name) is None:
            return "ready", "引擎休眠中，第一次使用会启动它。", "The engine is asleep; the first use starts it."
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
        zh=f"模型 {name} 的引擎不由本程序启动（目前只启动 llamacpp）。请自行启动引擎，并以 engine = \"external\" 和 base_url 配置。",
        en=f'The engine of the model {name} is not one that this program starts (llamacpp is the only one so far). '
        'Start it yourself and configure it with engine = "external" and base_url.',
    )
