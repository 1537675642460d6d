"""The content store: same bytes once, whole or not at all, limits and a full disk leave nothing behind."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest

from qzbrain.errors import PayloadTooLarge, StorageFull
from qzbrain.storage.files import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "files")


def everything(store: FileStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and path.name != ".held"]


def test_content_is_kept_under_its_hash_and_read_back(store: FileStore) -> None:
    content = os.urandom(3 << 20)
    kept = store.put(io.BytesIO(content), limit_bytes=4 << 20)
    assert kept.sha256 == hashlib.sha256(content).hexdigest()
    assert kept.size_bytes == len(content)
    with store.open(kept.sha256) as stream:
        assert stream.read() == content


def test_the_same_bytes_are_kept_once_and_removing_twice_is_no_error(store: FileStore) -> None:
    first, second = (store.put(io.BytesIO(b"same"), limit_bytes=10) for _ in range(2))
    assert first == second
    assert len(everything(store)) == 1
    store.remove(first.sha256)
    store.remove(first.sha256)
    assert everything(store) == []


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(store: FileStore) -> None:
    with pytest.raises(PayloadTooLarge) as refused:
        store.put(io.BytesIO(b"x" * (2 << 20)), limit_bytes=1 << 20)
    assert "1 MiB" in refused.value.zh
    assert refused.value.status == 413
    assert everything(store) == []


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFull):
        store.put(io.BytesIO(b"x"), limit_bytes=10)
    assert everything(store) == []


def test_an_upload_that_breaks_off_leaves_nothing(store: FileStore) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put(Broken(), limit_bytes=10)  # type: ignore[arg-type]
    assert everything(store) == []


def test_what_is_held_is_not_removed_and_goes_afterwards(store: FileStore) -> None:
    kept = store.put(io.BytesIO(b"held"), limit_bytes=10)
    assert not store.are_held
    with store.held(), store.held():  # two backups at a time
        assert store.are_held and not FileStore(store.root).remove(kept.sha256)
        assert len(everything(store)) == 1
    assert not store.are_held and store.remove(kept.sha256)
    assert everything(store) == []
