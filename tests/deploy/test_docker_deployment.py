"""deploy.sh on a real Docker engine: from nothing to an answered question; every container killed under load; backups; the way back from an upgrade.
Then, on an engine without images and network, `install.sh --docker` of a bundle: from nothing, down, and up again by a newer one.

MySQL, Redis, nginx and Python's base image are stand-ins under the official names (tests/servers/docker_engine.py). The tests use one deployment in turn.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from qzbrain import __version__
from qzbrain.storage.migrate import HEAD
from tests.deploy.deployment import SERVICES, Deployment, waited
from tests.deploy.newer import REVISION, Bundle, newer_program
from tests.running import ROOT, wait_for
from tests.servers.docker_engine import DockerEngine, docker_engine, empty_engine

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]
QUESTION = "行政处罚的种类有哪些？"
NEXT = "0.2.0"


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with docker_engine() as made:
        yield made


@pytest.fixture(scope="module")
def deployment(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Made from nothing by deploy.sh, which builds the image; the administrator has used the link."""
    made = Deployment(engine, tmp_path_factory.mktemp("docker") / "state")
    for image in engine.call("images", "--quiet", "qzbrain").stdout.split():
        engine.call("rmi", "--force", image)  # of an earlier run
    try:
        told = made.deploy("--port", str(made.port), "--bind", "127.0.0.1")
        made.told = told.stdout + told.stderr  # type: ignore[attr-defined]
        made.sign_in(told.stdout)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def kept(deployment: Deployment) -> None:
    """The knowledge base `kept`, with a document."""
    fill(deployment)


