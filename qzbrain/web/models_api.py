"""Models under /api: their state, and starting, stopping, swapping and trying them."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import EngineUnavailable
from qzbrain.ops.engine_control import EngineControl
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    control = EngineControl(brain.settings, brain.models, brain.engines, keeps=True)
    api = APIBlueprint("models", __name__, url_prefix="/api", abp_tags=[Tag(name="administration")])

    @api.get("/models", responses={"200": replies.page_of(replies.ModelReply)})
    def list_models() -> Response:
        """The models of the configuration with their state."""
        who = caller(brain.access)
        models = [render.model(state, in_use, queued, who.lang) for state, in_use, queued in brain.chat.model_states()]
        return reply({"data": models, "has_more": False, "next": None})

    def one_model(name: str) -> Response:
        who = caller(brain.access)
        found = next(one for one in brain.chat.model_states() if one[0].name == name)
        return reply(render.model(*found, who.lang), 202)

    @api.post("/models/<model>/start", responses={"202": replies.ModelReply, "404": replies.ErrorReply, "409": replies.ErrorReply})
    @validated
    def start_model(path: schemas.ModelPath) -> Response:
        """Start a local model's engine; it stays wanted after a restart. GET /api/models tells how it goes."""
        caller(brain.access)
        control.start(path.model)
        return one_model(path.model)

    @api.post("/models/<model>/stop", responses={"202": replies.ModelReply, "404": replies.ErrorReply, "409": replies.ErrorReply})
    @validated
    def stop_model(path: schemas.ModelPath) -> Response:
        """Let running answers end, then stop the engine; it stays down after a restart."""
        caller(brain.access)
        control.stop(path.model)
        return one_model(path.model)

    @api.post("/models/<model>/swap", responses={"202": replies.ModelReply, "404": replies.ErrorReply, "409": replies.ErrorReply})
    @validated
    def swap_model(path: schemas.ModelPath, body: schemas.SwapBody) -> Response:
        """Have this model take the place of those that run on its devices. If it does not start, they come back."""
        caller(brain.access)
        control.swap(path.model, body.replace or ())
        return one_model(path.model)

    @api.post("/models/<model>/probe", responses={"200": replies.ProbeReply, "404": replies.ErrorReply})
    @validated
    def probe_model(path: schemas.ModelPath) -> Response:
        """One real call to a model; one whose engine is asleep is started."""
        who = caller(brain.access)
        try:
            took_s, reason = control.probe(path.model), ""
        except EngineUnavailable as exc:
            took_s, reason = 0.0, exc.message(who.lang)
        return reply({"name": path.model, "ok": not reason, "took_ms": round(took_s * 1e3, 1), "reason": reason})

    return api
