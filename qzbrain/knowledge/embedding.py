"""The job `embed`: every chunk of a knowledge base gets its vector, in the background, after everything else.

A space is `building` until every chunk has its vector, then it is the one in use; chunks that come later continue it. Vectors and the
mark up to which they reach are committed together, then the store is brought up to date from SQL, so that a killed worker goes on where
it was. A space made by another embedder is neither searched nor continued: `refused`, until the knowledge base is embedded anew beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from qzbrain import logs
from qzbrain.auth.access import VISIBLE
from qzbrain.errors import BrainError, Conflict
from qzbrain.jobs.leases import GiveWay, Kind, Lease, LeaseRunner
from qzbrain.knowledge.embedded_text import embedded_text
from qzbrain.knowledge.reembedding import estimated_weights, judge
from qzbrain.knowledge.semantics import mismatch, submit_embedding
from qzbrain.models.base import Cancellation, Embedder, EmbeddingProfile
from qzbrain.models.courtesy import Courtesy
from qzbrain.retrieval.space_rows import SpaceRows
from qzbrain.retrieval.spaces import Manifest, Space, known_weights
from qzbrain.retrieval.vector_feeder import VectorFeeder
from qzbrain.retrieval.vectors import VectorIndex
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, knowledge_bases, vector_spaces

if TYPE_CHECKING:
    from qzbrain.models.base import Vector

log = logs.get(__name__)

_COMMIT_CHUNKS = 64
_BRING_CHUNKS = 1024
_REQUEST_CHARS = 700
"""Of one request while nobody asks: a question that comes meanwhile waits for one request at most."""
_QUIET_S = 1.0
_LONGEST_PAUSE_S = 10.0
"""Nobody has asked, and no answer has run, for _QUIET_S: full speed. Else it waits for that, and after a longest pause makes one text, so that the
work still ends. A text takes both cores for some 50 ms: one a second cost streams a tenth of a second at the 99th percentile (2026-11-28)."""
_MANY_CHUNKS = 200
_STARTS_AFTER_S = 20.0
_LOOK_AGAIN_S = 5.0
_NOT_LATER_THAN_S = 1800.0
"""A large fill starts when nobody has asked, and this process has been there, for so long: who has just uploaded asks first, and gets all of
the machine. It looks again every few seconds, and does not put it off for ever."""


class Embedding:
    """Handles jobs whose `kb_id` names a knowledge base. `rested` is told for how many seconds nothing else was to do."""

    def __init__(
        self,
        database: Database,
        runner: LeaseRunner,
        embedder: Callable[[], Embedder | None],
        feeder: Callable[[], VectorFeeder],
        store: Callable[[], VectorIndex],
        courtesy: Courtesy,
    ) -> None:
        self._db, self._runner, self._courtesy = database, runner, courtesy
        self._embedder, self._feeder, self._store = embedder, feeder, store
        self._began = time.monotonic()
        self._put_off: dict[str, float] = {}
        self._pace = _Pace()

    def kind(self, rested: Callable[[float], None] = lambda _s: None) -> Kind:
        """How the runner does these jobs."""
        return Kind(lambda leases: self.handle(leases, rested), rank=3)

    def submit(self, connection: Connection, kb_id: str) -> None:
        """Chunks of this knowledge base are new: have them embedded."""
        submit_embedding(connection, self._runner, kb_id)

    def submit_missing(self) -> None:
        """A job for each knowledge base with chunks that no space of this embedder covers: after a start, or a change of the settings."""
        embedder = self._embedder()
        if embedder is None:
            return
        with self._db.write() as connection:
            whole = select(knowledge_bases.c.id).where(VISIBLE)
            lasts = select(chunks.c.kb_id, func.max(chunks.c.id)).where(chunks.c.kb_id.in_(whole), chunks.c.disabled == 0).group_by(chunks.c.kb_id)
            for kb_id, last in connection.execute(lasts).all():
                active = (vector_spaces.c.kb_id == kb_id) & (vector_spaces.c.status == "active") & (vector_spaces.c.embedder == embedder.name)
                query = select(vector_spaces.c.id).where(active, vector_spaces.c.embedded_upto >= last, vector_spaces.c.reason_code.is_(None))
                if connection.execute(query.limit(1)).first() is None:
                    submit_embedding(connection, self._runner, kb_id)

    def handle(self, leases: Sequence[Lease], rested: Callable[[float], None] = lambda _s: None) -> None:
        """Embed what is missing. Raises EngineUnavailable (waited out), GiveWay, Stopping, Cancelled."""
        for lease in leases:
            embedder = self._embedder()
            if embedder is not None:
                self._await_rest(lease.job.kb_id)
                _Fill(self._db, lease, embedder, self._feeder, self._store, self._courtesy, rested, self._pace).run()


    def _await_rest(self, kb_id: str) -> None:
        """Raises GiveWay while a large fill is better put off."""
        now = time.monotonic()
        since = self._put_off.setdefault(kb_id, now)
        quiet_s = min(self._courtesy.quiet_s(), now - self._began)
        if quiet_s < _STARTS_AFTER_S and now - since < _NOT_LATER_THAN_S and SpaceRows(self._db).unfilled(kb_id) > _MANY_CHUNKS:
            raise GiveWay(_LOOK_AGAIN_S)
        self._put_off.pop(kb_id, None)


class _Pace:
    """What the runs of one process have in common: when the last text was made."""

    last_text = float("-inf")


class _Fill:
    """One run of one job."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        embedder: Embedder,
        feeder: Callable[[], VectorFeeder],
        store: Callable[[], VectorIndex],
        courtesy: Courtesy,
        rested: Callable[[float], None],
        pace: _Pace,
    ) -> None:
        self._db, self._lease, self._embedder, self._feeder, self._store = database, lease, embedder, feeder, store
        self._courtesy, self._rested, self._pace = courtesy, rested, pace
        self._rows = SpaceRows(database)
        self._kb_id = lease.job.kb_id
        self._began = time.monotonic()
        self._made = self._left = self._total = 0

    def run(self) -> None:
        profile = self._embedder.profile()
        while True:
            spaces = self._spaces(profile)
            missing = {space.id: self._rows.missing(space) for space in spaces}
            self._left, self._total = sum(missing.values()), self._chunks() * len(spaces)
            filled = [self._filled(space) for space in spaces]
            if None in filled or self._finish([space for space in filled if space is not None]):
                return

    def _spaces(self, profile: EmbeddingProfile) -> list[Space]:
        """Those to fill: the one in use first, so that new documents are found soon, then the one being built."""
        found = self._rows.spaces(self._kb_id, "building", "active")
        active = next((space for status, space in found if status == "active"), None)
        building = next((space for status, space in found if status == "building"), None)
        error = None
        if active is not None:
            error = mismatch(active, self._embedder.name, profile)
            if (error is not None) != active.refused:
                self._rows.set_reason(active, error)
        usable = [active] if active is not None and error is None else []
        wanted = active is None or "anew" in self._lease.job.payload
        if building is not None and (not wanted or mismatch(building, self._embedder.name, profile)):  # begun by a job that was cancelled
            self._feeder().drop_space(building.id)
            building = None
        if building is None and wanted:
            building = self._begin(self._kb_id, self._embedder.name, profile)
        return [*usable, *([building] if building is not None else [])]

    def _begin(self, kb_id: str, embedder: str, profile: EmbeddingProfile) -> Space | None:
        """A fresh space; None when the knowledge base is gone or has no chunk."""
        there = select(knowledge_bases.c.id).join(chunks, chunks.c.kb_id == knowledge_bases.c.id).where(knowledge_bases.c.id == kb_id)
        if not self._db.rows(there.limit(1)):
            return None
        manifest = Manifest(profile.pooling, profile.query_prefix, profile.passage_prefix, profile.tokens, profile.fingerprint, titles=True)
        return self._rows.begin(kb_id, embedder, profile.width, manifest)

    def _filled(self, space: Space) -> Space | None:
        """The space with every chunk's vector, in the store too; None when it is gone."""
        self._feeder().bring(space)
        brought = self._made
        while rows := self._rows.next_chunks(space, _COMMIT_CHUNKS):
            made = self._vectors([embedded_text(row.text, row.title or "") if space.manifest.titles else row.text for row in rows])
            grown = self._rows.add(space, rows[: len(made)], made)
            if grown is None:
                return None
            space = grown
            if self._made - brought >= _BRING_CHUNKS:
                self._feeder().bring(space)
                brought = self._made
        self._feeder().bring(space)
        return space

    def _vectors(self, texts: Sequence[str]) -> Vector:
        """Of these texts, or of the first of them: what is made when something else is to be done first is kept. Raises GiveWay with nothing made."""
        import numpy as np

        parts, start = [], 0
        while start < len(texts):
            try:
                chars = self._request_chars()
            except GiveWay:
                if not start:
                    raise
                break
            some = list(_request(texts[start:], chars))
            parts.append(self._embedder.embed_passages(some, Cancellation()))
            start += len(some)
            self._made += len(some)
            self._left -= len(some)
            self._show()
        return np.concatenate(parts)

    def _request_chars(self) -> int:
        """How much to ask for at once. Raises GiveWay while others are due, or somebody asks and it is not yet time for a text all the same."""
        self._lease.give_way()
        self._lease.heartbeat()
        now = time.monotonic()
        asked = self._courtesy.quiet_s() < _QUIET_S
        if asked and now - self._pace.last_text < _LONGEST_PAUSE_S:
            raise GiveWay(_LOOK_AGAIN_S)
        self._pace.last_text = now
        return 1 if asked else _REQUEST_CHARS

    def _show(self) -> None:
        took_s = time.monotonic() - self._began
        self._rested(took_s)
        rate = self._made / max(took_s, 1e-3)
        self._lease.progress(
            "embed", self._total - self._left, self._total, "chunks", {"rate_per_s": round(rate, 1), "eta_s": round(self._left / max(rate, 1e-3))}
        )

    def _finish(self, spaces: Sequence[Space]) -> bool:
        """Put a built space into use when nothing came meanwhile; False: go on."""
        result: dict[str, Any] = {"embedder": self._embedder.name, "spaces": [space.id for space in spaces]}
        building = [space for status, space in self._rows.spaces(self._kb_id, "building") if space.id in {x.id for x in spaces}]
        manifests = {space.id: Manifest.of({**space.manifest.column(), **self._weights(space)}) for space in building}
        refusal = self._judged(building, result)
        with self._db.write() as connection:
            if not all(self._rows.is_complete(connection, space) for space in spaces):
                return False
            for space in building:
                if refusal is None:
                    self._rows.activate(connection, space, manifests[space.id])
            if refusal is None:
                self._lease.complete(connection, result)
            else:
                self._lease.fail(connection, refusal)
        if refusal is not None:
            for space in building:
                self._feeder().drop_space(space.id)
        elif building:
            log.info("embedded", kb_id=self._kb_id, embedder=self._embedder.name, space=building[0].id)
        self._clear()
        return True

    def _clear(self) -> None:
        for _, space in self._rows.spaces(self._kb_id, "failed"):
            self._feeder().drop_space(space.id)

    def _judged(self, building: Sequence[Space], result: dict[str, Any]) -> BrainError | None:
        """A space built beside a usable one is compared with it first, unless that was not wanted."""
        active = [space for _, space in self._rows.spaces(self._kb_id, "active") if not space.refused]
        if not building or not active or self._lease.job.payload.get("force"):
            return None
        verdict = judge(self._db, self._store(), self._embedder, active[0], building[0], self._lease.heartbeat)
        result["evaluation"] = verdict.figures
        return None if verdict.good else not_better(verdict.figures)

    def _weights(self, space: Space) -> dict[str, float]:
        known = known_weights(self._embedder.name)
        return dict(known) if known is not None else estimated_weights(self._rows.stored(space, -1))

    def _chunks(self) -> int:
        return int(self._db.rows(select(func.count()).select_from(chunks).where(chunks.c.kb_id == self._kb_id, chunks.c.disabled == 0))[0][0])


def not_better(figures: dict[str, Any]) -> Conflict:
    """A space built anew was worse than the one in use."""
    return Conflict(
        "not_better",
        zh=f"重新生成的向量检索效果更差（前五命中 {figures['new']:.3f}，原来 {figures['old']:.3f}），继续使用原来的向量。"
        "如仍要切换，请运行 qzbrain kb reembed 知识库 --force。",
        en=f"The new vectors find less (right in the top five {figures['new']:.3f}, before {figures['old']:.3f}), so the ones before stay in use. "
        "To change over all the same run qzbrain kb reembed KB --force.",
    )


def _request(texts: Sequence[str], chars: int) -> Iterator[str]:
    """The first text, and those after it up to so many characters together."""
    taken = 0
    for text in texts:
        if taken and taken + len(text) > chars:
            return
        taken += len(text)
        yield text

