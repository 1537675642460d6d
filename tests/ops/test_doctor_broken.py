"""The doctor before set-ups that are really broken: it names the cause and what to do, no other check cries without saying that it follows, and what it
says to do heals. A search server's are in test_doctor_search.py, where one runs."""

from __future__ import annotations

import http.server
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from alembic import command as alembic
from sqlalchemy import create_engine

from qzbrain.brain import build
from qzbrain.models.engines.launching import engine_folder
from qzbrain.models.engines.processes import MARK
from qzbrain.ops import doctor
from qzbrain.ops.doctor import Check, Probe, examine, examine_machine
from qzbrain.ops.finding import Finding
from qzbrain.ops.start import take_lock
from qzbrain.storage import migrate
from tests.models.files.model_files import write_gguf
from tests.ops.broken_setups import GPU, World, by_id, crying, make_healthy
from tests.ops.certificates import certificate
from tests.running import ROOT, free_port, stop_still
from tests.servers.mariadb import MariaDb
from tests.servers.redis_server import RedisServer

HUNG_S = 15.0


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder that all are copies of."""
    before = os.umask(0o077)
    data = tmp_path_factory.mktemp("healthy") / "data"
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("QZBRAIN_"):
                patch.delenv(name)
        make_healthy(data)
    os.umask(before)
    yield data


@pytest.fixture(scope="module")
def usual(healthy: Path) -> frozenset[str]:
    """What the doctor warns of on this machine whatever is done here, as of a disk that is nearly full."""
    with pytest.MonkeyPatch.context() as patch:
        found = World(healthy, healthy.parent, patch, {"qzbrain_port": free_port()}).look()
    assert not [check for check in found.values() if check.status == "fail"]
    return frozenset(crying(found))


@pytest.fixture
def world(healthy: Path, usual: frozenset[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(healthy, tmp_path / "data")
    made = World(tmp_path / "data", tmp_path, monkeypatch, {"qzbrain_port": free_port()}, usual)
    yield made
    for end in reversed(made.ends):
        end()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


def test_the_healthy_one_is_well_throughout(world: World) -> None:
    found = world.look()
    assert [id for id, check in found.items() if check.status == "fail"] == []
    assert {id for id in ("database", "revision", "index", "index_progress", "queue", "audit", "data_folder", "port", "leftovers", "settings_agree",
                          "setting_names", "proxies", "clock", "packages", "open_files")
            if found[id].status != "ok"} <= world.usual  # fmt: skip
    assert all(check.next for check in found.values() if check.status == "warn")


# -- the table: one breakage a row


@dataclass(frozen=True)
class Case:
    """`breaks` the world so that `check` has this status, with `says` in its evidence and `advises` in what to do. `heals`: doing that puts it right."""

    name: str
    breaks: Callable[[World], object]
    check: str
    status: str
    says: str
    advises: str
    heals: bool = False


def _overwritten(path: Path, start: int) -> None:
    content = bytearray(path.read_bytes())
    content[start:] = b"\x5a" * (len(content) - start)
    path.write_bytes(content)


def _damaged_database(world: World) -> None:
    for path in world.data.glob("brain.sqlite-*"):
        path.unlink()
    _overwritten(world.data / "brain.sqlite", 8192)


def _damaged_index(world: World) -> None:
    for path in (world.data / "index").rglob("meta.json"):
        path.write_bytes(path.read_bytes()[:20])


def _old_schema(world: World) -> None:
    """A database as an earlier program made it."""
    for path in world.data.glob("brain.sqlite*"):
        path.unlink()
    shutil.rmtree(world.data / "index")
    (world.data / "audit.head").unlink()
    config = migrate._config()
    engine = create_engine(f"sqlite:///{world.data / 'brain.sqlite'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, f"{int(migrate.HEAD) - 1:04d}")
    engine.dispose()
    (world.data / "brain.sqlite").chmod(0o600)


def _other_owner(world: World) -> None:
    if os.geteuid():
        pytest.skip("only root may give files to others")
    for path in (world.data, *world.data.rglob("*")):
        os.chown(path, 65534, 65534)


def _small_disk(world: World) -> None:
    folder = world.mount("size=24m")
    with (folder / "ballast").open("wb") as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(1 << 20))


def _read_only(world: World) -> None:
    folder = world.mount("size=4g")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def _open_to_others(world: World) -> None:
    world.data.chmod(0o755)
    (world.data / "brain.sqlite").chmod(0o644)


def _config(text: str, mode: int = 0o600) -> Callable[[World], None]:
    def write(world: World) -> None:
        path = world.place / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        world.environment(QZBRAIN_CONFIG=str(path))

    return write


def _readable_secret(world: World) -> None:
    _config('hf_token = "secret-word"\n', 0o644)(world)
    world.set(hf_token="secret-word")


def _stuck(world: World) -> None:
    world.sql(
        "INSERT INTO jobs (id, kind, payload, status, run_after, created_at, updated_at, lease_owner, lease_until, subject, kb_id, stage, progress_done, "
        "progress_total, progress_unit, attempts, lost) VALUES ('j1', 'ingest', '{}', 'running', 0, '2026-01-01T00:00:00.000000Z', "
        "'2026-01-01T00:00:00.000000Z', 'gone', 1, '', '', '', 0, 0, '', 1, 3)"
    )


def _quarantined(world: World) -> None:
    _stuck(world)
    world.sql("UPDATE jobs SET status = 'failed', reason_code = 'quarantined', reason_zh = '执行者多次中断', reason_en = 'died 20 times' WHERE id = 'j1'")


def _behind(world: World) -> None:
    world.sql("INSERT INTO outbox (kb_id, op, document_id) SELECT kb_id, 'put', id FROM documents")


def _cut_audit(world: World) -> None:
    world.sql("DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET actor = 'somebody' WHERE number = 2")


def _taken(world: World) -> None:
    world.set(qzbrain_port=world.listen())


def _before_its_time(world: World) -> None:
    stopped = SimpleNamespace(time=lambda: 1_600_000_000.0, strftime=time.strftime, localtime=time.localtime)
    world.patch.setattr("qzbrain.ops.doctor_machine.time", stopped)


def _set_back(world: World) -> None:
    later = time.time() + 86_400
    os.utime(world.data / "brain.sqlite", (later, later))


def _gguf(content: Callable[[bytes], bytes]) -> Callable[[World], None]:
    def write(world: World) -> None:
        world.model(path="other.gguf")
        good = write_gguf(world.place / "root/other.gguf").read_bytes()
        (world.place / "root/other.gguf").write_bytes(content(good))

    return write


def _too_large(world: World) -> None:
    world.smi(GPU.replace("81920, 80000", "1024, 1000"))
    write_gguf(world.place / "root/m.gguf")
    world.model(devices="0", slots=64, context=32768)


def _two_on_one(world: World) -> None:
    world.smi(GPU.replace("81920, 80000", "1024, 1000"))
    for name in ("a", "b"):
        world.model(name, devices="0", context=4096, slots=8)


def _no_gpu(world: World) -> None:
    world.model(devices="0")
    world.patch.setenv("PATH", "/nowhere")


def _no_driver(world: World) -> None:
    world.smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9)
    world.model(devices="0")


def _external(world: World) -> None:
    world.set(models={"m": {"engine": "external", "base_url": f"http://127.0.0.1:{free_port()}/v1"}})


def _expired(world: World) -> None:
    world.set(**certificate(world.place / "a", begins=-60, ends=-1))


def _other_key(world: World) -> None:
    one, other = certificate(world.place / "a", begins=-1, ends=90), certificate(world.place / "b", begins=-1, ends=90)
    world.set(**{**one, "tls_key": other["tls_key"]})


def _website(world: World) -> int:
    """Another service: it answers every question with a page of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>It works!</html>")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    world.ends += [server.server_close, server.shutdown]
    return int(server.server_port)


