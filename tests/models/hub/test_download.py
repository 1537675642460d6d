"""A file from a hub: resumed, checked, refused, whatever happens on the way."""

from __future__ import annotations

import fcntl
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from qzbrain.errors import BrainError, Conflict, Unavailable
from qzbrain.models.hub.download import download
from qzbrain.models.hub.hubs import HuggingFace, ModelScope, Source
from tests.servers.hub import Fault, Hub

DATA = random.Random(1).randbytes(5_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
REPOSITORY, FILE = "Qwen/some-GGUF", "some.gguf"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({REPOSITORY: {FILE: DATA}}) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "some" / FILE


def pool(read_s: float = 5.0) -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=read_s))


def fetch(source: Source, target: Path, *, sha256: str = SHA256, size: int = len(DATA), read_s: float = 5.0, told: list[int] | None = None) -> str:
    tell = (lambda done, _total: told.append(done)) if told is not None else (lambda _done, _total: None)
    return download(source, target, sha256=sha256, size_bytes=size, tell=tell, http=pool(read_s), pause=lambda _s: None)


def source_of(hub: Hub, token: str = "") -> Source:
    return HuggingFace(hub.endpoint, token, pool()).source(REPOSITORY, FILE, "main")


@pytest.mark.parametrize("kind", ["modelscope", "huggingface"])
def test_a_file_is_found_and_fetched_from_either_hub(hub: Hub, target: Path, kind: str) -> None:
    made = ModelScope(hub.endpoint, pool()) if kind == "modelscope" else HuggingFace(hub.endpoint, "", pool())
    source = made.source(REPOSITORY, FILE, "main")
    assert (source.hub, source.size_bytes, source.sha256) == (kind, len(DATA), SHA256)
    told: list[int] = []
    assert fetch(source, target, told=told) == SHA256
    assert target.read_bytes() == DATA
    assert told == sorted(told) and told[-1] == len(DATA)
    assert not target.with_name(FILE + ".part").exists()


def test_connections_that_break_are_gone_on_with_where_they_broke(hub: Hub, target: Path) -> None:
    hub.faults = [Fault("cut", after=1_000_000), Fault("cut", after=0), Fault("cut", after=2_000_000)]
    assert fetch(source_of(hub), target) == SHA256
    starts = [int(one.get("range", "bytes=0-")[6:-1]) for one in hub.transfers()]
    assert starts[0] == 0 and 900_000 < starts[1] <= 1_000_000 and starts[2] == starts[1] and starts[3] > starts[2] + 1_900_000


def test_what_an_earlier_command_fetched_is_kept(hub: Hub, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(FILE + ".part").write_bytes(DATA[:4_000_000])
    told: list[int] = []
    assert fetch(source_of(hub), target, told=told) == SHA256
    assert hub.transfers()[0]["range"] == "bytes=4000000-"
    assert told[0] > 4_000_000


def test_a_server_without_ranges_begins_anew(hub: Hub, target: Path) -> None:
    hub.ranges = False
    hub.faults = [Fault("cut", after=3_000_000)]
    assert fetch(source_of(hub), target) == SHA256
    assert target.read_bytes() == DATA


def test_a_stall_is_given_up_and_gone_on_with(hub: Hub, target: Path) -> None:
    hub.faults = [Fault("stall", after=1_000_000)]
    assert fetch(source_of(hub), target, read_s=0.5) == SHA256
    assert len(hub.transfers()) == 2


def test_busy_hubs_are_asked_again(hub: Hub, target: Path) -> None:
    hub.faults = [Fault("status", status=429, headers=(("Retry-After", "1"),)), Fault("status", status=503), Fault("status", status=500)]
    waited: list[float] = []
    found = download(source_of(hub), target, sha256=SHA256, size_bytes=len(DATA), tell=lambda _d, _t: None, http=pool(), pause=waited.append)
    assert found == SHA256
    assert waited[0] == 1.0 and len(waited) == 3


def test_a_hub_that_never_works_is_told_with_the_way_out(hub: Hub, target: Path) -> None:
    hub.faults = [Fault("status", status=502) for _ in range(20)]
    with pytest.raises(Unavailable) as failure:
        fetch(source_of(hub), target)
    assert failure.value.code == "hub_unreachable" and "HF_ENDPOINT" in failure.value.en and "qzbrain model import" in failure.value.zh


def test_a_wrong_hash_leaves_nothing(hub: Hub, target: Path) -> None:
    with pytest.raises(Conflict) as failure:
        fetch(source_of(hub), target, sha256="0" * 64)
    assert failure.value.code == "hash_differs"
    assert not target.exists() and not target.with_name(FILE + ".part").exists()


def test_a_damaged_part_is_found_out_by_the_hash(hub: Hub, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(FILE + ".part").write_bytes(b"\0" * 1_000_000)
    with pytest.raises(Conflict):
        fetch(source_of(hub), target)
    assert fetch(source_of(hub), target) == SHA256


def test_a_part_that_is_too_long_is_begun_anew(hub: Hub, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(FILE + ".part").write_bytes(DATA + b"more")
    assert fetch(source_of(hub), target) == SHA256


def test_another_size_than_the_tables_is_another_file(hub: Hub, target: Path) -> None:
    with pytest.raises(Unavailable) as failure:
        fetch(source_of(hub), target, size=len(DATA) + 1)
    assert failure.value.code == "hub_other_file"


def test_without_a_known_size_or_hash_it_is_fetched_all_the_same(hub: Hub, target: Path) -> None:
    hub.faults = [Fault("cut", after=1_000_000)]
    assert fetch(source_of(hub), target, sha256="", size=0) == SHA256


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: Hub, target: Path) -> None:
    hub.token = "hf_secret"
    with pytest.raises(Unavailable) as failure:
        source_of(hub)
    assert failure.value.code == "hub_refused" and "HF_TOKEN" in failure.value.en
    assert fetch(source_of(hub, "hf_secret"), target) == SHA256
    assert all("authorization" not in headers for headers in hub.transfers())


@pytest.mark.parametrize("repository", [REPOSITORY, "nobody/nothing"])
def test_a_file_that_is_not_there_is_told(hub: Hub, repository: str) -> None:
    for made in (ModelScope(hub.endpoint, pool()), HuggingFace(hub.endpoint, "", pool())):
        with pytest.raises(Unavailable) as failure:
            made.source(repository, "another.gguf", "main")
        assert failure.value.code == "hub_no_file"


def test_a_hub_that_cannot_be_reached_is_told(target: Path) -> None:
    with pytest.raises(Unavailable) as failure:
        HuggingFace("http://127.0.0.1:9", "", pool()).source(REPOSITORY, FILE, "main")
    assert failure.value.code == "hub_unreachable"


def test_a_full_disk_is_told_before_anything_is_fetched(hub: Hub, target: Path) -> None:
    with pytest.raises(Conflict) as failure:
        fetch(source_of(hub), target, size=10**18)
    assert failure.value.code == "disk_full" and hub.transfers() == []


def test_two_commands_do_not_fetch_the_same_file(hub: Hub, target: Path) -> None:
    target.parent.mkdir(parents=True)
    with target.with_name(FILE + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BrainError) as failure:
            fetch(source_of(hub), target)
    assert failure.value.code == "download_runs"
