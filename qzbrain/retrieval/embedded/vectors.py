"""The embedded vector store: for each space a folder of mapped segments, scanned whole; no server, no training, no graph to build.

Keeps the promises of `retrieval.vectors.VectorIndex`. A commit replaces the list of segments (`meta.json`) by rename, so a kill at any
moment leaves the last commit; readers of every process compare two stamps and see it at their next search. An append writes a small
segment; neighbours of like size are merged, so there are never more than some twenty, and an append costs what it brings, not what is there.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from qzbrain import logs, metrics
from qzbrain.domain import new_id
from qzbrain.errors import StorageFull, Unavailable
from qzbrain.retrieval.base import Parts
from qzbrain.retrieval.embedded import hamming, segments
from qzbrain.retrieval.embedded.folder import IndexFolder, Stamp, stamp
from qzbrain.retrieval.embedded.hamming import Distances
from qzbrain.retrieval.embedded.parts import scattered
from qzbrain.retrieval.embedded.segments import Floats, Levels, Rows, Segment, Shape, levels_of
from qzbrain.retrieval.vectors import DenseHit, StoredVectors, Vector
from qzbrain.settings import Settings
from qzbrain.storage.cooperation import offloader

log = logs.get(__name__)

SCHEMA = "v5"
CANDIDATES = 1000
PER_HIT = 10
"""Sign patterns give at least CANDIDATES, or PER_HIT for each hit asked for; 8-bit numbers order them."""
REFINED = 3
"""For each hit asked for at most so many are scored by the vectors themselves."""
COMPACT_ABOVE = 0.25
COSINE_DIGITS = 6
"""The order of additions changes the last digits: beyond this many decimals equal vectors would not tie."""
OPEN_SPACES = 64
META = "meta.json"
_HIT, _MISS = (metrics.CACHE_LOOKUPS.labels("open_vectors", result) for result in ("hit", "miss"))


def at_home(settings: Settings) -> FlatVectors:
    """The vectors in the data folder."""
    return FlatVectors(settings.index_path / "vectors")


class _Beside(NamedTuple):
    """Names of the files beside a segment, of its dead rows and of its documents' levels; '' for none."""

    dead: str = ""
    levels: str = ""


class _Seen(NamedTuple):
    """A file as it was."""

    path: Path
    stamp: Stamp | None

    @classmethod
    def now(cls, path: Path) -> _Seen:
        return cls(path, stamp(path))

    def stands(self) -> bool:
        """Whether it is there, and the same."""
        return self.stamp is not None and self.stamp == stamp(self.path)


_Part = tuple[Segment, _Beside]
_ALONE = _Beside()


@dataclass(frozen=True, slots=True)
class _Open:
    """One commit of one space. `views`: its segments as they are up to a level, made when somebody asks."""

    generation: Path
    width: int
    upto: int
    parts: tuple[_Part, ...]
    views: dict[int, list[Segment]] = field(default_factory=dict, compare=False)

    @property
    def segments(self) -> list[Segment]:
        return [part for part, _ in self.parts]

    @property
    def names(self) -> list[str]:
        """Of the segments' files."""
        return [part.shape.name for part, _ in self.parts]

    def up_to(self, max_level: int | None) -> list[Segment]:
        """The segments with what is of at most this level; None: with all."""
        if max_level is None:
            return self.segments
        found = self.views.get(max_level)
        if found is None:
            found = self.views[max_level] = [part.up_to(max_level) for part in self.segments]
        return found


