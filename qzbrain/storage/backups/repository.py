"""A folder of backups. Originals lie in it once, whichever backups hold them; each backup is a folder of its own that appears whole, by one rename.

    DIR/repository.json         what this is, and the wrapped key where the backups are encrypted
    DIR/lock                    flock: who writes or prunes holds it alone
    DIR/files/ab/abcd…          originals by the SHA-256 of their bytes; encrypted ones under a name that only the key tells
    DIR/backups/ID/backup.json  what the backup is: revision, rows, the checksum of each part
    DIR/backups/ID/database     the rows (`rows`), compressed
    DIR/backups/ID/files        addresses and sizes of the originals that belong to it, compressed
    DIR/backups/ID/settings     the settings that were in force, secrets left out, compressed
    DIR/backups/ID/secrets      what the brain made for itself to encrypt with; of encrypted backups alone

What a process killed in the middle leaves is called `.new-…` and removed by the next one; originals that no backup names by the next `prune`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gzip
import hashlib
import io
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import orjson

from qzbrain.errors import BrainError, Conflict, NotFound, StorageFull
from qzbrain.storage.backups.sealing import PIECE, BadSeal, Key, Sealing, Unsealing

FORMAT, VERSION = "qzbrain-backups", 1
UNFINISHED = ".new-"
_LEVEL = 1
"""Of gzip: three times as fast as the usual one, and a tenth larger."""
_REPOSITORY, _META = "repository.json", "backup.json"


@dataclass(frozen=True, slots=True)
class Part:
    """A part as it lies there."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Original:
    """An original that belongs to a backup."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `reason`: manual, scheduled, before-REVISION, before-restore. `missing`: originals that the brain itself no longer had whole.

    `numbers`: the last number that each numbering table gave. `audit`: number and hash that the audit log's head file held.
    """

    id: str
    made_at: str
    reason: str
    program: str
    revision: str
    database: str
    encrypted: bool
    rows: dict[str, int]
    numbers: dict[str, int]
    files: int
    files_bytes: int
    new_files: int
    new_bytes: int
    missing: int
    seconds: float
    audit: dict[str, Any] | None = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """What lies in its own folder."""
        return sum(part.size_bytes for part in self.parts.values())


