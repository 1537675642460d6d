"""Signing in and out, one's own password and one-time codes, and the set-up of a new brain, under /api."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain import logs
from qzbrain.auth.access import ANONYMOUS, LOCAL_USER
from qzbrain.auth.sso.provider import KEPT_FOR_S, Provider
from qzbrain.brain import Brain
from qzbrain.domain import LEVELS, Caller
from qzbrain.errors import BrainError, Conflict, InvalidRequest, NotFound, PermissionRefused
from qzbrain.web import account_shapes as shapes
from qzbrain.web import replies
from qzbrain.web.callers import Callers
from qzbrain.web.guards import caller
from qzbrain.web.responses import no_content, reply
from qzbrain.web.validation import validated

log = logs.get(__name__)

LANGUAGES = ("zh", "en")


def routes(brain: Brain, callers: Callers) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("session", __name__, url_prefix="/api", abp_tags=[Tag(name="accounts")])
    _session(api, brain, callers)
    _provider(api, brain, callers)
    _own_account(api, brain, callers)
    return api


def _session(api: APIBlueprint, brain: Brain, callers: Callers) -> None:
    @api.get("/session", responses={"200": shapes.SessionReply})
    def get_session() -> Response:
        """Who asks; also to who is not signed in."""
        return reply(_shown(brain, caller(brain.access).id))

    @api.post("/session", responses={"200": shapes.SessionReply, "401": replies.ErrorReply, "429": replies.ErrorReply})
    @validated
    def sign_in(body: shapes.SignInBody) -> Response:
        """Sign in; the session comes as a cookie. 401 `totp_required` asks for a one-time code beside the password."""
        if not brain.settings.accounts:
            raise _accounts_off()
        before = caller(brain.access)
        token, user_id = brain.accounts.sign_in.sign_in(
            body.username, body.password, code=body.totp, address=before.address, agent=request.headers.get("User-Agent", "")
        )
        if before.session_id:
            brain.sessions.close(before.session_id)
        return _signed_in(brain, callers, token, user_id)

    @api.delete("/session", responses={"204": None})
    def sign_out() -> Response:
        """Sign out; also right when nobody is signed in."""
        who = caller(brain.access)
        if who.session_id:
            brain.sessions.close(who.session_id)
        done = no_content()
        callers.keep(done, "")
        return done

    @api.post("/setup", responses={"201": shapes.SessionReply, "404": replies.ErrorReply, "409": replies.ErrorReply})
    @validated
    def set_up(body: shapes.SetupBody) -> Response:
        """Make the first administrator, with the token of the link that the start printed; he is signed in."""
        user_id = brain.accounts.setup.finish(body.token, body.username, body.password)
        token = brain.sessions.open(user_id, address=caller(brain.access).address, agent=request.headers.get("User-Agent", ""))
        return _signed_in(brain, callers, token, user_id, 201)

    @api.post("/session/link", responses={"200": shapes.LinkUsed, "404": replies.ErrorReply})
    @validated
    def choose_password(body: shapes.LinkBody) -> Response:
        """Choose a password with the token of a one-time link; ends all the user's sessions. Then sign in."""
        return reply({"username": brain.accounts.sign_in.choose_password(body.token, body.password)})


def _provider(api: APIBlueprint, brain: Brain, callers: Callers) -> None:
    kept, path = f"qzbrain_oidc_{brain.settings.qzbrain_port}", "/api/session/oidc"

    def callback() -> str:
        return f"{request.url_root.rstrip('/')}{path}/callback"

    @api.get("/session/oidc", responses={"302": None, "404": replies.ErrorReply})
    def to_provider() -> Response:
        """Send the browser to the identity provider."""
        begun = _known(brain).begin(callback())
        sent = _redirect(begun.address)
        sent.set_cookie(kept, begun.kept, max_age=KEPT_FOR_S, httponly=True, samesite="Lax", secure=request.scheme == "https", path=path)
        return sent

    @api.get("/session/oidc/callback", responses={"302": None, "404": replies.ErrorReply})
    @validated
    def from_provider(query: shapes.ProviderQuery) -> Response:
        """Where the provider sends the browser back: signed in, or to the sign-in page, which says why not (`?failed=CODE`)."""
        provider = _known(brain)
        try:
            profile = provider.finish(request.cookies.get(kept, ""), state=query.state, code=query.code, callback=callback())
            row = brain.accounts.recognised(profile)
        except BrainError as exc:
            log.warning("not_signed_in", code=exc.code, reason=exc.en)
            brain.audit.record(None, caller(brain.access), "session.sign_in", "", outcome="refused", details={"by": "oidc", "code": exc.code})
            back = _redirect(f"/?failed={exc.code}")
        else:
            back = _redirect("/")
            agent = request.headers.get("User-Agent", "")
            before = caller(brain.access)
            callers.keep(back, brain.accounts.sign_in.welcome(row, address=before.address, agent=agent))
            who = Caller(row.id, row.name, before.lang, address=before.address)
            brain.audit.record(None, who, "session.sign_in", row.id, outcome="done", details={"by": "oidc"})
        back.delete_cookie(kept, httponly=True, samesite="Lax", secure=request.scheme == "https", path=path)
        return back


def _redirect(address: str) -> Response:
    return Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})


