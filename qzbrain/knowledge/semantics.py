"""Whether a knowledge base is searched by meaning: its state for people, embedding it anew, and going back.

Knows rows and settings, no engine: the job `embed` does the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from qzbrain.auth.access import KbRef
from qzbrain.domain import utc_now
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.models.base import EmbeddingProfile
from qzbrain.models.catalog import all_models, embedder_name
from qzbrain.retrieval.spaces import Manifest, Space
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs, vector_spaces

Json = dict[str, Any]
KIND = "embed"
_SHOWN = (
    vector_spaces.c.kb_id,
    vector_spaces.c.status,
    vector_spaces.c.embedder,
    vector_spaces.c.width,
    vector_spaces.c.manifest,
    vector_spaces.c.reason_code,
    vector_spaces.c.reason_zh,
    vector_spaces.c.reason_en,
)
_JOB = (jobs.c.kb_id, jobs.c.status, jobs.c.progress_done, jobs.c.progress_total, jobs.c.result, jobs.c.reason_code, jobs.c.reason_zh, jobs.c.reason_en)


class Semantics:
    """Reads and changes which space a knowledge base uses."""

    def __init__(self, database: Database, runner: LeaseRunner, settings: Settings) -> None:
        self._db, self._jobs, self._settings = database, runner, settings

    def of(self, kb_ids: Sequence[str]) -> Mapping[str, Json]:
        """What `manifest` of each knowledge base says beside its chunk sizes.

        `state`: `active` (searched by meaning), `building`, `refused` (made by another embedder), `none`; with `reason` {code, zh, en}
        where there is one, and `progress` {done, total, unit, rate_per_s, eta_s} while vectors are missing.
        """
        spaces, work = dict[str, dict[str, Row[Any]]](), dict[str, Row[Any]]()
        for row in self._db.rows(select(*_SHOWN).where(vector_spaces.c.kb_id.in_(kb_ids)).order_by(vector_spaces.c.id)):
            spaces.setdefault(row.kb_id, {})[row.status] = row
        query = select(*_JOB).where(jobs.c.kb_id.in_(kb_ids), jobs.c.kind == KIND).order_by(jobs.c.id)
        for row in self._db.rows(query):
            work[row.kb_id] = row
        wanted = embedder_name(self._settings)
        return {kb_id: self._state(spaces.get(kb_id, {}), work.get(kb_id), wanted) for kb_id in kb_ids}

    def embed_later(self, connection: Connection, kb_id: str) -> None:
        """Chunks of a knowledge base are new: have them embedded, where there is an embedder."""
        if embedder_name(self._settings) in all_models(self._settings):
            submit_embedding(connection, self._jobs, kb_id)

    def reembed(self, ref: KbRef, *, embedder: str | None = None, force: bool = False) -> str:
        """Build vectors anew beside those in use; they take their place when they find no less. Returns the job's id. Raises Conflict, InvalidRequest."""
        name = self._configured()
        if embedder is not None and embedder != name:
            raise InvalidRequest(
                "embedder_not_in_use",
                zh=f"当前使用的向量模型是 {name}，不是 {embedder[:80]}。问题和段落须由同一模型向量化：请先设置 QZBRAIN_EMBEDDER={embedder[:80]} 并重启。",
                en=f"The embedder in use is {name}, not {embedder[:80]}. Questions and passages need the same one: set QZBRAIN_EMBEDDER={embedder[:80]} "
                "and restart first.",
                param="embedder",
            )
        with self._db.write(durable=True) as connection:
            return submit_embedding(connection, self._jobs, ref.id, {"anew": True, "force": True} if force else {"anew": True})

    def roll_back(self, ref: KbRef) -> None:
        """Use the vectors before the last embedding anew again; those in use now are kept in their place. Raises Conflict."""
        name = self._configured()
        with self._db.write(durable=True) as connection:
            query = select(vector_spaces).where(vector_spaces.c.kb_id == ref.id, vector_spaces.c.status.in_(("active", "retired")))
            found = {row.status: row for row in connection.execute(query.order_by(vector_spaces.c.id))}
            before = found.get("retired")
            if before is None:
                raise Conflict(
                    "nothing_to_roll_back",
                    zh=f"知识库 {ref.name} 没有可恢复的向量：重新向量化之后才会保留上一版。",
                    en=f"{ref.name} has no vectors to go back to: the ones before are kept once it was embedded anew.",
                )
            if before.embedder != name:
                raise wrong_embedder(_space(before), name, before.width)
            swap = update(vector_spaces).where(vector_spaces.c.kb_id == ref.id)
            if "active" in found:
                connection.execute(swap.where(vector_spaces.c.id == found["active"].id).values(status="retired"))
            connection.execute(swap.where(vector_spaces.c.id == before.id).values(status="active", activated_at=utc_now()))
            submit_embedding(connection, self._jobs, ref.id)

    def _configured(self) -> str:
        name = embedder_name(self._settings)
        if name in all_models(self._settings):
            return name
        reason = _not_configured(name)
        raise Conflict(reason["code"], zh=reason["zh"], en=reason["en"])

    def _state(self, spaces: Mapping[str, Row[Any]], work: Row[Any] | None, wanted: str) -> Json:
        row = spaces.get("active") or spaces.get("building")
        open_work = work is not None and work.status in ("pending", "running")
        shown: Json = {"embedder": None, "state": "none", "reason": None, "progress": None}
        if row is not None:
            manifest = Manifest.of(row.manifest)
            shown |= {"embedder": row.embedder, "width": row.width, "state": row.status}
            for name in ("pooling", "query_prefix", "passage_prefix", "tokens", "weight", "reference_weight", "cosine_floor", "cosine_span"):
                shown[name] = getattr(manifest, name)
        elif open_work:
            shown |= {"embedder": wanted or None, "state": "building"}
        if row is not None and row.status == "active" and (row.reason_code or (wanted and row.embedder != wanted)):
            error = wrong_embedder(_space_of(row), wanted or row.embedder, row.width)
            shown |= {"state": "refused", "reason": _said(row) if row.reason_code else {"code": error.code, "zh": error.zh, "en": error.en}}
        elif wanted not in all_models(self._settings):
            shown["reason"] = _not_configured(wanted)
            shown["state"] = "none"
        elif work is not None and work.reason_code and work.status != "done":
            shown["reason"] = _said(work)
        if work is not None and open_work and work.progress_total:
            estimate = work.result if isinstance(work.result, dict) else {}
            shown["progress"] = {
                "done": work.progress_done,
                "total": work.progress_total,
                "unit": "chunks",
                "rate_per_s": estimate.get("rate_per_s"),
                "eta_s": estimate.get("eta_s"),
            }
        return shown


