"""Jobs and the state of the installation under /api."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.ops.doctor_apart import report_apart
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("admin", __name__, url_prefix="/api", abp_tags=[Tag(name="administration")])

    @api.get("/jobs", responses={"200": replies.page_of(replies.JobReply)})
    @validated
    def list_jobs(query: schemas.StatusQuery) -> Response:
        """Background jobs, newest first."""
        who = caller(brain.access)
        return reply(render.page(brain.knowledge.jobs(who, query.status, query.limit, query.after), lambda one: render.job(one, who.lang)))

    @api.post("/jobs/<job_id>/retry", responses={"200": replies.JobReply, "409": replies.ErrorReply})
    @validated
    def retry_job(path: schemas.JobPath) -> Response:
        """Run a failed or cancelled job again."""
        who = caller(brain.access)
        return reply(render.job(brain.knowledge.retry_job(who, path.job_id), who.lang))

    @api.post("/jobs/<job_id>/cancel", responses={"200": replies.JobReply, "409": replies.ErrorReply})
    @validated
    def cancel_job(path: schemas.JobPath) -> Response:
        """Stop a pending or running job."""
        who = caller(brain.access)
        return reply(render.job(brain.knowledge.cancel_job(who, path.job_id), who.lang))

    @api.get("/system/doctor", responses={"200": replies.DoctorReply})
    def doctor() -> Response:
        """Each step of the deployment manual, checked: what was seen, and what to do next; and this installation at a glance."""
        return reply(report_apart(brain.settings, caller(brain.access).lang))

    return api