class FlatVectors:
    """Spaces under `root`. Thread-safe. `distances_of`: how sign patterns are compared, by default `hamming.fastest`, which a first search loads."""

    def __init__(self, root: Path, *, distances_of: Distances | None = None) -> None:
        self.root = root
        self._distances_of = distances_of
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[_Seen, _Seen, _Open]] = OrderedDict()

    # -- writing

    def append(self, space_id: str, rows: StoredVectors, *, upto: int) -> None:
        """See `VectorIndex.append`. Raises StorageFull; Unavailable `vectors_missing` when there is no usable index."""
        folder = self._folder(space_id)
        with folder.writing(), _translated():
            present = self._reader(space_id)
            if present is None:
                raise _missing()
            new = _newer(rows, present.upto)
            if upto <= present.upto:
                return
            parts = list(present.parts)
            if len(new.chunk_ids):
                parts = self._merged(present, [*parts, (self._written(present, new), _ALONE)])
            _commit(present.generation, present.width, upto, parts)

    def forget(self, space_id: str, document_ids: Collection[str], *, keep: Collection[int] = ()) -> None:
        """See `VectorIndex.forget`. Raises StorageFull."""
        folder = self._folder(space_id)
        if not document_ids or self._reader(space_id) is None:
            return
        with folder.writing(), _translated():
            present = self._reader(space_id)
            if present is None:
                return
            kept = np.array(sorted(keep), np.int64)
            parts: list[_Part] = []
            for part, beside in present.parts:
                gone = part.rows_of(document_ids)
                gone = gone[~np.isin(part.ids[gone], kept)]
                parts.append(_without(present, part, beside, gone) if len(gone) else (part, beside))
            if parts != list(present.parts):
                _commit(present.generation, present.width, present.upto, self._compacted(present, parts))

    def set_levels(self, space_id: str, levels: Mapping[str, int], stored: Callable[[Sequence[str]], Iterable[StoredVectors]]) -> None:
        """See `VectorIndex.set_levels`. Raises StorageFull."""
        seen = self._reader(space_id)
        if not levels or seen is None or all(part.with_levels(levels) is None for part in seen.segments):
            return
        with self._folder(space_id).writing(), _translated():
            present = self._reader(space_id)
            if present is None:
                return
            parts = [_relevelled(present, part, beside, part.with_levels(levels)) for part, beside in present.parts]
            _commit(present.generation, present.width, present.upto, parts)

    def rebuild(self, space_id: str, width: int, rows: Iterable[StoredVectors], *, upto: int) -> None:
        """See `VectorIndex.rebuild`. Raises StorageFull; the index in use stays then."""
        folder = self._folder(space_id)
        with folder.writing(), _translated():
            folder.sweep()
            generation = folder.new_generation()
            present = _Open(generation, width, -1, ())
            for batch in rows:
                if len(batch.chunk_ids):
                    present = _Open(generation, width, -1, tuple(self._merged(present, [*present.parts, (self._written(present, batch), _ALONE)])))
            _commit(generation, width, upto, present.parts)
            folder.use(generation)

    def parts(self, space_id: str) -> Parts | None:
        """See `VectorIndex.parts`."""
        present = self._reader(space_id)
        changed = None if present is None else stamp(present.generation / META)
        if present is None or changed is None or not present.parts or not segments.alike(present.segments):
            return None
        return scattered([part.live for part in present.segments], time.time() - changed[1] / 1e9)

    def gather(self, space_id: str, goes_on: Callable[[], bool]) -> bool:
        """See `VectorIndex.gather`. Raises StorageFull, also where room might not last."""
        folder, present = self._folder(space_id), self._reader(space_id)
        if present is None or self.parts(space_id) is None:
            return False
        folder.require_room()
        path = present.generation / new_id()
        try:
            with _translated():
                shape = segments.merge(path, path.name, present.segments, goes_on)
            if not path.exists():  # it may have been dropped, and taking the lock would make its folder again
                return False
            with folder.writing(), _translated():
                if not path.exists():  # a commit removes what it does not name, so there was none
                    return False
                _commit(present.generation, present.width, present.upto, [(Segment(path, shape, present.width, _NONE_DEAD), _ALONE)])
            return True
        except (segments.LeftOff, FileNotFoundError):  # the latter: gone in the last moment
            return False
        finally:
            if (now := self._reader(space_id)) is None or path.name not in now.names:
                path.unlink(missing_ok=True)

    def drop(self, space_id: str) -> None:
        """See `VectorIndex.drop`."""
        folder = self._folder(space_id)
        if folder.path.is_dir():
            with folder.writing():
                folder.remove()
        with self._lock:
            self._open.pop(space_id, None)

    # -- reading

    def upto(self, space_id: str) -> int:
        """See `VectorIndex.upto`."""
        present = self._reader(space_id)
        return -1 if present is None else present.upto

    def count(self, space_id: str) -> int:
        """See `VectorIndex.count`."""
        present = self._reader(space_id)
        return 0 if present is None else sum(part.live for part in present.segments)

    def search(
        self, space_id: str, vector: Vector, *, top_k: int, document_ids: Sequence[str] | None = None, max_level: int | None = None
    ) -> list[DenseHit]:
        """See `VectorIndex.search`. The scan runs in the native pool of a process of greenlets. A store that breaks while it is read is given up."""
        present = self._reader(space_id)
        if present is None or top_k < 1 or len(vector) != present.width:
            return []
        try:
            asked, distances_of = np.asarray(vector, np.float32), self._distances_of or hamming.fastest()
            found: list[DenseHit] = offloader()(_search, present.up_to(max_level), asked, top_k, document_ids, distances_of)
        except (OSError, ValueError, IndexError) as exc:
            self._give_up(space_id, exc)
            return []
        return found

    def cosines(self, space_id: str, vector: Vector, chunk_ids: Sequence[int], *, max_level: int | None = None) -> dict[int, float]:
        """See `VectorIndex.cosines`."""
        present = self._reader(space_id)
        if present is None or not chunk_ids or len(vector) != present.width:
            return {}
        wanted, asked = np.array(sorted(chunk_ids), np.int64), np.asarray(vector, np.float32)
        found: dict[int, float] = {}
        try:
            for part in present.up_to(max_level):
                rows = part.rows_with(wanted)
                if len(rows):
                    found.update(zip(part.ids[rows].tolist(), part.cosines(asked, rows).tolist(), strict=True))
        except (OSError, ValueError, IndexError) as exc:
            self._give_up(space_id, exc)
            return {}
        return found

    # -- steps

    def _give_up(self, space_id: str, exc: Exception) -> None:
        """Nothing is found until it is built again from the database. UnicodeDecodeError is a ValueError."""
        log.error("vectors_unreadable", space_id=space_id, reason=str(exc))
        self._folder(space_id).disown()

    def _folder(self, space_id: str) -> IndexFolder:
        return IndexFolder(self.root, space_id, SCHEMA)

    def _reader(self, space_id: str) -> _Open | None:
        """The newest commit of the generation in use; None when there is none that can be read."""
        with self._lock:
            kept = self._open.get(space_id)
            if kept is not None and kept[0].stands() and kept[1].stands():
                self._open.move_to_end(space_id)
                _HIT.inc()
                return kept[2]
            _MISS.inc()
            return self._reopen(space_id, self._folder(space_id))

    def _reopen(self, space_id: str, folder: IndexFolder) -> _Open | None:
        self._open.pop(space_id, None)
        for last in (False, False, True):  # a commit may remove a segment between the look at the list and the opening
            pointer, generation = _Seen.now(folder.pointer), folder.current()
            if generation is None:
                return None
            seen = _Seen.now(generation / META)
            try:
                opened = _opened(generation)
            except (OSError, ValueError, KeyError, TypeError) as exc:
                if last:
                    log.warning("vectors_unreadable", space_id=space_id, reason=str(exc))
                continue
            self._open[space_id] = (pointer, seen, opened)
            while len(self._open) > OPEN_SPACES:
                self._open.popitem(last=False)
            return opened
        return None

    def _written(self, present: _Open, rows: StoredVectors) -> Segment:
        name = new_id()
        like = present.parts[0][0] if present.parts else None
        path = present.generation / name
        return Segment(path, segments.write(path, name, rows, like=like), present.width, _NONE_DEAD)

    def _merged(self, present: _Open, parts: list[_Part]) -> list[_Part]:
        """With the last segments merged as long as one is not at least twice as large as all behind it together."""
        first, behind = len(parts) - 1, parts[-1][0].shape.rows
        while first > 0 and parts[first - 1][0].shape.rows < 2 * behind:
            first -= 1
            behind += parts[first][0].shape.rows
        if first == len(parts) - 1:
            return parts
        return [*parts[:first], *self._rewritten(present, [part for part, _ in parts[first:]])]

    def _compacted(self, present: _Open, parts: list[_Part]) -> list[_Part]:
        """With segments of many dead rows written anew."""
        found: list[_Part] = []
        for part, beside in parts:
            found += self._rewritten(present, [part]) if len(part.dead) > COMPACT_ABOVE * part.shape.rows else [(part, beside)]
        return found

    def _rewritten(self, present: _Open, parts: Sequence[Segment]) -> list[_Part]:
        if not any(part.live for part in parts):
            return []
        name = new_id()
        path = present.generation / name
        return [(Segment(path, segments.merge(path, name, parts), present.width, _NONE_DEAD), _ALONE)]