@pytest.fixture(scope="module")
def next_version(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of version 0.2.0."""
    return newer_program(tmp_path_factory.mktemp("next"), NEXT, f"qzbrain:{__version__}")


def fill(deployment: Deployment) -> None:
    assert deployment.call("POST", "/api/knowledge-bases", {"name": "kept"})[0] == 201
    deployment.add("kept", "采购.txt", "第一条 采购金额超过五十万元的，须经董事会批准。")


def require_kept(deployment: Deployment, conversation: str) -> None:
    """What was there is there, and answers."""
    assert set(deployment.documents("kept")) == {"采购.txt"}
    assert deployment.call("GET", f"/api/conversations/{conversation}/messages")[0] == 200
    status, said = deployment.ask("采购金额超过五十万元须经谁批准？", "kept")
    assert status == 200 and "董事会" in str(said["answer"]) and said["answer"]["citations"]


def answers(deployment: Deployment) -> str:
    """The conversation in which a question was answered from the sample."""
    status, said = wait_for(lambda: (found := deployment.ask(QUESTION))[0] == 200 and "警告" in str(found[1]) and found, "an answer", 60, step_s=0.3)
    assert status == 200 and said["answer"]["citations"]
    return str(said["conversation"])


def examined(deployment: Deployment, service: str = "brain") -> dict[str, Any]:
    """What the doctor says in a container, by check."""
    told = deployment.execute(service, "qzbrain", "doctor", "--json", check=False)
    return {one["id"]: one for one in json.loads(told.stdout)["checks"]}


def sql(deployment: Deployment, query: str) -> str:
    """Its one value."""
    command = f'mariadb -h127.0.0.1 -uqiyuan -p"$(cat /run/secrets/mysql_password)" -N chatglm -e "{query}"'
    return deployment.execute("mysql", "sh", "-c", command).stdout.strip()


def saved(deployment: Deployment) -> list[str]:
    """Reasons of all backups, oldest first."""
    told = deployment.execute("brain", "qzbrain", "backup", "list", "--json").stdout
    return [one["reason"] for one in json.loads(told)["backups"]]


def image_of(deployment: Deployment, service: str = "brain") -> tuple[str, str]:
    """Name and id of the image that a container runs."""
    found = deployment.engine.inspect(deployment.containers()[service])
    return found["Config"]["Image"], found["Image"]


@pytest.mark.usefixtures("offline")
def test_from_nothing_to_an_answered_question(deployment: Deployment, engine: DockerEngine) -> None:
    """Over nginx's port, by MySQL, Redis and Celery, with every service healthy."""
    answers(deployment)
    states = deployment.states()
    assert states.pop("prepare") == "exited"
    assert states == dict.fromkeys(SERVICES, "healthy")
    assert int(sql(deployment, "SELECT COUNT(*) FROM documents")) >= 12
    log = engine.call("logs", deployment.containers()["worker"])
    assert '"redis:6379"' in log.stdout + log.stderr or "redis:6379" in log.stdout + log.stderr  # it takes its jobs from there
    assert "doctor" in deployment.told  # type: ignore[attr-defined]
    status, triples = deployment.call("POST", "/chat-process-txt", {"text": "行政处罚法"})
    assert status == 200, triples


def test_containers_have_no_rights_and_tell_no_secrets(deployment: Deployment, engine: DockerEngine) -> None:
    secrets = [path.read_text() for path in sorted((deployment.state / "secrets").iterdir())]
    assert len(secrets) == 6 and all(len(one) == 48 for one in secrets) and len(set(secrets)) == 6
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (deployment.state / "secrets").iterdir())
    published = {}
    for service, container in deployment.containers().items():
        told = engine.inspect(container)
        assert not any(one in str(told) for one in secrets), service
        assert not any(one in (engine.call("top", container).stdout if told["State"]["Running"] else "") for one in secrets), service
        published[service] = [port for ports in (told["NetworkSettings"]["Ports"] or {}).values() for port in ports or []]
        assert told["HostConfig"]["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert told["HostConfig"]["Memory"] > 0 or service == "prepare"
        if service not in ("mysql", "prepare"):
            assert told["Config"]["User"].startswith("10001:") and told["HostConfig"]["ReadonlyRootfs"], service
            assert told["HostConfig"]["CapDrop"] == ["ALL"]
    assert {service for service, ports in published.items() if ports} == {"nginx"}
    assert [port["HostPort"] for port in published["nginx"]] == [str(deployment.port)]
    refused = deployment.execute("brain", "sh", "-c", ": >/app/x", check=False)
    assert refused.returncode and "Read-only" in refused.stderr
    assert deployment.execute("brain", "sh", "-c", ": >/data/x; rm /data/x").returncode == 0


def test_run_again_it_changes_nothing(deployment: Deployment) -> None:
    before = {service: container for service, container in deployment.containers().items() if service != "prepare"}
    told = deployment.deploy()
    assert "已有管理员" in told.stderr and not told.stdout.strip()
    after = deployment.containers()
    assert {service: after[service] for service in before} == before


def test_the_doctor_sees_what_each_container_sees(deployment: Deployment) -> None:
    """In the brain's, as deploy.sh and the console's page System ask it: web answers, on its own port. In the worker's: web is elsewhere."""
    status, page = deployment.call("GET", "/api/system/doctor")
    assert status == 200, page
    for found in (examined(deployment), {one["id"]: one for one in page["checks"]}):
        assert not [one for one in found.values() if one["status"] in ("warn", "fail")]
        assert {found[name]["status"] for name in ("mysql", "redis", "celery", "graph_service", "web", "worker", "port", "revision", "index")} == {"ok"}
        assert "/readyz" not in found["web"]["evidence"] and found["web"]["evidence"].endswith(" 200") and "qzbrain" in found["port"]["evidence"]
        assert found["processes"]["status"] == "skip"
    elsewhere = examined(deployment, "worker")
    assert elsewhere["web"]["status"] == "ok" and deployment.containers()["brain"] in elsewhere["web"]["evidence"]
    assert not [one for one in elsewhere.values() if one["status"] == "fail"]


def in_docker() -> list[str]:
    """The commands of docs/backup.md, "In Docker", block by block."""
    section = (ROOT / "docs/backup.md").read_text(encoding="utf-8").partition("## In Docker")[2].partition("\n## ")[0]
    return [match[0] for match in re.finditer(r"(?:^    .*\n)+", section, re.MULTILINE)]


@pytest.mark.usefixtures("kept")
def test_backup_and_restore_as_the_manual_prints_them(deployment: Deployment) -> None:
    """On MySQL, from a read-only file system. What came after the backup is gone then, and in the one that was made before it was put back."""
    back_up, put_back = in_docker()
    conversation = answers(deployment)
    assert "manual" in deployment.compose(back_up)
    deployment.add("kept", "after.txt", "第二条 出差须提前三天申请。")
    deployment.compose(put_back)
    waited(deployment)
    assert deployment.call("GET", "/api/knowledge-bases/kept/documents")[0] == 401  # nobody is signed in after a restore
    deployment.sign_in_again()
    require_kept(deployment, conversation)
    assert saved(deployment)[-2:] == ["manual", "before-restore"]


def test_every_container_dies_under_load_and_nothing_acknowledged_is_lost(deployment: Deployment) -> None:
    """Documents and questions go in all the time; each container is killed (-9) or restarted in turn. What got a 2xx is there in the end."""
    assert deployment.call("POST", "/api/knowledge-bases", {"name": "load"})[0] == 201
    uploaded: dict[str, str] = {}
    answered: dict[str, str] = {}
    ended = threading.Event()

    def upload() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                status, said = deployment.upload("load", f"{number}.txt", f"第{number}号规定：编号为{number}的仓库每天检查{number}次。\n" * 5)
            except (OSError, http.client.HTTPException, ValueError):
                status = 0
            if status in (200, 201, 202):
                uploaded[f"{number}.txt"] = str(said)
            time.sleep(0.1)

    def question() -> None:
        while not ended.is_set():
            try:
                status, said = deployment.ask(QUESTION)
            except (OSError, http.client.HTTPException, ValueError):
                status = 0
            if status == 200 and "message_id" in said["answer"]:
                answered[said["answer"]["message_id"]] = said["conversation"]
            time.sleep(0.1)

    threads = [threading.Thread(target=upload), threading.Thread(target=question)]
    for thread in threads:
        thread.start()
    try:
        killed = [(deployment.kill, service) for service in ("worker", "brain", "graph", "redis", "mysql", "nginx")]
        for end, service in (*killed, (deployment.restart, "brain"), (deployment.restart, "worker")):
            before = (len(uploaded), len(answered))
            end(service)
            waited(deployment)
            wait_for(lambda then=before: len(uploaded) > then[0] and len(answered) > then[1], f"work goes on after {service} died", 60)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(uploaded) > 20 and len(answered) > 10

    def all_ready() -> bool:
        found = deployment.documents("load")
        return all(name in found and found[name]["status"] == "ready" for name in uploaded)

    wait_for(all_ready, "all documents are ready", 90, step_s=0.5)
    for message, conversation in answered.items():
        status, said = deployment.call("GET", f"/api/conversations/{conversation}/messages")
        assert status == 200 and message in {one["id"] for one in said["data"]}


@pytest.mark.usefixtures("kept")
def test_down_and_up_again_all_is_there(deployment: Deployment) -> None:
    conversation, load = answers(deployment), deployment.documents("load")
    deployment.deploy("--down")
    assert deployment.containers() == {}
    assert "已有管理员" in deployment.deploy().stderr
    require_kept(deployment, conversation)
    there = deployment.documents("load")
    assert load.keys() == there.keys() and {one["status"] for one in there.values()} == {"ready"}


def test_lost_secrets_of_a_database_that_is_there_are_not_made_anew(deployment: Deployment) -> None:
    lost = deployment.state / "secrets" / "mysql_password"
    kept = lost.read_text()
    lost.unlink()
    refused = deployment.deploy(check=False)
    assert refused.returncode == 1 and "mysql_password" in refused.stderr and not lost.exists()
    lost.write_text(kept)
    assert deployment.ready()  # what ran goes on


@pytest.mark.usefixtures("kept")
def test_an_upgrade_that_does_not_come_up_goes_back(deployment: Deployment, engine: DockerEngine, tmp_path: Path) -> None:
    """Under the version number that runs, with a newer schema, and a web server that ends at once: the old image has its name back, the old schema its rows."""
    name, old = image_of(deployment)
    conversation = answers(deployment)
    broken = newer_program(tmp_path / "broken", __version__, name, {"qzbrain/wsgi.py": 'raise RuntimeError("the new version is broken")\n'})
    told = deployment.deploy("--upgrade", program=broken, check=False)
    assert told.returncode == 1, told.stderr
    for words in ("brain of the new version did not come up", "the new version is broken", "going back", "sign in again", f"{name}, runs again"):
        assert words in told.stderr, told.stderr
    assert image_of(deployment) == (name, old) and image_of(deployment, "worker") == (name, old)
    assert engine.call("image", "inspect", "--format", "{{.Id}}", name).stdout.strip() == old and not engine.has(f"qzbrain:before-upgrade-{deployment.project}")
    assert saved(deployment)[-2:] == [f"before-{REVISION}", "before-restore"] and sql(deployment, "SELECT version_num FROM alembic_version") == HEAD
    deployment.sign_in_again()
    require_kept(deployment, conversation)


def test_an_upgrade_that_cannot_begin_changes_nothing(deployment: Deployment, next_version: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no images" * 1000)
    before = deployment.containers()
    told = deployment.deploy("--upgrade", "--offline", str(tmp_path / "bad.tar"), program=next_version, check=False)
    assert told.returncode == 1 and "the old version runs on" in told.stderr
    assert deployment.containers() == before and deployment.ready()


# -- without a network


class Offline:
    """`install.sh --docker` of a bundle on an engine that has no image and reaches nothing. Mostly waiting, so it goes on beside the other tests."""

    def __init__(self, deployment: Deployment, next_version: Path, folder: Path) -> None:
        self.deployment, self.next_version, self.folder = deployment, next_version, folder
        self.place = folder / "place"

    def run(self) -> None:
        """From nothing to an answered question. Down, then up again by a newer bundle with a newer schema: a backup first, and all is there."""
        bundle, newer = self.bundle(), self.folder / "newer.tar"
        self.deployment.engine.call("build", "--quiet", "--tag", f"qzbrain:{NEXT}", str(self.next_version))
        self.deployment.engine.call("save", "--output", str(newer), f"qzbrain:{NEXT}")
        with empty_engine() as machine:
            assert not machine.call("images", "--quiet").stdout
            there = Deployment(machine, self.place / "deploy", usual=True)
            conversation = self.install(there, bundle)
            there.run("sh", str(self.place / "deploy.sh"), "--down")
            assert there.containers() == {}
            bundle.become(NEXT, newer)
            self.upgrade(there, bundle, conversation)

    def bundle(self) -> Bundle:
        """Made by the command with all images of the deployment, and unpacked."""
        images = self.folder / "images.tar"
        self.deployment.deploy("--save", str(images))
        return Bundle.made(self.folder, images)

    def install(self, there: Deployment, bundle: Bundle) -> str:
        """A conversation that was had in it."""
        assert "nothing to upgrade" in self.installer(there, bundle, "--upgrade", check=False).stderr
        there.sign_in(self.installer(there, bundle, "--bind", "127.0.0.1").stdout)
        assert {state for service, state in there.states().items() if service != "prepare"} == {"healthy"}
        fill(there)
        return answers(there)

    def upgrade(self, there: Deployment, bundle: Bundle, conversation: str) -> None:
        assert "--upgrade" in self.installer(there, bundle, check=False).stderr
        told = self.installer(there, bundle, "--upgrade")
        assert image_of(there)[0] == f"qzbrain:{NEXT}" and "an administrator already" in told.stderr
        require_kept(there, conversation)
        assert there.execute("brain", "python", "-c", "import qzbrain; print(qzbrain.__version__)").stdout.strip() == NEXT
        assert saved(there) == [f"before-{REVISION}"] and sql(there, "SELECT version_num FROM alembic_version") == REVISION
        assert "brain" in there.compose("docker compose ps --services") and not there.engine.has("qzbrain:before-upgrade-qzbrain")

    def installer(self, there: Deployment, bundle: Bundle, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(bundle.folder / "install.sh"), "--docker", "--to", str(self.place), "--key", bundle.fingerprint]
        return there.run(*command, *arguments, check=check)


@pytest.fixture(scope="module")
def offline(deployment: Deployment, next_version: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[None]]:
    """Begun with the first test, and asked for by the last."""
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(Offline(deployment, next_version, tmp_path_factory.mktemp("offline")).run)


def test_a_bundle_is_installed_and_upgraded_where_there_is_no_network(offline: Future[None]) -> None:
    offline.result()