def _killed(world: World) -> None:
    """What kill -9 of everything leaves."""
    (world.data / "run" / "supervisor.sock").touch()
    (world.data / "run" / "supervisord.pid").write_text("1")
    left = world.data / "files" / ".new-abc"
    left.write_bytes(b"half an upload")
    os.utime(left, (1e9, 1e9))


def _lingering(world: World) -> None:
    """An engine whose parent has gone, as a vLLM worker that was not killed with it."""
    state = engine_folder(world.settings) / "big.json"
    state.parent.mkdir(parents=True)
    environment = {**os.environ, MARK: str(state)}
    launched = subprocess.run(["bash", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"], env=environment, capture_output=True, text=True, check=True)
    pid = int(launched.stdout)
    world.ends.append(lambda: _kill(pid))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _dead_worker(world: World) -> None:
    """A brain that runs, and whose worker does not: its web answers, jobs do not move."""
    world.set(qzbrain_port=_website(world))
    _stuck(world)
    lock = take_lock(world.settings)
    world.ends.append(lambda: os.close(lock))


CASES = [
    Case("a damaged database", _damaged_database, "database", "fail", "malformed", "cp -a"),
    Case("a file that is no database", lambda w: (w.data / "brain.sqlite").write_bytes(b"no database" * 900), "database", "fail", "not a database", "backup"),
    Case("an older schema", _old_schema, "revision", "fail", f"the program needs {migrate.HEAD}", "qzbrain db upgrade", heals=True),
    Case("a newer schema", lambda w: w.sql("UPDATE alembic_version SET version_num = '9999'"), "revision", "fail", "newer than the program", "newer program"),
    Case("a damaged index", _damaged_index, "index", "fail", "rules 0/2", "qzbrain kb reindex rules", heals=True),
    Case("an index that is gone", lambda w: shutil.rmtree(w.data / "index"), "index", "fail", "rules 0/2", "qzbrain kb reindex rules", heals=True),
    Case("an index that is behind", _behind, "index_progress", "warn", "2 changes", "doctor --step"),
    Case("jobs that do not move", _stuck, "queue", "warn", "workers of 1 of them are gone", "./run.sh"),
    Case("jobs in quarantine", _quarantined, "queue", "warn", "1 of them in quarantine; ingest: died 20 times", "/api/jobs/j1/retry"),
    Case("a dead worker", _dead_worker, "worker", "fail", "not running", "worker.log"),
    Case("an audit log that was changed", _cut_audit, "audit", "fail", "2", "qzbrain audit verify"),
    Case("a port that is taken", _taken, "port", "fail", f"PID {os.getpid()}", "QZBRAIN_PORT="),
    Case("data that others may read", _open_to_others, "data_folder", "warn", "other users", "chmod -R go-rwx", heals=True),
    Case("data of another owner", _other_owner, "data_folder", "warn", "belongs to user 65534", "chown -R", heals=True),
    Case("a file system that is read-only", _read_only, "data_folder", "fail", "read-only", "remount,rw", heals=True),
    Case("a full disk", _small_disk, "disk", "fail", ": 0 MiB free", "QZBRAIN_DATA"),
    Case("no inodes", lambda w: w.mount("size=4g,nr_inodes=300"), "inodes", "fail", "more files may be made", "df -i"),
    Case("secrets that others may read", _readable_secret, "configuration", "warn", "other users may read", "chmod 600", heals=True),
    Case("a misspelt variable", lambda w: w.environment(MYSQL_HOTS="db"), "setting_names", "warn", "MYSQL_HOTS (MYSQL_HOST?)", "unset MYSQL_HOTS"),
    Case("an unknown variable of ours", lambda w: w.environment(QZBRAIN_PROT="1"), "setting_names", "warn", "QZBRAIN_PORT?", "export QZBRAIN_PORT="),
    Case("a setting without effect", lambda w: w.environment(REDIS_PASSWORD="pw-123456"), "settings_agree", "warn", "REDIS_HOST is not set", "REDIS_HOST"),
    Case("two services on one port", lambda w: w.set(qzbrain_graph_service="on", qzbrain_graph_port=w.overrides["qzbrain_port"]),
         "settings_agree", "fail", "both to have port", "QZBRAIN_GRAPH_PORT"),
    Case("proxies", lambda w: w.environment(HTTP_PROXY="http://u:pw@proxy.test:3128", NO_PROXY=""),
         "proxies", "warn", "http://***@proxy.test:3128", "NO_PROXY=127.0.0.1"),
    Case("a clock before the program's time", _before_its_time, "clock", "fail", "before the program was written", "timedatectl"),
    Case("a clock that was set back", _set_back, "clock", "fail", "data was written at", "timedatectl"),
    Case("a model that is not there", lambda w: w.model(path="nowhere.gguf"), "model:m", "fail", "nowhere.gguf", "nowhere.gguf"),
    Case("a model cut short", _gguf(lambda good: good[: len(good) // 2]), "model:m", "fail", "other.gguf", "other.gguf"),
    Case("a page in place of a model", _gguf(lambda _: b"<!DOCTYPE html><html>404</html>"), "model:m", "fail", "other.gguf", "other.gguf"),
    Case("a model beyond its GPU", _too_large, "model:m", "warn", "GPU 0", "context"),
    Case("two models beyond one GPU", _two_on_one, "model:b", "warn", "GPU 0", "run together"),
    Case("a GPU that is not there", _no_gpu, "gpu", "fail", "no nvidia-smi", "driver"),
    Case("a driver that is not loaded", _no_driver, "gpu", "fail", "cannot be seen", "modprobe"),
    Case("a model server that is away", _external, "model:m", "fail", "/v1/models", "base_url"),
    Case("a certificate that is over", _expired, "tls", "fail", "good from", "openssl x509"),
    Case("a certificate with another's key", _other_key, "tls", "fail", "KEY_VALUES_MISMATCH", "openssl pkey"),
    Case("a network without https", lambda w: w.set(qzbrain_host="0.0.0.0"), "tls", "warn", "plain text", "TLS_CERT"),
    Case("a graph service that is away", lambda w: w.set(graph_url=f"http://127.0.0.1:{free_port()}"),
         "graph_service", "fail", "127.0.0.1", "qzbrain graph-service"),
    Case("another service on its port", lambda w: w.set(graph_url=f"http://127.0.0.1:{_website(w)}"), "graph_service", "fail", "127.0.0.1", "healthz"),
    Case("a MySQL that is away", lambda w: w.set(mysql_host="127.0.0.1", mysql_port=free_port()), "mysql", "fail", "refused", "MYSQL_PORT"),
    Case("a Redis that is away", lambda w: w.set(redis_host="127.0.0.1", redis_port=free_port()), "redis", "fail", "refused", "REDIS_PORT"),
    Case("a search server that is away", lambda w: w.set(es_url_add=f"127.0.0.1:{free_port()}"), "search", "fail", "refused", "ES_URL_ADD"),
    Case("what a kill left", _killed, "leftovers", "warn", "supervisor.sock", "qzbrain doctor --fix"),
    Case("an engine that lingers", _lingering, "leftovers", "warn", "engine big", "qzbrain doctor --fix"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_the_cause_is_named_and_nobody_else_cries(case: Case, world: World) -> None:
    case.breaks(world)
    judged(world.look(), world, case)
    if case.heals:
        world.run(world.look()[case.check].next)
        healed = world.look()
        assert (healed[case.check].status, crying(healed) - world.usual) == ("ok", set())


def judged(found: dict[str, Check], world: World, case: Case) -> None:
    check = found[case.check]
    assert check.status == case.status, check
    assert case.says in check.evidence, check
    assert case.advises in check.next, check
    assert crying(found) - world.usual - {case.check} == set()


# -- with servers


@pytest.fixture
def on_mysql(world: World, mysql: dict[str, Any], mariadb: MariaDb) -> Iterator[World]:
    """The same, but an empty brain on MariaDB, all as it should be."""
    mariadb.run("SET GLOBAL max_allowed_packet = 67108864")
    mariadb.run(f"ALTER DATABASE {mysql['mysql_db']} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    world.set(**mysql)
    build(world.settings).close()
    (world.data / "audit.head").unlink(missing_ok=True)
    assert crying(world.look()) - world.usual == set()
    yield world
    mariadb.run("SET GLOBAL max_allowed_packet = 16777216")


@pytest.mark.servers
def test_mysql_password_database_rights_character_set_clock_and_schema(on_mysql: World, mariadb: MariaDb) -> None:
    given = dict(on_mysql.overrides)
    on_mysql.set(mysql_password="guess")
    judged(on_mysql.look(), on_mysql, Case("", print, "mysql", "fail", "Access denied", "MYSQL_PASSWORD"))
    on_mysql.set(mysql_password=given["mysql_password"], mysql_db="nowhere")
    judged(on_mysql.look(), on_mysql, Case("", print, "mysql", "fail", "nowhere", "MYSQL_DB"))
    on_mysql.set(**given)
    name = given["mysql_db"]
    pattern = name.replace("_", "\\_")
    mariadb.run(f"REVOKE INDEX, DELETE ON `{pattern}`.* FROM {mariadb.account}")
    found = on_mysql.look()
    judged(found, on_mysql, Case("", print, "mysql_rights", "fail", "missing: DELETE, INDEX", "GRANT DELETE, INDEX"))
    mariadb.run(found["mysql_rights"].next.partition("run: ")[2])
    mariadb.run(f"ALTER TABLE {name}.jobs CONVERT TO CHARACTER SET latin1")
    judged(on_mysql.look(), on_mysql, Case("", print, "mysql_charset", "fail", "jobs (latin1", "qzbrain db copy"))
    mariadb.run(f"ALTER TABLE {name}.jobs CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    mariadb.run("SET GLOBAL init_connect = 'SET timestamp = 1700000000'")
    try:
        judged(on_mysql.look(), on_mysql, Case("", print, "mysql_clock", "fail", "s against this machine", "timedatectl"))
    finally:
        mariadb.run("SET GLOBAL init_connect = ''")
    mariadb.run(f"UPDATE {name}.alembic_version SET version_num = '9999'")
    judged(on_mysql.look(), on_mysql, Case("", print, "revision", "fail", "newer", "newer program"))


@pytest.mark.servers
def test_redis_policy_writes_password_and_one_that_hangs(world: World, redis: RedisServer) -> None:
    world.set(**redis.settings)
    assert crying(world.look()) - world.usual == set()
    client = __import__("redis").Redis(port=redis.port, password=redis.password)
    client.config_set("maxmemory", "64mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    found = world.look()
    judged(found, world, Case("", print, "redis_memory", "fail", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"))
    client.execute_command(*said_to_redis(found["redis_memory"]))
    client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
    found = world.look()
    judged(found, world, Case("", print, "redis_writes", "fail", "read only", "REPLICAOF NO ONE"))
    client.execute_command(*said_to_redis(found["redis_writes"]))
    client.config_set("maxmemory", "1mb")
    judged(world.look(), world, Case("", print, "redis_writes", "fail", "maxmemory", "CONFIG SET maxmemory 256mb"))
    client.config_set("maxmemory", "64mb")
    assert crying(world.look()) - world.usual == set()
    world.set(redis_password="wrong")
    judged(world.look(), world, Case("", print, "redis", "fail", "invalid", "REDIS_PASSWORD"))
    world.set(**redis.settings)
    assert redis.process is not None
    stop_still(redis.process.pid)
    try:
        judged(world.look(), world, Case("", print, "redis", "fail", "imeout", "REDIS_HOST"))
    finally:
        redis.process.send_signal(signal.SIGCONT)


def said_to_redis(check: Check) -> list[str]:
    """The command after the login in what the check says to do."""
    return check.next.partition("--askpass ")[2].partition(";")[0].split()


@pytest.mark.parametrize(
    ("part", "check"),
    [("mysql", "mysql"), ("search", "search"), ("graph", "graph_service"), ("model", "model:m")],
)
def test_one_that_takes_connections_and_never_answers_is_named_in_time(world: World, part: str, check: str) -> None:
    port = world.listen()
    world.set(**{
        "mysql": {"mysql_host": "127.0.0.1", "mysql_port": port}, "search": {"es_url_add": f"127.0.0.1:{port}"},
        "graph": {"graph_url": f"http://127.0.0.1:{port}"}, "model": {"models": {"m": {"engine": "external", "base_url": f"http://127.0.0.1:{port}/v1"}}},
    }[part])  # fmt: skip
    began = time.monotonic()
    found = world.look()
    assert time.monotonic() - began < HUNG_S
    judged(found, world, Case("", print, check, "fail", "", ""))
    assert found[check].next


# -- what a process has from the start: its settings, its limits, its locale


@pytest.mark.parametrize(
    ("text", "says", "advises"),
    [
        ("qzbrain_prot = 9030\n", "qzbrain_port", "sed -i"),
        ("qzbrain_port = = 9030\n", "TOML", "qzbrain config show"),
        ("qzbrain_port = 99999\n", "qzbrain_port", "qzbrain config show"),
        ('[models.m]\nengine = "external"\nbase_ulr = "http://127.0.0.1:1/v1"\n', "is base_url meant", "qzbrain config show"),
        ("web_workers = 4\n", "REDIS_HOST", "qzbrain config show"),
    ],
)
def test_a_config_that_cannot_be_used_is_the_cause_and_the_machine_is_looked_at_all_the_same(world: World, text: str, says: str, advises: str) -> None:
    _config(text)(world)
    world.environment(QZBRAIN_DATA=str(world.data))
    settings, checks = examine_machine("en")
    found = by_id(checks)
    assert settings is None and "python" in found
    judged(found, world, Case("", print, "configuration", "fail", says, advises))
    if "sed" in advises:
        subprocess.run(["bash", "-ec", found["configuration"].next], check=True)
        settings, checks = examine_machine("en", step=4)
        assert settings is not None and settings.qzbrain_port == 9030
        assert by_id(checks)["configuration"].status == "ok"


@pytest.mark.parametrize(
    ("environment", "limit", "check", "status"),
    [
        ({}, 300, "open_files", "fail"), ({}, 4096, "open_files", "warn"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, 9000, "locale", "fail"),
    ],
)
def test_limits_and_locale_of_a_process(world: World, environment: dict[str, str], limit: int, check: str, status: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < limit:
        pytest.skip(f"the hard limit here is {hard}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON", "QZBRAIN_"))}
    done = subprocess.run(
        [sys.executable, "-m", "qzbrain.cli", "doctor", "--step", "6", "--json"], capture_output=True, check=False, cwd=ROOT, timeout=60,
        env={**clean, "QZBRAIN_DATA": str(world.data), "QZBRAIN_LANG": "en", "LC_ALL": "C.UTF-8", **environment},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 256), limit)),
    )  # fmt: skip
    found = by_id([Check(**one) for one in orjson.loads(done.stdout)["checks"]])
    assert (found[check].status, done.returncode) == (status, 1 if status == "fail" else 0), done.stderr
    assert crying(found) - world.usual == {check}
    assert ("LC_ALL" if check == "locale" else "nofile") in found[check].next


# -- the doctor itself


def test_a_check_that_raises_and_one_that_hangs_are_failures_with_their_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(settings: object) -> list[Finding]:
        raise ZeroDivisionError("as nobody foresaw, password=hunter2hunter2")

    def hangs(settings: object) -> list[Finding]:
        threading.Event().wait(20)
        return []

    probes = (
        Probe("mysql", 1, ("甲", "A"), raises), Probe("redis", 2, ("乙", "B"), hangs), Probe("celery", 2, ("丙", "C"), raises, after=("redis",)),
        *(probe for probe in doctor.PROBES if probe.id in ("python", "disk")),
    )  # fmt: skip
    monkeypatch.setattr(doctor, "PROBES", probes)
    monkeypatch.setattr(doctor, "_FIRST_S", 1.0)
    began = time.monotonic()
    found = by_id(examine(world.settings, "en"))
    assert time.monotonic() - began < 5
    assert found["python"].status == "ok"
    assert found["mysql"].status == "fail"
    assert "ZeroDivisionError: as nobody foresaw" in found["mysql"].evidence and "test_doctor_broken.py:" in found["mysql"].evidence
    assert "hunter2" not in str(found)
    assert (found["redis"].status, "no result within 1 s" in found["redis"].evidence) == ("fail", True)
    assert (found["celery"].status, found["celery"].next) == ("skip", "qzbrain doctor --step 2")


def test_what_follows_says_so_in_both_languages(world: World) -> None:
    _damaged_database(world)
    following = [check for check in examine(world.settings, "en") if check.follows == "database"]
    assert following and all("follows from: database integrity, step 1" in check.evidence for check in following)
    assert any("由此引起：数据库完整性，第 1 步" in check.evidence for check in examine(world.settings, "zh"))
