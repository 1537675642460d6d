"""GGUF headers: read right, split models together, and nothing that a hostile or half file says is believed."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from qzbrain.models.files.gguf import TENSOR_TYPES, read_header, read_model
from qzbrain.models.files.gguf_model import FILE_TYPES
from qzbrain.models.files.unreadable import ModelFilesUnreadable
from tests.local_engine import tiny_model
from tests.models.files.model_files import CHAT_BYTES, CHAT_TENSORS, F16, chat_metadata, gguf_bytes, text


def refused(path: Path) -> ModelFilesUnreadable:
    with pytest.raises(ModelFilesUnreadable) as told:
        read_model(path)
    assert path.name in told.value.en or str(path.parent) in told.value.en
    return told.value


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_and_sizes(tmp_path: Path, version: int) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(chat_metadata(flags=[1, 0, 2]), CHAT_TENSORS, version=version))
    header = read_model(tmp_path / "m.gguf")
    assert header.version == version
    assert (header.text("general.architecture"), header.number("qwen3.block_count"), header.numbers("qwen3.flags")) == ("qwen3", 4, (1, 0, 2))
    assert header.lengths["tokenizer.ggml.tokens"] == 3
    assert (header.weights_bytes, header.parameters) == (CHAT_BYTES, 256 * 300 + 256 * 256 + 256)
    assert header.bytes_of_type == {"Q4_K": 43_200, "F16": 131_072, "F32": 1024}


def test_a_split_model_is_read_together(tmp_path: Path) -> None:
    for part, name in enumerate(("a", "b"), 1):
        metadata = chat_metadata() if part == 1 else {"split.no": 1}
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(gguf_bytes(metadata, {name: ((256, 10), F16)}))
    header = read_model(tmp_path / "m-00001-of-00002.gguf")
    assert (header.weights_bytes, header.tensors) == (2 * 5120, {"a", "b"})
    assert "m-00001-of-00002.gguf" in refused(tmp_path / "m-00002-of-00002.gguf").en
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    told = refused(tmp_path / "m-00001-of-00002.gguf")
    assert told.code == "incomplete"
    assert "m-00002-of-00002.gguf" in told.zh and "m-00002-of-00002.gguf" in told.en


def test_a_part_that_was_renamed_is_told(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(gguf_bytes({**chat_metadata(), "split.count": 3}, CHAT_TENSORS))
    told = refused(tmp_path / "one.gguf")
    assert (told.code, "-of-" in told.en) == ("incomplete", True)


def test_every_truncation_is_told_and_none_breaks(tmp_path: Path) -> None:
    whole = gguf_bytes(chat_metadata(), CHAT_TENSORS)
    path = tmp_path / "m.gguf"
    for length in [*range(1, 700, 7), len(whole) - 1, len(whole) - 5000]:
        path.write_bytes(whole[:length])
        assert refused(path).code in ("incomplete", "not_a_model")
    assert f"{len(whole) - 5000:,}" in refused(path).en


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "incomplete", "empty"),
        (bytes(4096), "incomplete", "zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "incomplete", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "not_a_model", "web page"),
        (b"tjgg" + bytes(100), "not_a_model", "GGML"),
        (b"PK\x03\x04" + bytes(100), "not_a_model", "GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "not_a_model", "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "not_a_model", "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0), "not_a_model", "impossible"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40) + bytes(100), "not_a_model", "impossible"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60) + bytes(100), "incomplete", "ends"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 1 << 50) + bytes(100), "not_a_model", "impossible"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 62) + bytes(100), "not_a_model", "impossible"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1) + bytes(100), "not_a_model", "array"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77) + bytes(100), "not_a_model", "type 77"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I", 1 << 30) + bytes(100), "not_a_model", "dimensions"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I4QIQ", 4, *[1 << 60] * 4, 0, 0) + bytes(100), "incomplete", "bytes"),
    ],
)
def test_what_is_no_model_is_refused_with_its_reason(tmp_path: Path, content: bytes, code: str, said: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    tracemalloc.start()
    told = refused(tmp_path / "m.gguf")
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert (told.code, said in told.en) == (code, True), told.en
    assert str(tmp_path / "m.gguf") in told.zh


def test_a_huge_vocabulary_is_stepped_over(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(chat_metadata(tokens=["词元" + str(n) for n in range(200_000)]), CHAT_TENSORS))
    tracemalloc.start()
    started = time.monotonic()
    assert read_header(tmp_path / "m.gguf").lengths["tokenizer.ggml.tokens"] == 200_000
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert time.monotonic() - started < 20


def test_a_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere.gguf").code == "path_missing"
    (tmp_path / "d.gguf").mkdir()
    assert refused(tmp_path / "d.gguf").code == "not_a_model"


def test_tables_are_those_of_llama_cpps_own_package() -> None:
    program = (
        "import gguf; print({int(k): (gguf.GGMLQuantizationType(k).name, *v) for k, v in gguf.GGML_QUANT_SIZES.items()});"
        "print({int(k): k.name.removeprefix('MOSTLY_').removeprefix('ALL_') for k in gguf.LlamaFileType if k != 1024})"
    )
    types, files = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.splitlines()
    assert eval(types) == dict(TENSOR_TYPES)
    assert eval(files) == dict(FILE_TYPES)


@pytest.mark.parametrize("name", ["chat", "embedding", "rerank"])
def test_real_files_are_read_as_llama_cpps_own_package_reads_them(name: str) -> None:
    path = tiny_model(name)
    program = (
        "import sys, gguf; r = gguf.GGUFReader(sys.argv[1]);"
        "print(sum(int(t.n_bytes) for t in r.tensors), sum(int(t.n_elements) for t in r.tensors), len(r.tensors), len(r.fields['tokenizer.ggml.tokens'].data))"
    )
    said = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout.split()
    header = read_header(path)
    assert [header.weights_bytes, header.parameters, len(header.tensors), header.lengths["tokenizer.ggml.tokens"]] == [int(one) for one in said]