def submit_embedding(connection: Connection, runner: LeaseRunner, kb_id: str, payload: dict[str, Any] | None = None) -> str:
    """See that a knowledge base's chunks get their vectors; a job that waits or runs already will do. Returns the job's id."""
    query = select(jobs.c.id, jobs.c.payload).where(jobs.c.kb_id == kb_id, jobs.c.kind == KIND, jobs.c.status.in_(("pending", "running")))
    for row in connection.execute(query):
        if payload is None or row.payload == payload:
            return str(row.id)
    return runner.submit(connection, KIND, kb_id=kb_id, payload=payload)


def wrong_embedder(space: Space, name: str, width: int) -> Conflict:
    """The vectors of a knowledge base come from another embedder."""
    return Conflict(
        "wrong_embedder",
        zh=f"该知识库的向量由 {space.embedder}（{space.width} 维）生成，与当前的 {name}（{width} 维）不一致，暂不用于语义检索。"
        "请运行 qzbrain kb reembed 知识库 重新向量化，或在 QZBRAIN_EMBEDDER 中改回原来的模型。",
        en=f"The vectors of this knowledge base are of {space.embedder} ({space.width} wide) and do not fit {name} ({width} wide) as it is now, so they are "
        "not searched. Run qzbrain kb reembed KB, or set QZBRAIN_EMBEDDER back to the model before.",
    )


def _said(row: Row[Any]) -> Json:
    return {"code": row.reason_code, "zh": row.reason_zh, "en": row.reason_en}


def _not_configured(name: str) -> Json:
    if not name:
        return {
            "code": "no_embedder",
            "zh": "没有配置向量模型，仅按字词检索。运行 ./run.sh --setup-only 安装内置模型，或设置 QZBRAIN_EMBEDDER。",
            "en": "No embedder is configured, so retrieval is by words only. ./run.sh --setup-only installs the built-in one, or set QZBRAIN_EMBEDDER.",
        }
    return {
        "code": "embedder_not_configured",
        "zh": f"QZBRAIN_EMBEDDER 指定的模型 {name[:80]} 没有配置，仅按字词检索。请在 config.toml 中添加 [models.{name[:80]}]。",
        "en": f"QZBRAIN_EMBEDDER names {name[:80]}, which is not configured, so retrieval is by words only. Add [models.{name[:80]}] to config.toml.",
    }


def _space(row: Row[Any]) -> Space:
    return Space(row.id, row.kb_id, row.embedder, row.width, Manifest.of(row.manifest), row.embedded_upto)


def _space_of(row: Row[Any]) -> Space:
    return Space("", row.kb_id, row.embedder, row.width, Manifest.of(row.manifest), 0)


def mismatch(space: Space, name: str, profile: EmbeddingProfile) -> Conflict | None:
    """Why this embedder's vectors do not belong into the space; None when they do."""
    from qzbrain.models.embedding_reply import same_embedder

    same = space.embedder == name and space.width == profile.width and space.manifest.fingerprint
    if same and same_embedder(space.manifest.fingerprint, profile.fingerprint):
        return None
    return wrong_embedder(space, name, profile.width)