_NONE_DEAD: NDArray[np.int64] = np.array([], np.int64)


def _search(parts: Sequence[Segment], vector: Floats, top_k: int, document_ids: Sequence[str] | None, distances_of: Distances) -> list[DenseHit]:
    """Runs outside the hub: neither logs nor locks."""
    candidates, total = max(CANDIDATES, PER_HIT * top_k), sum(part.live for part in parts) or 1
    near: list[tuple[Segment, Rows, Floats]] = []
    for alike in _alike(parts):
        among = None if document_ids is None else [part.rows_of(document_ids) for part in alike]
        most = max(candidates // 4, candidates * sum(part.live for part in alike) // total)
        for part, rows in zip(alike, segments.nearest(alike, vector, among, most, distances_of), strict=True):
            if len(rows):
                near.append((part, rows, part.estimates(vector, rows)))
    if not near:
        return []
    least = _least([estimated for _, _, estimated in near], top_k, 2 * max(part.doubt(rows) for part, rows, _ in near))
    refined = [(part, rows[estimated >= least]) for part, rows, estimated in near]
    cosines = np.concatenate([part.cosines(vector, rows) for part, rows in refined]).round(COSINE_DIGITS)
    ids = np.concatenate([part.ids[rows] for part, rows in refined])
    owners = np.concatenate([part.owners(rows) for part, rows in refined])
    best = np.lexsort((ids, -cosines))[:top_k]
    documents = [one.decode() for one in owners[best].tolist()]
    return list(map(DenseHit, ids[best].tolist(), documents, cosines[best].tolist()))


def _alike(parts: Sequence[Segment]) -> list[list[Segment]]:
    """Segments that have one mean, together: distances of their sign patterns compare."""
    found: dict[bytes, list[Segment]] = {}
    for part in parts:
        found.setdefault(part.mean_key, []).append(part)
    return list(found.values())


def _least(estimates: Sequence[Floats], top_k: int, doubt: float) -> float:
    """The estimate from which a row may be among the `top_k` best, of at most REFINED times as many."""
    every = np.concatenate(estimates) if estimates else np.array([], np.float32)
    if len(every) <= top_k:
        return -np.inf
    most = min(REFINED * top_k, len(every))
    best = np.partition(every, len(every) - most)[len(every) - most :]
    return max(float(best.min()), float(np.partition(best, most - top_k)[most - top_k]) - doubt)


def _newer(rows: StoredVectors, upto: int) -> StoredVectors:
    """Without those that the store has already."""
    first = int(np.searchsorted(np.asarray(rows.chunk_ids, np.int64), upto, side="right"))
    return StoredVectors(rows.chunk_ids[first:], rows.document_ids[first:], rows.vectors[first:], levels_of(rows)[first:].tolist())


def _without(present: _Open, part: Segment, beside: _Beside, gone: Rows) -> _Part:
    dead = np.union1d(part.dead, gone).astype(np.int64)
    name = f"{part.shape.name}.{new_id()}"
    _put(present.generation / name, dead.tobytes())
    return Segment(present.generation / part.shape.name, part.shape, present.width, dead, part.levels), beside._replace(dead=name)


def _relevelled(present: _Open, part: Segment, beside: _Beside, levels: Levels | None) -> _Part:
    """With these levels, None for those that it has."""
    if levels is None:
        return part, beside
    name = f"{part.shape.name}.{new_id()}"
    _put(present.generation / name, levels.tobytes())
    return Segment(present.generation / part.shape.name, part.shape, present.width, part.dead, levels), beside._replace(levels=name)


def _opened(generation: Path) -> _Open:
    """Raises OSError, ValueError, KeyError, TypeError when something is missing or damaged."""
    meta = orjson.loads((generation / META).read_bytes())
    parts = []
    for name, rows, documents, mean_of, *names in meta["segments"]:
        beside = _Beside(*names)
        dead = np.frombuffer((generation / beside.dead).read_bytes(), np.int64) if beside.dead else _NONE_DEAD
        levels = np.frombuffer((generation / beside.levels).read_bytes(), np.uint8) if beside.levels else None
        parts.append((Segment(generation / name, Shape(name, rows, documents, mean_of), meta["width"], dead, levels), beside))
    return _Open(generation, meta["width"], meta["upto"], tuple(parts))


def _commit(generation: Path, width: int, upto: int, parts: Iterable[_Part]) -> None:
    """Replace the list, then remove the files that it no longer names."""
    listed = [(part.shape.name, part.shape.rows, part.shape.documents, part.shape.mean_of, *beside) for part, beside in parts]
    temporary = generation / f".{META}"
    _put(temporary, orjson.dumps({"width": width, "upto": upto, "segments": listed}))
    temporary.replace(generation / META)
    _sync(generation)
    kept = {META, *(name for one in listed for name in (one[0], *one[4:]))}
    for path in generation.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated() -> Iterator[None]:
    """A full disk is told as StorageFull."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from exc
        raise


def _missing() -> Unavailable:
    return Unavailable(
        "vectors_missing",
        zh="该知识库的语义索引不存在或已损坏，将从数据库重建。",
        en="This knowledge base has no usable semantic index; it will be rebuilt from the database.",
        retry_after_s=5,
    )