def _known(brain: Brain) -> Provider:
    """The identity provider. Raises NotFound (`no_provider`)."""
    found = brain.accounts.provider if brain.settings.accounts else None
    if found is None:
        raise NotFound(
            "no_provider",
            zh="没有设置统一身份认证（OIDC_ISSUER）。请用用户名和密码登录。",
            en="No identity provider is set (OIDC_ISSUER). Sign in by name and password.",
        )
    return found


def _own_account(api: APIBlueprint, brain: Brain, callers: Callers) -> None:
    @api.post("/session/password", responses={"204": None, "401": replies.ErrorReply, "429": replies.ErrorReply})
    @validated
    def change_password(body: shapes.PasswordBody) -> Response:
        """Change one's own password; ends the other sessions."""
        who = _own(brain)
        brain.accounts.sign_in.change_password(who.id, who.session_id, body.old, body.new, who.address)
        return no_content()

    @api.get("/session/all", responses={"200": replies.page_of(shapes.OwnSession)})
    def own_sessions() -> Response:
        """One's own sessions, latest first."""
        who = _own(brain)
        found = [
            {"id": one.id, "created_at": _time(one.created_at), "seen_at": _time(one.seen_at), "address": one.address, "agent": one.agent,
             "current": one.id == who.session_id}
            for one in brain.sessions.of(who.id)
        ]  # fmt: skip
        return reply({"data": found, "has_more": False, "next": None})

    @api.delete("/session/all", responses={"200": shapes.Ended})
    def sign_out_everywhere() -> Response:
        """End all one's own sessions, this one too."""
        who = _own(brain)
        done = reply({"ended": brain.sessions.close_all(who.id)})
        callers.keep(done, "")
        return done

    @api.post("/session/totp", responses={"200": shapes.TotpReply, "401": replies.ErrorReply, "409": replies.ErrorReply})
    @validated
    def turn_codes_on(body: shapes.TotpBody) -> Response:
        """With `password`: a secret for the app. With `code`, the first one: codes are asked from then on, and recovery codes are shown."""
        who = _own(brain)
        shown: dict[str, Any] = {"secret": None, "uri": None, "recovery_codes": None}
        if (body.password is None) == (body.code is None):
            raise InvalidRequest(
                zh="请给出 password（开始）或 code（确认）之一。", en="Give just one of password (to begin) and code (to confirm).", param="code"
            )
        if body.password is not None:
            row = brain.accounts.sign_in.require_password(who.id, body.password, who.address)
            shown["secret"], shown["uri"] = brain.accounts.codes.begin(who.id, row.name)
        else:
            shown["recovery_codes"] = brain.accounts.codes.confirm(who.id, body.code or "")
        return reply(shown)

    @api.delete("/session/totp", responses={"204": None, "401": replies.ErrorReply})
    @validated
    def turn_codes_off(body: shapes.TotpEndBody) -> Response:
        """Have one-time codes asked no more; wants the password."""
        who = _own(brain)
        brain.accounts.sign_in.require_password(who.id, body.password, who.address)
        brain.accounts.codes.end(who.id)
        return no_content()


def _signed_in(brain: Brain, callers: Callers, token: str, user_id: str, status: int = 200) -> Response:
    done = reply(_shown(brain, user_id), status)
    callers.keep(done, token)
    return done


def _shown(brain: Brain, user_id: str) -> dict[str, Any]:
    user, must_change = None, False
    if user_id == LOCAL_USER:
        user = {"id": LOCAL_USER, "username": LOCAL_USER, "display_name": "", "role": "administrator", "clearance": LEVELS[-1], "totp": False, "groups": []}
    elif user_id != ANONYMOUS:
        found = brain.accounts.users.user(Caller(user_id, ""), user_id)
        must_change = found.must_change
        user = {
            "id": found.id, "username": found.username, "display_name": found.display_name, "role": found.role, "clearance": found.clearance,
            "totp": found.totp, "groups": [{"id": one, "name": name} for one, name in found.groups],
        }  # fmt: skip
    accounts = brain.settings.accounts
    return {
        "accounts": accounts,
        "signed_in": user is not None,
        "user": user,
        "must_change": must_change,
        "setup_needed": accounts and user is None and brain.accounts.setup.needed(),
        "oidc": accounts and bool(brain.settings.oidc_issuer),
        "languages": list(LANGUAGES),
    }


def _own(brain: Brain) -> Caller:
    """Who is signed in with a browser. Raises Conflict (`accounts_off`), PermissionRefused (`session_needed`)."""
    who = caller(brain.access)
    if who.id == LOCAL_USER:
        raise _accounts_off()
    if not who.session_id:
        raise PermissionRefused(
            "session_needed",
            zh="API 密钥不能更改账号本身。请在浏览器中登录后操作。",
            en="An API key cannot change the account itself. Sign in with a browser.",
        )
    return who


def _accounts_off() -> BrainError:
    return Conflict(
        "accounts_off",
        zh="当前为本机单用户模式，不需要登录。如要启用账号，请设置 QZBRAIN_ACCOUNTS=on 后重新启动。",
        en="This brain has one local user and no sign-in. To use accounts, set QZBRAIN_ACCOUNTS=on and start it again.",
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:26] + "Z"
