"""Users, groups, API keys, and rights in knowledge bases, under /api."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.auth.grants import Grant
from qzbrain.auth.links import LIVES_S
from qzbrain.auth.setup import address
from qzbrain.brain import Brain
from qzbrain.domain import Page
from qzbrain.web import account_render as render
from qzbrain.web import account_shapes as shapes
from qzbrain.web import replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.render import page
from qzbrain.web.responses import no_content, reply
from qzbrain.web.validation import validated

T = TypeVar("T")


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("accounts", __name__, url_prefix="/api", abp_tags=[Tag(name="accounts")])
    _users(api, brain)
    _groups(api, brain)
    _keys(api, brain)
    _rights(api, brain)
    return api


def _users(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/users", responses={"200": replies.page_of(shapes.UserReply)})
    @validated
    def list_users(query: schemas.ListQuery) -> Response:
        """Users, by name. Who may give rights and is no administrator sees only what they are called."""
        found = brain.accounts.users.users(caller(brain.access))
        return reply(page(_piece(found, query, lambda one: one.username), render.user))

    @api.post("/users", responses={"201": shapes.UserReply, "409": replies.ErrorReply})
    @validated
    def create_user(body: shapes.UserCreate) -> Response:
        """Make a user."""
        given = body.model_dump()
        return reply(render.user(brain.accounts.users.create(caller(brain.access), name=given.pop("username"), **given)), 201)

    @api.get("/users/<user>", responses={"200": shapes.UserReply})
    @validated
    def get_user(path: shapes.UserPath) -> Response:
        """One user."""
        return reply(render.user(brain.accounts.users.user(caller(brain.access), path.user)))

    @api.patch("/users/<user>", responses={"200": shapes.UserReply, "409": replies.ErrorReply})
    @validated
    def update_user(path: shapes.UserPath, body: shapes.UserUpdate) -> Response:
        """Change a user; what takes rights away holds at once."""
        given = body.model_dump(exclude_none=True)
        if "username" in given:
            given["name"] = given.pop("username")
        return reply(render.user(brain.accounts.users.update(caller(brain.access), path.user, **given)))

    @api.delete("/users/<user>", responses={"204": None, "409": replies.ErrorReply})
    @validated
    def delete_user(path: shapes.UserPath) -> Response:
        """Remove a user; sessions and keys end at once."""
        brain.accounts.users.delete(caller(brain.access), path.user)
        return no_content()

    @api.post("/users/<user>/link", responses={"201": shapes.LinkReply})
    @validated
    def make_link(path: shapes.UserPath) -> Response:
        """A one-time link with which the user chooses a password, good for a day; those before it are good no more."""
        token = brain.accounts.users.link(caller(brain.access), path.user)
        return reply({"url": address(brain.settings, "password", token), "token": token, "expires_in_s": int(LIVES_S)}, 201)

    @api.post("/users/<user>/sign-out", responses={"200": shapes.Ended})
    @validated
    def sign_user_out(path: shapes.UserPath) -> Response:
        """End all sessions of a user."""
        return reply({"ended": brain.accounts.users.sign_out(caller(brain.access), path.user)})


def _groups(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/groups", responses={"200": replies.page_of(shapes.GroupReply)})
    @validated
    def list_groups(query: schemas.ListQuery) -> Response:
        """Groups, by name; administrators see their members."""
        found = brain.accounts.groups.groups(caller(brain.access))
        return reply(page(_piece(found, query, lambda one: one.name), render.group))

    @api.post("/groups", responses={"201": shapes.GroupReply, "409": replies.ErrorReply})
    @validated
    def create_group(body: shapes.GroupCreate) -> Response:
        """Make a group."""
        return reply(render.group(brain.accounts.groups.create(caller(brain.access), **body.model_dump())), 201)

    @api.get("/groups/<group>", responses={"200": shapes.GroupReply})
    @validated
    def get_group(path: shapes.GroupPath) -> Response:
        """One group."""
        return reply(render.group(brain.accounts.groups.group(caller(brain.access), path.group)))

    @api.patch("/groups/<group>", responses={"200": shapes.GroupReply, "409": replies.ErrorReply})
    @validated
    def update_group(path: shapes.GroupPath, body: shapes.GroupUpdate) -> Response:
        """Change a group, or who is in it."""
        return reply(render.group(brain.accounts.groups.update(caller(brain.access), path.group, **body.model_dump(exclude_none=True))))

    @api.delete("/groups/<group>", responses={"204": None})
    @validated
    def delete_group(path: shapes.GroupPath) -> Response:
        """Remove a group with the rights that it was given."""
        brain.accounts.groups.delete(caller(brain.access), path.group)
        return no_content()


def _keys(api: APIBlueprint, brain: Brain) -> None:
    def named(found: Sequence[Any]) -> list[dict[str, Any]]:
        return render.keys(found, brain.accounts.users.names([one.user_id for one in found]))

    @api.get("/api-keys", responses={"200": replies.page_of(shapes.KeyReply)})
    @validated
    def list_keys(query: shapes.KeyQuery) -> Response:
        """One's own keys; administrators may see a user's, or everybody's."""
        found = brain.accounts.keyring.keys(caller(brain.access), everybody=query.all, user=query.user)
        return reply({"data": named(found), "has_more": False, "next": None})

    @api.post("/api-keys", responses={"201": shapes.KeyMade, "409": replies.ErrorReply})
    @validated
    def create_key(body: shapes.KeyCreate) -> Response:
        """Make a key; `key` is shown this once."""
        made, secret = brain.accounts.keyring.create(caller(brain.access), **body.model_dump())
        return reply({**named([made])[0], "key": secret}, 201)

    @api.get("/api-keys/<key_id>", responses={"200": shapes.KeyReply})
    @validated
    def get_key(path: shapes.KeyPath) -> Response:
        """One key."""
        return reply(named([brain.accounts.keyring.key(caller(brain.access), path.key_id)])[0])

    @api.patch("/api-keys/<key_id>", responses={"200": shapes.KeyReply})
    @validated
    def update_key(path: shapes.KeyPath, body: shapes.KeyUpdate) -> Response:
        """Change what a key is called and what it may."""
        return reply(named([brain.accounts.keyring.update(caller(brain.access), path.key_id, **body.model_dump(exclude_none=True))])[0])

    @api.delete("/api-keys/<key_id>", responses={"204": None})
    @validated
    def delete_key(path: shapes.KeyPath) -> Response:
        """End a key at once."""
        brain.accounts.keyring.delete(caller(brain.access), path.key_id)
        return no_content()


def _rights(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/knowledge-bases/<kb>/rights", responses={"200": shapes.RightsReply})
    @validated
    def get_rights(path: schemas.KnowledgeBasePath) -> Response:
        """Who may what in a knowledge base, and its level."""
        return reply(render.rights(brain.accounts.grants.of(caller(brain.access), path.kb)))

    @api.put("/knowledge-bases/<kb>/rights", responses={"200": shapes.RightsReply})
    @validated
    def put_rights(path: schemas.KnowledgeBasePath, body: shapes.RightsBody) -> Response:
        """Set who may what, and the level; what is left out stays as it is."""
        grants = None if body.grants is None else [Grant(one.right, user=one.user or "", group=one.group or "") for one in body.grants]
        return reply(render.rights(brain.accounts.grants.put(caller(brain.access), path.kb, grants=grants, level=body.level)))


def _piece(found: Sequence[T], query: schemas.ListQuery, name: Callable[[T], str]) -> Page[T]:
    rest = [one for one in found if query.after is None or name(one) > query.after]
    shown = rest[: query.limit]
    more = len(rest) > len(shown)
    return Page(tuple(shown), more, name(shown[-1]) if more else None)