class Repository:
    """The folder, opened. Methods raise StorageFull, Conflict (`cannot_write`), and what they say."""

    def __init__(self, folder: Path, key: Key | None) -> None:
        self.folder = folder
        self._key = key

    @classmethod
    def open(cls, folder: Path, secret: bytes | None = None, *, make: bool = False) -> Repository:
        """The repository in a folder. `make`: an empty folder becomes one, encrypted where there is a secret.

        Raises NotFound (`no_backups`), Conflict (`not_a_backup_folder`, `backup_key_needed`, `backup_key_wrong`, `backup_not_encrypted`).
        """
        try:
            kept = orjson.loads((folder / _REPOSITORY).read_bytes())
            if not isinstance(kept, dict) or kept.get("format") != FORMAT or kept.get("checksum") != _checksum(kept.get("key")):
                raise ValueError(_REPOSITORY)
        except FileNotFoundError:
            if not make:
                raise _no_backups(folder) from None
            kept = _made(folder, secret)
        except (OSError, ValueError) as exc:
            raise damaged(str(folder / _REPOSITORY)) from exc
        if int(kept.get("version", 0)) > VERSION:
            raise Conflict(
                "newer_backup",
                zh=f"备份目录 {folder} 由更新的程序写成。请用那个版本的 qzbrain。",
                en=f"The backups in {folder} were made by a newer program. Use that version of qzbrain.",
            )
        return cls(folder, _key_of(folder, kept.get("key"), secret))

    @property
    def encrypted(self) -> bool:
        """Whether what lies here can only be read with the key."""
        return self._key is not None

    @contextmanager
    def locked(self, *, alone: bool = True, wait: bool = False) -> Iterator[None]:
        """Nobody else writes here meanwhile, or (not `alone`) prunes. Raises Conflict (`backup_running`) unless it is to `wait`."""
        with _translated(self.folder):
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as exc:
                raise Conflict(
                    "backup_running",
                    zh=f"另一个进程正在使用备份目录 {self.folder}。请等它完成后再试。",
                    en=f"Another process is at work in the backup folder {self.folder}. Wait until it has ended.",
                ) from exc
            yield
        finally:
            os.close(lock)

    def backups(self) -> list[Backup]:
        """All that are whole, oldest first; one whose description is damaged is left out (`verify` tells)."""
        found = []
        for path in (self.folder / "backups").glob("[!.]*"):
            with suppress(BrainError):
                found.append(self.find(path.name))
        return sorted(found, key=lambda one: (one.made_at, one.id))

    def names(self) -> list[str]:
        """The ids of all, damaged ones too."""
        return sorted(path.name for path in (self.folder / "backups").glob("[!.]*"))

    def find(self, named: str) -> Backup:
        """A backup by its id, or the `latest`. Raises NotFound (`backup_not_found`), Conflict (`backup_damaged`)."""
        if named == "latest":
            if not (all_ := self.backups()):
                raise _no_backups(self.folder)
            return all_[-1]
        path = self.folder / "backups" / named / _META
        if "/" in named or named.startswith(".") or not path.parent.is_dir():
            raise NotFound(
                "backup_not_found",
                zh=f"{self.folder} 中没有备份“{named[:80]}”。qzbrain backup list 列出全部。",
                en=f'There is no backup "{named[:80]}" in {self.folder}. qzbrain backup list shows all.',
                param="backup",
            )
        try:
            told = orjson.loads(path.read_bytes())
            mark = told.pop("checksum")
            if told["encrypted"] == self.encrypted and mark != self._mark(told):
                raise ValueError(_META)
            told["parts"] = {name: Part(**part) for name, part in told["parts"].items()}
            return Backup(**told)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise damaged(f"{named}/{_META}") from exc

    def _mark(self, told: Mapping[str, Any]) -> str:
        data = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
        return self._key.mark(data) if self._key else hashlib.sha256(data).hexdigest()

    # -- writing

    @contextmanager
    def adding(self, made_at: str, reason: str) -> Iterator[Adding]:
        """A backup that is being made. It is there when `Adding.finish` has returned, and else leaves nothing. For who holds the lock."""
        with _translated(self.folder):
            for name in ("backups", "files"):
                (self.folder / name).mkdir(exist_ok=True)
            self._sweep()
            stamp = made_at[:19].replace("-", "").replace(":", "")
            name = f"{stamp}Z-{reason}-{secrets.token_hex(2)}"
            path = self.folder / "backups" / f"{UNFINISHED}{name}"
            path.mkdir(parents=True)
            try:
                yield Adding(self, name, path)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise

    def _sweep(self) -> None:
        for pattern in (f"backups/{UNFINISHED}*", f"files/{UNFINISHED}*"):
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    @contextmanager
    def writing(self, path: Path, context: str) -> Iterator[tuple[IO[bytes], _Counted]]:
        """A new file, compressed and sealed; what was written is counted as it lies there."""
        with path.open("xb") as raw:
            counted = _Counted(raw)
            sealed = Sealing(counted, self._key, context) if self._key else None
            with gzip.GzipFile("", "wb", _LEVEL, cast(IO[bytes], sealed or counted), mtime=0) as packed:
                yield cast(IO[bytes], packed), counted
            if sealed:
                sealed.finish()

    @contextmanager
    def reading(self, backup: Backup, name: str) -> Iterator[IO[bytes]]:
        """A part, open. Raises Conflict (`backup_damaged`, `backup_key_needed`)."""
        self._require_key(backup)
        shown = f"{backup.id}/{name}"
        with self._unsealed(self.folder / "backups" / backup.id / name, shown) as beneath:
            try:
                with gzip.GzipFile("", "rb", fileobj=beneath) as unpacked:
                    yield cast(IO[bytes], unpacked)
            except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
                raise damaged(shown) from exc

    @contextmanager
    def _unsealed(self, path: Path, context: str) -> Iterator[IO[bytes]]:
        try:
            raw = path.open("rb")
        except FileNotFoundError as exc:
            raise damaged(context) from exc
        try:
            with io.BufferedReader(Unsealing(raw, self._key, context), PIECE) if self._key else raw as stream:
                yield stream
        except BadSeal as exc:
            raise damaged(context) from exc

    def _require_key(self, backup: Backup) -> None:
        if backup.encrypted and self._key is None:
            raise _key_needed(self.folder)

    # -- originals

    def originals(self, backup: Backup) -> list[Original]:
        """Those that belong to a backup. Raises Conflict (`backup_damaged`)."""
        found = []
        with self.reading(backup, "files") as lines:
            for line in lines:
                sha256, size = line.split()
                found.append(Original(sha256.decode(), int(size)))
        return found

    def keeps(self, sha256: str, size_bytes: int) -> bool:
        """Whether an original of this size lies here."""
        try:
            return self._original(sha256).stat().st_size == self._stored_size(size_bytes)
        except FileNotFoundError:
            return False

    def keep(self, sha256: str, source: Path) -> bool:
        """Keep an original; False when its bytes are not those of its address. On the same file system it is a link, and takes no room."""
        target = self._original(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        new = self.folder / "files" / f"{UNFINISHED}{os.getpid()}"
        new.unlink(missing_ok=True)
        digest = hashlib.sha256()
        with source.open("rb") as stream:
            if self._key is None and _linked(source, new):
                while piece := stream.read(PIECE):
                    digest.update(piece)
            else:
                with new.open("xb") as out:
                    sink: Any = Sealing(out, self._key, f"file {sha256}") if self._key else out
                    while piece := stream.read(PIECE):
                        digest.update(piece)
                        sink.write(piece)
                    if self._key:
                        sink.finish()
        if digest.hexdigest() != sha256:
            new.unlink()
            return False
        new.replace(target)
        return True

    @contextmanager
    def original(self, sha256: str) -> Iterator[IO[bytes]]:
        """An original, open. Raises Conflict (`backup_damaged`)."""
        with self._unsealed(self._original(sha256), f"file {sha256}") as stream:
            yield stream

    def link(self, sha256: str, target: Path) -> bool:
        """Have an original appear elsewhere without a copy; False where that cannot be."""
        return self._key is None and _linked(self._original(sha256), target)

    def _original(self, sha256: str) -> Path:
        name = self._key.name(sha256) if self._key else sha256
        return self.folder / "files" / name[:2] / name

    def _stored_size(self, size_bytes: int) -> int:
        """Of so many bytes as they lie here: whoever encrypts adds the salt, and a tag for each piece."""
        return size_bytes + 16 + 16 * max(1, -(-size_bytes // PIECE)) if self._key else size_bytes

    # -- forgetting

    def prune(self, keep: int, reasons: Sequence[str] | None = None) -> tuple[list[str], int]:
        """Forget all but the newest `keep` backups of each reason (all `before-REVISION` count as one); of these reasons only, where they are given.

        Originals that no backup names any more go too. Returns the ids, and the bytes of originals that were freed. For who holds the lock.
        Raises Conflict (`backup_key_needed`), and nothing is forgotten.
        """
        there = self.backups()
        for one in there:
            self._require_key(one)
        kinds: dict[str, list[Backup]] = {}
        for one in there:
            kinds.setdefault(_kind(one.reason), []).append(one)
        gone = [one for kind, some in kinds.items() if reasons is None or kind in reasons for one in some[: max(0, len(some) - keep)]]
        with _translated(self.folder):
            for one in gone:
                path = self.folder / "backups" / one.id
                away = path.with_name(f"{UNFINISHED}{one.id}")
                path.replace(away)
                shutil.rmtree(away)
            self._sweep()
            left = {one.id for one in there} - {one.id for one in gone}
            freed = self._forget_unnamed([one for one in there if one.id in left]) if left == set(self.names()) else 0
        return [one.id for one in gone], freed

    def _forget_unnamed(self, left: Sequence[Backup]) -> int:
        """Not where a backup's list cannot be read: what it names is not known then. Raises Conflict (`backup_damaged`)."""
        named = {self._original(one.sha256).name for backup in left for one in self.originals(backup)}
        freed = 0
        for path in self.folder.glob("files/??/*"):
            if path.name not in named:
                freed += path.stat().st_size
                path.unlink()
        return freed


class Adding:
    """A backup that is being made."""

    def __init__(self, repository: Repository, id: str, path: Path) -> None:
        self.id = id
        self._repository, self._path = repository, path
        self._parts: dict[str, Part] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """Write a part."""
        with self._repository.writing(self._path / name, f"{self.id}/{name}") as (stream, counted):
            yield stream
        self._parts[name] = counted.part()

    def finish(self, backup: dict[str, Any]) -> Backup:
        """Describe it, see that all is on the disk, and have it appear."""
        told = {"id": self.id, "encrypted": self._repository.encrypted, **backup, "parts": {name: asdict(part) for name, part in self._parts.items()}}
        (self._path / _META).write_bytes(orjson.dumps({**told, "checksum": self._repository._mark(told)}, option=orjson.OPT_INDENT_2))
        to_disk(self._repository.folder)
        self._path.replace(self._path.with_name(self.id))
        to_disk(self._repository.folder)
        return self._repository.find(self.id)


class _Counted:
    """A file that counts what is written."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._digest, self._size = out, hashlib.sha256(), 0

    def write(self, data: Any, /) -> int:
        """Write and count."""
        self._digest.update(data)
        self._size += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def part(self) -> Part:
        """All of it."""
        return Part(self._digest.hexdigest(), self._size)


def to_disk(folder: Path) -> None:
    """Return when all that was written to this file system is on the disk: once for many files, in place of once for each."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flush = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if flush is None or flush(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


def _kind(reason: str) -> str:
    return "before-upgrade" if reason.startswith("before-") and reason[7:].isdigit() else reason


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _made(folder: Path, secret: bytes | None) -> dict[str, Any]:
    """An empty folder, or none yet, becomes a repository."""
    with _translated(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = folder / _REPOSITORY
        if any(path.name not in ("lock", _REPOSITORY) and not path.name.startswith(UNFINISHED) for path in folder.iterdir()) and not kept.exists():
            raise Conflict(
                "not_a_backup_folder",
                zh=f"目录 {folder} 中已有其他文件，且不是备份目录。请换一个空目录（-o 或 BACKUP_DIR）。",
                en=f"The folder {folder} holds other files and is no backup folder. Name an empty one (-o or BACKUP_DIR).",
                param="output",
            )
        with Repository(folder, None).locked(wait=True):
            if not kept.exists():
                key = Key.new(secret)[1] if secret else None
                told = {"format": FORMAT, "version": VERSION, "key": key, "checksum": _checksum(key)}
                new = folder / f"{UNFINISHED}repository"
                new.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
                to_disk(folder)
                new.replace(kept)
            made: dict[str, Any] = orjson.loads(kept.read_bytes())
            return made


def _checksum(key: Any) -> str:
    """So that a damaged key is not taken for a wrong one."""
    return hashlib.sha256(orjson.dumps(key, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _key_of(folder: Path, kept: Any, secret: bytes | None) -> Key | None:
    """Without a secret what is encrypted can still be listed."""
    if kept is not None:
        return Key.unwrapped(kept, secret) if secret else None
    if secret:
        raise Conflict(
            "backup_not_encrypted",
            zh=f"备份目录 {folder} 中的备份没有加密，不能再放入加密的备份。请换一个空目录，或不指定密钥。",
            en=f"The backups in {folder} are not encrypted, and an encrypted one cannot be put beside them. Name an empty folder, or no key.",
            param="key_file",
        )
    return None


def require_key(repository: Repository) -> None:
    """Raises Conflict (`backup_key_needed`) where the folder is encrypted and was opened without its key."""
    kept = orjson.loads((repository.folder / _REPOSITORY).read_bytes())
    if kept.get("key") is not None and not repository.encrypted:
        raise _key_needed(repository.folder)


def _key_needed(folder: Path) -> Conflict:
    return Conflict(
        "backup_key_needed",
        zh=f"备份目录 {folder} 是加密的。请用 --key-file 或 BACKUP_KEY_FILE 指定密钥文件。",
        en=f"The backups in {folder} are encrypted. Name their key with --key-file or BACKUP_KEY_FILE.",
        param="key_file",
    )


def _no_backups(folder: Path) -> NotFound:
    return NotFound(
        "no_backups",
        zh=f"{folder} 中没有备份。qzbrain backup 会生成一份；备份在别处时请用 -o 或 BACKUP_DIR 指定。",
        en=f"There is no backup in {folder}. qzbrain backup makes one; where they are elsewhere, name that folder with -o or BACKUP_DIR.",
        param="backup",
    )


def damaged(what: str) -> Conflict:
    """This part of a backup is not what was written."""
    return Conflict(
        "backup_damaged",
        zh=f"备份已损坏：{what}。请改用另一份（qzbrain backup list），并检查存放备份的磁盘。",
        en=f"The backup is damaged: {what}. Take another one (qzbrain backup list), and check the disk that it lies on.",
        param="backup",
    )


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from exc
        raise Conflict(
            "cannot_write",
            zh=f"备份目录 {folder} 无法写入（{exc.strerror}）。请改正其权限，或换一个目录（-o 或 BACKUP_DIR）。",
            en=f"The backup folder {folder} cannot be written ({exc.strerror}). Correct its rights, or name another one (-o or BACKUP_DIR).",
            param="output",
        ) from exc
