"""safetensors headers and the shards of a folder: read right, what is missing named, nothing hostile believed."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from qzbrain.models.files.safetensors import read_header
from qzbrain.models.files.shards import pytorch_bytes, weights_of
from qzbrain.models.files.unreadable import ModelFilesUnreadable
from tests.models.files.model_files import ONE_TENSOR, safetensors_bytes

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4976698672\n"


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refused(action: object, path: Path) -> ModelFilesUnreadable:
    with pytest.raises(ModelFilesUnreadable) as told:
        action(path)  # type: ignore[operator]
    return told.value


def test_a_header_is_read(tmp_path: Path) -> None:
    header = read_header(write(tmp_path / "m.safetensors", safetensors_bytes({**ONE_TENSOR, "b": ("F32", (7,), 28)})))
    assert (header.tensors, header.parameters, header.weights_bytes, header.bytes_of_type) == (2, 6407, 12_828, {"BF16": 12_800, "F32": 28})


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "incomplete", "empty"),
        (POINTER, "incomplete", "git lfs pull"),
        (b"<html>sign in</html>", "not_a_model", "web page"),
        (struct.pack("<Q", 1 << 62) + b"{}", "not_a_model", "does not begin"),
        (struct.pack("<Q", 5000) + b'{"a":', "incomplete", "within its header"),
        (struct.pack("<Q", 9) + b"{not json" + bytes(9), "not_a_model", "JSON"),
        (struct.pack("<Q", 12) + b'{"a": [1, 2]}', "not_a_model", "JSON"),
        (struct.pack("<Q", 100_000) + b"{" + b"[" * 99_999, "not_a_model", "JSON"),
        (struct.pack("<Q", 66) + b'{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[8,4]},"b":{}}   ', "not_a_model", "JSON"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, content: bytes, code: str, said: str) -> None:
    path = write(tmp_path / "m.safetensors", content)
    tracemalloc.start()
    told = refused(read_header, path)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert (told.code, said in told.en, str(path) in told.zh) == (code, True, True), told.en


def test_a_half_download_is_told_by_its_size(tmp_path: Path) -> None:
    told = refused(read_header, write(tmp_path / "m.safetensors", safetensors_bytes(ONE_TENSOR)[:-1000]))
    assert (told.code, "12,800" in told.en, "11,800" in told.en) == ("incomplete", True, True)


def indexed(folder: Path, *names: str) -> Path:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {f"t{n}": name for n, name in enumerate(names)}}))
    return folder


def test_shards_of_an_index_and_of_numbered_names(tmp_path: Path) -> None:
    names = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    for name in names[:2]:
        write(tmp_path / name, safetensors_bytes(ONE_TENSOR))
    by_number = refused(weights_of, tmp_path)
    indexed(tmp_path, *names)
    by_index = refused(weights_of, tmp_path)
    for told in (by_number, by_index):
        assert told.code == "incomplete"
        assert names[2] in told.en and names[2] in told.zh and names[0] not in told.en
    write(tmp_path / names[2], safetensors_bytes(ONE_TENSOR))
    assert weights_of(tmp_path).files == [tmp_path / name for name in names]


def test_an_index_cannot_point_elsewhere(tmp_path: Path) -> None:
    for name in ("../secret.safetensors", "/etc/passwd", ".."):
        assert "points out" in refused(weights_of, indexed(tmp_path, name)).en


def test_what_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    assert refused(weights_of, tmp_path).code == "not_a_model"
    write(tmp_path / "model.safetensors.incomplete", b"x")
    told = refused(weights_of, tmp_path)
    assert (told.code, "model.safetensors.incomplete" in told.en) == ("incomplete", True)


def test_safetensors_come_before_other_weights(tmp_path: Path) -> None:
    write(tmp_path / "pytorch_model.bin", b"PK\x03\x04")
    assert weights_of(tmp_path).format == "pytorch"
    write(tmp_path / "model.safetensors", safetensors_bytes(ONE_TENSOR))
    assert weights_of(tmp_path).format == "safetensors"


def test_a_file_of_pytorch_is_whole_or_told(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}." * 100_000)
    size = path.stat().st_size
    assert pytorch_bytes(path) == size
    write(path, path.read_bytes()[:-30_000])
    assert refused(pytorch_bytes, path).code == "incomplete"
    assert refused(pytorch_bytes, write(path, POINTER)).code == "incomplete"
    assert refused(pytorch_bytes, write(path, b"GGUF")).code == "not_a_model"
